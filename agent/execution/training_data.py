"""Solutions in the store, put together as training data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import FullOrderModel, ParameterSpace, Snapshots, StateLayout
from mlasdi.solvers.storage import SnapshotStore, aligned

# An error of interpolation in time beyond this is worth a warning: surrogates can be better than it.
COARSE_TIMES = 1e-3


class SolvesError(Exception):
    """Solutions that the campaign needs are not to be had."""


@dataclass(frozen=True)
class Solution:
    """A stored solution: where it is in parameter space, and where in the store."""

    mu: dict[str, float]
    address: str


def read_snapshots(store: SnapshotStore, solution: Solution) -> Snapshots:
    """A stored solution.

    Raises:
        SolvesError: it is gone from the store.
        DamagedSnapshot: its file is damaged.
    """
    found = store.get(solution.address)
    if found is None:
        raise SolvesError(
            f"the solution at {solution.mu} is missing ({store.path(solution.address)}): put the file back, "
            "or delete the campaign folder to start afresh"
        )
    return found


def read_training_data(
    store: SnapshotStore,
    fom: FullOrderModel,
    space: ParameterSpace,
    solutions: Sequence[Solution],
    warn: Callable[[str], None],
) -> tuple[TrainingData, float]:
    """Solutions on common times, and the estimated relative error of the interpolation that took.

    Raises:
        SolvesError: one is missing, or they hardly overlap in time or differ in their grids.
        DamagedSnapshot: one is damaged.
    """
    found = [read_snapshots(store, solution) for solution in solutions]
    layout = _common_layout(fom, solutions, found)
    try:
        common = aligned(found)
    except ValueError as error:
        raise SolvesError(str(error)) from error
    if common.error > COARSE_TIMES:
        warn(
            f"solutions have different times, and interpolation between them costs about {common.error:.1e} of "
            "their norm: have the solver write more times, or the same for all points"
        )
    mus = np.array([[solution.mu[name] for name in space.names] for solution in solutions])
    return TrainingData(space, layout, mus, common.t, common.u), common.error


def _common_layout(fom: FullOrderModel, solutions: Sequence[Solution], found: Sequence[Snapshots]) -> StateLayout:
    """Fields and grid of all solutions: the solver's, or what they all say."""
    layouts = [fom.layout or snapshots.layout for snapshots in found]
    first = layouts[0]
    if first is None:
        raise SolvesError(f"the solution at {solutions[0].mu} says nothing of its fields and grid")
    for solution, layout in zip(solutions, layouts, strict=True):
        if layout != first:
            raise SolvesError(
                f"the solution at {solution.mu} has other fields or another grid ({_summary(layout)}) than that at "
                f"{solutions[0].mu} ({_summary(first)}): interpolate to one grid in the solver"
            )
    return first


def _summary(layout: StateLayout | None) -> str:
    return "none" if layout is None else f"{', '.join(layout.fields)} on {' x '.join(map(str, layout.shape))}"
