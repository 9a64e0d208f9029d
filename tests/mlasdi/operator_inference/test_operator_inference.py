"""Operators of known parametric systems are recovered; folds are those of a fit from scratch."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from mlasdi.interpolation import Kernel
from mlasdi.operator_inference import OperatorInferenceModel, OperatorInferenceSettings, TrajectoryData
from mlasdi.operator_inference.dynamics import fold_forecasts, regression_of
from mlasdi.operator_inference.forms import (
    Rows,
    exponents,
    integration_matrix,
    monomials,
    parameter_basis,
    transformed,
)
from mlasdi.operator_inference.regression import KernelRegression

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.5, 0.6], [0.2, 0.7], [0.8, 0.3], [0.3, 0.2]])
KERNEL = Kernel(family="rbf", lengthscale=(3.0, 3.0))
T = np.linspace(0, 2, 41)


def generator(x: np.ndarray) -> np.ndarray:
    """A damped oscillator: frequency and damping are affine in the parameters."""
    return np.array([[-0.1 - 0.2 * x[1], 2 + x[0]], [-2 - x[0], -0.1 - 0.2 * x[1]]])


def linear(x: np.ndarray, t: np.ndarray, z0: tuple[float, float] = (1.0, 0.3)) -> np.ndarray:
    return np.stack([np.stack([expm(generator(p) * s) @ z0 for s in t]) for p in x])


def quadratic(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    def one(p: np.ndarray) -> np.ndarray:
        def rates(_: float, z: np.ndarray) -> list[float]:
            return [z[0] * (1 + 0.5 * p[0] - z[0] - 0.5 * z[1]), z[1] * (0.8 - z[1] - (0.2 + 0.1 * p[1]) * z[0])]

        return solve_ivp(rates, (t[0], t[-1]), [0.2, 0.3], t_eval=t, rtol=1e-11, atol=1e-12).y.T

    return np.stack([one(p) for p in x])


def data_of(c: np.ndarray, x: np.ndarray = X, t: np.ndarray = T) -> TrajectoryData:
    return TrajectoryData(x, x, c, t, KERNEL)


def settings(form: str, rank: int = 2, degree: int = 1, ridge: float = 1e-12, **more) -> OperatorInferenceSettings:
    return OperatorInferenceSettings(form=form, rank=rank, degree=degree, ridge=ridge, **more)


def test_terms_are_orthonormal_but_for_their_prior():
    assert exponents(2, 1) == [(0, 0), (1, 0), (0, 1)]
    nodes, weights = np.polynomial.legendre.leggauss(6)
    grid = np.array(np.meshgrid(nodes, nodes)).reshape(2, -1).T / 2 + 0.5
    theta = parameter_basis(grid, 2)
    gram = theta.T @ (np.outer(weights, weights).ravel()[:, None] / 4 * theta)
    assert np.allclose(gram, np.diag(0.09 ** np.array([0, 1, 1, 2, 2, 2])))


def test_splines_integrate_exactly_what_they_contain():
    t = np.sort(np.random.default_rng(1).random(9))
    exact = np.diff(t**6 / 6 + t)
    assert np.allclose(integration_matrix(t) @ (t**5 + 1), exact, atol=1e-12)


def test_monomials_count_their_orderings():
    z = np.array([0.3, -1.2, 2.0])
    for power in (2, 3):
        index, orderings = monomials(3, power)
        value = np.prod([z[k] for k in index], axis=0)
        assert np.isclose(np.sum(orderings * value), z.sum() ** power)


def test_operators_of_a_parametric_linear_system():
    """z+ - z = (exp(A dt) - 1) z where A is affine in the parameters; in continuous form, A itself."""
    c = linear(X, T)
    model = OperatorInferenceModel.fit(data_of(c), settings("continuous-linear", ridge=1e-14))
    new = np.array([[0.35, 0.85], [0.6, 0.1]])
    theta = parameter_basis(new, 1)
    operators = np.tensordot(theta, model.operators, axes=1)[:, 1:] / T[-1]
    assert np.allclose(operators, [generator(p).T for p in new], atol=1e-6)
    assert np.allclose(model.predict(new, new), linear(new, T), atol=1e-6)
    for p, modes in zip(new, model.modes(new, new), strict=True):
        assert np.allclose(modes.rates, max(np.linalg.eigvals(generator(p)), key=np.imag), atol=1e-5)
        assert np.allclose(modes.shares.sum(), 1)


@pytest.mark.parametrize("form", ["quadratic", "kernel-quadratic"])
def test_operators_of_a_parametric_quadratic_system(form):
    c = quadratic(X, T)
    model = OperatorInferenceModel.fit(data_of(c), settings(form, ridge=1e-14))
    new = np.array([[0.35, 0.85], [0.6, 0.1]])
    assert np.allclose(model.predict(new, new, with_residual=False), quadratic(new, T), atol=2e-5)
    if form == "quadratic":
        # [1, z0, z1, z0 z0, z0 z1, z1 z1] of dz0/dt at (.35, .85)
        operators = np.tensordot(parameter_basis(new[:1], 1), model.operators, axes=1)[0, :, 0] / T[-1]
        assert np.allclose(operators, [0, 1.175, 0, -1, -0.5, 0], atol=1e-4)


def test_non_uniform_times():
    t = 2 * np.linspace(0, 1, 41) ** 1.3
    model = OperatorInferenceModel.fit(data_of(linear(X, t), t=t), settings("continuous-linear", ridge=1e-14))
    assert np.allclose(model.predict(X[:2] * 0.5, X[:2] * 0.5), linear(X[:2] * 0.5, t), atol=1e-5)
    with pytest.raises(ValueError, match="uniform"):
        OperatorInferenceModel.fit(data_of(linear(X, t), t=t), settings("linear"))


def test_two_delays_know_a_second_order_system_from_its_positions():
    """One coordinate, cos(w t): its velocity is not among the data."""
    w = 2 + 0.5 * X[:, :1]
    c = np.cos(w * T)[:, :, None]
    new = np.array([[0.4, 0.5], [0.9, 0.2]])
    exact = np.cos((2 + 0.5 * new[:, :1]) * T)[:, :, None]
    for start in ("kriged", "rest"):
        model = OperatorInferenceModel.fit(data_of(c), settings("two-delays", 1, 2, start=start))
        assert np.allclose(model.predict(new, new), exact, atol=2e-3)


@pytest.mark.parametrize("start", ["kriged", "rest"])
def test_an_equation_of_second_order(start):
    """z'' = -(4 + 3 x_1) z - .2 z' from rest, of which the velocities are not given: exact at first degree."""

    def solution(x: np.ndarray) -> np.ndarray:
        w = np.sqrt(4 + 3 * x[:, :1] - 0.01)
        return (np.exp(-0.1 * T) * (np.cos(w * T) + 0.1 / w * np.sin(w * T)))[:, :, None]

    new = np.array([[0.4, 0.5], [0.9, 0.2]])
    model = OperatorInferenceModel.fit(data_of(solution(X)), settings("second-order", 1, start=start))
    np.testing.assert_allclose(model.predict(new, new), solution(new), atol=1e-4)
    mode = model.modes(new, new)[0]
    assert np.abs(mode.rates.imag).max() == pytest.approx(np.sqrt(4 + 3 * 0.4 - 0.01), rel=1e-3)
    later = model.predict(new, new, np.linspace(0, 3, 61))
    np.testing.assert_allclose(later[:, :41], model.predict(new, new), atol=1e-12)


