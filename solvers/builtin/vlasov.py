"""The Vlasov-Poisson system in one space and one velocity dimension: the two-stream instability, with two schemes."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Literal, no_type_check

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import Json, Snapshots, SolverError, StateLayout
from mlasdi.solvers.builtin.option_ranges import require_at_least, require_positive
from mlasdi.solvers.compilation import compiled

BEAM_VELOCITY = 2.0
PERTURBATION = 0.1  # of the density, relative
MEAN_DENSITY = 16.0
MAX_AT_ENDS = 0.03  # largest f at the ends of the velocity axis, relative to its maximum; see the class
MAX_OVERSHOOT = 0.1  # relative to the maximum of f: the exact f never leaves the range of its initial values


@dataclass(frozen=True)
class Vlasov:
    """f_t + v f_x + E f_v = 0, E_x = rho - <rho>, rho = int f dv, periodic in x; <.> is the mean over the domain.

    Two beams of temperature T with a perturbation of wave number k (Bonneville et al., GPLaSDI, arXiv 2308.05882):

        f(x, v, 0) = 8 / sqrt(2 pi T) (1 + 0.1 cos k x) (exp(-(v - 2)^2 / 2T) + exp(-(v + 2)^2 / 2T)).

    Everything is dimensionless. E is minus the usual field: electrons are accelerated along it.

    `scheme: weno5` is the fifth-order finite-difference WENO scheme of Jiang and Shu (J. Comput. Phys. 126, 1996),
    upwind, because the speed along each grid line is constant, with the classical Runge-Kutta scheme in time. `splines`
    is Strang splitting with exact shifts of periodic cubic splines (Cheng and Knorr, J. Comput. Phys. 22, 1976): an
    independent discretisation in x, v and t by which the first is checked. The electric field is exact for the
    trigonometric polynomial through rho. The schemes agree to 1e-2 until the filaments of f become thinner than the
    grid, after t = 3 at the default resolution.

    Both schemes are periodic in v too: f that leaves at one end enters at the other, and mass is conserved to rounding.
    In the published range of T and k, f reaches 1 % of its maximum at the ends of the default velocity range near
    t = 5. This changes the solution by less than 1e-3 (relative L2, compared with a range 1.5 times as wide). Above 3 %
    the solver raises an error that asks for a wider range.

    `domain: matched` makes the domain one wavelength long, 2 pi / k. The coordinate of the state is then the phase `kx`
    in [0, 2 pi), so that the grid does not depend on mu. `fixed` keeps the length 2 pi for every k, as published; the
    initial state then jumps at the boundary unless k is an integer.

    Attributes:
        n_x, n_v: number of grid points; of both ends of a period only the left one is a grid point.
        n_t: number of snapshots, ends included.
        t_end, v_max: final time, and half width of the velocity range.
        steps: time steps from one snapshot to the next. WENO is stable for v_max dt / dx up to about 1.4, which holds
            with 3 steps for k up to 1.4; the splines are stable for any time step.
    """

    n_x: int = 128
    n_v: int = 128
    n_t: int = 251
    t_end: float = 5.0
    v_max: float = 7.0
    scheme: Literal["weno5", "splines"] = "weno5"
    domain: Literal["matched", "fixed"] = "matched"
    steps: int = 3

    def __post_init__(self) -> None:
        require_at_least(self, n_x=8, n_v=8, n_t=2, steps=1)
        require_positive(self, "t_end", "v_max")
        for name, allowed in (("scheme", ("weno5", "splines")), ("domain", ("matched", "fixed"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} '{getattr(self, name)}' is unknown; allowed: {', '.join(allowed)}")

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return ("T", "k")

    @property
    def v(self) -> Float[np.ndarray, " n_v"]:
        """Velocities of the grid, in [-v_max, v_max)."""
        return -self.v_max + 2 * self.v_max / self.n_v * np.arange(self.n_v)

    @property
    def layout(self) -> StateLayout:
        along_x = "kx" if self.domain == "matched" else "x"
        return StateLayout(fields=("f",), coordinates={along_x: self.x(2 * np.pi), "v": self.v})

    @property
    def dt(self) -> float:
        """Length of a time step."""
        return self.t_end / (self.n_t - 1) / self.steps

    def identity(self) -> Json:
        return {"solver": "vlasov", "boundaries": "periodic in x and v", **asdict(self)}

    def x(self, length: float) -> Float[np.ndarray, " n_x"]:
        """Positions of the grid in a domain of the given length."""
        return length / self.n_x * np.arange(self.n_x)

    def length(self, k: float) -> float:
        """Length of the domain at the wave number `k`."""
        return 2 * np.pi / k if self.domain == "matched" else 2 * np.pi

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        """Solve at temperature `T` of the beams and wave number `k` of the perturbation.

        Raises:
            SolverError: `bad-parameters` unless T > 0 and k > 0, or if f reaches the ends of the velocity range;
                `not-finite` or `not-converged` if the time step is too long.
        """
        temperature, k = mu["T"], mu["k"]
        if not (0 < temperature < np.inf and 0 < k < np.inf):
            raise SolverError("bad-parameters", f"T = {temperature}, k = {k}: both must be positive and finite")
        length = self.length(k)
        density = MEAN_DENSITY / 2 * (1 + PERTURBATION * np.cos(k * self.x(length)))
        beams = sum(np.exp(-((self.v - u) ** 2) / (2 * temperature)) for u in (-BEAM_VELOCITY, BEAM_VELOCITY))
        f = self.advance(density[:, None] * beams / np.sqrt(2 * np.pi * temperature), length)
        return Snapshots(np.linspace(0, self.t_end, self.n_t), f.reshape(self.n_t, -1))

    def advance(
        self, f0: Float[np.ndarray, "n_x n_v"], length: float, coupling: float = 1.0
    ) -> Float[np.ndarray, "n_t n_x n_v"]:
        """The snapshots from any initial state, in a domain of any length.

        Args:
            coupling: factor on the electric field; with 0, f streams freely: f(x, v, t) = f0(x - v t, v).

        Raises:
            SolverError: as `solve`, except for T and k.
        """
        f = np.empty((self.n_t, *f0.shape))
        f[0] = f0
        if self.scheme == "weno5":
            integral = coupling * field_of_density(self.n_x, length)
            _weno_march(f, self.v, integral, length / self.n_x, self.dt, self.steps)
        else:
            self._spline_march(f, length, coupling)
        self._check_range(f, length)
        self._check_ends(f)
        return f

    def _spline_march(self, f: Float[np.ndarray, "n_t n_x n_v"], length: float, coupling: float) -> None:
        """Fill f[1:] from f[0] by Strang splitting."""
        dx, dv = length / self.n_x, 2 * self.v_max / self.n_v
        integral = coupling * field_of_density(self.n_x, length)
        half, whole = (_shift_symbol(self.v * share * self.dt / dx, self.n_x).T for share in (0.5, 1.0))
        for before, after in pairwise(f):
            now = _shifted(before, half, axis=0)
            for step in range(self.steps):
                kick = integral @ (now.sum(axis=1) * dv) * self.dt / dv
                now = _shifted(now, _shift_symbol(kick, self.n_v), axis=1)
                now = _shifted(now, half if step == self.steps - 1 else whole, axis=0)
            after[:] = now

    def _check_range(self, f: Float[np.ndarray, "n_t n_x n_v"], length: float) -> None:
        """Check stability: the exact f stays in the range of its initial values, an unstable one does not."""
        margin = MAX_OVERSHOOT * np.abs(f[0]).max()
        low, high = f[0].min() - margin, f[0].max() + margin
        inside = (f.min(axis=(1, 2)) >= low) & (f.max(axis=(1, 2)) <= high)  # also false for NaN
        if inside.all():
            return
        first = int(np.argmin(inside))
        courant = self.v_max * self.dt * self.n_x / length
        raise SolverError(
            "not-converged" if np.isfinite(f[first]).all() else "not-finite",
            f"f leaves the range of the initial state by snapshot {first} (t = {first * self.dt * self.steps:.4g}); "
            f"v_max dt / dx is {courant:.2f}: take more steps than {self.steps}, or a finer grid",
        )

    def _check_ends(self, f: Float[np.ndarray, "n_t n_x n_v"]) -> None:
        share = np.abs(f[:, :, [0, -1]]).max(axis=(1, 2)) / np.abs(f[0]).max()
        if share.max() > MAX_AT_ENDS:
            first = int(np.argmax(share > MAX_AT_ENDS))
            raise SolverError(
                "bad-parameters",
                f"at the ends of the velocity range, f is {share[first]:.2g} of its maximum (t = "
                f"{first * self.dt * self.steps:.4g}), above {MAX_AT_ENDS:g}; take a v_max above {self.v_max:g}",
            )


def field_of_density(n: int, length: float) -> Float[np.ndarray, "n n"]:
    """Matrix that maps rho to E with E_x = rho - <rho> and <E> = 0, exact for trigonometric polynomials."""
    wave_number = 2 * np.pi / length * np.arange(n // 2 + 1)
    symbol = np.zeros(n // 2 + 1, dtype=complex)
    inner = slice(1, (n + 1) // 2)  # the antiderivative of the highest mode of an even grid is zero at all grid points
    symbol[inner] = 1 / (1j * wave_number[inner])
    return np.fft.irfft(symbol[:, None] * np.fft.rfft(np.eye(n), axis=0), n, axis=0)


def _shift_symbol(shift: Float[np.ndarray, " line"], n: int) -> np.ndarray:
    """Fourier symbol `[line, n // 2 + 1]` of the interpolating periodic cubic spline shifted right by `shift` cells."""
    angle = 2 * np.pi / n * np.arange(n // 2 + 1)
    whole = np.floor(shift)
    s = (shift - whole)[:, None]
    # B-spline weights of the grid points at the distances -1 - s, -s, 1 - s, 2 - s.
    weights = [(1 - s) ** 3, 3 * s**3 - 6 * s**2 + 4, -3 * s**3 + 3 * s**2 + 3 * s + 1, s**3]
    wave = np.exp(-1j * angle)
    moved = sum(w * wave ** (m - 1) for m, w in enumerate(weights)) / 6
    return moved * np.exp(-1j * whole[:, None] * angle) / (2 / 3 + np.cos(angle) / 3)


def _shifted(f: Float[np.ndarray, "n_x n_v"], symbol: np.ndarray, axis: int) -> Float[np.ndarray, "n_x n_v"]:
    return np.fft.irfft(symbol * np.fft.rfft(f, axis=axis), f.shape[axis], axis=axis)


# `no_type_check`: the shape checker that runs in tests must not wrap functions that numba compiles.
@compiled
@no_type_check
def _weno_march(f, v, integral, dx, dt, steps):
    """Fill `f[1:]` [time, x, v] from `f[0]`, with `steps` Runge-Kutta steps of length `dt` in between."""
    stage, rate, total = np.empty_like(f[0]), np.empty_like(f[0]), np.empty_like(f[0])
    for snapshot in range(1, f.shape[0]):
        now = f[snapshot]
        now[:] = f[snapshot - 1]
        for _ in range(steps):
            _rate(rate, now, v, integral, dx)
            total[:] = rate
            for ahead, weight in ((0.5, 2.0), (0.5, 2.0), (1.0, 1.0)):
                stage[:] = now + ahead * dt * rate
                _rate(rate, stage, v, integral, dx)
                total += weight * rate
            now += dt / 6 * total


@compiled
@no_type_check
def _rate(rate, f, v, integral, dx):
    """Write f_t = -(v f)_x - (E f)_v to `rate`."""
    n_x, n_v = f.shape
    dv = v[1] - v[0]
    rho = np.empty(n_x)
    for i in range(n_x):
        rho[i] = np.sum(f[i]) * dv
    left, right = np.empty(n_v), np.empty(n_v)
    _flux_along_x(left, f, v, n_x - 1)
    for i in range(n_x):
        _flux_along_x(right, f, v, i)
        for j in range(n_v):
            rate[i, j] = (left[j] - right[j]) / dx
        left, right = right, left
    padded, flux = np.empty(n_v + 6), np.empty(n_v + 1)
    for i in range(n_x):
        field = np.sum(integral[i] * rho)
        padded[3 : n_v + 3] = f[i]
        padded[:3] = f[i, n_v - 3 :]
        padded[n_v + 3 :] = f[i, :3]
        _flux_along_v(flux, padded, field)
        for j in range(n_v):
            rate[i, j] += (flux[j] - flux[j + 1]) / dv


@compiled
@no_type_check
def _flux_along_x(flux, f, v, i):
    """v f at the face between x_i and x_{i+1}, for every v."""
    n = f.shape[0]
    a, b, c = f[(i - 2) % n], f[(i - 1) % n], f[i]
    d, e, g = f[(i + 1) % n], f[(i + 2) % n], f[(i + 3) % n]
    n_negative = np.searchsorted(v, 0.0)
    for j in range(n_negative):
        flux[j] = v[j] * _weno(g[j], e[j], d[j], c[j], b[j])
    for j in range(n_negative, v.size):
        flux[j] = v[j] * _weno(a[j], b[j], c[j], d[j], e[j])


@compiled
@no_type_check
def _flux_along_v(flux, f, field):
    """E f at the faces of one row of f, which is extended periodically by three values on either side."""
    if field > 0:
        for j in range(flux.size):
            flux[j] = field * _weno(f[j], f[j + 1], f[j + 2], f[j + 3], f[j + 4])
    else:
        for j in range(flux.size):
            flux[j] = field * _weno(f[j + 5], f[j + 4], f[j + 3], f[j + 2], f[j + 1])


@compiled
@no_type_check
def _weno(a, b, c, d, e):
    """Value at the face right of c for flow from the left: weights d_k / (1e-6 + beta_k)^2, with a single division."""
    s0 = (1e-6 + 13 / 12 * (a - 2 * b + c) ** 2 + 1 / 4 * (a - 4 * b + 3 * c) ** 2) ** 2
    s1 = (1e-6 + 13 / 12 * (b - 2 * c + d) ** 2 + 1 / 4 * (b - d) ** 2) ** 2
    s2 = (1e-6 + 13 / 12 * (c - 2 * d + e) ** 2 + 1 / 4 * (3 * c - 4 * d + e) ** 2) ** 2
    w0, w1, w2 = s1 * s2, 6 * s0 * s2, 3 * s0 * s1
    q0, q1, q2 = 2 * a - 7 * b + 11 * c, -b + 5 * c + 2 * d, 2 * c + 5 * d - e
    return (w0 * q0 + w1 * q1 + w2 * q2) / (6 * (w0 + w1 + w2))
