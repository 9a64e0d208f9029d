"""The benchmark problems: training trajectories, and test trajectories that only judge."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float

from mlasdi.training import TrainingData
from solvers.burgers import Burgers1D
from solvers.contract import FullOrderModel
from solvers.multiscale import Multiscale
from solvers.parameters import Parameter, ParameterSpace

BURGERS_EVERY = 10  # of the 1001 times, those in training and test: with all of them the test set takes 3.5 GB


@dataclass(frozen=True)
class Problem:
    """One problem with its training points.

    Attributes:
        name: of the solver.
        train: solves that the methods see.
        test: solves at the test points, on the times and the grid of `train`.
    """

    name: str
    train: TrainingData
    test: TrainingData

    @property
    def n_solves(self) -> int:
        return len(self.train.mu)

    @property
    def label(self) -> str:
        return f"{self.name}, {self.n_solves} solves"


def trajectories(
    fom: FullOrderModel, space: ParameterSpace, mu: Float[np.ndarray, "param n_params"], every: int = 1
) -> TrainingData:
    """Solves at the points `mu`, every so many times."""
    n_time = len(fom.solve(space.as_dict(mu[0])).t[::every])
    u = np.empty((len(mu), n_time, fom.layout.n_state))
    for i, row in enumerate(mu):
        snapshots = fom.solve(space.as_dict(row))
        u[i] = snapshots.u[::every]
    return TrainingData(space, fom.layout, mu, snapshots.t[::every], u)


@cache
def multiscale() -> Problem:
    """Amplitudes 1 and 1.4 for training, 1.2 for the test (arXiv 2506.09207)."""
    space, fom = ParameterSpace((Parameter("A", 1.0, 1.4),)), Multiscale()
    return Problem(
        "multiscale",
        trajectories(fom, space, np.array([[1.0], [1.4]])),
        trajectories(fom, space, np.array([[1.2]])),
    )


@cache
def burgers1d(n_per_axis: int) -> Problem:
    """A tensor grid of training points; 21 x 21 test points, which hold the training points (arXiv 2308.05882)."""
    return Problem("burgers1d", _burgers1d(n_per_axis), _burgers1d(21))


@cache
def _burgers1d(n_per_axis: int) -> TrainingData:
    space = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))
    return trajectories(Burgers1D(), space, space.grid(n_per_axis), BURGERS_EVERY)


def all_problems() -> list[Problem]:
    return [multiscale(), *(burgers1d(n) for n in (2, 3, 4))]