def test_a_polynomial_of_degree_five():
    """z' = (1 + x_1) (.5 - z^5)."""

    def solution(x: np.ndarray) -> np.ndarray:
        one = [solve_ivp(lambda _, z, a=1 + p[0]: a * (0.5 - z**5), (0, 2), [0.1], t_eval=T, rtol=1e-10, atol=1e-12)
               for p in x]  # fmt: skip
        return np.stack([found.y.T for found in one])

    new = np.array([[0.4, 0.5], [0.9, 0.2]])
    model = OperatorInferenceModel.fit(data_of(solution(X)), settings("quintic", 1))
    np.testing.assert_allclose(model.predict(new, new), solution(new), atol=1e-4)


def test_monomials_of_any_degree():
    """Each with the number of its orderings: (a + b)^5 = sum of them."""
    for power in (2, 3, 5):
        index, orderings = monomials(2, power)
        z = np.array([0.7, -1.3])
        products = np.prod(z[np.stack(index)], axis=0)
        assert orderings @ products == pytest.approx(z.sum() ** power)


def test_known_forcing():
    """z' = -(1 + x) z + sin 5 t, with a linear form that knows the frequency."""
    a = 1 + X[:, :1]
    t = T[None]

    def solution(a: np.ndarray) -> np.ndarray:
        forced = (a * np.sin(5 * t) - 5 * np.cos(5 * t)) / (a**2 + 25)
        return (forced + (1 + 5 / (a**2 + 25)) * np.exp(-a * t))[:, :, None]

    new = np.array([[0.4, 0.5], [0.9, 0.2]])
    for form, degree in (("linear", 3), ("continuous-linear", 1)):
        model = OperatorInferenceModel.fit(data_of(solution(a)), settings(form, 1, degree, frequencies=(5.0,)))
        assert np.allclose(model.predict(new, new), solution(1 + new[:, :1]), atol=1e-3)


