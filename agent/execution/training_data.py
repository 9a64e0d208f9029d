"""Reads training data from the store of solutions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mlasdi.preprocessing import MAX_IN_MEMORY, MEMORY_MB, RunLength, TrainingData, common_runs
from mlasdi.solvers import FullOrderModel, ParameterSpace, Snapshots, StateLayout, initial_state
from mlasdi.solvers.storage import TOLD_TIME_ERROR, TOLD_UNUSED, SnapshotStore, StoredRun

# Sobol points at which initial states are asked for, and their seed; those of designs and validation are other ones.
N_STARTS, START_SEED = 128, 2**31 - 2


class SolvesError(Exception):
    """Solutions that the campaign needs are missing or do not match."""


@dataclass(frozen=True)
class Solution:
    """A stored solution: its parameters, and its address in the store."""

    mu: dict[str, float]
    address: str


def read_snapshots(store: SnapshotStore, solution: Solution) -> Snapshots | StoredRun:
    """A stored solution; the states of a large one are read when they are asked for.

    Raises:
        SolvesError: it is missing from the store.
        DamagedSnapshot: its file is damaged.
    """
    found = _opened(store, solution)
    is_large = 8 * found.u.shape[0] * found.u.shape[1] > MAX_IN_MEMORY
    return found if is_large else Snapshots(found.t, found.u[:], found.layout)


def _opened(store: SnapshotStore, solution: Solution) -> StoredRun:
    """A stored solution, whose states are read when they are asked for.

    Raises:
        SolvesError: it is missing from the store.
        DamagedSnapshot: its file is damaged.
    """
    found = store.open(solution.address)
    if found is None:
        raise SolvesError(
            f"the solution at {solution.mu} is missing ({store.path(solution.address)}): restore the file, "
            "or delete the campaign folder to start afresh"
        )
    return found


def read_training_data(
    store: SnapshotStore,
    fom: FullOrderModel,
    space: ParameterSpace,
    solutions: Sequence[Solution],
    warn: Callable[[str], None],
    memory_mb: int = MEMORY_MB,
    run_length: RunLength = "auto",
) -> tuple[TrainingData, dict[str, float]]:
    """Solutions at common times, in memory if they fit in it several times, and what became of their times.

    Args:
        warn: called with a message if the error of interpolation in time exceeds `TOLD_TIME_ERROR`, or if more than
            `TOLD_UNUSED` of the longest run is not used.
        memory_mb: memory for what is as large as the solutions.
        run_length: what is done with runs of different lengths, as for `common_runs`.

    Returns:
        As `common_runs`.

    Raises:
        SolvesError: one is missing, or their times hardly overlap, or their fields or grids differ.
        DamagedSnapshot: one is damaged.
    """
    found = [_opened(store, solution) for solution in solutions]
    data, facts = common_data(fom, space, [solution.mu for solution in solutions], found, memory_mb, run_length)
    if facts["time_interpolation_error"] > TOLD_TIME_ERROR:
        warn(
            f"solutions have different times, and interpolation in time has a relative error of about "
            f"{facts['time_interpolation_error']:.1e}: let the solver write more times, or the same times at all points"
        )
    if facts["unused_time"] > TOLD_UNUSED:
        warn(
            f"runs have different lengths: the model covers times from {data.t[0]:g} to {data.t[-1]:g}, which all "
            f"have, and {100 * facts['unused_time']:.2g} % of the longest run is not used: let the solver run to the "
            "same time at all points"
        )
    return data, facts


def initial_states(
    fom: FullOrderModel, space: ParameterSpace, mus: Sequence[Mapping[str, float]]
) -> tuple[Float[np.ndarray, "point n_params"], Float[np.ndarray, "point state"]] | None:
    """Points and the initial states there, if the solver gives them without a solve; else None.

    The points are those that are given and more all over the box, between which others can be interpolated.

    Raises:
        SolvesError: the solver fails to give one, or they have different shapes.
    """
    first = initial_state(fom, mus[0])
    if first is None:
        return None
    corners = space.corners() if space.n_corners <= N_STARTS else np.empty((0, space.n_params))
    points = np.concatenate([space.as_array(list(mus)), corners, space.sobol(N_STARTS, START_SEED)])
    points = np.unique(points, axis=0)
    try:
        states = [initial_state(fom, space.as_dict(mu)) for mu in points]
    except Exception as error:  # a user's solver may fail in any way
        raise SolvesError(f"the solver does not give the initial state at a point of the box: {error}") from error
    if any(state is None or state.shape != first.shape for state in states):
        raise SolvesError("the solver gives initial states of different shapes over the box, or none at some points")
    return points, np.array(states)


def common_data(
    fom: FullOrderModel,
    space: ParameterSpace,
    mus: Sequence[Mapping[str, float]],
    found: Sequence[Snapshots | StoredRun],
    memory_mb: int = MEMORY_MB,
    run_length: RunLength = "auto",
) -> tuple[TrainingData, dict[str, float]]:
    """Solutions at common times, and the facts that `read_training_data` returns.

    Raises:
        SolvesError: their times hardly overlap, or their fields or grids differ.
    """
    layout = _common_layout(fom, mus, found)
    try:
        return common_runs(space, layout, mus, found, run_length, memory_mb)
    except ValueError as error:
        raise SolvesError(str(error)) from error


def _common_layout(
    fom: FullOrderModel, mus: Sequence[Mapping[str, float]], found: Sequence[Snapshots | StoredRun]
) -> StateLayout:
    """Fields and grid of all solutions, from the solver or from the solutions."""
    layouts = [fom.layout or snapshots.layout for snapshots in found]
    first = layouts[0]
    if first is None:
        raise SolvesError(f"the solution at {mus[0]} has no fields and grid")
    for mu, layout in zip(mus, layouts, strict=True):
        if layout != first:
            raise SolvesError(
                f"the solution at {mu} has other fields or another grid ({_summary(layout)}) than that at "
                f"{mus[0]} ({_summary(first)}): interpolate all to one grid in the solver"
            )
    return first


def _summary(layout: StateLayout | None) -> str:
    return "none" if layout is None else layout.summary()
