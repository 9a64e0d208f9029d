"""The choice: right on systems that are known, none where there is nothing to find."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.stats import qmc

from mlasdi.dynamics_selection import Probes, SelectionSettings, select
from mlasdi.dynamics_selection.evaluation import Evaluator, score
from mlasdi.dynamics_selection.hyperparameters import allows_powers
from mlasdi.dynamics_selection.probes import is_identifiable
from mlasdi.dynamics_selection.search import Search
from mlasdi.dynamics_selection.work import budget
from mlasdi.interpolation import Kernel, select_kernels
from mlasdi.operator_inference import Forcing, OperatorInferenceSettings, TrajectoryData, find_forcing

CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
X = np.concatenate([CORNERS, [[0.5, 0.6], [0.2, 0.7], [0.8, 0.3], [0.3, 0.2], [0.7, 0.85]]])
T = np.linspace(0, 6, 61)
PROBES = Probes(*2 * [np.concatenate([qmc.Sobol(2, scramble=False).random(32), CORNERS, [[0, 0.5], [1, 0.5]]])])
QUICK = SelectionSettings(effort="quick")


def oscillators(x: np.ndarray, forcing: float = 0.0) -> np.ndarray:
    """Two oscillators with frequencies that are affine in the parameters, forced by sin 3 t."""

    def one(p: np.ndarray) -> np.ndarray:
        a = np.zeros((6, 6))
        a[0, 1], a[1, 0], a[2, 3], a[3, 2] = 4 + 2 * p[0], -4 - 2 * p[0], 7 + p[1], -7 - p[1]
        a[[0, 1, 2, 3], [0, 1, 2, 3]] = -0.05
        a[0, 4], a[4, 5], a[5, 4] = forcing, 3.0, -3.0
        step, y = expm(a * (T[1] - T[0])), [np.array([1, 0, 0.5, 0.2, 0, 1.0])]
        for _ in T[1:]:
            y.append(step @ y[-1])
        return np.stack(y)[:, :4]

    return np.stack([one(p) for p in x])


def data_of(c: np.ndarray, x: np.ndarray = X) -> TrajectoryData:
    return TrajectoryData(x, x, c, T, select_kernels(x, c.reshape(len(x), -1)).mean)


def test_oscillators_are_found():
    """Nine points are few for kriging: the phases at the end differ by more than a turn over the box."""
    data = data_of(oscillators(X))
    selection = select(data, PROBES, QUICK)
    assert selection.model is not None
    assert selection.model.settings.form in ("linear", "continuous-linear", "two-delays")
    assert score(selection.errors) < 0.1 * score(selection.kriging_errors)
    new = qmc.Sobol(2, scramble=False).random(8)[1:]
    error = np.linalg.norm(selection.model.predict(new, new) - oscillators(new), axis=-1)
    assert error.max() < 0.05
    json.dumps(selection.report)


@pytest.mark.slow
def test_the_search_goes_on_where_an_earlier_one_ended():
    """A search that has no time for more than its starts takes over dynamics that a longer one found."""
    data = data_of(oscillators(X))
    found = select(data, PROBES, QUICK).model.settings
    hurried = QUICK.model_copy(update={"forms": (found.form,)})
    unlike = found.model_copy(update={"rank": 1000, "degree": 9, "frequencies": (7.0,)})  # what other data had
    searches = [
        _searched(data, hurried.model_copy(update={"carried_over": given})) for given in ((), (found,), (unlike,))
    ]
    assert found not in searches[0].evaluator.errors
    assert found in searches[1].evaluator.errors
    assert all(one.rank <= data.c.shape[2] and not one.frequencies for one in searches[2].evaluator.errors)


def _searched(data: TrajectoryData, settings: SelectionSettings) -> Search:
    search = Search(data, PROBES, settings, deadline=0.0)
    search.run()
    return search


def test_quick_searches_grow_with_the_number_of_points():
    assert budget("quick", 18) == 2 * budget("quick", 9) == 2 * budget("quick", 4)
    assert budget("normal", 18) == budget("normal", 9)


@pytest.mark.slow
def test_the_frequency_of_a_forcing():
    assert find_forcing(data_of(oscillators(X)), 4, 2) == Forcing()
    forced = replace(data_of(oscillators(X, 0.8)), frequency_parameters=((0, 1.4),))
    found = find_forcing(forced, 4, 2)
    assert found.frequencies == pytest.approx((3.0,), rel=1e-3)
    assert found.parameter is None
    selection = select(forced, PROBES, QUICK)
    assert selection.model is not None
    assert score(selection.errors) < 0.1 * score(selection.kriging_errors)


SPRING_T = np.linspace(0, 15, 91)


def driven(x: np.ndarray) -> np.ndarray:
    """A hardening spring, driven harmonically: both force and frequency are parameters, from .5 to .9, and 1 to 1.4."""

    def one(p: np.ndarray) -> np.ndarray:
        force, frequency = 0.5 + 0.4 * p[0], 1 + 0.4 * p[1]

        def rates(t: float, y: np.ndarray) -> list[float]:
            return [y[1], force * np.cos(frequency * t) - 0.1 * y[1] - y[0] - 0.5 * y[0] ** 3]

        return solve_ivp(rates, (0, 15), [0.0, 0.0], t_eval=SPRING_T, rtol=1e-9, atol=1e-9).y.T

    return np.stack([one(p) for p in x])


def test_the_frequency_of_a_forcing_may_be_a_parameter():
    c = driven(X)
    kernel = select_kernels(X, c.reshape(len(X), -1)).mean
    data = TrajectoryData(X, X, c, SPRING_T, kernel, frequency_parameters=((0, 1.8), (1, 1.4)))
    found = find_forcing(data, 2, 2)
    assert found.parameter == (1, 1.4)
    assert found.frequencies[0] == pytest.approx(1.0, rel=1e-3)
    selection = select(data, PROBES, QUICK.model_copy(update={"forms": ("cubic",)}))
    new = np.array([[0.4, 0.4], [0.1, 0.9]])
    truth = driven(new)
    assert np.abs(selection.model.predict(new, new) - truth).max() < 0.01 * np.abs(truth).max()
    assert np.abs(np.tensordot(data.weights(new), c, axes=1) - truth).max() > 0.1 * np.abs(truth).max()


def test_noise_has_no_dynamics():
    noise = np.random.default_rng(3).standard_normal((9, len(T), 6))
    selection = select(TrajectoryData(X, X, noise, T, Kernel(family="rbf", lengthscale=(1.0, 1.0))), PROBES, QUICK)
    assert selection.model is None
    assert np.array_equal(selection.errors, selection.kriging_errors)


@pytest.mark.parametrize("n", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 4))])
def test_few_points(n):
    selection = select(data_of(oscillators(X[:n]), X[:n]), PROBES, QUICK)
    assert selection.errors.shape == (n,)


def test_designs_on_which_a_polynomial_vanishes():
    """On the two diagonals, (x - y) (x + y - 1) is zero: no fold can test its coefficient."""
    diagonals = np.concatenate([CORNERS, [[0.5, 0.5], [0.75, 0.25], [0.25, 0.75], [0.375, 0.375], [0.875, 0.875]]])
    data = data_of(oscillators(diagonals), diagonals)
    for degree, identifiable in ((1, True), (2, False)):
        settings = OperatorInferenceSettings(form="linear", rank=4, degree=degree)
        assert is_identifiable(data, settings, PROBES) == identifiable
    assert is_identifiable(data_of(oscillators(X)), OperatorInferenceSettings(form="linear", rank=4, degree=2), PROBES)


def test_one_parameter_gets_a_higher_degree_than_the_other():
    """Of frequencies quadratic in the first parameter alone, at points that do not tell the two squares apart."""
    diagonals = np.concatenate([CORNERS, [[0.5, 0.5], [0.75, 0.25], [0.25, 0.75], [0.375, 0.375], [0.875, 0.875]]])
    squared = np.stack([diagonals[:, 0] ** 2, diagonals[:, 1]], axis=1)
    searched = select(data_of(oscillators(squared), diagonals), PROBES, QUICK)
    assert searched.model.settings.parameter_degrees == (2, 1)
    new = np.array([[0.0, 0.5], [0.5, 0.0], [1.0, 0.4]])
    truth = oscillators(np.stack([new[:, 0] ** 2, new[:, 1]], axis=1))
    predicted = searched.model.predict(new, new)
    assert np.abs(predicted - truth).max() < 0.02 * np.abs(truth).max()


def test_the_search_finds_powers_of_the_parameters():
    """Oscillators with frequency 1 / mu: first degree in the inverse is exact, in mu it is not."""
    x = X.copy()
    inverse = np.stack([(5 / (1 + 4 * x[:, 0]) - 1) / 4, x[:, 1]], axis=1)  # 1 / mu_1 for mu_1 from 1 to 5, from 1 to 0
    data = replace(data_of(oscillators(inverse), x), ratios=(5.0, 0.0))
    searched = select(data, PROBES, QUICK.model_copy(update={"forms": ("continuous-linear",)}))
    assert searched.model.settings.powers == (-1.0, 1.0)
    assert searched.model.settings.degree == 1
    without = select(replace(data, ratios=()), PROBES, QUICK.model_copy(update={"forms": ("continuous-linear",)}))
    assert without.model is None or without.model.settings.powers == ()
    assert score(searched.errors) < 0.5 * score(without.errors)


def test_powers_are_found_by_the_residuals_of_the_equations():
    """Three masses between springs, whose velocities are not given: u'' = -K u / m is of first degree in 1 / m.

    A search by errors of trajectories alone would have to find form, power and ridge at once.
    """
    stiffness = np.array([[2.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 2.0]])
    values, vectors = np.linalg.eigh(stiffness)

    def solution(x: np.ndarray) -> np.ndarray:
        squares = values / (1 + 9 * x[:, :1])
        modes = np.cos(np.sqrt(squares)[:, None] * T[:, None]) * (vectors.T @ np.array([1.0, 0.0, 0.3]))
        return modes @ vectors.T

    data = replace(data_of(solution(X)), ratios=(10.0, 0.0))
    evaluate = Evaluator(data)
    start = OperatorInferenceSettings(form="second-order", rank=3, degree=1, ridge=1e-10)
    assert evaluate.simplest_powers(start, most_seconds=1.0).powers == (-1.0, 1.0)
    assert evaluate.simplest_powers(start, most_seconds=0.0) == start
    searched = select(data, PROBES, QUICK)
    new = np.array([[0.1, 0.5], [0.6, 0.5]])
    error = np.abs(searched.model.predict(new, new) - solution(new)).max()
    assert error < 0.01
    assert np.abs(np.tensordot(data.weights(new), data.c, axes=1) - solution(new)).max() > 10 * error


def test_powers_of_higher_degree_need_points():
    first, second = (OperatorInferenceSettings(form="linear", rank=4, degree=degree) for degree in (1, 2))
    data = data_of(oscillators(X))
    assert allows_powers(data, first)
    assert not allows_powers(data, second)  # 9 points, 6 terms
    assert not allows_powers(data, second.model_copy(update={"parameter_degrees": (2, 1)}))  # 5 terms
    assert allows_powers(data, second.model_copy(update={"parameter_degrees": (2, 0)}))  # 3 terms
    twice = np.concatenate([X, X[::-1] / 2])
    assert allows_powers(data_of(oscillators(twice), twice), second)


def test_residual_weight_never_raises_the_score():
    data = data_of(oscillators(X))
    evaluate = Evaluator(data)
    settings = OperatorInferenceSettings(form="continuous-linear", rank=3, degree=1, ridge=1e-6)
    before = evaluate(settings)
    model, errors = evaluate.with_residual(settings)
    assert score(errors) <= before
    assert model.residual_weight in (0, 0.25, 0.5, 0.75, 1)
