"""Which of the finished models is chosen; `test_race` has whole races."""

from unittest.mock import Mock

import pytest

from mlasdi.training.race import Contender, _winner
from mlasdi.training.scoring import ErrorEstimates


@pytest.mark.parametrize(("ratio", "winner"), [(0.95, "kriging (states)"), (0.85, "kriging (rescaled)")])
def test_plain_kriging_is_kept_where_others_are_hardly_better(ratio: float, winner: str) -> None:
    finished = {}
    for name, error in (("kriging (states)", 0.1), ("kriging (rescaled)", 0.1 * ratio)):
        one = Mock(spec=Contender, refits_folds=True, errors=ErrorEstimates(None, error, None))
        one.name, one.selection = name, Mock()
        one.selection.context.data.n_points = 9
        finished[name] = one
    assert _winner(finished).name == winner
