"""The champion: which of two registered versions is the better one, and the alias that names it."""

from collections.abc import Mapping
from math import inf, isfinite, isnan, nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"  # the alias
CAMPAIGN_TAG, ROUND_TAG = "mlasdi.campaign_id", "mlasdi.round"
# Of a campaign's versions, a later one, which knows more solves, is taken to be better unless its error seems larger by
# more than this. Most estimates are within a factor of two of the truth (tests/benchmarks/TRUST.md).
UNCERTAIN = 2.0


def known_error(tags: Mapping[str, str]) -> float:
    """Error of a version by its tags: validated or, without validation, the larger one of estimate and found error.

    The found error is the largest one at the points that were solved next. NaN if nothing is known.
    """
    if "max_error" in tags:
        return float(tags["max_error"])
    estimate = float(tags.get("error_estimate", nan))
    return max(estimate, float(tags.get("found_error", estimate)))


def is_better(new: Mapping[str, str], present: Mapping[str, str]) -> bool:
    """Whether a version with the tags `new` is a better champion than the one with the tags `present`.

    One whose error is not known is never better. Validated errors decide where both have them. Else a later version of
    the same campaign is better, unless its error seems `UNCERTAIN` times larger: the smallest of several estimates is
    often a lucky one.
    """
    error, other = _or_inf(known_error(new)), known_error(present)
    if not isfinite(error) or isnan(other):  # a version without any error was chosen by a user, and stays
        return False
    both_validated = "max_error" in new and "max_error" in present
    is_later = _is_of_same_campaign(new, present) and int(new[ROUND_TAG]) > int(present[ROUND_TAG])
    return error < other * (UNCERTAIN if is_later and not both_validated else 1.0)


def champion_of(client: "MlflowClient", name: str) -> str | None:
    """The version of the registered model `name` that has the alias `champion`, or None."""
    found = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if found is None else str(found)


def promote_if_better(client: "MlflowClient", version: "ModelVersion") -> None:
    """Move the alias `champion` to `version` if it is better than the present champion.

    Without one, it is better if its error is known.
    """
    from mlflow.exceptions import MlflowException

    def wins() -> bool:
        champion = champion_of(client, version.name)
        if champion is None:
            return isfinite(known_error(version.tags))
        return is_better(version.tags, client.get_model_version(version.name, champion).tags)

    if not wins():
        return
    try:
        client.set_registered_model_alias(version.name, CHAMPION, version.version)
    except MlflowException:
        # If two campaigns set the first champion at the same time, MLflow rejects one, which then compares again.
        if wins():
            client.set_registered_model_alias(version.name, CHAMPION, version.version)


def _is_of_same_campaign(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return CAMPAIGN_TAG in one and one[CAMPAIGN_TAG] == other.get(CAMPAIGN_TAG)


def _or_inf(error: float) -> float:
    return inf if isnan(error) else error
