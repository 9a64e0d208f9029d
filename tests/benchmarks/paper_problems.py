"""The benchmark problems: training trajectories, and test trajectories that only judge."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from mlasdi.agent.execution import SolverSpec, SolveTask
from mlasdi.agent.execution.solve_task import execute
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import FullOrderModel, Parameter, ParameterSpace
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.solvers.builtin.burgers2d import Burgers2D
from mlasdi.solvers.builtin.multiscale import Multiscale
from mlasdi.solvers.builtin.vlasov import Vlasov
from mlasdi.solvers.storage import SnapshotStore, address

BURGERS_BOX = (Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1))  # of arXiv 2308.05882
BURGERS_EVERY = 10  # of the 1001 times, those in training and test: with all of them the test set takes 3.5 GB
PLANE_EVERY = 2  # of the times of the problems in two dimensions
# Solves of minutes are kept between runs of the benchmarks.
STORE = Path(__file__).parents[2] / "mlruns" / "benchmarks" / "snapshots"
WAKE_NUS = (0.00032, 0.00037, 0.00041, 0.00047, 0.00054)
WAKE_TEST_NU = 0.00043


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
    return Problem("burgers1d", _burgers1d(BURGERS_BOX, n_per_axis), _burgers1d(BURGERS_BOX, 21))


@cache
def scattered_burgers1d() -> Problem:
    """The corners of the same box and five points of a Sobol sequence; the same test points."""
    space = ParameterSpace(BURGERS_BOX)
    mu = np.concatenate([space.grid(2), space.sobol(5, seed=11)])
    train = trajectories(Burgers1D(), space, mu, BURGERS_EVERY)
    return Problem("burgers1d at scattered points", train, _burgers1d(BURGERS_BOX, 21))


@cache
def wide_burgers1d(n_per_axis: int) -> Problem:
    """A tensor grid over a box whose fastest solution runs at five times the rate of the slowest; 8 x 8 test points."""
    box = (Parameter("a", 0.5, 1.2), Parameter("w", 0.5, 1.1))
    return Problem("burgers1d over a wide box", _burgers1d(box, n_per_axis), _burgers1d(box, 8))


@cache
def _burgers1d(box: tuple[Parameter, ...], n_per_axis: int) -> TrainingData:
    space = ParameterSpace(box)
    return trajectories(Burgers1D(), space, space.grid(n_per_axis), BURGERS_EVERY)


@cache
def vlasov() -> Problem:
    """3 x 3 training points; the test set is the rest of a 5 x 5 grid (the box of arXiv 2308.05882)."""
    space = ParameterSpace((Parameter("T", 0.9, 1.1), Parameter("k", 1.0, 1.2)))
    return _every_other("vlasov", trajectories(Vlasov(), space, space.grid(5), PLANE_EVERY))


@cache
def burgers2d() -> Problem:
    """3 x 3 training points; the test set is the rest of a 5 x 5 grid (the box of arXiv 2308.05882)."""
    space = ParameterSpace(BURGERS_BOX)
    return _every_other("burgers2d", trajectories(Burgers2D(), space, space.grid(5), PLANE_EVERY))


def _every_other(name: str, solved: TrainingData) -> Problem:
    """A grid of 5 x 5 points, split into every other one and the rest."""
    row, column = np.divmod(np.arange(25), 5)
    trained = (row % 2 == 0) & (column % 2 == 0)
    train, test = (replace(solved, mu=solved.mu[part], u=solved.u[part]) for part in (trained, ~trained))
    return Problem(name, train, test)


@cache
def wake(nus: tuple[float, ...]) -> Problem:
    """Viscosities `nus` for training, one between them for the test (arXiv 2506.09207)."""
    space = ParameterSpace((Parameter("nu", 0.00032, 0.00054, scale="log"),))
    train, test = (_stored("wake", space, np.array(points)[:, None]) for points in (nus, (WAKE_TEST_NU,)))
    return Problem("wake", train, test)


def _stored(solver: str, space: ParameterSpace, mu: Float[np.ndarray, "param n_params"]) -> TrainingData:
    """Solves at the points `mu`, one going on from another where the solver can; none is done twice.

    Raises:
        RuntimeError: a solve failed.
    """
    spec, store, found = SolverSpec(solver, {}), SnapshotStore(STORE), []
    fom = spec.build()
    for i, row in enumerate(mu):
        point = space.as_dict(row)
        task = SolveTask(i, spec, point, address(fom.identity(), point), str(STORE))
        failure = execute(task).failure
        if failure:
            raise RuntimeError(f"{solver} at {point}: {failure.message}")
        found.append(store.get(task.address))
    return TrainingData(space, fom.layout, mu, found[0].t, np.stack([snapshots.u for snapshots in found]))


def wake_solve_s() -> float:
    """Seconds that the stored solve at the test viscosity of the wake took, which went on from another one's flow."""
    solver, point = "wake", {"nu": WAKE_TEST_NU}
    with h5py.File(SnapshotStore(STORE).path(address(SolverSpec(solver, {}).build().identity(), point))) as file:
        return float(file.attrs["solve_s"])


def all_problems(only: str | None = None) -> Iterator[Problem]:
    """Each solved when its turn comes; without the wake where NGSolve is not installed.

    Args:
        only: name of a solver, whose problems are wanted alone.
    """
    makers: dict[str, list[Callable[[], Problem]]] = {
        "multiscale": [multiscale],
        "burgers1d": [
            *(partial(burgers1d, n) for n in (2, 3, 4)),
            scattered_burgers1d,
            *(partial(wide_burgers1d, n) for n in (3, 4)),
        ],
        "burgers2d": [burgers2d],
        "vlasov": [vlasov],
        "wake": [partial(wake, nus) for nus in (WAKE_NUS[:: len(WAKE_NUS) - 1], WAKE_NUS)],
    }
    if not find_spec("ngsolve"):
        del makers["wake"]
    if only is not None and only not in makers:
        raise ValueError(f"--only {only}: there is none of that name; there are {', '.join(makers)}")
    for name, problems in makers.items():
        if only in (None, name):
            yield from (make() for make in problems)
