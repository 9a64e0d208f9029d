"""The training trajectories in their similarity variables: what the basis and the stages are fitted to."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from mlasdi.alignment.coordinate_scaling import CoordinateScaling
from mlasdi.alignment.misalignment import AlignmentObjective
from mlasdi.alignment.missing_values import MissingValues, fill_missing
from mlasdi.alignment.scaling_exponents import ScalingExponents
from mlasdi.alignment.search import GAIN, TIME_GAIN, Search
from mlasdi.alignment.time_scaling import COMMON_TIMES, TimeScaling, TrajectorySplines
from mlasdi.preprocessing import BasisSettings, PodBasis
from mlasdi.solvers import StateLayout

CHECKED_TIMES = 11  # at which the cost of resampling in space is looked at
SMALLEST_MODE = 1e-10  # in time, of the largest: smaller ones are rounding
MOST_POINTS = 32  # by which the exponents are found; more would not tell more of so few numbers


@dataclass(frozen=True)
class Aligned:
    """Training trajectories at equal own times, in own coordinates and units.

    Attributes:
        basis: of the own states.
        c: POD coordinates `[point, time, rank]`.
        clock: of the own times.
        frame: own coordinates and units; None where they are those of the states.
        recorded: the trajectories before they were brought to own times; None where times are common.
        gaps: own coordinates that some trajectory does not reach; None where there are none.
    """

    basis: PodBasis
    c: Float[np.ndarray, "point time rank"]
    time_scaling: TimeScaling = COMMON_TIMES
    coordinate_scaling: CoordinateScaling | None = None
    trajectory_splines: TrajectorySplines | None = None
    missing: MissingValues | None = None

    @property
    def is_common(self) -> bool:
        """Whether these are the variables of the states."""
        return self.coordinate_scaling is None and self.time_scaling.is_common


def aligned(
    x: Float[np.ndarray, "point d"],
    t: Float[np.ndarray, " time"],
    u: Float[np.ndarray, "point time state"],
    layout: StateLayout,
    spans: tuple[float, ...],
    settings: BasisSettings,
    *,
    time_scaling: bool,
    coordinate_scaling: bool,
) -> Aligned:
    """The trajectories in the similarity variables that are worthwhile, if any are.

    There are none where the points are too few to tell the exponents of all parameters apart.

    Args:
        x: points of the unit cube.
        t: times from 0 to 1.
        spans: see `mlasdi.alignment.time_scaling.log_parameters`.
        settings: of the basis.
        clock: whether points may have a clock of their own.
        frame: whether they may have coordinates and units of their own.
    """
    basis = PodBasis.fit(u, settings, len(layout.fields))
    common = Aligned(basis, basis.project(u))
    first = x[:MOST_POINTS]
    identifiable = np.linalg.matrix_rank(first - first.mean(axis=0)) == x.shape[1]
    if not (time_scaling or coordinate_scaling) or not identifiable:
        return common
    objective = AlignmentObjective.of(first, layout, t, common.c[:MOST_POINTS], basis, spans)
    found = Search(objective, time_scaling, coordinate_scaling).run()
    if found.time_scaling(spans).rate(x).max() < 1 - 1e-9:
        # Nothing tells how what runs fastest ends.
        found = Search(objective, False, coordinate_scaling).run()
    return _transformed(x, t, u, layout, settings, objective, found, common)


def _transformed(
    x: Float[np.ndarray, "point d"],
    t: Float[np.ndarray, " time"],
    u: Float[np.ndarray, "point time state"],
    layout: StateLayout,
    settings: BasisSettings,
    objective: AlignmentObjective,
    found: ScalingExponents,
    common: Aligned,
) -> Aligned:
    """The trajectories in these variables, unless they lose more on the way than is gained."""
    time_scaling, coordinate_scaling = (
        found.time_scaling(objective.spans),
        found.coordinate_scaling(layout, objective.spans),
    )
    per_node = np.sqrt(layout.n_points)
    before, after = per_node * objective.selection_rmse(found.none_like()), per_node * objective.selection_rmse(found)
    result, lost = common, 0.0
    if not coordinate_scaling.is_common:
        lost = _spatial_resampling_error(coordinate_scaling, x, u, common.basis)
        result = _in_frame(coordinate_scaling, x, u, _time_modes(common.c), common.basis.truncation_error, settings)
    if not time_scaling.is_common:
        trajectory_splines = TrajectorySplines.of(x, t, result.c, result.basis.mean_coordinates)
        lost = float(np.hypot(lost, result.basis.scale * trajectory_splines.resampling_error(time_scaling, t)))
        result = replace(
            result,
            c=trajectory_splines.resample_to_rescaled_time(time_scaling, t),
            time_scaling=time_scaling,
            trajectory_splines=trajectory_splines,
        )
    limit = GAIN if time_scaling.is_common else TIME_GAIN
    return result if np.hypot(after, lost) <= limit * before else common


def _in_frame(
    coordinate_scaling: CoordinateScaling,
    x: Float[np.ndarray, "point d"],
    u: Float[np.ndarray, "point time state"],
    in_time: Float[np.ndarray, "time row"],
    not_in_time: float,
    settings: BasisSettings,
) -> Aligned:
    """The trajectories in own coordinates and units; all of it is linear in time, so `in_time.T @ u` is enough.

    Args:
        in_time: functions of time of which the trajectories consist.
        not_in_time: relative error of what these leave out.
    """
    pairs = [coordinate_scaling.own(point, in_time.T @ one) for point, one in zip(x, u, strict=True)]
    own, known = np.stack([states for states, _ in pairs]), np.stack([where for _, where in pairs])
    whole = own if known.all() else fill_missing(x, own, known)
    basis = PodBasis.fit_factored(whole, in_time, settings, len(coordinate_scaling.layout.fields))
    basis = replace(basis, truncation_error=float(np.hypot(basis.truncation_error, not_in_time)))
    c = in_time @ basis.project(whole) + (in_time.sum(axis=1, keepdims=True) - 1) * basis.mean_coordinates
    return Aligned(
        basis, c, coordinate_scaling=coordinate_scaling, missing=MissingValues.of(x, own, known, basis, in_time)
    )


def _time_modes(c: Float[np.ndarray, "point time rank"]) -> Float[np.ndarray, "time row"]:
    """Orthonormal functions of time of which all trajectories consist; all times where these are hardly more."""
    n_time = c.shape[1]
    together = np.concatenate([np.ones((n_time, 1)), np.moveaxis(c, 1, 0).reshape(n_time, -1)], axis=1)
    modes, sizes, _ = np.linalg.svd(together, full_matrices=False)
    n = int(np.sum(sizes > SMALLEST_MODE * sizes[0]))
    return modes[:, :n] if n <= n_time // 2 else np.eye(n_time)


def _spatial_resampling_error(
    coordinate_scaling: CoordinateScaling,
    x: Float[np.ndarray, "point d"],
    u: Float[np.ndarray, "point time state"],
    basis: PodBasis,
) -> float:
    """Root mean square length of the difference that the way to own states and back makes."""
    at = np.unique(np.linspace(0, u.shape[1] - 1, CHECKED_TIMES).round().astype(int))
    squares = []
    for point, truth in zip(x, u[:, at], strict=True):
        back = (
            coordinate_scaling.view(point) @ coordinate_scaling.coefficients(coordinate_scaling.own(point, truth)[0].T)
        ).T
        squares.append(basis.length(back - truth) ** 2)
    return float(np.sqrt(np.mean(squares)))
