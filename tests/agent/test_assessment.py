"""Assessments: equal to lifting every prediction and comparing it with the truth, value by value."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

import mlasdi.validation.assessment
from mlasdi.solvers import Snapshots
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.solvers.storage import block_ranges
from mlasdi.surrogate import Prediction, Surrogate
from mlasdi.validation import LEVELS, Assessment, assess

Truths = list[tuple[np.ndarray, Snapshots]]


@pytest.fixture(scope="module")
def truths(burgers_surrogate: Surrogate) -> Truths:
    """Solutions at points and at times that the surrogate was not trained on."""
    fom, space = Burgers1D(n_x=101, n_t=51), burgers_surrogate.space
    return [(mu, fom.solve(space.as_dict(mu)).thinned(11)) for mu in space.sobol(6, seed=9)]


def brute_force_errors(surrogate: Surrogate, truths: Truths) -> np.ndarray:
    """`[stage, param]`."""
    errors = np.zeros((surrogate.n_stages, len(truths)))
    for i, (mu, truth) in enumerate(truths):
        for k in range(surrogate.n_stages):
            prediction = surrogate.predict(mu, truth.t, n_stages=k + 1, std=False).mean[0]
            length = np.sqrt((truth.u**2).sum(axis=1))
            # Small states count as a tenth of the largest one.
            length = np.maximum(length, 0.1 * length.max())
            errors[k, i] = (np.sqrt(((prediction - truth.u) ** 2).sum(axis=1)) / length).max()
    return errors


def brute_force_coverage(surrogate: Surrogate, truths: Truths, level: float = 0.9) -> float:
    inside = []
    for mu, truth in truths:
        prediction = surrogate.predict(mu, truth.t)
        assert prediction.std is not None
        half_width = norm.ppf(0.5 + level / 2) * prediction.std[0]
        inside.append((prediction.mean[0] - half_width <= truth.u) & (truth.u <= prediction.mean[0] + half_width))
    return float(np.mean(inside))


def test_errors_of_every_stage_and_coverage(burgers_surrogate: Surrogate, truths: Truths) -> None:
    found = assess(burgers_surrogate, iter(truths), len(truths))
    np.testing.assert_array_equal(found.mu, [mu for mu, _ in truths])
    expected = brute_force_errors(burgers_surrogate, truths)
    np.testing.assert_allclose(found.errors, expected, rtol=1e-8)
    np.testing.assert_allclose(found.final, expected[-1], rtol=1e-8)
    assert not np.allclose(found.errors[0], found.errors[1], rtol=1e-3)  # the stages do differ
    assert found.coverage == pytest.approx(brute_force_coverage(burgers_surrogate, truths), abs=1e-12)
    assert found.reliability is not None
    expected = [brute_force_coverage(burgers_surrogate, truths, level) for level in LEVELS]
    np.testing.assert_allclose(found.reliability, expected, atol=1e-12)
    below_one = found.reliability[:-1] < 1
    assert below_one.sum() >= 5
    assert (np.diff(found.reliability)[below_one] > 0).all()


@pytest.mark.slow
def test_errors_in_similarity_variables_are_those_of_the_states(similar_surrogate: Surrogate, truths: Truths) -> None:
    found = assess(similar_surrogate, iter(truths), len(truths))
    np.testing.assert_allclose(found.errors, brute_force_errors(similar_surrogate, truths), rtol=1e-6)


def test_what_lies_outside_the_basis_counts(burgers_surrogate: Surrogate, truths: Truths) -> None:
    """Noise, of which hardly anything is inside the basis: the errors are those of the states, not of coordinates."""
    rng, basis = np.random.default_rng(0), burgers_surrogate.basis
    noisy = [(mu, Snapshots(s.t, s.u + 0.05 * rng.standard_normal(s.u.shape))) for mu, s in truths]
    for _, truth in noisy:
        outside = truth.u - basis.lift(basis.project(truth.u))
        assert np.linalg.norm(outside) > 0.05 * np.linalg.norm(truth.u)
    found = assess(burgers_surrogate, noisy, len(noisy))
    np.testing.assert_allclose(found.errors, brute_force_errors(burgers_surrogate, noisy), rtol=1e-8)


@pytest.mark.parametrize("kind", ["burgers_surrogate", pytest.param("similar_surrogate", marks=pytest.mark.slow)])
def test_an_assessment_does_not_depend_on_the_blocks_of_times(
    kind: str, truths: Truths, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    surrogate: Surrogate = request.getfixturevalue(kind)
    whole = assess(surrogate, truths, len(truths))
    blocks = partial(block_ranges, most=3 * truths[0][1].u.shape[1])
    monkeypatch.setattr(mlasdi.validation.assessment, "block_ranges", blocks)
    monkeypatch.setattr(Surrogate, "predict", limited(Surrogate.predict, 3))
    in_blocks = assess(surrogate, truths, len(truths))
    np.testing.assert_allclose(in_blocks.errors, whole.errors, rtol=1e-10)
    assert in_blocks.reliability == pytest.approx(whole.reliability, abs=1e-12)


def limited(predict: Callable[..., Prediction], n_time: int) -> Callable[..., Prediction]:
    """A method that predicts at so many times at most."""

    def predicted(self: Surrogate, mu: np.ndarray, t: np.ndarray) -> Prediction:
        assert len(t) <= n_time
        return predict(self, mu, t)

    return predicted


def test_a_state_that_vanishes_has_a_finite_error(burgers_surrogate: Surrogate, truths: Truths) -> None:
    (mu, truth), *_ = truths
    dies_out = Snapshots(truth.t, truth.u * np.linspace(1, 0, len(truth.t))[:, None])
    found = assess(burgers_surrogate, [(mu, dies_out)], 1)
    assert np.isfinite(found.errors).all()
    np.testing.assert_allclose(found.errors, brute_force_errors(burgers_surrogate, [(mu, dies_out)]), rtol=1e-8)


@pytest.mark.parametrize(("deviations", "coverage"), [(0.0, 1.0), (1.6, 1.0), (1.7, 0.0)])
def test_coverage_of_truths_at_a_known_distance(
    burgers_surrogate: Surrogate, truths: Truths, deviations: float, coverage: float
) -> None:
    """The band holds what lies 1.6 standard deviations away, and not what lies 1.7 away: its half width is 1.645."""
    made = []
    for mu, truth in truths[:2]:
        prediction = burgers_surrogate.predict(mu, truth.t)
        assert prediction.std is not None
        made.append((mu, Snapshots(truth.t, prediction.mean[0] + deviations * prediction.std[0])))
    found = assess(burgers_surrogate, made, len(made))
    assert found.coverage == coverage
    assert found.reliability is not None
    np.testing.assert_array_equal(found.reliability, norm.cdf(deviations) - norm.cdf(-deviations) < LEVELS)


def test_of_many_truths_some_are_checked_for_coverage(
    burgers_surrogate: Surrogate, truths: Truths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlasdi.validation.assessment, "COVERAGE_POINTS", 2)
    found = assess(burgers_surrogate, truths, len(truths))
    assert found.coverage == pytest.approx(brute_force_coverage(burgers_surrogate, [truths[0], truths[3]]), abs=1e-12)
    assert found.errors.shape == (2, 6)


# On disk

SAVED = Assessment(
    np.array([[0.1, 1 / 3], [2.0, 5e-324]]), np.array([[0.2, np.pi], [0.1, np.inf]]), 0.87, np.linspace(0, 1 / 3, 11)
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "assessments" / "round-000.npz"
    SAVED.save(path)
    loaded = Assessment.load(path)
    np.testing.assert_array_equal(loaded.mu, SAVED.mu)
    np.testing.assert_array_equal(loaded.errors, SAVED.errors)
    assert loaded.coverage == SAVED.coverage
    assert loaded.reliability is not None
    np.testing.assert_array_equal(loaded.reliability, SAVED.reliability)
    assert [file.name for file in path.parent.iterdir()] == ["round-000.npz"]


def test_an_assessment_of_an_earlier_version_is_loaded_without_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "round-000.npz"
    np.savez(path, mu=SAVED.mu, errors=SAVED.errors, coverage=SAVED.coverage)
    loaded = Assessment.load(path)
    assert (loaded.coverage, loaded.reliability) == (SAVED.coverage, None)
    loaded.save(path)
    assert Assessment.load(path).reliability is None


def test_an_interrupted_save_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "round-000.npz"
    SAVED.save(path)

    def fails(file: object, **arrays: np.ndarray) -> None:
        file.write(b"half of")  # type: ignore[attr-defined]
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OSError, match="disk full"):
        Assessment(SAVED.mu[:1], SAVED.errors[:, :1], 0.5).save(path)
    assert Assessment.load(path).coverage == 0.87