@pytest.mark.parametrize("form", ["linear", "continuous-linear", "quadratic", "kernel-quadratic"])
def test_a_forcing_whose_frequency_is_a_parameter(form):
    """z' = -z + sin w t, w = 5 (1 + .5 x_2) from 5 to 7.5."""

    def solution(x: np.ndarray) -> np.ndarray:
        w, t = 5 * (1 + 0.5 * x[:, 1:]), T[None]
        return ((np.sin(w * t) - w * np.cos(w * t) + w * np.exp(-t)) / (1 + w**2))[:, :, None]

    own = settings(form, 1, 2 if form == "linear" else 1, frequencies=(5.0,), frequency_parameter=(1, 1.5))
    model = OperatorInferenceModel.fit(data_of(solution(X)), own)
    new = np.array([[0.4, 0.5], [0.9, 0.2]])
    np.testing.assert_allclose(model.predict(new, new), solution(new), atol=1e-3)
    found, arrays = model.state()
    again = OperatorInferenceModel.from_state(json.loads(json.dumps(found)), arrays)
    np.testing.assert_array_equal(again.predict(new, new), model.predict(new, new))


@pytest.mark.parametrize("form", ["linear", "two-delays", "quadratic", "kernel-quadratic", "kernel-cubic"])
def test_folds_are_refits(form):
    """By subtraction of Gram matrices, or from one inverse."""
    c = quadratic(X, T)
    norm = np.linalg.norm(c, axis=-1)
    groups = tuple(np.array([i] if i else [0, 3]) for i in range(len(X)))
    data = TrajectoryData(X, X, c, T, KERNEL, norm, groups)
    own = settings(form, ridge=1e-6)
    model = OperatorInferenceModel.fit(data, own)
    folds = fold_forecasts(data, own, regression_of(data, own))
    for i in (0, 4):
        keep = data.kept(i)
        refitted = model.refit(data.subset(keep))
        left_out = model.folds()[i]
        new = X[i : i + 1]
        # Refitted models have their own scales of features and weights, in whose unit the ridge is.
        alone = replace(left_out)  # forgets the residual of the model of all points
        assert np.allclose(alone.predict(new, new), refitted.predict(new, new), atol=2e-3)
        assert np.array_equal(left_out.in_sample.z, model.in_sample.z[keep])
        assert np.allclose(folds.z[i], left_out.latent(new, new, T).z[0], atol=1e-6)


def test_kernel_folds_solve_their_own_equations():
    data, own = data_of(quadratic(X, T)), settings("kernel-quadratic", ridge=1e-5)
    regression = regression_of(data, own)
    assert isinstance(regression, KernelRegression)
    fold = regression.fold_solutions(1e-5, [np.array([2])])[0]
    keep = np.delete(np.arange(len(X)), 2)
    size = len(keep) * (len(T) - 1)
    gram = (regression.base * (regression.theta @ regression.theta.T)[:, None, :, None])[np.ix_(keep, range(40), keep)]
    scale = sum(np.trace(regression.base[i, :, i] * (regression.theta[i] @ regression.theta[i])) for i in range(len(X)))
    dual = np.linalg.solve(
        gram.reshape(size, size) + 1e-5 * scale * np.eye(size), regression.targets[keep].reshape(size, 2)
    )
    assert np.allclose(fold[keep], regression.back[keep] @ dual.reshape(len(keep), -1, 2), atol=1e-7)
    assert not fold[2].any()


def test_subtraction_is_the_regression_of_the_rest():
    data, own = data_of(quadratic(X, T)), settings("quadratic", ridge=1e-9)
    regression = regression_of(data, own)
    keep = [0, 1, 3, 4, 5, 6, 7]
    theta = parameter_basis(X, 1)
    rest = type(regression)(
        theta[keep], regression.grams[keep], regression.crosses[keep], regression.squares[keep], regression.scales
    )
    assert np.allclose(regression.solve(1e-9, [2]), rest.solve(1e-9), atol=1e-5)


def test_what_blows_up_is_reported_and_never_returned():
    c = quadratic(X, T)
    model = OperatorInferenceModel.fit(data_of(c), settings("quadratic"))
    wild = OperatorInferenceModel(model.settings, model.data, 1e4 * np.abs(model.operators))
    forecast = wild.latent(X, X, T)
    assert forecast.failed.all()
    assert np.isnan(forecast.z).all()
    assert np.isnan(wild.predict(X, X, np.array([0.3, 0.7]))).all()


