"""What is measured on the flow past a cylinder: periods and forces of the shedding, forces of the steady flow."""

from dataclasses import dataclass

import numpy as np

from mlasdi.solvers.builtin.cylinder_flow import RADIUS, U_MEAN, CylinderFlow
from mlasdi.solvers.builtin.wake import Wake


@dataclass(frozen=True)
class Shedding:
    """One viscosity's vortices: period, and the largest coefficients in a period."""

    period: float
    drag_max: float
    lift_max: float

    @property
    def strouhal(self) -> float:
        return 2 * RADIUS / (U_MEAN * self.period)


def flow_of(fom: Wake, nu: float) -> CylinderFlow:
    return CylinderFlow(nu, fom.dt, fom.order, fom.maxh, fom.maxh_cylinder)


def forces(flow: CylinderFlow, duration: float) -> np.ndarray:
    """Drag and lift after every step, `[step, 2]`."""
    history = []
    for _ in range(round(duration / flow.dt)):
        flow.step()
        history.append((flow.drag, flow.lift))
    return np.array(history)


def shedding(fom: Wake, nu: float, transient: float, n_periods: int = 3) -> Shedding:
    """Mean period, and forces, over the first periods after a transient."""
    flow = flow_of(fom, nu)
    forces(flow, transient)
    drag, lift = forces(flow, (n_periods + 1) * 0.35).T
    rising = np.flatnonzero((lift[:-1] < 0) & (lift[1:] >= 0))[: n_periods + 1]
    crossings = rising + lift[rising] / (lift[rising] - lift[rising + 1])
    one = slice(rising[-2], rising[-1] + 1)
    period = (crossings[-1] - crossings[0]) / (rising.size - 1) * flow.dt
    return Shedding(float(period), float(drag[one].max()), float(lift[one].max()))
