"""The training trajectories in rescaled variables: candidates, from which the fitted models choose."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

import numpy as np
from jaxtyping import Float

from mlasdi.alignment.coordinate_scaling import CoordinateScaling
from mlasdi.alignment.misalignment import AlignmentObjective
from mlasdi.alignment.missing_values import MissingValues, fill_missing, prior_kernel
from mlasdi.alignment.scaling_exponents import ScalingExponents
from mlasdi.alignment.search import exponent_groups, fit_group
from mlasdi.alignment.time_scaling import COMMON_TIMES, TimeScaling
from mlasdi.alignment.trajectory_splines import Continuation, TrajectorySplines
from mlasdi.interpolation import Kriging
from mlasdi.preprocessing import BasisSettings, PodBasis, TrainingData

N_CHECKED_TIMES = 11  # at which the error of resampling in space is measured
SMALLEST_MODE = 1e-10  # singular value of a function of time, relative to the largest: smaller ones are rounding
MAX_POINTS = 32  # whose trajectories the exponents are fitted to: more do not improve so few numbers
# Residual of the least squares up to which a candidate is tried: relative to the smallest one, and to that without
# rescaling. On fisher, kdv, bar and burgers1d the best candidate had at most 1.8 of the smallest. On bar, heat4, sod
# and wave2d the smallest was .89 to .97 of that without rescaling, and rescaled variables gained 10 % at most, or lost.
MAX_RESIDUAL_RATIO, MAX_OF_UNSCALED = 2.0, 0.95
SAME_EXPONENTS = 1e-3  # difference below which two sets of exponents are the same candidate


@dataclass(frozen=True)
class Aligned:
    """Training trajectories in rescaled variables, at equal rescaled times.

    Attributes:
        basis: of the rescaled states.
        c: POD coordinates `[point, time, rank]`.
        time_scaling: from times to rescaled times.
        coordinate_scaling: from states to rescaled states; None where these are the same.
        trajectory_splines: the trajectories before they were resampled in time; None where times are common.
        missing: values of rescaled states that were filled in; None where there are none.
        exponents: of these variables; None for those of the states.
        name: a number, and the group of exponents in words; `none` for the variables of the states.
    """

    basis: PodBasis
    c: Float[np.ndarray, "point time rank"]
    time_scaling: TimeScaling = COMMON_TIMES
    coordinate_scaling: CoordinateScaling | None = None
    trajectory_splines: TrajectorySplines | None = None
    missing: MissingValues | None = None
    exponents: ScalingExponents | None = field(default=None, compare=False)
    name: str = "none"

    @property
    def is_common(self) -> bool:
        """Whether these are the variables of the states."""
        return self.coordinate_scaling is None and self.time_scaling.is_common

    def continued_by(self, continuation: Continuation, tau: Float[np.ndarray, " time"]) -> "Aligned":
        """The same, with trajectories continued in another way beyond their ends in rescaled time.

        Args:
            continuation: the way.
            tau: rescaled times of the coordinates, from 0 to 1.
        """
        if self.trajectory_splines is None:
            return self
        splines = replace(self.trajectory_splines, continuation=continuation)
        c = splines.resample_to_rescaled_time(self.time_scaling, tau)
        return replace(self, c=c, trajectory_splines=splines)


def alignment_candidates(
    data: TrainingData,
    settings: BasisSettings,
    *,
    time_scaling: bool,
    coordinate_scaling: bool,
    carried_over: Sequence[ScalingExponents] = (),
    unscaled: Aligned | None = None,
    few: bool = False,
) -> Iterator[Aligned]:
    """The trajectories in the variables of the states, then in each candidate for rescaled variables.

    The exponents of each group are fitted by least squares (`mlasdi.alignment.search`). In rescaled time trajectories
    are continued by kriging; see `Aligned.continued_by` for the other way. Left out are candidates that are there
    already, those with residuals much larger than others have, and those whose resampling in space and time
    loses more than kriging errs without them. There is only the first one where the points are too few to identify the
    exponents of all parameters.

    Args:
        data: the trajectories, each point once.
        settings: of the basis.
        time_scaling: whether the rate of time may depend on the parameters.
        coordinate_scaling: whether coordinates and amplitudes may.
        carried_over: exponents of other candidates, such as the best of an earlier fit to fewer points with the same
            settings.
        unscaled: the first candidate, where it is known already.
        few: see `mlasdi.alignment.search.exponent_groups`.
    """
    candidates = _Candidates.of(data, settings, unscaled)
    yield candidates.unscaled
    first = candidates.x[:MAX_POINTS]
    identifiable = np.linalg.matrix_rank(first - first.mean(axis=0)) == first.shape[1]
    if not (time_scaling or coordinate_scaling) or not identifiable:
        return
    objective = candidates.objective()
    groups = exponent_groups(objective, time=time_scaling, coordinates=coordinate_scaling, few=few)
    fitted = chain(
        ((group.name, exponents) for group in groups for exponents in fit_group(objective, group)),
        (("carried over", exponents) for exponents in carried_over),
    )
    for number, (name, exponents) in enumerate(_promising(objective, fitted)):
        candidate = candidates.rescaled(exponents)
        if candidate is not None:
            yield replace(candidate, name=f"{number}: {name}")


def in_rescaled_variables(
    data: TrainingData, settings: BasisSettings, exponents: ScalingExponents, unscaled: Aligned
) -> Aligned | None:
    """The candidate with these exponents; None where its resampling loses more than kriging errs without it.

    Args:
        data, settings: as for `alignment_candidates`.
        exponents: of the rescaled variables.
        unscaled: the trajectories in the variables of the states.
    """
    return _Candidates.of(data, settings, unscaled).rescaled(exponents)


def _promising(
    objective: AlignmentObjective, fitted: Iterable[tuple[str, ScalingExponents]]
) -> list[tuple[str, ScalingExponents]]:
    """Exponents that rescale something, without repetitions and without those with larger residuals than others.

    Residuals do not say which of similar ones is best, but those with much larger ones are not worth a fit, and none is
    where all are about as large as without rescaling.
    """
    kernel, kept = prior_kernel(objective.x.shape[1]), list[tuple[str, ScalingExponents]]()
    for name, exponents in fitted:
        if not any(_is_same(exponents, other) for other in (objective.no_scaling, *(other for _, other in kept))):
            kept.append((name, exponents))
    residuals = [float(np.linalg.norm(objective.fit_residuals(exponents, kernel))) for _, exponents in kept]
    unscaled = float(np.linalg.norm(objective.fit_residuals(objective.no_scaling, kernel)))
    limit = min(MAX_RESIDUAL_RATIO * min(residuals, default=0.0), MAX_OF_UNSCALED * unscaled)
    return [pair for pair, residual in zip(kept, residuals, strict=True) if residual <= limit]


def _is_same(a: ScalingExponents, b: ScalingExponents) -> bool:
    """Whether two sets of exponents agree; centres do not count where nothing is scaled about them."""
    scaled = np.abs(a.scales).sum(axis=1) + np.abs(b.scales).sum(axis=1) > 0
    difference = np.array(a.flat - b.flat)
    difference[len(difference) - len(scaled) :] *= scaled
    return bool(np.abs(difference).max() < SAME_EXPONENTS)


@dataclass(frozen=True)
class _Candidates:
    """What all candidates are made of.

    Attributes:
        x: points of the unit cube `[point, d]`.
        t: times from 0 to 1 `[time]`.
        unscaled: the trajectories in the variables of the states.
    """

    data: TrainingData
    settings: BasisSettings
    x: Float[np.ndarray, "point d"]
    t: Float[np.ndarray, " time"]
    unscaled: Aligned

    @classmethod
    def of(cls, data: TrainingData, settings: BasisSettings, unscaled: Aligned | None) -> "_Candidates":
        t = (data.t - data.t[0]) / (data.t[-1] - data.t[0])
        return cls(data, settings, data.space.to_unit(data.mu), t, unscaled or Aligned(*data.pod(settings)))

    def objective(self) -> AlignmentObjective:
        """Of the first trajectories."""
        c, spans = self.unscaled.c[:MAX_POINTS], self.data.space.spans
        return AlignmentObjective.of(self.x[:MAX_POINTS], self.data.layout, self.t, c, self.unscaled.basis, spans)

    @cached_property
    def _kriging_error(self) -> float:
        """Root mean square length of the leave-one-out error of kriging without rescaling."""
        errors = Kriging(self.x, prior_kernel(self.x.shape[1])).leave_one_out(self.unscaled.c)
        return self.unscaled.basis.scale * float(np.sqrt(np.mean(np.sum(errors**2, axis=-1))))

    @cached_property
    def _in_time(self) -> Float[np.ndarray, "time row"]:
        return _time_modes(self.unscaled.c)

    def rescaled(self, exponents: ScalingExponents) -> Aligned | None:
        """The trajectories in these variables; None where resampling loses too much."""
        spans = self.data.space.spans
        time_scaling = exponents.time_scaling(spans)
        coordinate_scaling = exponents.coordinate_scaling(self.data.layout, spans)
        candidate, lost = self.unscaled, 0.0
        if not coordinate_scaling.is_common:
            lost = _spatial_resampling_error(coordinate_scaling, self.x, self.data, self.unscaled.basis)
            if lost > self._kriging_error:
                return None
            candidate = self._in_rescaled_coordinates(coordinate_scaling)
        candidate = replace(candidate, exponents=exponents)
        if time_scaling.is_common:
            return candidate
        mean = candidate.basis.mean_coordinates
        splines = TrajectorySplines(self.x, self.t, candidate.c, mean, "kriging")
        in_time = candidate.basis.scale * splines.resampling_error(time_scaling, self.t)
        if np.hypot(lost, in_time) > self._kriging_error:
            return None
        c = splines.resample_to_rescaled_time(time_scaling, self.t)
        return replace(candidate, c=c, time_scaling=time_scaling, trajectory_splines=splines)

    def _in_rescaled_coordinates(self, coordinate_scaling: CoordinateScaling) -> Aligned:
        """The trajectories in rescaled coordinates and amplitudes.

        Rescaling is linear in the states, so it is applied to their factors of a few functions of time.
        """
        pairs = [
            coordinate_scaling.rescaled_states(point, self._in_time.T @ self.data.trajectory(i))
            for i, point in enumerate(self.x)
        ]
        states, known = np.stack([states for states, _ in pairs]), np.stack([where for _, where in pairs])
        filled = states if known.all() else fill_missing(self.x, states, known)
        basis = PodBasis.fit_factored(filled, self._in_time, self.settings, self.data.layout.sizes)
        not_in_time = self.unscaled.basis.truncation_error
        basis = replace(basis, truncation_error=float(np.hypot(basis.truncation_error, not_in_time)))
        sums = self._in_time.sum(axis=1, keepdims=True)
        c = self._in_time @ basis.project(filled) + (sums - 1) * basis.mean_coordinates
        missing = MissingValues.of(self.x, states, known, basis, self._in_time)
        return Aligned(basis, c, coordinate_scaling=coordinate_scaling, missing=missing)


def _time_modes(c: Float[np.ndarray, "point time rank"]) -> Float[np.ndarray, "time row"]:
    """Orthonormal functions of time that span all trajectories; the identity where they are hardly fewer than times."""
    n_time = c.shape[1]
    together = np.concatenate([np.ones((n_time, 1)), np.moveaxis(c, 1, 0).reshape(n_time, -1)], axis=1)
    modes, sizes, _ = np.linalg.svd(together, full_matrices=False)
    n = int(np.sum(sizes > SMALLEST_MODE * sizes[0]))
    return modes[:, :n] if n <= n_time // 2 else np.eye(n_time)


def _spatial_resampling_error(
    coordinate_scaling: CoordinateScaling,
    x: Float[np.ndarray, "point d"],
    data: TrainingData,
    basis: PodBasis,
) -> float:
    """Root mean square length of what states lose when they are rescaled and reconstructed."""
    at = np.unique(np.linspace(0, len(data.t) - 1, N_CHECKED_TIMES).round().astype(int))
    squares = []
    for i, point in enumerate(x):
        truth = data.trajectory(i, at)
        rescaled, _ = coordinate_scaling.rescaled_states(point, truth)
        back = coordinate_scaling.reconstruction_matrix(point) @ coordinate_scaling.coefficients(rescaled.T)
        squares.append(basis.state_norm(back.T - truth) ** 2)
    return float(np.sqrt(np.mean(squares)))
