"""Finds MLflow runs by tags, and logs to them within MLflow's limits."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlasdi.agent.execution import is_disk_full

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_MAX_BATCH, _MAX_PARAM_BATCH, _MAX_PARAM_LENGTH, _MAX_TAG_LENGTH, _MAX_DIGEST = 500, 100, 6000, 5000, 36
# The experiments page of MLflow shows training runs with charts; without this tag it asks, or shows traces of agents.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
DESCRIPTION_TAG = "mlflow.note.content"


@dataclass(frozen=True)
class TrainingSet:
    """The solutions on which a surrogate was trained, as MLflow shows a dataset.

    Attributes:
        digest: identifies the solutions.
        source: folder or URL of their store.
        parameters: names of the parameters.
        n_solutions, n_state: number of solutions, and of values at each time.
    """

    name: str
    digest: str
    source: str
    parameters: Sequence[str]
    n_solutions: int
    n_state: int

    def log(self, client: "MlflowClient", run_id: str) -> None:
        """Log it as an input of a run; a repeated call changes nothing."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        scheme, has_scheme, _ = self.source.partition("://")
        columns = [{"type": "double", "name": name, "required": True} for name in self.parameters]
        profile = {"solutions": self.n_solutions, "values_at_each_time": self.n_state}
        found = Dataset(
            self.name,
            self.digest[:_MAX_DIGEST],
            scheme if has_scheme else "local",
            json.dumps({"uri": self.source}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps(profile),
        )
        client.log_inputs(run_id, [DatasetInput(found, [InputTag("mlflow.data.context", "training")])])


@dataclass(frozen=True)
class RoundFacts:
    """When a round took place, and on what its model was trained.

    Attributes:
        began_at, ended_at: unix seconds; None for the time of the call.
    """

    began_at: float | None = None
    ended_at: float | None = None
    training_set: TrainingSet | None = None


class Undelivered(Exception):
    """MLflow rejected a record or cannot be reached; the message says why."""


@contextmanager
def delivering() -> Iterator[None]:
    """Turn errors of the tracking store and of the connection into `Undelivered`, which does not end a campaign.

    A full disk does end it, because it affects the solves too.
    """
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, CommandError, OSError) as error:  # OSError: no connection, or it breaks
        if is_disk_full(error):
            raise
        raise Undelivered(f"MLflow: {type(error).__name__}: {' '.join(str(error).split())[:500]}") from error


@contextmanager
def unless_it_exists() -> Iterator[None]:
    """Ignore that something to be created exists already, from an earlier round or another campaign."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def where(tags: Mapping[str, str]) -> str:
    return " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())


def find_run(client: "MlflowClient", experiment_id: str, tags: Mapping[str, str]) -> "Run | None":
    runs = client.search_runs([experiment_id], where(tags), order_by=["attributes.start_time ASC"], max_results=1)
    return runs[0] if runs else None


def has_run(client: "MlflowClient", experiment_id: str, tags: Mapping[str, str]) -> bool:
    """Whether there is a run with the tags, deleted ones included."""
    from mlflow.entities import ViewType

    return bool(client.search_runs([experiment_id], where(tags), run_view_type=ViewType.ALL, max_results=1))


def log_params(client: "MlflowClient", run: "Run", params: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    flat = {name: str(value)[:_MAX_PARAM_LENGTH] for name, value in flattened(params)}
    new = [Param(name, value) for name, value in flat.items() if name not in run.data.params]
    for i in range(0, len(new), _MAX_PARAM_BATCH):
        client.log_batch(run.info.run_id, params=new[i : i + _MAX_PARAM_BATCH])


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted names with values."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def log_metrics(
    client: "MlflowClient", run_id: str, metrics: Mapping[str, float], *, step: int, timestamp: int
) -> None:
    from mlflow.entities import Metric

    values = [Metric(name, float(value), timestamp, step) for name, value in metrics.items()]
    for i in range(0, len(values), _MAX_BATCH):
        client.log_batch(run_id, metrics=values[i : i + _MAX_BATCH])


def origin_tags() -> dict[str, str]:
    """Who runs which program, as MLflow itself would tag a run: user, script and, in a repository, its commit."""
    from mlflow.tracking.context.registry import resolve_tags

    return dict(resolve_tags())


def describe(client: "MlflowClient", run_id: str, text: str) -> None:
    """Set the description of a run, in Markdown."""
    if text:
        client.set_tag(run_id, DESCRIPTION_TAG, text[:_MAX_TAG_LENGTH])


def milliseconds(unix_s: float | None) -> int | None:
    return None if unix_s is None else round(1000 * unix_s)
