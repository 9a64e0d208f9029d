"""The plan of a campaign: its solves, and their estimated cost."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from mlasdi.agent.choosing import initial_design
from mlasdi.agent.config import Config
from mlasdi.agent.execution import ClusterSettings, n_cores
from mlasdi.agent.report import campaign_status
from mlasdi.formatting import seconds, size
from mlasdi.solvers import FullOrderModel, ParameterSpace, Snapshots, contained
from mlasdi.solvers.adapters import Command
from mlasdi.validation import Finding

_BYTES_PER_VALUE = 8
# The first solve may include seconds of compilation, so a second one is timed, unless the first took longer than this.
_WARM_UP_S = 10.0
# For solves longer than this there is a warning if validation has more solves than training.
_EXPENSIVE_S = 10.0
# Fractions of the time limit and of the memory above which there is a warning: other points may take longer than the
# trial point, and training needs memory besides the snapshots.
_SHARE_OF_TIME_LIMIT, _SHARE_OF_MEMORY = 0.5, 0.5


def centre(space: ParameterSpace) -> dict[str, float]:
    """The centre of the box, or the nearest feasible point, as a mapping."""
    return space.as_dict(space.centre())


def trial_point(config: Config) -> dict[str, float]:
    """The point of a trial solve: the centre of the box, or the nearest of the available points."""
    space, available = config.problem.space, config.choosable()
    if available is None or not len(available):
        return centre(space)
    distance = np.linalg.norm(space.to_unit(available) - 0.5, axis=1)
    return space.as_dict(available[np.argmin(distance)])


@dataclass(frozen=True)
class Plan:
    """A campaign before it runs.

    Attributes:
        campaign, folder, solver: names.
        initial_points, rounds: size of the initial design, and number of rounds until the solver runs are used up.
        feasible_share: fraction of the box that satisfies `problem.constraints`.
        solver_runs, solver_runs_done: the budget, and the runs used so far.
        validation_solves: number of validation solves.
        n_time, n_state: size of one trajectory.
        parallel_solves: number of solves that can run at once, as far as this machine knows.
        solve_s: seconds of one solve.
        training_solves_s, validation_solves_s: seconds of all these solves, one after the other.
        core_hours: of all solves.
        wall_s: seconds of all solves with `parallel_solves` at once, without training and assessment.
        trajectory_bytes: size of one trajectory.
        disk_bytes: size of all training snapshots, and of validation snapshots at the times that are kept.
        memory_bytes: that snapshots take: twice those of a solve, or of the training, which reads large ones in blocks.
    """

    campaign: str
    folder: str
    solver: str
    initial_points: int
    rounds: int
    feasible_share: float
    solver_runs: int
    solver_runs_done: int
    validation_solves: int
    n_time: int
    n_state: int
    parallel_solves: int
    solve_s: float
    training_solves_s: float
    validation_solves_s: float
    core_hours: float
    wall_s: float
    trajectory_bytes: int
    disk_bytes: int
    memory_bytes: int

    @classmethod
    def of(cls, config: Config, *, n_time: int, n_state: int, solve_s: float) -> "Plan":
        """The plan, given the size of a trajectory and the seconds of a solve.

        Raises:
            LedgerError: the campaign was started, and its ledger cannot be read.
        """
        n_runs, n_validation = config.budget.solver_runs, _n_validation(config)
        n_initial = len(initial_design(config.problem.space, config.sampling, config.seed, config.choosable()))
        trajectory = n_time * n_state * _BYTES_PER_VALUE
        kept = min(n_time, config.validation.n_time or n_time)
        batch = min(config.sampling.batch, config.budget.solver_runs_per_round or config.sampling.batch)
        rounds = 1 + ceil((n_runs - n_initial) / batch)
        at_once = _parallel_solves(config.cluster, most=max(n_initial, batch, n_validation))
        n_waves = ceil(n_initial / at_once) + (rounds - 1) * ceil(batch / at_once)
        if config.cluster.mode == "asynchronous":  # the next solve does not wait for others of a batch
            n_waves = ceil(n_runs / min(at_once, config.sampling.batch))
        n_waves += ceil(n_validation / at_once)
        return cls(
            campaign=config.name,
            folder=str(config.folder),
            solver=config.problem.solver,
            initial_points=n_initial,
            rounds=rounds,
            feasible_share=config.problem.space.feasible_share(),
            solver_runs=n_runs,
            solver_runs_done=campaign_status(config)["solver_runs"],
            validation_solves=n_validation,
            n_time=n_time,
            n_state=n_state,
            parallel_solves=at_once,
            solve_s=solve_s,
            training_solves_s=n_runs * solve_s,
            validation_solves_s=n_validation * solve_s,
            core_hours=(n_runs + n_validation) * solve_s * config.cluster.solve_cpus / 3600,
            wall_s=n_waves * solve_s,
            disk_bytes=n_runs * trajectory + n_validation * kept * n_state * _BYTES_PER_VALUE,
            trajectory_bytes=trajectory,
            memory_bytes=max(2 * trajectory, min(2 * n_runs * trajectory, config.cluster.train_memory_mb * 2**20)),
        )


def concerns(config: Config, plan: Plan) -> list[Finding]:
    """Warnings about a plan on this machine, each with the configuration key that helps."""
    return [Finding(*found) for found in (*_time_concerns(config, plan), *_space_concerns(config, plan))]


def _time_concerns(config: Config, plan: Plan) -> Iterator[tuple[str, str, str]]:
    limit = config.budget.wall_time_s
    if limit is not None and plan.wall_s > limit:
        message = f"the solves take about {seconds(plan.wall_s)}, and the campaign is limited to {seconds(limit)}"
        yield "wall-time", message, "a larger budget.wall_time_s, fewer budget.solver_runs, or a larger sampling.batch"
    core_limit = config.budget.core_hours
    if core_limit is not None and plan.core_hours > core_limit:
        message = f"the solves take about {plan.core_hours:.3g} core-hours, and the budget has {core_limit:g}"
        yield "core-hours", message, "a larger budget.core_hours, or fewer budget.solver_runs or validation.grid"
    fom = config.problem.spec.build()
    of_a_run = fom.time_limit_s if isinstance(fom, Command) else None
    if of_a_run is not None and plan.solve_s > _SHARE_OF_TIME_LIMIT * of_a_run:
        message = f"a solve takes {seconds(plan.solve_s)}, the limit is {seconds(of_a_run)}; others may take longer"
        yield "time-limit", message, "a larger problem.options.time_limit_s"
    if plan.validation_solves > plan.solver_runs and plan.solve_s > _EXPENSIVE_S:
        message = f"{plan.validation_solves} solves are for validation, and only {plan.solver_runs} for training"
        yield "validation", message, "fewer points in validation.grid, or null"


def _space_concerns(config: Config, plan: Plan) -> Iterator[tuple[str, str, str]]:
    memory = _memory_bytes()
    if plan.memory_bytes > _SHARE_OF_MEMORY * memory:
        message = f"snapshots need {size(plan.memory_bytes)} of memory; this machine has {size(memory)}"
        yield "memory", message, "fewer times or a coarser grid in problem.options, or fewer budget.solver_runs"
    root = config.root.absolute()
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if plan.disk_bytes > free:
        message = f"the snapshots take {size(plan.disk_bytes)}, and {there} has {size(free)} of free space"
        yield "disk", message, "a root on a larger disk, or a smaller validation.n_time"


def measured_plan(config: Config) -> Plan:
    """The plan, with the cost of a solve measured at `trial_point`; nothing is stored.

    Raises:
        LedgerError: the campaign was started, and its ledger cannot be read.
        Exception: any exception of the solver.
    """
    fom = config.problem.spec.build()
    mu = trial_point(config)
    snapshots, solve_s = timed_solve(fom, mu)
    if solve_s < _WARM_UP_S:
        snapshots, solve_s = timed_solve(fom, mu)
    return Plan.of(config, n_time=snapshots.t.size, n_state=snapshots.u.shape[1], solve_s=solve_s)


def timed_solve(fom: FullOrderModel, mu: Mapping[str, float]) -> tuple[Snapshots, float]:
    """A solution, and the seconds that it took."""
    start = time.perf_counter()
    with contained():
        snapshots = fom.solve(mu)
    return snapshots, time.perf_counter() - start


def _parallel_solves(cluster: ClusterSettings, most: int) -> int:
    """Number of solves that run at once; all of them on a cluster, of which nothing is known."""
    if cluster.executor == "serial":
        return 1
    if cluster.executor == "slurm" or cluster.address != "local":
        return most
    room = [floor((cluster.cpus or n_cores()) / cluster.solve_cpus)]
    if cluster.solve_memory_mb is not None:
        room.append(_memory_bytes() // (cluster.solve_memory_mb * 2**20))
    return min(max(min(room), 1), most)


def _memory_bytes() -> int:
    """Memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _n_validation(config: Config) -> int:
    available = config.problem.available()
    if config.validation.rest and available is not None:
        return max(len(available) - config.budget.solver_runs, 0)
    grid = config.validation.grid
    return len(config.problem.space.grid(grid)) if grid is not None else config.validation.sobol or 0
