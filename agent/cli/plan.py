"""What a campaign is going to do, and what its solves will cost."""

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
from mlasdi.agent.text import seconds, size
from mlasdi.solvers import FullOrderModel, ParameterSpace, Snapshots
from mlasdi.solvers.adapters import Command
from mlasdi.validation import Finding

_BYTES_PER_VALUE = 8
# The first solve of a compiled solver may take seconds of compilation. Where it took longer than this, that hardly
# matters, and a second solve would cost too much.
_WARM_UP_S = 10.0
# A solve of more seconds than this is too good to be spent on validation alone.
_EXPENSIVE_S = 10.0
# Shares of what there is beyond which a plan is worth a warning: the other points of the box may take longer than the
# one that was tried, and training needs memory for more than the snapshots.
_SHARE_OF_TIME_LIMIT, _SHARE_OF_MEMORY = 0.5, 0.5


def centre(space: ParameterSpace) -> dict[str, float]:
    """The middle of the box, or the nearest feasible point, by name."""
    return space.as_dict(space.centre())


def trial_point(config: Config) -> dict[str, float]:
    """Where a solver is tried out: the centre of the box, or the nearest of the only points that may be solved."""
    space, available = config.problem.space, config.choosable()
    if available is None or not len(available):
        return centre(space)
    distance = np.linalg.norm(space.to_unit(available) - 0.5, axis=1)
    return space.as_dict(available[np.argmin(distance)])


