"""Candidates for rescaled variables: which there are, and what they hold."""

from dataclasses import replace

import numpy as np
import pytest

from mlasdi.alignment import Aligned, alignment_candidates
from mlasdi.preprocessing import BasisSettings, TrainingData
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout

SPACE = ParameterSpace((Parameter("width", 0.1, 0.16), Parameter("height", 1.0, 3.0)))
LAYOUT = StateLayout(("u", "p"), {"x": np.linspace(-1, 1, 121)})
T = np.linspace(0, 1, 61)
GRID = SPACE.grid(3)
BASIS = BasisSettings(tolerance=1e-6)


def pulses(mu: np.ndarray) -> TrainingData:
    """A pulse that steepens and decays faster where it is high and narrow; of `u`, and of `p`, its square.

    A function of x over the width, of t times the height over the width, and of `u` over the height alone.
    """
    width, height = mu[:, :1, None], mu[:, 1:, None]
    s, tau = LAYOUT.coordinates["x"] / width, 0.06 * T[:, None] * height / width
    shape = np.exp(-0.5 * (s - tau) ** 2) / (1 + tau)
    return TrainingData(SPACE, LAYOUT, mu, T, np.concatenate([height * shape, (height * shape) ** 2], axis=-1))


def travelling(mu: np.ndarray) -> TrainingData:
    """A pulse that travels at a rate which depends on the parameters, and is the same otherwise."""
    rate = np.exp(SPACE.to_unit(mu) @ [0.5, -0.3])[:, None, None]
    shape = np.exp(-(((LAYOUT.coordinates["x"] + 0.5 - 0.6 * rate * T[:, None]) / 0.2) ** 2))
    return TrainingData(SPACE, LAYOUT, mu, T, np.concatenate([shape, shape**2], axis=-1))


def candidates(data: TrainingData, **given) -> list[Aligned]:
    return list(alignment_candidates(data, BASIS, **({"time_scaling": True, "coordinate_scaling": True} | given)))


@pytest.fixture(scope="module")
def similar() -> list[Aligned]:
    return candidates(pulses(GRID))


def test_the_first_candidate_rescales_nothing(similar):
    assert similar[0].is_common
    assert similar[0].name == "none"
    assert not any(candidate.is_common for candidate in similar[1:])
    data = pulses(GRID)
    np.testing.assert_allclose(similar[0].basis.lift(similar[0].c), data.u, atol=1e-4)


def test_the_last_one_has_the_true_exponents(similar):
    widths, heights = np.log(1.6), np.log(3.0)
    assert similar[-1].name.endswith("all")
    np.testing.assert_allclose(similar[-1].time_scaling.log_rates, [-widths, heights], atol=2e-3)
    scaling = similar[-1].coordinate_scaling
    np.testing.assert_allclose(scaling.log_amplitudes, [[0, heights], [0, 2 * heights]], atol=2e-3)
    np.testing.assert_allclose(scaling.axes[0].log_scales, [-widths, 0], atol=5e-3)


def test_in_the_true_variables_all_trajectories_coincide(similar):
    spread = similar[-1].c - similar[-1].c.mean(axis=0)
    assert np.sqrt(np.mean(spread**2)) < 5e-3 * np.sqrt(np.mean(similar[-1].c ** 2))


def test_in_rescaled_time_there_are_two_continuations(similar):
    found = similar[-1]
    assert found.trajectory_splines.continuation == "kriging"
    other = found.continued_by("regression", T)
    assert other.trajectory_splines.continuation == "regression"
    covered = found.time_scaling.covers(SPACE.to_unit(GRID), T)
    np.testing.assert_array_equal(other.c[covered], found.c[covered])
    assert np.abs(other.c - found.c)[~covered].max() > 0
    assert similar[0].continued_by("regression", T) is similar[0]


def test_the_basis_knows_the_error_of_its_functions_of_time():
    """Rescaled states are combined from the functions of time of the common basis, which leaves out more."""
    line = ParameterSpace((SPACE.parameters[1],))
    mu = line.grid(3)
    once = pulses(np.array([[0.13, 1.0]])).u
    u = np.concatenate([mu[:, :1, None] * once[..., :121], mu[:, :1, None] ** 2 * once[..., 121:]], axis=-1)
    (result,) = [one for one in candidates(TrainingData(line, LAYOUT, mu, T, u)) if one.name.endswith("amplitudes")][:1]
    assert result.coordinate_scaling is not None
    scaling = result.coordinate_scaling
    states = np.stack([scaling.rescaled_states(x, one)[0] for x, one in zip(line.to_unit(mu), u, strict=True)])
    missed = np.linalg.norm((states - result.basis.lift(result.c)) / result.basis.unit)
    assert 0.5 < result.basis.truncation_error * np.linalg.norm(states / result.basis.unit) / missed < 2


@pytest.mark.slow
def test_what_is_off_is_in_no_candidate():
    data = travelling(GRID)
    in_time, in_space = (candidates(data, **{kind: False}) for kind in ("coordinate_scaling", "time_scaling"))
    assert len(in_time) > 1
    assert len(in_space) > 1
    assert all(candidate.coordinate_scaling is None for candidate in in_time)
    assert all(candidate.time_scaling.is_common for candidate in in_space)


def test_with_both_off_there_is_one():
    assert len(candidates(pulses(GRID), time_scaling=False, coordinate_scaling=False)) == 1


def test_two_points_do_not_identify_two_exponents():
    assert len(candidates(pulses(GRID[[0, 8]]))) == 1


@pytest.mark.slow
def test_steady_and_constant_solutions_have_candidates_that_are_finite():
    data = pulses(GRID)
    for u in (np.broadcast_to(data.u[:1], data.u.shape), np.ones_like(data.u)):
        for candidate in candidates(replace(data, u=np.array(u))):
            assert np.isfinite(candidate.c).all()


def test_candidates_that_lose_in_resampling_are_left_out():
    """With three and a half times a period, a spline in time errs by far more than kriging does."""
    times, (x,) = np.linspace(0, 1, 22), LAYOUT.coordinates.values()
    rates = np.exp(SPACE.to_unit(GRID) @ [0.03, -0.02])[:, None, None]
    wave = np.cos(2 * np.pi * 6 * rates * times[:, None] + x)
    data = TrainingData(SPACE, LAYOUT, GRID, times, np.concatenate([wave, wave], axis=-1))
    assert len(candidates(data, coordinate_scaling=False)) == 1


def test_fronts_within_a_cell_are_not_moved():
    """Their shape depends on where they stand between two nodes."""
    x = LAYOUT.coordinates["x"]
    fronts = 0.5 - 0.5 * np.tanh((x - 3 * (GRID[:, :1, None] - 0.1) * (1 + T[:, None])) / 0.004)
    data = TrainingData(SPACE, LAYOUT, GRID, T, np.concatenate([fronts, fronts], axis=-1))
    assert not any(one.coordinate_scaling and one.coordinate_scaling.moves for one in candidates(data))


def test_exponents_of_an_earlier_fit_are_carried_over():
    alone = candidates(travelling(GRID), coordinate_scaling=False)
    known = alone[-1].exponents
    other = replace(known, rates=known.rates + 0.002)
    found = candidates(travelling(GRID), coordinate_scaling=False, carried_over=[known, other])
    assert len(found) == len(alone) + 1, "those that are there already are not tried again"
    assert found[-1].name.endswith("carried over")
    np.testing.assert_array_equal(found[-1].exponents.flat, other.flat)
