"""Forms of latent dynamics: the features of a state, and the regression problem that identifies their operators.

With W(mu) = sum_a theta_a(mu) W_a and known functions f of the time, sin and cos of given frequencies:

- linear: z+ - z = [1, f, z] W
- two-delays: z+ - 2 z + z- = [1, f, z, z - z-] W; the discrete form of second-order systems
- second-order: v+ - v = integral over the step of [1, f, z, v] dt W, v = dz/dt; its operators are simpler functions of
  the parameters than those of steps, where the steps resolve the oscillations
- continuous-linear, quadratic, cubic, quintic: z+ - z = integral over the step of [1, f, z, z (x) z, ...] dt W

The integral is that of the spline of degree five through the values of the features, so no derivative of the data is
taken but that of this spline for v. Without W's dependence on mu this is operator inference (Peherstorfer & Willcox
2016, doi:10.1016/j.cma.2016.03.025); with it, parametric operator inference (McQuarrie, Khodabakhshi & Willcox 2023,
doi:10.1137/21M1452810).
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations_with_replacement, product

import numpy as np
from jaxtyping import Float, Int
from scipy.interpolate import make_interp_spline
from scipy.special import boxcox, factorial

from mlasdi.operator_inference.data import DISCRETE, OF_SECOND_ORDER, POWER, OperatorInferenceSettings, TrajectoryData

# Prior standard deviation of a coefficient, per degree of its polynomial.
PRIOR_STD = 0.3
SMALLEST = 0.1  # share of its lower bound below which powers of a parameter are constant: out of the box alone


def exponents(d: int, degree: int, parameter_degrees: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Degrees in each parameter of all polynomials up to a total degree and one for each parameter, lowest first."""
    ranges = [range(min(most, degree) + 1) for most in parameter_degrees or (degree,) * d]
    found = [powers for powers in product(*ranges) if sum(powers) <= degree]
    return sorted(found, key=lambda powers: (sum(powers), [-power for power in powers]))


def transformed(
    raw: Float[np.ndarray, "n d"], ratios: tuple[float, ...], powers: tuple[float, ...]
) -> Float[np.ndarray, "n d"]:
    """Powers of the parameters, again from 0 to 1 over their ranges.

    Coefficients of equations are often powers of the parameters: 1/Re, the square of a wave speed or of a frequency.
    Operators that are of first degree in the right power need few points, and hold beyond them.

    Args:
        raw: `(mu - low) / (high - low)`.
        ratios: high / low of each parameter.
        powers: of each parameter; 0 is its logarithm. Without any, `raw` is returned.
    """
    if not powers:
        return raw
    columns = [
        column if power == 1 else boxcox(np.maximum(1 + column * (ratio - 1), SMALLEST), power) / boxcox(ratio, power)
        for column, ratio, power in zip(raw.T, ratios, powers, strict=True)
    ]
    return np.stack(columns, axis=1)


def parameter_basis(
    x: Float[np.ndarray, "n d"], degree: int, parameter_degrees: tuple[int, ...] = ()
) -> Float[np.ndarray, "n term"]:
    """Products of Legendre polynomials on the unit cube, each times the prior standard deviation of its coefficient.

    theta_a(x) = s^|a| prod_k sqrt(2 a_k + 1) P_{a_k}(2 x_k - 1), |a| <= degree, a_k <= parameter_degrees_k, s = .3:
    with this scale, all coefficients have the same prior variance, and one ridge suits them all.
    """
    one_dimensional = np.polynomial.legendre.legvander(2 * x - 1, degree) * np.sqrt(2 * np.arange(degree + 1) + 1)
    terms = [
        PRIOR_STD ** sum(powers) * np.prod([one_dimensional[:, k, p] for k, p in enumerate(powers)], axis=0)
        for powers in exponents(x.shape[1], degree, parameter_degrees)
    ]
    return np.stack(terms, axis=1)


