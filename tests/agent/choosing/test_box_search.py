"""The maximum over a parameter box: scores whose maximum is known, in free and in restricted boxes."""

from itertools import product

import numpy as np
import pytest

from mlasdi.agent.choosing.box_search import MIN_SEPARATION, are_separated, best_of, maximise, refine_lbfgs
from mlasdi.solvers import Parameter, ParameterSpace, parse_constraint
from mlasdi.solvers.constraints import Predicate


def free_box(n_params: int) -> ParameterSpace:
    return ParameterSpace(tuple(Parameter(f"p{i}", -1.0, 3.0) for i in range(n_params)))


def peak(space: ParameterSpace, top: np.ndarray):
    """A smooth score with its maximum, 2, at a point that may lie outside of the unit cube."""
    return lambda mu: 2 - np.square(space.to_unit(mu) - top).sum(axis=1)


def found(space: ParameterSpace, score, taken=None, seed=0):
    taken = np.empty((0, space.n_params)) if taken is None else taken
    mu, value = maximise(space, score, taken, 128, seed)
    assert space.feasible(mu)
    assert value == pytest.approx(score(mu[None])[0], rel=1e-12)
    return space.to_unit(mu), value


# Free boxes


@pytest.mark.parametrize("n_params", [1, 2, 5, 8])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_peak_inside_is_found(n_params: int, seed: int) -> None:
    top = np.linspace(0.21, 0.83, n_params)
    x, value = found(free_box(n_params), peak(free_box(n_params), top), seed=seed)
    np.testing.assert_allclose(x, top, atol=1e-4)
    assert value == pytest.approx(2, abs=1e-8)


def test_a_peak_outside_is_approached_to_the_face() -> None:
    """Where bounds are hit exactly."""
    top = np.array([1.4, 0.3, -0.2, 0.5, 0.5, 2.0, 0.5, 0.9])
    x, _ = found(free_box(8), peak(free_box(8), top))
    np.testing.assert_array_equal(x[[0, 2, 5]], [1, 0, 1])
    np.testing.assert_allclose(x, np.clip(top, 0, 1), atol=1e-4)


def test_a_corner_is_a_candidate_where_the_gradient_leads_elsewhere() -> None:
    space = free_box(6)

    def score(mu: np.ndarray) -> np.ndarray:
        x = space.to_unit(mu)
        return 0.1 * (1 - x.mean(axis=1)) + np.exp(-np.square((x - 1) / 0.05).sum(axis=1))

    x, value = found(space, score)
    assert value == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(x, 1, atol=1e-3)


def test_taken_points_are_kept_clear_of() -> None:
    space, top = free_box(2), np.array([0.4, 0.7])
    x, value = found(space, peak(space, top), taken=top[None])
    assert np.abs(x - top).max() >= MIN_SEPARATION
    assert value > 2 - 0.02
    full = space.to_unit(space.grid(120))
    assert maximise(space, peak(space, top), full, 64, 0)[1] == 0


def test_a_batch_of_points_is_refined_to_its_maximum() -> None:
    """The maximum has two points at distance 0.5, one of them at the lower end."""

    def score(x: np.ndarray) -> np.ndarray:
        return 1 - x[:, 0] - np.square(x[:, 1] - x[:, 0] - 0.5)

    start = np.array([0.3, 0.4])
    x, value = refine_lbfgs(score, start, float(score(start[None])[0]))
    np.testing.assert_allclose(x, [0, 0.5], atol=1e-4)
    assert value == pytest.approx(1, abs=1e-6)


# Constraints


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_vertex_of_a_linear_programme_is_found(seed: int) -> None:
    """Maximise x + 2 y where x + y <= 1 and y <= 0.6: at (0.4, 0.6)."""
    limits = (parse_constraint({"x": 1, "y": 1, "max": 1}), parse_constraint({"y": 1, "max": 0.6}))
    space = ParameterSpace((Parameter("x", 0.0, 1.0), Parameter("y", 0.0, 1.0)), limits)
    x, value = found(space, lambda mu: mu @ [1.0, 2.0], seed=seed)
    assert value == pytest.approx(1.6, abs=0.02)
    np.testing.assert_allclose(x, [0.4, 0.6], atol=0.03)


@pytest.mark.slow
def test_a_peak_outside_a_linear_constraint_of_eight_parameters_is_approached_to_it() -> None:
    """The nearest point of a plane is known."""
    space = free_box(8)
    top, weights = np.full(8, 0.6), np.ones(8)
    limited = ParameterSpace(space.parameters, (parse_constraint(dict.fromkeys(space.names, 1) | {"max": 8.0}),))
    nearest = top - weights * (0.6 - 0.5)  # the sum of the physical values is 4 (sum of x) - 8
    score = peak(space, top)
    x, value = found(limited, score)
    assert value >= score(space.from_unit(nearest[None]))[0] - 0.01
    assert x.sum() == pytest.approx(4, abs=0.05)


@pytest.mark.slow
def test_a_region_with_a_hole_is_searched(tmp_path, monkeypatch) -> None:
    """The peak is in the hole: the best is on its rim."""
    (tmp_path / "holed_shape.py").write_text("def outside(x, y): return (x - 0.5) ** 2 + (y - 0.5) ** 2 >= 0.04\n")
    monkeypatch.syspath_prepend(tmp_path)
    space = ParameterSpace((Parameter("x", 0.0, 1.0), Parameter("y", 0.0, 1.0)), (Predicate("holed_shape:outside"),))
    _, value = found(space, peak(space, np.array([0.55, 0.5])))
    assert value == pytest.approx(2 - 0.15**2, abs=1e-3)


# Whole numbers


@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_whole_numbers_are_found(seed: int) -> None:
    space = ParameterSpace(
        (
            Parameter("n", 1, 7, integer=True),
            Parameter("m", 1, 100, scale="log", integer=True),
            Parameter("x", 0.0, 1.0),
        )
    )
    score = peak(space, np.array([0.43, 0.61, 0.37]))
    every = np.array([[n, m, 0.37] for n, m in product(range(1, 8), range(1, 101))])
    _, value = found(space, score, seed=seed)
    assert value == pytest.approx(score(every).max(), abs=1e-4)


def test_neighbouring_whole_numbers_are_two_points() -> None:
    space = ParameterSpace((Parameter("n", 0, 1000, integer=True),))
    top = 0.5
    taken = space.to_unit([[499.0], [500.0]])
    x, _ = found(space, peak(space, np.array([top])), taken=taken)
    assert space.from_unit(x)[0] == 501
    assert are_separated(space, space.to_unit([[501.0], [502.0]]), taken)
    assert not are_separated(space, space.to_unit([[501.0], [501.0]]), taken)


def test_the_best_of_no_points_is_nothing() -> None:
    assert best_of(np.empty((0, 2)), lambda mu: mu.sum(axis=1))[1] == 0.0
