"""Runs of different lengths as training data: cut off at the end of the shortest one, or in normalised time.

In normalised time, that since the beginning over the length of the run, all runs end together: a battery that is empty,
a mixture that has ignited. The length is then an output of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.preprocessing.settings import MEMORY_MB, RunLength
from mlasdi.preprocessing.training_data import TrainingData
from mlasdi.solvers import ParameterSpace, Snapshots, StateLayout
from mlasdi.solvers.storage import TOLD_UNUSED, StoredRun, stretched, to_common_times

SAME_START = 1e-9  # of the longest run: beginnings that differ by less are equal


def common_runs(
    space: ParameterSpace,
    layout: StateLayout,
    mus: Sequence[Mapping[str, Any]],
    runs: Sequence[Snapshots | StoredRun],
    run_length: RunLength = "auto",
    memory_mb: int = MEMORY_MB,
) -> tuple[TrainingData, dict[str, float]]:
    """Runs at common times, in memory if they fit in it several times, and what became of their times.

    Args:
        layout: fields and grid of all runs.
        mus: the parameters of each run.
        run_length: `shortest` cuts all runs off where the first one ends; `normalised` scales the times of each so that
            all end together; `auto` does so if they begin together and their lengths differ by more than `TOLD_UNUSED`.
        memory_mb: memory for what is as large as the runs.

    Returns:
        The runs, and facts that are saved with a surrogate: `time_interpolation_error`, the estimated relative error of
        interpolation to common times, `unused_time`, the part of the longest run that is not used, and
        `mesh_interpolation_error`, the largest one of the runs.

    Raises:
        ValueError: a run has one time among others with several, runs hardly overlap, or those in normalised time do
            not begin together.
    """
    lengths = _lengths(mus, runs)
    is_normalised = _is_normalised(runs, lengths, run_length)
    if is_normalised:
        longest = runs[int(np.argmax(lengths))].t
        runs = [stretched(run, float(longest[-1])) for run in runs]
    try:
        common = to_common_times(runs)
    except ValueError as error:
        helps = "; model.run_length: normalised uses the whole of each" if run_length == "shortest" else ""
        raise ValueError(f"{error}{helps}") from error
    facts = {
        "time_interpolation_error": common.error,
        "unused_time": common.unused,
        "mesh_interpolation_error": max(run.mesh_interpolation_error for run in runs),
    }
    durations = lengths if is_normalised else None
    data = TrainingData(space, layout, space.as_array(list(mus)), common.t, common.runs, durations=durations)
    return data.limited_to(memory_mb), facts


def _lengths(mus: Sequence[Mapping[str, Any]], runs: Sequence[Snapshots | StoredRun]) -> Float[np.ndarray, " run"]:
    """From the first time to the last of each run."""
    lengths = np.array([run.t[-1] - run.t[0] for run in runs])
    if lengths.any() and not lengths.all():
        mu = {name: float(value) for name, value in mus[int(np.argmin(lengths))].items()}
        raise ValueError(f"the run at {mu} has one time, and others have several: give at least two times of each run")
    return lengths


def _is_normalised(
    runs: Sequence[Snapshots | StoredRun], lengths: Float[np.ndarray, " run"], run_length: RunLength
) -> bool:
    starts = np.array([run.t[0] for run in runs])
    together = bool(np.ptp(starts) <= SAME_START * lengths.max())
    if run_length == "normalised" and not together:
        raise ValueError(
            f"model.run_length normalised: runs begin at times from {starts.min():g} to {starts.max():g}; they must "
            "begin at the same time"
        )
    if run_length == "auto":
        return together and bool(lengths.min() < (1 - TOLD_UNUSED) * lengths.max())
    return run_length == "normalised" and bool(lengths.all())
