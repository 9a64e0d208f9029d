"""What a request costs, and the answer in steps: the same as at once."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlasdi.agent.service import trajectories
from mlasdi.agent.service.bodies import TrajectoryRequest
from mlasdi.agent.service.trajectories import Trajectories
from mlasdi.surrogate import Surrogate

RNG = np.random.default_rng(0)
POINTS = [{"a": float(a), "w": float(w)} for a, w in RNG.uniform([0.7, 0.9], [0.9, 1.1], (7, 2))]


def wanted(surrogate: Surrogate, **body: object) -> Trajectories:
    return Trajectories.of(surrogate, TrajectoryRequest.model_validate({"points": POINTS, **body}))


@pytest.mark.parametrize("step_s", [1e-12, 2e-3, 1e9])
@pytest.mark.parametrize("kind", ["burgers_surrogate", pytest.param("similar_surrogate", marks=pytest.mark.slow)])
def test_the_answer_does_not_depend_on_the_steps(
    kind: str, step_s: float, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    surrogate: Surrogate = request.getfixturevalue(kind)
    monkeypatch.setattr(trajectories, "STEP_S", step_s)
    times = [0.0, 0.3, 1.0]
    steps = list(wanted(surrogate, points=POINTS[:2], times=times, quantiles=[0.1, 0.9]).steps())
    found, expected = json.loads("".join(steps)), surrogate.predict(POINTS[:2], times)
    np.testing.assert_allclose(found["mean"], expected.mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found["std"], expected.std, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found["quantiles"], expected.quantiles([0.1, 0.9]), rtol=1e-6, atol=1e-9)
    assert found["estimated_relative_error"] == pytest.approx(surrogate.relative_std(POINTS[:2]).max())
    assert (len(steps) > 50) == (step_s == 1e-12)


@given(
    points=st.integers(1, 7),
    times=st.lists(st.floats(0, 1), min_size=1, max_size=9),
    sensors=st.one_of(st.none(), st.integers(1, 4)),
    std=st.booleans(),
    levels=st.lists(st.floats(0.01, 0.99), max_size=2),
)
@settings(max_examples=30, deadline=None)
def test_any_answer_is_json_of_the_announced_size(
    burgers_surrogate: Surrogate, points: int, times: list[float], sensors: int | None, std: bool, levels: list[float]
) -> None:
    body = {"points": POINTS[:points], "times": times, "std": std, "quantiles": levels}
    one = wanted(burgers_surrogate, **body, sensors=sensors and [{"x": 0.1 * k} for k in range(sensors)])
    found = json.loads("".join(one.steps()))
    arrays = [found[name] for name in ("mean", "std", "quantiles") if found[name] is not None]
    assert sum(np.size(array) for array in arrays) == one.n_numbers
    assert (found["std"] is not None, found["quantiles"] is not None) == (std, bool(levels))


def test_more_costs_more(burgers_surrogate: Surrogate) -> None:
    def seconds(**body: object) -> float:
        return wanted(burgers_surrogate, **body).seconds()

    few = {"points": POINTS[:1], "times": [0.5], "sensors": [{"x": 0.0}], "std": False}
    least = seconds(**few)
    for more in (
        {"points": POINTS * 10},
        {"times": np.linspace(0, 1, 500).tolist()},
        {"sensors": [{"x": 0.01 * k} for k in range(100)]},
        {"std": True},
        {"quantiles": [0.5]},
        {"sensors": None},
    ):
        assert seconds(**{**few, **more}) > least
    # A far time is reached over all times before it, whatever the number of times that are asked for.
    assert seconds(**few, extrapolate=True) < 0.1 < seconds(**{**few, "times": [1e4]}, extrapolate=True)


def test_a_prediction_that_is_not_finite_is_an_error(
    burgers_surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = Surrogate.predict

    def spoilt(self: Surrogate, *given: object, **more: object) -> object:
        found = predict(self, *given, **more)  # type: ignore[arg-type]
        found.mean[-1, -1, -1] = np.inf
        return found

    monkeypatch.setattr(Surrogate, "predict", spoilt)
    with pytest.raises(ValueError, match="not finite"):
        list(wanted(burgers_surrogate).steps())
