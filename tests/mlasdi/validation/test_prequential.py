"""Errors at points that were solved after the training: which points, what is compared, and what it calibrates."""

from dataclasses import replace

import numpy as np
import pytest

from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout
from mlasdi.surrogate import LocalCalibration, PrequentialErrors
from mlasdi.training import ModelSettings, fit
from mlasdi.validation import prequential_errors

X, T = np.linspace(0, 1, 30), np.linspace(0, 1, 21)
SPACE = ParameterSpace((Parameter("a", 1.0, 3.0),))
KRIGING = ModelSettings.model_validate({"kind": "snapshot-gp"})


def decaying(points: list[float]) -> TrainingData:
    """Waves that decay at the rate a."""
    a = np.array(points)[:, None, None]
    u = np.exp(-a * T[:, None]) * np.sin(np.pi * X * a)
    return TrainingData(SPACE, StateLayout(("u",), {"x": X}), np.array(points)[:, None], T, u)


FOUR, SIX = decaying([1.0, 1.7, 2.4, 3.0]), decaying([1.0, 1.7, 2.4, 3.0, 1.3, 2.8])


def test_new_points_alone_are_compared_with_what_was_predicted_there():
    model = fit(FOUR, KRIGING, seed=0)
    found = prequential_errors(model, SIX)
    np.testing.assert_allclose(found.x, [[0.15], [0.9]], atol=1e-12)
    for error, mu, truth in zip(found.errors, SIX.mu[4:], SIX.u[4:], strict=True):
        distance = np.linalg.norm(model.predict(mu, T).mean[0] - truth, axis=1)
        norm = np.linalg.norm(truth, axis=1)
        assert error == pytest.approx((distance / np.maximum(norm, 0.1 * norm.max())).max(), rel=1e-9)
    np.testing.assert_allclose(found.expected, model.relative_std(SIX.mu[4:]))
    np.testing.assert_allclose(found.deviations, model.uncalibrated_std(SIX.mu[4:]))
    assert found.n_points == (4, 4)
    assert len(prequential_errors(model, FOUR)) == 0


def test_a_model_of_another_problem_cannot_be_tested():
    other = replace(SIX, layout=StateLayout(("v",), {"x": X}))
    with pytest.raises(ValueError, match="other parameters, fields or another grid"):
        prequential_errors(fit(FOUR, KRIGING, seed=0), other)


def test_they_are_kept_with_the_next_model_and_calibrate_its_estimate(tmp_path):
    alone = fit(SIX, KRIGING, seed=0)
    after = fit(SIX, KRIGING, seed=0, before=fit(FOUR, KRIGING, seed=0))
    assert after.record.prequential.n_points == (4, 4)
    assert len(after.record.calibration.errors) == len(alone.record.calibration.errors) + 2
    np.testing.assert_array_equal(after.predict([2.0]).mean, alone.predict([2.0]).mean)
    assert after.error_estimate != alone.error_estimate
    after.save(tmp_path / "model")
    loaded = type(after).load(tmp_path / "model")
    assert loaded.record.prequential == after.record.prequential
    assert loaded.record.calibration == after.record.calibration


def test_corners_alone_support_no_estimate():
    space = ParameterSpace((Parameter("a", 1.0, 3.0), Parameter("b", 0.0, 1.0)))
    corners = np.array([[1.0, 0.0], [3.0, 0.0], [1.0, 1.0], [3.0, 1.0]])

    def data(mu: np.ndarray) -> TrainingData:
        u = np.exp(-mu[:, 0, None, None] * T[:, None]) * (np.sin(np.pi * X) + mu[:, 1, None, None])
        return TrainingData(space, StateLayout(("u",), {"x": X}), mu, T, u)

    assert fit(data(corners), KRIGING, seed=0).error_estimate is None
    assert fit(data(np.vstack([corners, [[1.7, 0.4]]])), KRIGING, seed=0).error_estimate is not None


def test_the_newest_five_calibrate_and_those_of_the_last_model_are_the_newest():
    older = PrequentialErrors(((0.1,),) * 4, (1.0,) * 4, (0.5,) * 4, (0.2,) * 4, (4, 5, 6, 7), ("a",) * 4)
    newer = PrequentialErrors(((0.6,), (0.7,)), (0.1, 0.2), (0.1, 0.1), (0.3, 0.4), (8, 8), ("a", "a"))
    both = older + newer
    assert both.newest == newer
    folds = LocalCalibration().with_pairs([[0.0]], [2.0], [1.0], [1.0])
    assert both.calibrating(folds, "b").errors == folds.errors  # of another kind of model
    calibrated = both.calibrating(folds, "a")
    assert calibrated.errors == (2.0, 1.0, 1.0, 1.0, 0.1, 0.2)
    assert calibrated.deviations == (1.0, 0.2, 0.2, 0.2, 0.3, 0.4)
    described = newer.described(SPACE)
    assert described[1] == {"mu": {"a": pytest.approx(2.4)}, "expected": 0.1, "found": 0.2, "n_points": 8}


@pytest.mark.parametrize(
    ("estimate", "kind", "expected"),
    [
        (0.1, "a", 2.0**0.3),  # 0.2 was found
        (0.4, "a", 0.5**0.3),
        (0.001, "a", 4.0**0.3),  # not trusted further than that
        (10.0, "a", 0.25**0.3),
        (0.1, "a; c", 2.0**0.3),  # compared with another model
        (0.1, "b; a", 1.0),  # a model of another kind was tested
        (0.0, "a", 1.0),
    ],
)
def test_the_largest_error_found_at_the_newest_solves_pulls_the_estimate(estimate, kind, expected):
    found = PrequentialErrors(((0.6,), (0.7,)), (0.1, 0.2), (0.1, 0.1), (0.3, 0.4), (8, 8), ("a", "a"))
    older = PrequentialErrors(((0.1,),), (9.0,), (0.5,), (0.2,), (4,), ("a",))
    assert (older + found).factor(estimate, kind) == pytest.approx(expected)
    assert PrequentialErrors().factor(estimate, kind) == 1.0
    scaled = replace(LocalCalibration().with_pairs([[0.0]], [2.0], [1.0], [1.0]), factor=expected)
    assert scaled.estimate(np.zeros((1, 1)), np.ones(1)) == pytest.approx(2.0 * expected)
    assert scaled.score(np.zeros((1, 1)), np.ones(1)) == pytest.approx(2.0**0.5)
