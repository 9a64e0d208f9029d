"""The wake of a cylinder: periodic vortex shedding, recorded from the same phase at every viscosity."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import Json, Snapshots, SolverError, Start, StateLayout
from mlasdi.solvers.builtin.cylinder_flow import CENTRE, HEIGHT, LENGTH, RADIUS, CylinderFlow
from mlasdi.solvers.builtin.option_ranges import require_at_least, require_positive

# Longest time until the lift crosses zero: several periods, each of which is 0.3 in the benchmark's range.
_MAX_WAIT = 2.0


@dataclass(frozen=True)
class Wake:
    """Speed |u| of the periodic flow past a cylinder in a channel, as a function of the kinematic viscosity `nu`.

    The second benchmark problem of the mLaSDI paper, arXiv 2506.09207, on the geometry of the benchmark DFG 2D-2
    (`CylinderFlow`), where nu = 0.001 is Re = 100. The flow is computed until the transient has decayed. Recording
    starts when the lift crosses zero upwards, located between the time steps, so that all viscosities are in phase at
    t = 0 and can be interpolated.

    Attributes:
        order: polynomial degree of the velocity; that of the pressure is one less.
        maxh, maxh_cylinder: size of the elements, and of those at the cylinder, whose diameter is 0.1.
        dt: time step; limited by the size of the elements, because convection is explicit.
        transient: time before recording may start, from rest. The forces are periodic after t = 3; the flow is when the
            irregular first vortices have left through the outlet at x = 2.2, to 5e-4 after the default time.
        transient_continued: the same when starting from the flow at another viscosity.
        n_t, dt_snapshot: number of snapshots, and the time between them, a multiple of `dt`.
        n_x, n_y: grid of the snapshots: x includes both ends, y excludes the walls, where the speed is zero. Points in
            the cylinder are masked.
    """

    order: int = 4
    maxh: float = 0.06
    maxh_cylinder: float = 0.012
    dt: float = 2.5e-4
    transient: float = 5.5
    transient_continued: float = 4.0
    n_t: int = 201
    dt_snapshot: float = 0.01
    n_x: int = 176
    n_y: int = 36

    def __post_init__(self) -> None:
        require_at_least(self, order=2, n_t=2, n_x=2, n_y=1)
        require_positive(self, "maxh", "maxh_cylinder", "dt", "transient", "transient_continued", "dt_snapshot")
        steps = self.dt_snapshot / self.dt
        if round(steps) < 1 or abs(steps - round(steps)) > 1e-9 * steps:
            raise ValueError(f"dt_snapshot {self.dt_snapshot} must be a multiple of dt {self.dt}")

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return ("nu",)

    @property
    def layout(self) -> StateLayout:
        x = np.linspace(0, LENGTH, self.n_x)
        y = (np.arange(self.n_y) + 0.5) * HEIGHT / self.n_y
        outside = np.hypot(x[:, None] - CENTRE[0], y - CENTRE[1]) > RADIUS
        return StateLayout(fields=("speed",), coordinates={"x": x, "y": y}, mask=outside)

    def identity(self) -> Json:
        return {"solver": "wake", "scheme": "Taylor-Hood, SBDF2, phase-locked", **asdict(self)}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        """Solve at viscosity `nu`, from rest.

        Raises:
            SolverError: `bad-parameters` unless nu > 0; `not-finite`; `not-periodic` if no vortices are shed;
                `missing-package` without NGSolve.
        """
        return self.solve_from(mu, ())

    def solve_from(self, mu: Mapping[str, float], starts: Sequence[Start]) -> Snapshots:
        """Solve from the final flow at the viscosity of `starts` that is nearest by ratio, or from rest.

        The final coefficients of the velocity become the `restart` of the snapshots.
        """
        nu = mu["nu"]
        if not 0 < nu < math.inf:
            raise SolverError("bad-parameters", f"nu = {nu}: the viscosity must be positive and finite")
        flow = CylinderFlow(nu, self.dt, self.order, self.maxh, self.maxh_cylinder)
        nearest_first = sorted(starts, key=lambda start: abs(math.log(start.mu["nu"] / nu)))
        velocity = next(_usable(nearest_first, flow.n_velocity), None)
        if velocity is not None:
            flow.start(velocity)
        _march(flow, self.transient if velocity is None else self.transient_continued)
        u = self._record(flow, _crossing(flow))
        t = np.arange(self.n_t) * self.dt_snapshot
        return Snapshots(t, u, restart=flow.velocity)

    def _record(self, flow: CylinderFlow, phase: float) -> Float[np.ndarray, "time state"]:
        """Snapshots, the first at the fraction `phase` of the last step."""
        layout = self.layout
        x, y = np.meshgrid(*layout.coordinates.values(), indexing="ij")
        points = flow.points(x[layout.mask], y[layout.mask])
        u = np.empty((self.n_t, layout.n_state))
        u[0] = flow.speed(points, phase)
        for row in u[1:]:
            _march(flow, self.dt_snapshot)
            row[:] = flow.speed(points, phase)
        return u


def _usable(starts: Sequence[Start], n_velocity: int) -> Iterator[Float[np.ndarray, " coefficient"]]:
    """Readable velocities on the same mesh; another version of the mesher may make a different one."""
    for start in starts:
        velocity = start.load()
        if velocity is not None and velocity.shape == (n_velocity,) and np.isfinite(velocity).all():
            yield velocity


def _march(flow: CylinderFlow, duration: float) -> None:
    for _ in range(round(duration / flow.dt)):
        flow.step()


def _crossing(flow: CylinderFlow) -> float:
    """Advance until the lift crosses zero upwards; returns at which fraction of the last step, in (0, 1].

    Raises:
        SolverError: `not-periodic`: it does not within `_MAX_WAIT`.
    """
    lifts: list[float] = []
    for _ in range(2 + math.ceil(_MAX_WAIT / flow.dt)):
        flow.step()
        lifts = [*lifts[-2:], flow.lift]
        if len(lifts) == 3 and lifts[1] < 0 <= lifts[2]:
            return _root(*lifts)
    raise SolverError("not-periodic", "the lift does not cross zero: no vortices are shed; take a smaller nu")


def _root(before: float, now: float, after: float) -> float:
    """Root in (0, 1] of the parabola through the values at -1, 0 and 1, for now < 0 <= after."""
    half_curvature, slope = (before + after) / 2 - now, (after - before) / 2
    return -2 * now / (slope + math.sqrt(slope**2 - 4 * half_curvature * now))
