"""What a campaign is going to do, and what its solves will cost."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod

import numpy as np

from agent.acquisition import initial_design
from agent.config import Config
from agent.status import campaign_status
from solvers.contract import FullOrderModel, Snapshots
from solvers.parameters import ParameterSpace

_BYTES_PER_VALUE = 8
# The first solve of a compiled solver may take seconds of compilation. Where it took longer than this, that hardly
# matters, and a second solve would cost too much.
_WARM_UP_S = 10.0


def centre(space: ParameterSpace) -> dict[str, float]:
    """The middle of the box, each parameter in its own scale."""
    return space.as_dict(space.from_unit(np.full(space.n_params, 0.5)))


@dataclass(frozen=True)
class Plan:
    """A campaign before it runs.

    Attributes:
        initial_points, rounds: size of the initial design, and rounds in all if only the solver runs end it.
        solver_runs, solver_runs_done: the budget, and what an earlier start has used of it.
        n_time, n_state: of one trajectory.
        solve_s: seconds of one solve; the others are sums of such, one after the other.
        disk_bytes: snapshots of training, and of validation at the times that are kept.
        memory_bytes: snapshots of training, which are read and then stacked: twice their size.
    """

    campaign: str
    folder: str
    solver: str
    initial_points: int
    rounds: int
    solver_runs: int
    solver_runs_done: int
    validation_solves: int
    n_time: int
    n_state: int
    solve_s: float
    training_solves_s: float
    validation_solves_s: float
    trajectory_bytes: int
    disk_bytes: int
    memory_bytes: int

    @classmethod
    def of(cls, config: Config, *, n_time: int, n_state: int, solve_s: float) -> "Plan":
        """The plan, given what one solve returns and takes.

        Raises:
            LedgerError: the campaign was started, and its ledger cannot be read.
        """
        n_runs, n_validation = config.budget.solver_runs, _n_validation(config)
        n_initial = len(initial_design(config.problem.space, config.sampling, config.seed))
        trajectory = n_time * n_state * _BYTES_PER_VALUE
        kept = min(n_time, config.validation.n_time or n_time)
        return cls(
            campaign=config.name,
            folder=str(config.folder),
            solver=config.problem.solver,
            initial_points=n_initial,
            rounds=1 + ceil((n_runs - n_initial) / config.sampling.batch),
            solver_runs=n_runs,
            solver_runs_done=campaign_status(config)["solver_runs"],
            validation_solves=n_validation,
            n_time=n_time,
            n_state=n_state,
            solve_s=solve_s,
            training_solves_s=n_runs * solve_s,
            validation_solves_s=n_validation * solve_s,
            disk_bytes=n_runs * trajectory + n_validation * kept * n_state * _BYTES_PER_VALUE,
            trajectory_bytes=trajectory,
            memory_bytes=2 * n_runs * trajectory,
        )


def measured_plan(config: Config) -> Plan:
    """The plan, with the cost of a solve measured at the centre of the box; nothing is stored.

    Raises:
        LedgerError: the campaign was started, and its ledger cannot be read.
        Exception: whatever the solver raises.
    """
    fom = config.problem.spec.build()
    mu = centre(config.problem.space)
    snapshots, solve_s = _timed_solve(fom, mu)
    if solve_s < _WARM_UP_S:
        snapshots, solve_s = _timed_solve(fom, mu)
    return Plan.of(config, n_time=snapshots.t.size, n_state=snapshots.u.shape[1], solve_s=solve_s)


def _timed_solve(fom: FullOrderModel, mu: Mapping[str, float]) -> tuple[Snapshots, float]:
    start = time.perf_counter()
    snapshots = fom.solve(mu)
    return snapshots, time.perf_counter() - start


def _n_validation(config: Config) -> int:
    grid = config.validation.grid
    if grid is None:
        return 0
    return grid**config.problem.space.n_params if isinstance(grid, int) else prod(grid)