def test_growing_linear_systems_are_clipped_or_reported():
    data = data_of(linear(X, T))
    model = OperatorInferenceModel.fit(data, settings("linear", degree=0))
    grown = model.operators.copy()
    grown[0, 1:] += 0.3 * np.eye(2)
    unstable = OperatorInferenceModel(model.settings, data, grown)
    z = unstable.latent(X, X, T)
    size = np.abs(data.c).max()
    assert z.failed.all() or np.nanmax(np.abs(z.z)) <= 10 * size


def test_times_between_and_beyond():
    model = OperatorInferenceModel.fit(data_of(linear(X, T)), settings("continuous-linear"))
    new = np.array([[0.4, 0.5]])
    t = np.array([0.013, 1.111, 1.99, 2.7])
    assert np.allclose(model.predict(new, new, t), linear(new, t), atol=1e-4)
    assert np.array_equal(model.predict(new, new, T), model.predict(new, new))


def test_given_initial_states():
    c = linear(X, T)
    model = OperatorInferenceModel.fit(data_of(c), settings("continuous-linear", degree=1))
    new = np.array([[0.4, 0.5]])
    z0 = np.array([[-0.5, 0.8]])
    found = model.predict(new, new, z0=z0, with_residual=False)
    assert np.allclose(found, linear(new, T, (-0.5, 0.8)), atol=1e-5)


def test_later_coordinates_are_kriged():
    c = np.concatenate([linear(X, T), X[:, None, :1] * np.cos(T)[None, :, None]], axis=2)
    model = OperatorInferenceModel.fit(data_of(c), settings("continuous-linear", degree=1))
    new = np.array([[0.4, 0.5]])
    assert np.allclose(model.predict(new, new)[:, :, 2], 0.4 * np.cos(T), atol=1e-4)


@pytest.mark.parametrize("form", ["two-delays", "kernel-quadratic"])
def test_state_round_trip(form):
    model = OperatorInferenceModel.fit(data_of(quadratic(X, T)), settings(form, ridge=1e-8), 0.5)
    as_json, arrays = model.state()
    again = OperatorInferenceModel.from_state(json.loads(json.dumps(as_json)), arrays)
    new = np.array([[0.4, 0.5]])
    assert np.array_equal(again.predict(new, new), model.predict(new, new))
    assert json.dumps(again.describe()) == json.dumps(model.describe())


def test_powers_of_the_parameters():
    """Of mu from 2 to 8, and of another that has none."""
    raw = np.array([[0.0, 0.3], [1.0, 0.3], [0.5, 0.3]])  # mu = 2, 8, 5
    for power, middle in ((-1.0, (1 / 5 - 1 / 2) / (1 / 8 - 1 / 2)), (0.0, np.log(2.5) / np.log(4)), (2.0, 21 / 60)):
        found = transformed(raw, (4.0, 0.0), (power, 1.0))
        assert np.allclose(found, [[0, 0.3], [1, 0.3], [middle, 0.3]], atol=1e-12)
    assert np.array_equal(transformed(raw, (), ()), raw)
    assert np.isfinite(transformed(np.array([[-3.0, 0.0]]), (4.0, 0.0), (-1.0, 1.0))).all()  # mu < 0, out of the box


@pytest.mark.parametrize("form", ["continuous-linear", "kernel-quadratic"])
def test_dynamics_in_the_right_power_hold_at_new_points(form):
    """A decay of rate 1 / mu_1 + mu_2: affine in the inverse of the first parameter, which is 1 to 5."""
    rates = 1 / (1 + 4 * X[:, 0]) + 0.2 * X[:, 1]
    data = data_of(np.exp(-rates[:, None] * T)[:, :, None])
    new = np.array([[0.1, 0.5], [0.6, 0.9]])
    truth = np.exp(-(1 / (1 + 4 * new[:, 0]) + 0.2 * new[:, 1])[:, None] * T)[:, :, None]
    error = {}
    for powers in ((), (-1.0, 1.0)):
        ratios = (5.0, 0.0) if powers else ()
        model = OperatorInferenceModel.fit(data, settings(form, 1, powers=powers, ratios=ratios))
        error[powers] = np.abs(model.predict(new, new, with_residual=False) - truth).max()
    assert error[-1.0, 1.0] < 1e-3 < 1e-2 < error[()]


@pytest.mark.parametrize("form", ["linear", "two-delays", "continuous-linear", "quadratic", "cubic", "kernel-cubic"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_points_of_rank_one(form, n):
    data = data_of(linear(X[:n], T)[:, :, :1], X[:n])
    model = OperatorInferenceModel.fit(data, settings(form, 1, 0, 1e-6))
    predicted = model.predict(X, X)
    assert predicted.shape == (len(X), len(T), 1)
    assert Rows.of(data, model.settings).scales.min() > 0
