"""Times that a training keeps."""

import numpy as np
import pytest

from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout


def oscillations(n_values: int, n_times: int) -> TrainingData:
    """Slow oscillations with the parameter as their frequency."""
    space = ParameterSpace((Parameter("w", 1.0, 2.0),))
    mu, t, x = np.array([[1.0], [1.5], [2.0]]), np.linspace(0, 1, n_times), np.linspace(0, 1, n_values)
    return TrainingData(space, StateLayout(("u",), {"x": x}), mu, t, np.sin(mu[:, :, None] * t[:, None] + x))


@pytest.mark.parametrize(
    ("n_values", "n_times", "kept"),
    [(30, 401, 101), (2, 401, 401), (8, 401, 401), (9, 401, 101), (2, 2001, 501), (2, 51, 51)],
)
def test_large_states_keep_few_times_and_small_ones_all(n_values: int, n_times: int, kept: int) -> None:
    thinned = oscillations(n_values, n_times).thinned("auto")
    assert len(thinned.t) == thinned.u.shape[1] == kept


def test_a_fast_solution_keeps_more_times() -> None:
    slow = oscillations(30, 401)
    fast = np.sin(200 * slow.mu[:, :, None] * slow.t[:, None] + np.linspace(0, 1, 30))
    data = TrainingData(slow.space, slow.layout, slow.mu, slow.t, fast)
    assert data.time_error(101) > 0.1
    assert len(data.thinned("auto").t) == 401
