"""The problems of the acquisition benchmark: a solver, a box, and a dense grid of truths that only judges."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from jaxtyping import Float

from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import FullOrderModel, Json, Parameter, ParameterSpace, Snapshots, StateLayout
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.solvers.builtin.vlasov import Vlasov


@dataclass(frozen=True)
class Rod:
    """Heat equation on a rod with cold ends: diffusivity k, and a hot spot that starts at x0."""

    n_x: int = 81
    n_t: int = 26
    parameter_names = ("k", "x0")

    @property
    def layout(self) -> StateLayout:
        return StateLayout(("T",), {"x": np.linspace(0, 1, self.n_x)})

    def identity(self) -> Json:
        return {"solver": "rod", "n_x": self.n_x, "n_t": self.n_t}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        """Exact in time: each eigenvector of the second difference decays by itself."""
        x, t = np.linspace(0, 1, self.n_x), np.linspace(0, 1, self.n_t)
        modes = np.sin(np.pi * np.outer(np.arange(1, self.n_x - 1), x)) * np.sqrt(2 / (self.n_x - 1))
        rates = (2 / x[1] * np.sin(np.pi * x[1] / 2 * np.arange(1, self.n_x - 1))) ** 2
        start = modes @ np.exp(-(((x - mu["x0"]) / 0.15) ** 2))
        return Snapshots(t, np.exp(-mu["k"] * np.outer(t, rates)) * start @ modes)


@dataclass(frozen=True)
class Front:
    """A travelling front whose speed rises steeply across a line of the box; smooth on both sides of it."""

    n_x: int = 121
    n_t: int = 26
    parameter_names = ("a", "b")

    @property
    def layout(self) -> StateLayout:
        return StateLayout(("u",), {"x": np.linspace(0, 1, self.n_x)})

    def identity(self) -> Json:
        return {"solver": "front", "n_x": self.n_x, "n_t": self.n_t}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        x, t = np.linspace(0, 1, self.n_x), np.linspace(0, 1, self.n_t)
        rise = 1 / (1 + np.exp(-(mu["a"] + 0.3 * mu["b"] - 0.85) / 0.1))
        speed = 0.15 + 0.1 * mu["b"] + 0.3 * rise
        return Snapshots(t, 0.5 * (1 - np.tanh((x - 0.2 - speed * t[:, None]) / 0.15)))


@dataclass(frozen=True)
class Study:
    """One problem of the benchmark.

    Attributes:
        every: of the solver's times, those that are kept.
        n_grid: test points along each parameter.
        most_runs: solver runs at which a campaign ends.
        target: the largest error over the test points that a user may want, as a fraction.
        is_judged: whether the default acquisition has to save a fifth of the runs at the target.
    """

    name: str
    fom: FullOrderModel
    space: ParameterSpace
    every: int
    n_grid: int
    most_runs: int
    target: float
    is_judged: bool = False

    @cached_property
    def _solved(self) -> dict[tuple[float, ...], np.ndarray]:
        """Kept snapshots of each point solved so far: campaigns share their initial design."""
        return {}

    @cached_property
    def t(self) -> Float[np.ndarray, " time"]:
        return self.fom.solve(self.space.as_dict(self.space.centre())).t[:: self.every]

    def trajectories(self, mu: Float[np.ndarray, "param n_params"]) -> TrainingData:
        """Solutions at points, each solved once."""
        for row in mu:
            if tuple(row) not in self._solved:
                self._solved[tuple(row)] = self.fom.solve(self.space.as_dict(row)).u[:: self.every].copy()
        u = np.stack([self._solved[tuple(row)] for row in mu])
        return TrainingData(self.space, self.fom.layout, mu, self.t, u)

    def until(self, most_runs: int) -> "Study":
        """The same problem with shorter campaigns."""
        return replace(self, most_runs=most_runs)

    @cached_property
    def test(self) -> TrainingData:
        return self.trajectories(self.space.grid(self.n_grid))


def box(**bounds: tuple[float, float]) -> ParameterSpace:
    return ParameterSpace(tuple(Parameter(name, *ends) for name, ends in bounds.items()))


@cache
def studies() -> tuple[Study, ...]:
    """Two published problems, with the boxes of arXiv 2308.05882, and two that are quick: one whose parameters matter
    unequally, and one that is rough along a line of its box."""
    rod = ParameterSpace((Parameter("k", 0.005, 0.05, scale="log"), Parameter("x0", 0.3, 0.7)))
    vlasov = Vlasov(n_x=64, n_v=64, n_t=26, scheme="splines", steps=10)
    return (
        Study("burgers1d", Burgers1D(), box(a=(0.7, 0.9), w=(0.9, 1.1)), 20, 21, 20, 1e-3, is_judged=True),
        Study("vlasov", vlasov, box(T=(0.9, 1.1), k=(1.0, 1.2)), 1, 11, 20, 3e-2, is_judged=True),
        Study("rod", Rod(), rod, 1, 21, 20, 2e-2),
        Study("front", Front(), box(a=(0.0, 1.0), b=(0.0, 1.0)), 1, 21, 24, 5e-2),
    )
