"""An analytic field with two scales: the multiscale oscillating system of the mLaSDI paper."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from mlasdi.solvers import Json, Snapshots, SolverError, StateLayout
from mlasdi.solvers.builtin.option_ranges import require_at_least, require_positive


@dataclass(frozen=True)
class Multiscale:
    """u(x, t; A) = A [sin(2x - t) + 0.1 cos((40x + 2t) sin t)] exp(-x^2), on [-x_max, x_max] x [0, t_end].

    A slow travelling wave plus oscillations of a tenth of its amplitude, whose wave number varies between 0 and 40
    within a period (arXiv 2506.09207, section on the multiscale oscillating system). The field is linear in A: it
    tests how a surrogate resolves fine scales, not how it depends on parameters.

    Attributes:
        n_x, n_t: number of grid points and of times, ends included.
        x_max, t_end: half width of the domain and final time, dimensionless.
    """

    n_x: int = 600
    n_t: int = 201
    x_max: float = 3.0
    t_end: float = 2 * np.pi

    def __post_init__(self) -> None:
        require_at_least(self, n_x=2, n_t=2)
        require_positive(self, "x_max", "t_end")

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return ("A",)

    @property
    def layout(self) -> StateLayout:
        return StateLayout(fields=("u",), coordinates={"x": np.linspace(-self.x_max, self.x_max, self.n_x)})

    def identity(self) -> Json:
        return {"solver": "multiscale", **asdict(self)}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        """Evaluate the field at amplitude `A`.

        Raises:
            SolverError: `bad-parameters` when A is not finite.
        """
        amplitude = mu["A"]
        if not np.isfinite(amplitude):
            raise SolverError("bad-parameters", f"A = {amplitude} must be finite")
        (x,) = self.layout.coordinates.values()
        times = np.linspace(0, self.t_end, self.n_t)
        t = times[:, None]
        wave = np.sin(2 * x - t) + 0.1 * np.cos((40 * x + 2 * t) * np.sin(t))
        return Snapshots(times, amplitude * wave * np.exp(-(x**2)))
