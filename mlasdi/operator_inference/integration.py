"""Integration of latent dynamics at many points together, with a guard against trajectories that blow up."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import expm

from mlasdi.latent import Modes
from mlasdi.operator_inference.data import DISCRETE, OperatorInferenceSettings
from mlasdi.operator_inference.forms import forcing, monomials, polynomial_features
from mlasdi.operator_inference.regression import kernel_values

# A norm beyond this many times the largest one of the training trajectories is a failure.
BLOW_UP = 10.0
# Growth beyond this many times the largest training norm makes a linear system's eigenvalues be clipped.
GROWTH = 3.0
# Largest real part of an eigenvalue after clipping, over the whole training interval.
CLIPPED = 2.0
SUBSTEPS = 2  # of the Runge-Kutta method, per snapshot


@dataclass(frozen=True)
class Start:
    """Initial latent states, and first increments, or velocities, of systems of second order in the time."""

    z: Float[np.ndarray, "batch rank"]
    step: Float[np.ndarray, "batch rank"] | None = None


@dataclass(frozen=True)
class Forecast:
    """Integrated trajectories; where one failed, its values are NaN.

    Attributes:
        z: `[batch, time, rank]`.
        failed: which trajectories left the range of the training data, or overflowed.
    """

    z: Float[np.ndarray, "batch time rank"]
    failed: Bool[np.ndarray, " batch"]

    @classmethod
    def checked(cls, z: Float[np.ndarray, "batch time rank"], size: float) -> "Forecast":
        with np.errstate(over="ignore", invalid="ignore"):
            failed = ~(np.max(np.sum(z**2, axis=-1), axis=-1) <= (BLOW_UP * size) ** 2)
        return cls(np.where(failed[:, None, None], np.nan, z), failed)


@dataclass(frozen=True)
class LinearRates:
    """Linear dynamics of a batch of points, as matrices over a step on the augmented state (z, last step, 1, f).

    Attributes:
        operators: `W(mu)` `[batch, feature, rank]`, features in the order of `forms`.
        factors: of the frequencies of the forcing `[batch]`.
        settings: which form this is.
        unit: length of the training interval.
        dt: step of the training data, which a discrete form is tied to.
    """

    operators: Float[np.ndarray, "batch feature rank"]
    factors: Float[np.ndarray, " batch"]
    settings: OperatorInferenceSettings
    unit: float
    dt: float

    @property
    def _is_continuous(self) -> bool:
        return self.settings.form not in DISCRETE

    @cached_property
    def _blocks(self) -> tuple[np.ndarray, np.ndarray]:
        """Matrix on (z, last step) `[batch, s, s]`, and what [1, f] adds to it `[batch, s, 1 + forcing]`; per step or,
        for a continuous form, per unit of time."""
        rank, n_known = self.settings.rank, 1 + 2 * len(self.settings.frequencies)
        w = self.operators.transpose(0, 2, 1)
        known, on_z, on_step = w[:, :, :n_known], w[:, :, n_known : n_known + rank], w[:, :, n_known + rank :]
        eye = np.eye(rank)
        if self.settings.form == "two-delays":
            upper = np.concatenate([eye + on_z, eye + on_step], axis=2)
            lower = np.concatenate([on_z, eye + on_step], axis=2)
            return np.concatenate([upper, lower], axis=1), np.concatenate([known, known], axis=1)
        if self.settings.form == "linear":
            return eye + on_z, known
        if self.settings.form == "second-order":
            upper = np.concatenate([np.zeros_like(on_z), np.broadcast_to(eye, on_z.shape)], axis=2)
            matrix = np.concatenate([upper, np.concatenate([on_z, on_step], axis=2)], axis=1)
            return matrix, np.concatenate([np.zeros_like(known), known], axis=1)
        return on_z, known

    def modes(self, z: Float[np.ndarray, "batch time rank"], t: Float[np.ndarray, " time"]) -> list[Modes]:
        """The modes along trajectories of these dynamics, with rates per unit of `t`."""
        values, vectors = np.linalg.eig(self.clipped()[0])
        if self._is_continuous:
            rates = values.astype(complex) / self.unit
        else:
            rates = np.log(np.where(np.abs(values) > 0, values, np.finfo(float).tiny).astype(complex)) / self.dt
        steps = np.diff(z, axis=1)
        if self.settings.form == "second-order":
            steps = steps * (self.unit / np.diff(t)[:, None])
        states = np.concatenate([z[:, 1:], steps], axis=2)[:, :, : vectors.shape[1]]
        return [
            Modes.along(rate, vector, state, t[1:], self.settings.rank)
            for rate, vector, state in zip(rates, vectors, states, strict=True)
        ]

    def clipped(self) -> "tuple[np.ndarray, np.ndarray]":
        """The same with eigenvalues of at most `CLIPPED` growth over the training interval."""
        matrix, known = self._blocks
        values, vectors = np.linalg.eig(matrix)
        if self._is_continuous:
            bounded = np.minimum(values.real, CLIPPED) + 1j * values.imag
        else:
            limit = 1 + CLIPPED * self.dt / self.unit
            bounded = values * np.minimum(1, limit / np.maximum(np.abs(values), limit))
        with np.errstate(all="ignore"):
            try:
                back = np.linalg.solve(vectors.transpose(0, 2, 1), (vectors * bounded[:, None]).transpose(0, 2, 1))
            except np.linalg.LinAlgError:  # not diagonalisable
                return matrix, known
        return back.transpose(0, 2, 1).real, known

    def _step_matrices(self, blocks: tuple[np.ndarray, np.ndarray], dt: float) -> Float[np.ndarray, "batch n n"]:
        matrix, known = blocks
        batch, size, n_known = known.shape
        full = np.zeros((batch, size + n_known, size + n_known))
        full[:, :size, :size], full[:, :size, size:] = matrix, known
        for k, frequency in enumerate(self.settings.frequencies):
            a, w = size + 1 + 2 * k, frequency * self.factors
            if self._is_continuous:
                full[:, a, a + 1], full[:, a + 1, a] = w * self.unit, -w * self.unit
            else:
                full[:, a, a] = full[:, a + 1, a + 1] = np.cos(w * dt)
                full[:, a, a + 1], full[:, a + 1, a] = np.sin(w * dt), -np.sin(w * dt)
        if self._is_continuous:
            with np.errstate(all="ignore"):
                return np.asarray(expm(full * (dt / self.unit)))
        full[:, size, size] = 1.0
        return full

    def integrate(self, start: Start, t: Float[np.ndarray, " time"], size: float) -> Forecast:
        """Trajectories from initial states at times `t`."""
        z = self._run(self._blocks, start, t)
        with np.errstate(over="ignore", invalid="ignore"):
            grown = np.flatnonzero(~(np.max(np.sum(z**2, axis=-1), axis=-1) <= (GROWTH * size) ** 2))
        if len(grown):
            step = None if start.step is None else start.step[grown]
            part = LinearRates(self.operators[grown], self.factors[grown], self.settings, self.unit, self.dt)
            if np.isfinite(part.operators).all():
                z[grown] = part._run(part.clipped(), Start(start.z[grown], step), t)
        return Forecast.checked(z, size)

    def _run(self, blocks: tuple[np.ndarray, np.ndarray], start: Start, t: np.ndarray) -> np.ndarray:
        parts = [start.z] if start.step is None else [start.z, start.step]
        known = forcing(t[:2], self.settings.frequencies, self.factors)
        y = np.concatenate([*parts, np.ones((len(start.z), 1)), known[:, 0]], axis=1)[:, :, None]
        z = np.empty((len(y), len(t), start.z.shape[1]))
        z[:, 0] = start.z
        first = 1
        if self.settings.form == "two-delays" and len(t) > 1:  # the state is that of the second snapshot
            z[:, 1] = start.z + y[:, z.shape[2] : 2 * z.shape[2], 0]
            y[:, : z.shape[2], 0] = z[:, 1]
            y[:, 2 * z.shape[2] + 1 :, 0] = known[:, 1]
            first = 2
        steps = np.diff(t)
        matrix, last = None, np.nan
        with np.errstate(all="ignore"):
            for k in range(first, len(t)):
                if not abs(steps[k - 1] - last) <= 1e-9 * abs(last):
                    last = steps[k - 1]
                    matrix = self._step_matrices(blocks, last)
                y = matrix @ y
                z[:, k] = y[:, : z.shape[2], 0]
        return z


@dataclass(frozen=True)
class PolynomialRates:
    """dz/dt = [1, f, z, z (x) z, ...] W(mu) for a batch of points, `operators [batch, feature, rank]`."""

    operators: Float[np.ndarray, "batch feature rank"]
    factors: Float[np.ndarray, " batch"]  # of the frequencies of the forcing
    power: int

    def __call__(self, z: Float[np.ndarray, "batch rank"], f: Float[np.ndarray, "batch forcing"]) -> np.ndarray:
        features = polynomial_features(z, f, self.power)
        return np.matmul(features[:, None], self.operators)[:, 0]


@dataclass(frozen=True)
class KernelRates:
    """dz/dt = sum_j kappa(mu, mu_j) (k(z, z_j) + f.f_j) beta_j for a batch of points.

    Attributes:
        kappa: of each point and snapshot `[batch, snapshot]`.
        factors: of the frequencies of the forcing `[batch]`.
        centres: the snapshots `[snapshot, rank]`, and the forcing at them `[snapshot, forcing]`.
        beta: `[snapshot, rank]`, or of a model of its own for each point `[batch, snapshot, rank]`.
        power: largest power in the kernel.
        unit: mean square norm of the snapshots.
    """

    kappa: Float[np.ndarray, "batch snapshot"]
    factors: Float[np.ndarray, " batch"]
    centres: Float[np.ndarray, "snapshot rank"]
    forcing: Float[np.ndarray, "snapshot forcing"]
    beta: Float[np.ndarray, "*model snapshot rank"]
    power: int
    unit: float

    def __call__(self, z: Float[np.ndarray, "batch rank"], f: Float[np.ndarray, "batch forcing"]) -> np.ndarray:
        values = kernel_values(z, self.centres, self.power, self.unit)
        if f.size:
            values += f @ self.forcing.T
        values *= self.kappa
        if self.beta.ndim == 2:
            return values @ self.beta
        return np.matmul(values[:, None], self.beta)[:, 0]

    def as_polynomials(self) -> PolynomialRates:
        """The same function by its operators, which is cheaper where the snapshots outnumber the features."""
        features = polynomial_features(self.centres, self.forcing, self.power)
        n_known, rank = 1 + self.forcing.shape[1], self.centres.shape[1]
        factors = [np.ones(n_known), np.full(rank, 1 / self.unit)]
        factors += [monomials(rank, order)[1] / self.unit**order for order in range(2, self.power + 1)]
        features = (features * np.concatenate(factors)).T
        beta = np.broadcast_to(self.beta, (len(self.kappa), *self.beta.shape[-2:]))
        operators = [features @ (kappa[:, None] * own) for kappa, own in zip(self.kappa, beta, strict=True)]
        return PolynomialRates(np.stack(operators), self.factors, self.power)


def runge_kutta(
    rates: PolynomialRates | KernelRates,
    z: Float[np.ndarray, "batch rank"],
    t: Float[np.ndarray, " time"],
    settings: OperatorInferenceSettings,
    limits: tuple[float, float],
) -> Forecast:
    """Trajectories by the classical fourth-order Runge-Kutta method, two substeps per snapshot.

    A trajectory beyond the blow-up limit stays where it is, and is reported as failed.

    Args:
        rates: per length of the training interval.
        limits: largest norm of the training trajectories, and length of the training interval.
    """
    size, unit = limits
    values = np.empty((len(z), len(t), z.shape[1]))
    values[:, 0] = z
    failed = ~np.isfinite(z).all(axis=1)
    z = np.where(failed[:, None], 0.0, z)
    fine = np.concatenate([np.linspace(a, b, 2 * SUBSTEPS, endpoint=False) for a, b in pairwise(t)])
    known = forcing(np.append(fine, t[-1]), settings.frequencies, rates.factors).transpose(1, 0, 2)
    with np.errstate(all="ignore"):
        for k, dt in enumerate(np.diff(t) / unit):
            h = dt / SUBSTEPS
            for substep in range(SUBSTEPS):
                place = 2 * (SUBSTEPS * k + substep)
                f0, f1, f2 = known[place : place + 3]
                k1 = rates(z, f0)
                k2 = rates(z + h / 2 * k1, f1)
                k3 = rates(z + h / 2 * k2, f1)
                k4 = rates(z + h * k3, f2)
                new = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
                failed |= ~(np.sum(new**2, axis=1) <= (BLOW_UP * size) ** 2)
                z = np.where(failed[:, None], z, new)
            values[:, k + 1] = z
            if failed.all():
                break
    return Forecast(np.where(failed[:, None, None], np.nan, values), failed)
