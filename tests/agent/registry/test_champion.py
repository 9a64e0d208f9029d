"""The better one of two versions, by their tags."""

import math

import pytest

from mlasdi.agent.registry.champion import CAMPAIGN_TAG, ROUND_TAG, is_better, known_error


def version(campaign: str, round: int, **errors: float) -> dict[str, str]:
    return {CAMPAIGN_TAG: campaign, ROUND_TAG: str(round)} | {name: repr(error) for name, error in errors.items()}


@pytest.mark.parametrize(
    ("errors", "known"),
    [
        ({"error_estimate": 0.1}, 0.1),
        ({"error_estimate": 0.1, "found_error": 0.05}, 0.1),
        ({"error_estimate": 0.1, "found_error": 0.3}, 0.3),
        ({"error_estimate": 0.1, "found_error": 0.3, "max_error": 0.2}, 0.2),
        ({"error_estimate": math.inf}, math.inf),
    ],
)
def test_the_known_error_is_validated_or_the_worse_one_of_estimate_and_found(errors, known):
    assert known_error(version("a", 0, **errors)) == known


def test_without_any_error_nothing_is_known():
    assert math.isnan(known_error({}))


@pytest.mark.parametrize(
    ("new", "present", "better"),
    [
        # a later round knows more solves: its estimate may be up to twice as large
        (version("a", 1, error_estimate=0.19), version("a", 0, error_estimate=0.1), True),
        (version("a", 1, error_estimate=0.21), version("a", 0, error_estimate=0.1), False),
        (version("a", 0, error_estimate=0.11), version("a", 1, error_estimate=0.1), False),
        (version("b", 1, error_estimate=0.11), version("a", 0, error_estimate=0.1), False),
        (version("b", 1, error_estimate=0.09), version("a", 0, error_estimate=0.1), True),
        # validated errors need no such margin
        (version("a", 1, max_error=0.11), version("a", 0, max_error=0.1), False),
        (version("a", 1, max_error=0.11, error_estimate=0.01), version("a", 0, error_estimate=0.05), False),
        # a lucky estimate that a later solve has refuted
        (version("a", 1, error_estimate=0.1), version("a", 0, error_estimate=0.01, found_error=0.2), True),
        (version("a", 1, error_estimate=math.inf), version("a", 0, error_estimate=0.1), False),
        (version("a", 1, error_estimate=0.1), version("a", 0), False),  # chosen by a user
    ],
)
def test_the_better_champion(new, present, better):
    assert is_better(new, present) is better
