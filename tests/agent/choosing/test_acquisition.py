"""Acquisition: scores, and the choice of the best of the candidates."""

from typing import Any

import numpy as np
import pytest

import mlasdi.agent.choosing.acquisition
from mlasdi.agent.choosing import PointSets, SamplingSettings, propose
from mlasdi.agent.choosing.acquisition import MANY_CANDIDATES, SCORED_TIMES, Score, chance_of_success, score_function
from mlasdi.interpolation import Kriging
from mlasdi.preprocessing import SAME_POINT, TrainingData
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout, parse_constraint
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings, fit

MODEL = {"latent_dim": 2, "n_time": 11, "first_stage": {"iterations": 10}, "stages": [{"kind": "kriging"}]}
SCORED = ("field-std", "coefficient-std", "integrated-variance")


def travelling_waves(space: ParameterSpace, mu: np.ndarray, depends: bool = True, **settings: Any) -> Surrogate:
    """Fitted to waves whose amplitude, speed and damping depend on the parameters; or on none of them."""
    x, t = np.linspace(0, 2 * np.pi, 24), np.linspace(0, 1, 11)[:, None]
    states = []
    for s in depends * space.to_unit(mu):
        amplitude, speed, damping = 1 + 0.3 * s[0], 1 + s.sum(), 0.2 * s[-1] ** 2
        states.append(amplitude * np.sin(x - speed * t) * np.exp(-damping * t))
    data = TrainingData(space, StateLayout(("u",), {"x": x}), mu, t[:, 0], np.stack(states))
    return fit(data, ModelSettings.model_validate({**MODEL, "min_gain": None, **settings}), seed=0)


@pytest.fixture(scope="module")
def one() -> Surrogate:
    """One parameter, on a logarithmic scale, with points at different distances."""
    space = ParameterSpace((Parameter("k", 0.1, 10.0, scale="log"),))
    return travelling_waves(space, space.from_unit(np.array([[0.0], [0.2], [0.65], [1.0]])))


@pytest.fixture(scope="module")
def three() -> Surrogate:
    space = ParameterSpace((Parameter("a", 0.0, 1.0), Parameter("b", -3.0, 5.0), Parameter("c", 1.0, 2.0)))
    return travelling_waves(space, np.concatenate([space.corners(), space.from_unit(np.full((1, 3), 0.4))]))


@pytest.fixture(
    params=["one", *(pytest.param(name, marks=pytest.mark.slow) for name in ("burgers_surrogate", "three"))]
)
def surrogate(request: pytest.FixtureRequest) -> Surrogate:
    """Of one, two and three parameters."""
    return request.getfixturevalue(request.param)


def trained_on(surrogate: Surrogate) -> np.ndarray:
    return surrogate.space.from_unit(surrogate.model.latent.x)


def dense_grid(surrogate: Surrogate) -> np.ndarray:
    return surrogate.space.grid({1: 401, 2: 25, 3: 9}[surrogate.space.n_params])


def nothing_pending(surrogate: Surrogate) -> np.ndarray:
    return np.empty((0, surrogate.space.n_params))


def distance(surrogate: Surrogate, mu: np.ndarray, others: np.ndarray) -> float:
    """The smallest distance between two sets of points, in the unit cube."""
    x, y = surrogate.space.to_unit(mu), surrogate.space.to_unit(others)
    return float(np.linalg.norm(x[:, None] - y, axis=-1).min())


# The best candidate


@pytest.mark.parametrize("acquisition", SCORED)
def test_the_best_of_the_next_points_of_the_sequence_is_taken(surrogate: Surrogate, acquisition: str) -> None:
    """A known point without a solution and the earlier points of the batch are no candidates and count as pending."""
    settings, sequence = SamplingSettings(acquisition=acquisition), surrogate.space.sobol(300, seed=4)
    n_candidates = MANY_CANDIDATES if acquisition == "integrated-variance" else settings.candidates
    known = np.concatenate([trained_on(surrogate), sequence[[2]]])
    mus, scores = propose(surrogate, settings, PointSets(known), 3, seed=4)
    free = [*range(2), *range(3, len(sequence))]
    for i in range(3):
        score = score_function(surrogate, acquisition, np.concatenate([sequence[[2]], mus[:i]]))
        values = score(sequence[free[:n_candidates]])
        best = free.pop(int(np.argmax(values)))
        np.testing.assert_array_equal(mus[i], sequence[best])
        assert scores[i] == pytest.approx(values.max(), rel=1e-6)