@lru_cache(maxsize=64)
def monomials(rank: int, power: int) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Indices of the distinct products of `power` coordinates, and how many orderings each of them has."""
    if power == 2:
        first, second = np.triu_indices(rank)
        return (first, second), np.where(first == second, 1.0, 2.0)
    index = np.array(list(combinations_with_replacement(range(rank), power))).T
    repeats = (index[:, :, None] == np.arange(rank)).sum(axis=0)
    return tuple(index), factorial(power) / factorial(repeats).prod(axis=1)


def forcing(
    t: Float[np.ndarray, " time"], frequencies: tuple[float, ...], factors: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n time forcing"]:
    """Values of sin and cos of each frequency, one pair after the other, at points with factors of the frequencies."""
    phases = np.multiply.outer(factors, np.multiply.outer(t, np.asarray(frequencies, dtype=float)))
    return np.stack([np.sin(phases), np.cos(phases)], axis=-1).reshape(len(factors), len(t), -1)


def polynomial_features(
    z: Float[np.ndarray, "*batch rank"], f: Float[np.ndarray, "*batch forcing"], power: int
) -> Float[np.ndarray, "*batch feature"]:
    """Features [1, f, z, z (x) z, ...] up to `power`, without duplicates."""
    parts = [np.ones((*z.shape[:-1], 1)), f, z]
    for order in range(2, power + 1):
        index, _ = monomials(z.shape[-1], order)
        value = z[..., index[0]]
        for column in index[1:]:
            value = value * z[..., column]
        parts.append(value)
    return np.concatenate(parts, axis=-1)


def integration_matrix(t: Float[np.ndarray, " time"]) -> Float[np.ndarray, "step time"]:
    """Integrals over each step of the interpolating spline, as a matrix on the values at the times `t`."""
    primitive = make_interp_spline(t, np.eye(len(t)), k=spline_degree(len(t))).antiderivative()
    return np.diff(primitive(t), axis=0)


def velocities(data: TrajectoryData, rank: int) -> Float[np.ndarray, "point time rank"]:
    """Derivatives of leading coordinates, per length of the training interval, of the spline through their values."""
    degree = spline_degree(len(data.t))
    spline = make_interp_spline(data.t, data.c[:, :, :rank], k=degree, axis=1)
    return np.asarray(spline.derivative()(data.t) * (data.t[-1] - data.t[0]))


def spline_degree(n_times: int) -> int:
    """Of splines through values at the times."""
    return next(k for k in (5, 3, 1) if n_times > k)


@dataclass(frozen=True)
class Rows:
    """The regression problem `features @ W(mu) = targets` of one form, trajectory by trajectory.

    Attributes:
        features: `[point, row, feature]`.
        targets: `[point, row, rank]`.
        blocks: for each feature, the block [1], [f], [z], ... that it belongs to, whose scale it shares.
    """

    features: Float[np.ndarray, "point row feature"]
    targets: Float[np.ndarray, "point row rank"]
    blocks: Int[np.ndarray, " feature"]

    @classmethod
    def of(cls, data: TrajectoryData, settings: OperatorInferenceSettings) -> "Rows":
        z, form = data.c[:, :, : settings.rank], settings.form
        f = forcing(data.t, settings.frequencies, settings.frequency_factors(data.raw))
        power = POWER.get(form, 1)
        steps = np.diff(z, axis=1)
        if form == "two-delays":
            features = np.concatenate([polynomial_features(z, f, 1)[:, 1:-1], steps[:, :-1]], axis=-1)
            targets = np.diff(steps, axis=1)
        elif form in DISCRETE:
            features, targets = polynomial_features(z, f, 1)[:, :-1], steps
        else:
            # The time in units of the training interval, so that operators of any problem are of similar size.
            unit = data.t[-1] - data.t[0]
            features, targets = polynomial_features(z, f, power), steps
            if form == "second-order":
                v = velocities(data, settings.rank)
                features, targets = np.concatenate([features, v], axis=-1), np.diff(v, axis=1)
            features = np.matmul(integration_matrix(data.t) / unit, features)
        sizes = [1, f.shape[-1], settings.rank]
        if form in OF_SECOND_ORDER:
            sizes.append(settings.rank)
        sizes += [len(monomials(settings.rank, order)[1]) for order in range(2, power + 1)]
        return cls(features, targets, np.repeat(np.arange(len(sizes)), sizes))

    @cached_property
    def scales(self) -> Float[np.ndarray, " feature"]:
        """For each feature, the largest root mean square of a feature of its block."""
        sizes = np.sqrt(np.mean(self.features**2, axis=(0, 1)))
        largest = np.array([sizes[self.blocks == block].max() for block in np.unique(self.blocks)])
        scales = largest[np.unique(self.blocks, return_inverse=True)[1]]
        return np.where(scales > 0, scales, 1.0)
