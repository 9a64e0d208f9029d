"""From regression to trajectories: the dynamics of a model at points, and of the folds at theirs."""

import numpy as np
from jaxtyping import Float

from mlasdi.operator_inference.data import (
    DISCRETE,
    KERNEL,
    LINEAR,
    OF_SECOND_ORDER,
    POWER,
    OperatorInferenceSettings,
    TrajectoryData,
)
from mlasdi.operator_inference.forms import forcing, velocities
from mlasdi.operator_inference.integration import (
    Forecast,
    KernelRates,
    LinearRates,
    PolynomialRates,
    Start,
    runge_kutta,
)
from mlasdi.operator_inference.regression import ExplicitRegression, KernelRegression, model_coordinates

Regression = ExplicitRegression | KernelRegression
AnyRates = LinearRates | PolynomialRates | KernelRates


def regression_of(data: TrajectoryData, settings: OperatorInferenceSettings) -> Regression:
    """The regression problem of a form; ridge and degree are free to change afterwards."""
    if settings.form in DISCRETE and not data.is_uniform:
        raise ValueError(f"the form {settings.form} needs uniform times; use a continuous form for non-uniform ones")
    if len(data.t) < 4:
        raise ValueError(f"operator inference needs at least 4 times; the trajectories have {len(data.t)}")
    return (KernelRegression if settings.form in KERNEL else ExplicitRegression).of(data, settings)


def initial(
    settings: OperatorInferenceSettings,
    data: TrajectoryData,
    weights: Float[np.ndarray, "n point"],
    rates: AnyRates,
    z0: Float[np.ndarray, "n rank"] | None = None,
) -> Start:
    """Kriged initial states, and first increments or velocities of second-order forms.

    These are kriged, too, unless the system starts from rest: then velocities are zero, and increments follow from its
    operators. A second-order system at rest is symmetric in time, z(-dt) = z(dt), so its first increment is half the
    second difference: z1 - z0 = [1, f, z0, 0] W / 2.
    """
    r = settings.rank
    z = weights @ data.c[:, 0, :r] if z0 is None else z0
    if settings.form not in OF_SECOND_ORDER:
        return Start(z)
    if settings.form == "second-order":
        return Start(z, np.zeros_like(z) if settings.start == "rest" else weights @ velocities(data, r)[:, 0])
    if settings.start == "kriged" or not isinstance(rates, LinearRates):
        return Start(z, weights @ (data.c[:, 1, :r] - data.c[:, 0, :r]))
    known = forcing(data.t[:1], settings.frequencies, rates.factors)[:, 0]
    features = np.concatenate([np.ones((len(z), 1)), known, z, np.zeros_like(z)], axis=1)
    return Start(z, 0.5 * np.matmul(features[:, None], rates.operators)[:, 0])


def shared_rates(
    settings: OperatorInferenceSettings,
    data: TrajectoryData,
    operators: np.ndarray,
    raw: Float[np.ndarray, "n d"],
) -> AnyRates:
    """The dynamics of one model at points `(mu - low) / (high - low)`."""
    theta, factors = model_coordinates(settings, raw), settings.frequency_factors(raw)
    if settings.form in KERNEL:
        basis = model_coordinates(settings, data.raw)
        return kernel_rates(settings, data, operators.reshape(-1, settings.rank), theta @ basis.T, factors)
    return explicit_rates(settings, data, np.tensordot(theta, operators, axes=1), factors)


def explicit_rates(
    settings: OperatorInferenceSettings,
    data: TrajectoryData,
    operators: Float[np.ndarray, "n feature rank"],
    factors: Float[np.ndarray, " n"],
) -> LinearRates | PolynomialRates:
    if settings.form in LINEAR:
        return LinearRates(operators, factors, settings, float(data.t[-1] - data.t[0]), float(data.t[1] - data.t[0]))
    return PolynomialRates(operators, factors, POWER[settings.form])


def kernel_rates(
    settings: OperatorInferenceSettings,
    data: TrajectoryData,
    beta: Float[np.ndarray, "*model snapshot rank"],
    kappa: Float[np.ndarray, "n point"],
    factors: Float[np.ndarray, " n"],
) -> KernelRates | PolynomialRates:
    """Dynamics in kernel form; by explicit operators where these are smaller and the batch is small too."""
    n_t, r = len(data.t), settings.rank
    centres = data.c[:, :, :r].reshape(-1, r)
    known = forcing(data.t, settings.frequencies, settings.frequency_factors(data.raw)).reshape(len(centres), -1)
    rates = KernelRates(np.repeat(kappa, n_t, axis=1), factors, centres, known, beta, POWER[settings.form], data.unit)
    n_features = 1 + r + r * (r + 1) // 2 + (r * (r + 1) * (r + 2) // 6 if rates.power == 3 else 0)
    if n_features < 0.8 * len(centres) and (beta.ndim == 3 or len(kappa) <= 8):
        return rates.as_polynomials()
    return rates


def integrate(
    settings: OperatorInferenceSettings,
    data: TrajectoryData,
    rates: AnyRates,
    start: Start,
    t: Float[np.ndarray, " m"],
) -> Forecast:
    """Trajectories at times `t`, each from its own start."""
    size = float(np.sqrt(np.max(np.sum(data.c[:, :, : settings.rank] ** 2, axis=-1))))
    if isinstance(rates, LinearRates):
        return rates.integrate(start, t, size)
    return runge_kutta(rates, start.z, t, settings, (size, float(data.t[-1] - data.t[0])))


def fold_forecasts(
    data: TrajectoryData,
    settings: OperatorInferenceSettings,
    regression: Regression,
    z0: Float[np.ndarray, "fold rank"] | None = None,
) -> Forecast:
    """Trajectories at the left-out points, each integrated with the operators and the initial state of its own fold.

    Args:
        z0: initial states, where they are known at new points.
    """
    points = data.fold_points.tolist()
    theta, groups = regression.theta, [data.left_out[i] for i in points]
    factors = settings.frequency_factors(data.raw[points])
    rates: AnyRates
    if isinstance(regression, KernelRegression):
        beta = regression.fold_solutions(settings.ridge, groups)
        beta = beta.reshape(len(points), -1, settings.rank)
        rates = kernel_rates(settings, data, beta, theta[points] @ theta.T, factors)
    else:
        operators = [
            np.tensordot(theta[i], regression.solve(settings.ridge, group), axes=1)
            for i, group in zip(points, groups, strict=True)
        ]
        rates = explicit_rates(settings, data, np.stack(operators), factors)
    start = initial(settings, data, data.fold_start_weights, rates, z0)
    return integrate(settings, data, rates, start, data.t)