def test_the_same_seed_gives_the_same_points(one: Surrogate) -> None:
    settings = SamplingSettings(candidates=16)
    first, again = (propose(one, settings, PointSets(trained_on(one)), 2, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_coefficient_std_is_the_kriging_standard_deviation(surrogate: Surrogate) -> None:
    """In units of the process, without and with a pending point."""
    space, kernel = surrogate.space, surrogate.model.latent.gp.kernel
    mu, pending = space.sobol(20, seed=1), space.from_unit(np.full((1, space.n_params), 0.8))
    for extra in (nothing_pending(surrogate), pending):
        x = space.to_unit(np.concatenate([trained_on(surrogate), extra]))
        expected = np.sqrt(Kriging(x, kernel).variance(space.to_unit(mu)))
        # Equal but for the variance of the mean, which the one has as infinite and the other as 100.
        np.testing.assert_allclose(score_function(surrogate, "coefficient-std", extra)(mu), expected, rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("acquisition", SCORED)
def test_in_eight_parameters_the_gap_is_found(acquisition: str) -> None:
    """The field depends on the third parameter alone, of which the values from 0.4 to 1 are missing."""
    space = ParameterSpace(tuple(Parameter(f"p{i}", 0.0, 1.0) for i in range(8)))
    mu = space.sobol(24, seed=0)
    mu[:, 2] = np.where(mu[:, 2] > 0.8, 1.0, 0.5 * mu[:, 2])
    x, t = np.linspace(0, 1, 40), np.linspace(0, 1, 21)
    u = np.stack([1 + np.exp(-((x - 0.2 - 0.6 * p * t[:, None]) ** 2) / 0.02) for p in mu[:, 2]])
    data = TrainingData(space, StateLayout(("u",), {"x": x}), mu, t, u)
    surrogate = fit(data, ModelSettings.model_validate({"kind": "snapshot-gp", "n_time": 21}), seed=0)
    batch, _ = propose(surrogate, SamplingSettings(acquisition=acquisition), PointSets(mu), 2, seed=0)
    assert space.contains(batch, tolerance=0).all()
    assert 0.45 < batch[0, 2] < 0.95


def test_skipped_points_do_not_become_the_only_candidates(
    burgers_surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a third of the box matters, and gets twice its share of the points, after many more than candidates."""
    space, known = burgers_surrogate.space, trained_on(burgers_surrogate)

    def matters(mu: np.ndarray) -> np.ndarray:
        return np.where(space.to_unit(mu)[:, 0] < 1 / 3, 1.0, 0.001)

    monkeypatch.setattr(mlasdi.agent.choosing.acquisition, "score_function", lambda *args: matters)
    for _ in range(30):
        mus, _ = propose(burgers_surrogate, SamplingSettings(candidates=4), PointSets(known), 1, seed=0)
        known = np.concatenate([known, mus])
    assert (matters(known[-30:]) == 1).mean() > 0.6


# Batches, and points that are known


@pytest.mark.parametrize("acquisition", SCORED[:2])  # the third is an integral: see its own tests
def test_a_pending_point_lowers_the_score_around_it_and_raises_it_nowhere(
    surrogate: Surrogate, acquisition: str
) -> None:
    """At the point of the box with the highest score."""
    before = score_function(surrogate, acquisition, nothing_pending(surrogate))
    grid = dense_grid(surrogate)
    point = grid[np.argmax(before(grid))]
    after = score_function(surrogate, acquisition, point[None])
    # As certain as where it is solved, where only the nugget of the kernel is left.
    assert after(point[None])[0] < 1.5 * before(trained_on(surrogate)).max() < 0.3 * before(point[None])[0]
    x = surrogate.space.to_unit(point)
    near = surrogate.space.from_unit(np.clip(x + 0.05 * np.vstack([np.eye(len(x)), -np.eye(len(x))]), 0, 1))
    assert (after(near) < 0.2 * before(near)).all()
    assert (after(grid) <= before(grid) * (1 + 1e-9)).all()


def test_a_pending_point_lowers_the_score_of_independent_coefficients(one: Surrogate) -> None:
    """Each has a kernel of its own, and the kriging of what they leave has another."""
    independent = travelling_waves(one.space, trained_on(one), interpolation="marginal-likelihood")
    assert independent.model.latent.kernel is None
    before = score_function(independent, "field-std", nothing_pending(one))
    grid = dense_grid(one)
    point = grid[[np.argmax(before(grid))]]
    after = score_function(independent, "field-std", point)
    assert after(point) < 0.05 * before(point)
    assert (after(grid) <= before(grid)).all()


def test_a_failed_point_is_not_proposed_again(surrogate: Surrogate) -> None:
    settings, known = SamplingSettings(candidates=32), trained_on(surrogate)
    for _ in range(2):  # the solver fails wherever the agent looks: no new trajectory, one more known point
        mus, scores = propose(surrogate, settings, PointSets(known), 1, seed=0)
        assert distance(surrogate, mus, known) > SAME_POINT
        pending = known[len(surrogate.model.latent.x) :]
        assert scores[0] == pytest.approx(surrogate.acquisition_score(mus, pending)[0], rel=1e-6)
        known = np.concatenate([known, mus])


def test_a_known_point_is_no_proposal_even_where_it_scores_highest(
    burgers_surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This happens if scores are rounding errors; the campaign would never end."""
    space = burgers_surrogate.space
    sequence = space.sobol(8, seed=0)
    known = np.concatenate([trained_on(burgers_surrogate), sequence[[3]]])

    def highest_at_a_known_point(*args: object) -> Score:
        return lambda mu: 2.0 - np.square(space.to_unit(mu) - space.to_unit(sequence[3])).sum(axis=1)

    monkeypatch.setattr(mlasdi.agent.choosing.acquisition, "score_function", highest_at_a_known_point)
    mus, _ = propose(burgers_surrogate, SamplingSettings(), PointSets(known), 2, seed=0)
    assert distance(burgers_surrogate, mus, known) > SAME_POINT
    assert distance(burgers_surrogate, mus[:1], mus[1:]) > SAME_POINT


@pytest.mark.parametrize("acquisition", [*SCORED, "sobol"])
def test_whole_numbers_are_used_up(acquisition: str) -> None:
    """A constraint leaves seven of nine points, of which four are solved."""
    space = ParameterSpace(
        (Parameter("a", 1, 3, integer=True), Parameter("b", 1, 3, integer=True)),
        (parse_constraint({"a": 1, "b": -1, "max": 1}), parse_constraint({"a": 1, "b": 1, "max": 5})),
    )
    solved = np.array([[1.0, 1.0], [1.0, 3.0], [2.0, 1.0], [3.0, 2.0]])
    surrogate, settings = travelling_waves(space, solved), SamplingSettings(acquisition=acquisition)
    mus, _ = propose(surrogate, settings, PointSets(solved), 5, seed=0)
    assert sorted(map(tuple, mus)) == [(1, 2), (2, 2), (2, 3)]
    none_left, scores = propose(surrogate, settings, PointSets(np.concatenate([solved, mus])), 2, seed=0)
    assert none_left.shape == (0, 2)
    assert scores.shape == (0,)


@pytest.mark.slow
def test_where_nothing_is_uncertain_nothing_is_proposed() -> None:
    space = ParameterSpace((Parameter("a", 0.0, 1.0), Parameter("b", 0.0, 1.0)))
    surrogate = travelling_waves(space, space.corners(), depends=False)
    mus, scores = propose(surrogate, SamplingSettings(candidates=16), PointSets(space.corners()), 3, seed=0)
    assert mus.shape == (0, 2)
    assert scores.shape == (0,)


# Where solves fail


def test_the_choice_keeps_away_from_where_solves_fail(
    burgers_surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score with its maximum in the middle of the upper end of `w`, where solves fail."""
    space, known = burgers_surrogate.space, trained_on(burgers_surrogate)

    def wanted(mu: np.ndarray) -> np.ndarray:
        x = space.to_unit(mu)
        return 1 + x[:, 1] - (x[:, 0] - 0.5) ** 2

    monkeypatch.setattr(mlasdi.agent.choosing.acquisition, "score_function", lambda *args: wanted)
    failed = space.from_unit(np.array([[0.25, 0.95], [0.5, 0.95], [0.75, 0.95]]))
    settings, all_known = SamplingSettings(candidates=64), np.concatenate([known, failed])
    (heedless,), _ = propose(burgers_surrogate, settings, PointSets(all_known), 1, seed=0)
    (careful,), (score,) = propose(burgers_surrogate, settings, PointSets(all_known, failed=failed), 1, seed=0)
    chance = chance_of_success(space, known, failed)
    assert chance(heedless[None])[0] < 0.1
    assert chance(careful[None])[0] > 0.8
    assert score == pytest.approx(chance(careful[None])[0] * wanted(careful[None])[0], rel=1e-6)
    candidates = space.sobol(64, seed=0)
    assert score == pytest.approx((chance(candidates) * wanted(candidates)).max(), rel=1e-6)


def test_the_choice_keeps_away_from_a_large_region_where_solves_fail(
    burgers_surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Solves fail in two thirds of the box, for longer than there are candidates."""
    space, solved = burgers_surrogate.space, trained_on(burgers_surrogate)
    monkeypatch.setattr(mlasdi.agent.choosing.acquisition, "score_function", lambda *args: lambda mu: np.ones(len(mu)))
    failed = space.from_unit(np.stack(np.meshgrid([0.45, 0.6, 0.75, 0.9], [0.2, 0.5, 0.8]), axis=-1).reshape(-1, 2))
    known = np.concatenate([solved, failed])
    mus, scores = propose(
        burgers_surrogate, SamplingSettings(candidates=4), PointSets(known, failed=failed), 20, seed=0
    )
    chance = chance_of_success(space, solved, failed)
    assert len(mus) == 20
    assert (chance(mus) > 0.5).all()
    assert (np.diff(scores) < 0).any()  # of those, the likeliest of each window


# Data sets


@pytest.mark.parametrize("acquisition", SCORED)
def test_of_available_points_the_best_is_taken(surrogate: Surrogate, acquisition: str) -> None:
    settings, space, known = SamplingSettings(acquisition=acquisition), surrogate.space, trained_on(surrogate)
    available = np.concatenate([space.sobol(20, seed=3), known])
    mus, scores = propose(surrogate, settings, PointSets(known, available=available), 3, seed=0)
    assert {tuple(mu) for mu in mus} <= {tuple(mu) for mu in available[:20]}
    assert len({tuple(mu) for mu in mus}) == 3
    for i in range(3):
        expected = score_function(surrogate, acquisition, mus[:i])(available[:20])
        assert scores[i] == pytest.approx(expected.max(), rel=1e-6)


@pytest.mark.parametrize("acquisition", [*SCORED, "sobol"])
def test_available_points_are_used_up_even_where_they_lie_close(one: Surrogate, acquisition: str) -> None:
    settings, known = SamplingSettings(acquisition=acquisition), trained_on(one)
    available = np.concatenate([known, one.space.from_unit(np.array([[0.400], [0.401], [0.402]]))])
    mus, _ = propose(one, settings, PointSets(known, available=available), 2, seed=0)
    rest, _ = propose(one, settings, PointSets(np.concatenate([known, mus]), available=available), 2, seed=0)
    np.testing.assert_allclose(np.sort(np.concatenate([mus, rest]), axis=0), available[len(known) :])
    nothing, _ = propose(one, settings, PointSets(available, available=available), 2, seed=0)
    assert nothing.shape == (0, 1)


# The control


def test_sobol_continues_after_the_known_points(surrogate: Surrogate) -> None:
    """Choosing two, then three, gives the first five points of the sequence; other points known do not matter."""
    settings, space = SamplingSettings(acquisition="sobol"), surrogate.space
    sequence = space.sobol(8, seed=2)
    first, scores = propose(surrogate, settings, PointSets(trained_on(surrogate)), 2, seed=2)
    known = np.concatenate([trained_on(surrogate), first])
    then, _ = propose(surrogate, settings, PointSets(known), 3, seed=2)
    np.testing.assert_array_equal(np.concatenate([first, then]), sequence[:5])
    np.testing.assert_array_equal(scores, np.zeros(2))


def test_targets_of_outputs_decide_where_the_next_point_is(surrogate: Surrogate) -> None:
    """The score is the largest error in units of its target; of one output it does not depend on the target."""
    name, pending = surrogate.layout.fields[0], nothing_pending(surrogate)
    mu = surrogate.space.sobol(5, seed=1)
    expected = surrogate.relative_std(mu, pending, n_time=SCORED_TIMES, field=name)
    for target in (0.1, 0.01):
        score = score_function(surrogate, "field-std", pending, {name: target})
        np.testing.assert_allclose(score(mu), expected / target)
    plain = score_function(surrogate, "field-std", pending)(mu)
    np.testing.assert_array_equal(score_function(surrogate, "field-std", pending, {})(mu), plain)
