"""The training trajectories in their similarity variables: what the basis and the stages are fitted to."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from mlasdi.basis import BasisSettings, PodBasis
from mlasdi.clock import COMMON_CLOCK, Clock, Recorded
from mlasdi.frame import Frame
from mlasdi.gaps import Gaps, closed
from mlasdi.similarity import Similarity
from mlasdi.similarity_search import CLOCK_GAIN, GAIN, Search
from mlasdi.trajectory_sampler import Sampler
from solvers.contract import StateLayout

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
    clock: Clock = COMMON_CLOCK
    frame: Frame | None = None
    recorded: Recorded | None = None
    gaps: Gaps | None = None

    @property
    def is_common(self) -> bool:
        """Whether these are the variables of the states."""
        return self.frame is None and self.clock.is_common


def aligned(
    x: Float[np.ndarray, "point d"],
    t: Float[np.ndarray, " time"],
    u: Float[np.ndarray, "point time state"],
    layout: StateLayout,
    spans: tuple[float, ...],
    settings: BasisSettings,
    *,
    clock: bool,
    frame: bool,
) -> Aligned:
    """The trajectories in the similarity variables that are worthwhile, if any are.

    There are none where the points are too few to tell the exponents of all parameters apart.

    Args:
        x: points of the unit cube.
        t: times from 0 to 1.
        spans: see `mlasdi.clock.log_parameters`.
        settings: of the basis.
        clock: whether points may have a clock of their own.
        frame: whether they may have coordinates and units of their own.
    """
    basis = PodBasis.fit(u, settings, len(layout.fields))
    common = Aligned(basis, basis.project(u))
    first = x[:MOST_POINTS]
    told_apart = np.linalg.matrix_rank(first - first.mean(axis=0)) == x.shape[1]
    if not (clock or frame) or not told_apart:
        return common
    sampler = Sampler.of(first, layout, t, common.c[:MOST_POINTS], basis, spans)
    found = Search(sampler, clock, frame).run()
    if found.clock(spans).rate(x).max() < 1 - 1e-9:
        # Nothing tells how what runs fastest ends.
        found = Search(sampler, False, frame).run()
    return _transformed(x, t, u, layout, settings, sampler, found, common)


def _transformed(
    x: Float[np.ndarray, "point d"],
    t: Float[np.ndarray, " time"],
    u: Float[np.ndarray, "point time state"],
    layout: StateLayout,
    settings: BasisSettings,
    sampler: Sampler,
    found: Similarity,
    common: Aligned,
) -> Aligned:
    """The trajectories in these variables, unless they lose more on the way than is gained."""
    clock, frame = found.clock(sampler.spans), found.frame(layout, sampler.spans)
    per_node = np.sqrt(layout.n_points)
    before, after = per_node * sampler.error(found.none_like()), per_node * sampler.error(found)
    result, lost = common, 0.0
    if not frame.is_common:
        lost = _lost_in_space(frame, x, u, common.basis)
        result = _in_frame(frame, x, u, _time_modes(common.c), common.basis.truncation_error, settings)
    if not clock.is_common:
        recorded = Recorded.of(x, t, result.c, result.basis.mean_coordinates)
        lost = float(np.hypot(lost, result.basis.scale * recorded.resampling_error(clock, t)))
        result = replace(result, c=recorded.in_own_time(clock, t), clock=clock, recorded=recorded)
    limit = GAIN if clock.is_common else CLOCK_GAIN
    return result if np.hypot(after, lost) <= limit * before else common


def _in_frame(
    frame: Frame,
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
    pairs = [frame.own(point, in_time.T @ one) for point, one in zip(x, u, strict=True)]
    own, known = np.stack([states for states, _ in pairs]), np.stack([where for _, where in pairs])
    whole = own if known.all() else closed(x, own, known)
    basis = PodBasis.fit_factored(whole, in_time, settings, len(frame.layout.fields))
    basis = replace(basis, truncation_error=float(np.hypot(basis.truncation_error, not_in_time)))
    c = in_time @ basis.project(whole) + (in_time.sum(axis=1, keepdims=True) - 1) * basis.mean_coordinates
    return Aligned(basis, c, frame=frame, gaps=Gaps.of(x, own, known, basis, in_time))


def _time_modes(c: Float[np.ndarray, "point time rank"]) -> Float[np.ndarray, "time row"]:
    """Orthonormal functions of time of which all trajectories consist; all times where these are hardly more."""
    n_time = c.shape[1]
    together = np.concatenate([np.ones((n_time, 1)), np.moveaxis(c, 1, 0).reshape(n_time, -1)], axis=1)
    modes, sizes, _ = np.linalg.svd(together, full_matrices=False)
    n = int(np.sum(sizes > SMALLEST_MODE * sizes[0]))
    return modes[:, :n] if n <= n_time // 2 else np.eye(n_time)


def _lost_in_space(
    frame: Frame,
    x: Float[np.ndarray, "point d"],
    u: Float[np.ndarray, "point time state"],
    basis: PodBasis,
) -> float:
    """Root mean square length of the difference that the way to own states and back makes."""
    at = np.unique(np.linspace(0, u.shape[1] - 1, CHECKED_TIMES).round().astype(int))
    squares = []
    for point, truth in zip(x, u[:, at], strict=True):
        back = (frame.view(point) @ frame.coefficients(frame.own(point, truth)[0].T)).T
        squares.append(basis.length(back - truth) ** 2)
    return float(np.sqrt(np.mean(squares)))
