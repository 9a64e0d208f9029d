"""Joint ridge regression of the operators over all trajectories, and what is left of it without a point.

With the parameter basis theta and the features X_i, targets Y_i of trajectory i, the operators minimise

    sum_i w_i |sum_a theta_a(mu_i) X_i W_a - Y_i|^2 / sum_i w_i n_i + ridge * sum_a |W_a|^2,    w_i = 1 / mean |u_i|^2,

where each block of features is in units of its largest root mean square. All that it needs of a trajectory are its Gram
matrices, so that leaving a point out is a subtraction. Where the features are many, the same problem is solved in its
dual form, as kernel regression: the operators are sums over the snapshots, and all folds follow from one inverse.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import lapack

from mlasdi.operator_inference.data import POWER, OperatorInferenceSettings, TrajectoryData
from mlasdi.operator_inference.forms import Rows, forcing, integration_matrix, parameter_basis, transformed


def model_coordinates(
    settings: OperatorInferenceSettings, raw: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "n term"]:
    """The parameter basis of a model at points."""
    x = transformed(raw, settings.ratios, settings.powers)
    return parameter_basis(x, settings.degree, settings.parameter_degrees)


def row_weights(data: TrajectoryData) -> Float[np.ndarray, " point"]:
    """Weight of each trajectory: the inverse of its mean square norm, on average one."""
    size = np.mean(data.state_norms**2, axis=1)
    weights = 1 / np.maximum(size, 1e-12 * max(size.max(), np.finfo(float).tiny))
    return weights / weights.mean()


def solve_positive(
    matrix: Float[np.ndarray, "n n"], right: Float[np.ndarray, "n m"], ridge: float
) -> Float[np.ndarray, "n m"]:
    """Solution of (matrix + ridge) X = right; a matrix that rounding makes indefinite gets ten times the ridge."""
    while True:
        shifted = matrix.copy()
        shifted.flat[:: len(matrix) + 1] += ridge
        _, solution, info = lapack.dposv(shifted, right, lower=True)
        if info == 0:
            return solution
        ridge *= 10


@dataclass(frozen=True)
class ExplicitRegression:
    """Normal equations of the operators themselves.

    Attributes:
        theta: parameter basis at the training points `[point, term]`.
        grams: weighted `X_i^T X_i` of the scaled features `[point, feature, feature]`.
        crosses: weighted `X_i^T Y_i` `[point, feature, rank]`.
        squares: weighted sums of the squares of `Y_i` `[point]`.
        scales: of the features.
    """

    theta: Float[np.ndarray, "point term"]
    grams: Float[np.ndarray, "point feature feature"]
    crosses: Float[np.ndarray, "point feature rank"]
    squares: Float[np.ndarray, " point"]
    scales: Float[np.ndarray, " feature"]

    @classmethod
    def of(cls, data: TrajectoryData, settings: OperatorInferenceSettings) -> "ExplicitRegression":
        rows = Rows.of(data, settings)
        weights = row_weights(data) / (data.n_points * rows.features.shape[1])
        features = rows.features / rows.scales
        transposed = weights[:, None, None] * features.transpose(0, 2, 1)
        theta = model_coordinates(settings, data.raw)
        squares = weights * np.sum(rows.targets**2, axis=(1, 2))
        return cls(theta, transposed @ features, transposed @ rows.targets, squares, rows.scales)

    def with_theta(self, theta: Float[np.ndarray, "point term"]) -> "ExplicitRegression":
        """The regression with another parameter basis."""
        return ExplicitRegression(theta, self.grams, self.crosses, self.squares, self.scales)

    def _assembled(self, points: Int[np.ndarray, " used"]) -> tuple[np.ndarray, np.ndarray]:
        """Normal matrix and right-hand side of some points."""
        theta, p = self.theta[points], self.grams.shape[1]
        n_terms = theta.shape[1]
        pairs = (theta[:, :, None] * theta[:, None]).reshape(len(points), -1)
        normal = np.tensordot(pairs, self.grams[points], axes=(0, 0)).reshape(n_terms, n_terms, p, p)
        right = np.tensordot(theta, self.crosses[points], axes=(0, 0))
        return normal.transpose(0, 2, 1, 3).reshape(n_terms * p, -1), right.reshape(n_terms * p, -1)

    @cached_property
    def _full(self) -> tuple[np.ndarray, np.ndarray]:
        return self._assembled(np.arange(len(self.theta)))

    def solve(self, ridge: float, without: Sequence[int] | Int[np.ndarray, " out"] = ()) -> np.ndarray:
        """Operators `[term, feature, rank]` of all points, or of all but some."""
        normal, right = self._full
        if len(without):
            less_normal, less_right = self._assembled(np.asarray(without))
            normal, right = normal - less_normal, right - less_right
        solution = solve_positive(normal, right, ridge)
        return solution.reshape(self.theta.shape[1], *self.crosses.shape[1:]) / self.scales[:, None]

    def equation_errors(
        self, ridge: float, points: Sequence[int], groups: Sequence[Int[np.ndarray, " _"]]
    ) -> Float[np.ndarray, " fold"]:
        """Relative residuals of the regression problems of points by the operators without their groups of points.

        They need no integration, and tell in which powers of the parameters the operators are simple.
        """
        errors = []
        for i, group in zip(points, groups, strict=True):
            own = np.tensordot(self.theta[i], self.solve(ridge, group), axes=1) * self.scales[:, None]
            left = self.squares[i] - 2 * np.sum(own * self.crosses[i]) + np.sum(own * (self.grams[i] @ own))
            errors.append(np.sqrt(max(left, 0.0) / max(self.squares[i], np.finfo(float).tiny)))
        return np.array(errors)


@dataclass(frozen=True)
class KernelRegression:
    """The dual form: f(z, mu) = sum_j kappa(mu, mu_j) k(z, z_j) beta_j over the snapshots j.

    k(z, z') = f.f' + 1 + s + ... + s^power with s = z.z' / mean |c|^2, and kappa = theta.theta'. `beta` is the dual
    solution, taken back from steps to snapshots by the quadrature. Without the points of a group G,
    alpha' = alpha - K^-1[:, G] K^-1[G, G]^-1 alpha_G.

    Attributes:
        theta: parameter basis at the training points.
        base: integrals over steps of k in both arguments, weighted `[point, step, point, step]`.
        targets: weighted steps `[point, step, rank]`.
        back: from weighted dual variables to coefficients of the snapshots `[point, time, step]`.
    """

    theta: Float[np.ndarray, "point term"]
    base: Float[np.ndarray, "point step point step"]
    targets: Float[np.ndarray, "point step rank"]
    back: Float[np.ndarray, "point time step"]

    @classmethod
    def of(cls, data: TrajectoryData, settings: OperatorInferenceSettings) -> "KernelRegression":
        z = data.c[:, :, : settings.rank]
        n, n_t, rank = z.shape
        flat = z.reshape(-1, rank)
        f = forcing(data.t, settings.frequencies, settings.frequency_factors(data.raw)).reshape(n * n_t, -1)
        values = kernel_values(flat, flat, POWER[settings.form], data.unit) + f @ f.T
        integrals = integration_matrix(data.t) / (data.t[-1] - data.t[0])
        roots = np.sqrt(row_weights(data))
        base = values.reshape(n, n_t, n, n_t) @ integrals.T
        base = np.matmul(integrals, base.reshape(n, n_t, -1)).reshape(n, n_t - 1, n, n_t - 1)
        base *= roots[:, None, None, None] * roots[:, None]
        targets = roots[:, None, None] * np.diff(z, axis=1)
        return cls(model_coordinates(settings, data.raw), base, targets, roots[:, None, None] * integrals.T[None])

    def with_theta(self, theta: Float[np.ndarray, "point term"]) -> "KernelRegression":
        return KernelRegression(theta, self.base, self.targets, self.back)

    def _dual(self, ridge: float) -> tuple[np.ndarray, np.ndarray]:
        """Cholesky factor of the covariance matrix, and the dual solution."""
        size = self.targets.shape[0] * self.targets.shape[1]
        matrix = (self.base * (self.theta @ self.theta.T)[:, None, :, None]).reshape(size, size)
        scale = np.trace(matrix)
        matrix.flat[:: size + 1] += ridge * scale
        while True:
            factor, info = lapack.dpotrf(matrix, lower=True)
            if info == 0:
                break
            matrix.flat[:: size + 1] += 9 * ridge * scale
            ridge *= 10
        return factor, lapack.dpotrs(factor, self.targets.reshape(size, -1), lower=True)[0]

    def _coefficients(self, dual: np.ndarray) -> Float[np.ndarray, "point time rank"]:
        return self.back @ dual.reshape(self.targets.shape)

    def solve(self, ridge: float) -> Float[np.ndarray, "point time rank"]:
        """Coefficients beta of the snapshots."""
        return self._coefficients(self._dual(ridge)[1])

    def fold_solutions(
        self, ridge: float, groups: Sequence[Int[np.ndarray, " _"]]
    ) -> Float[np.ndarray, "fold point time rank"]:
        """The same without each of the groups of points."""
        factor, dual = self._dual(ridge)
        inverse, _ = lapack.dpotri(factor, lower=True)
        inverse += np.tril(inverse, -1).T  # the upper triangle is zero
        n_steps, found = self.targets.shape[1], []
        for group in groups:
            out = (np.asarray(group)[:, None] * n_steps + np.arange(n_steps)).ravel()
            change = np.linalg.solve(inverse[np.ix_(out, out)], dual[out])
            fold = dual - inverse[:, out] @ change
            fold[out] = 0.0
            found.append(self._coefficients(fold))
        return np.stack(found)


def kernel_values(
    z: Float[np.ndarray, "n rank"], centres: Float[np.ndarray, "m rank"], power: int, unit: float
) -> Float[np.ndarray, "n m"]:
    """k(z, z') = 1 + s + ... + s^power, s = z.z' / unit."""
    s = (z / unit) @ centres.T
    value = s + 1
    for _ in range(power - 1):  # in place: these arrays are large, and there are many of them
        value *= s
        value += 1
    return value