@dataclass(frozen=True)
class Plan:
    """A campaign before it runs.

    Attributes:
        initial_points, rounds: size of the initial design, and rounds in all if only the solver runs end it.
        feasible_share: part of the box that keeps to `problem.constraints`.
        solver_runs, solver_runs_done: the budget, and what an earlier start has used of it.
        n_time, n_state: of one trajectory.
        side_by_side: solves that can run at once, as far as this machine can tell.
        solve_s: seconds of one solve; the others are sums of such, one after the other.
        core_hours: of all these solves.
        wall_s: seconds of all solves with `side_by_side` at once; training and judging the models come on top.
        disk_bytes: snapshots of training, and of validation at the times that are kept.
        memory_bytes: snapshots of training, which are read and then stacked: twice their size.
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
    side_by_side: int
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
        """The plan, given what one solve returns and takes.

        Raises:
            LedgerError: the campaign was started, and its ledger cannot be read.
        """
        n_runs, n_validation = config.budget.solver_runs, _n_validation(config)
        n_initial = len(initial_design(config.problem.space, config.sampling, config.seed, config.choosable()))
        trajectory = n_time * n_state * _BYTES_PER_VALUE
        kept = min(n_time, config.validation.n_time or n_time)
        batch = min(config.sampling.batch, config.budget.solver_runs_per_round or config.sampling.batch)
        rounds = 1 + ceil((n_runs - n_initial) / batch)
        at_once = _side_by_side(config.cluster, most=max(n_initial, batch, n_validation))
        turns = ceil(n_initial / at_once) + (rounds - 1) * ceil(batch / at_once)
        if config.cluster.mode == "asynchronous":  # nobody waits for the others of a batch
            turns = ceil(n_runs / min(at_once, config.sampling.batch))
        turns += ceil(n_validation / at_once)
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
            side_by_side=at_once,
            solve_s=solve_s,
            training_solves_s=n_runs * solve_s,
            validation_solves_s=n_validation * solve_s,
            core_hours=(n_runs + n_validation) * solve_s * config.cluster.solve_cpus / 3600,
            wall_s=turns * solve_s,
            disk_bytes=n_runs * trajectory + n_validation * kept * n_state * _BYTES_PER_VALUE,
            trajectory_bytes=trajectory,
            memory_bytes=2 * n_runs * trajectory,
        )


def concerns(config: Config, plan: Plan) -> list[Finding]:
    """What is doubtful about a plan on this machine, each with the key that changes it."""
    return [Finding(*found) for found in (*_time_concerns(config, plan), *_space_concerns(config, plan))]


def _time_concerns(config: Config, plan: Plan) -> Iterator[tuple[str, str, str]]:
    limit = config.budget.wall_time_s
    if limit is not None and plan.wall_s > limit:
        message = f"the solves alone take about {seconds(plan.wall_s)}, and the campaign may take {seconds(limit)}"
        yield "wall-time", message, "budget.wall_time_s: more; or fewer budget.solver_runs, or a larger sampling.batch"
    core_limit = config.budget.core_hours
    if core_limit is not None and plan.core_hours > core_limit:
        message = f"the solves alone take about {plan.core_hours:.3g} core-hours, and the budget has {core_limit:g}"
        yield (
            "core-hours",
            message,
            "budget.core_hours: more; or fewer solves in budget.solver_runs and validation.grid",
        )
    fom = config.problem.spec.build()
    of_a_run = fom.time_limit_s if isinstance(fom, Command) else None
    if of_a_run is not None and plan.solve_s > _SHARE_OF_TIME_LIMIT * of_a_run:
        message = f"a solve takes {seconds(plan.solve_s)} of at most {seconds(of_a_run)}; others may take longer"
        yield "time-limit", message, "problem.options.time_limit_s: more seconds"
    if plan.validation_solves > plan.solver_runs and plan.solve_s > _EXPENSIVE_S:
        message = f"{plan.validation_solves} solves only judge the result, and {plan.solver_runs} make it"
        yield "validation", message, "validation.grid: fewer points, or null"


def _space_concerns(config: Config, plan: Plan) -> Iterator[tuple[str, str, str]]:
    memory = _memory_bytes()
    if plan.memory_bytes > _SHARE_OF_MEMORY * memory:
        message = f"training reads {size(plan.memory_bytes)} of snapshots; this machine has {size(memory)} of memory"
        yield "memory", message, "problem.options: fewer times or a coarser grid; or fewer budget.solver_runs"
    root = config.root.absolute()
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if plan.disk_bytes > free:
        message = f"the snapshots take {size(plan.disk_bytes)}, and {there} has {size(free)} left"
        yield "disk", message, "root: a folder on a larger disk; or a smaller validation.n_time"


def measured_plan(config: Config) -> Plan:
    """The plan, with the cost of a solve measured at `trial_point`; nothing is stored.

    Raises:
        LedgerError: the campaign was started, and its ledger cannot be read.
        Exception: whatever the solver raises.
    """
    fom = config.problem.spec.build()
    mu = trial_point(config)
    snapshots, solve_s = _timed_solve(fom, mu)
    if solve_s < _WARM_UP_S:
        snapshots, solve_s = _timed_solve(fom, mu)
    return Plan.of(config, n_time=snapshots.t.size, n_state=snapshots.u.shape[1], solve_s=solve_s)


def _timed_solve(fom: FullOrderModel, mu: Mapping[str, float]) -> tuple[Snapshots, float]:
    start = time.perf_counter()
    snapshots = fom.solve(mu)
    return snapshots, time.perf_counter() - start


def _side_by_side(cluster: ClusterSettings, most: int) -> int:
    """Solves that run at once; of a cluster that is not this machine nothing is known, and it may take all."""
    if cluster.executor == "serial":
        return 1
    if cluster.address != "local":
        return most
    room = [floor((cluster.cpus or n_cores()) / cluster.solve_cpus)]
    if cluster.solve_memory_mb is not None:
        room.append(_memory_bytes() // (cluster.solve_memory_mb * 2**20))
    return min(max(min(room), 1), most)


def _memory_bytes() -> int:
    """Of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _n_validation(config: Config) -> int:
    available = config.problem.available()
    if config.validation.rest and available is not None:
        return max(len(available) - config.budget.solver_runs, 0)
    grid = config.validation.grid
    return len(config.problem.space.grid(grid)) if grid is not None else config.validation.sobol or 0
