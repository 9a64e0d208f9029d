"""What the stages are fitted to: compressed training trajectories, and anchors between the training points."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mlasdi.alignment import COMMON_TIMES, MissingValues, TimeScaling, TrajectorySplines
from mlasdi.interpolation import Kernel, Kernels, Kriging

# Folds of leave-one-out errors, at most. A sample of this size shows how errors are distributed; with a fold for each
# point, the time of a fit would grow with a higher power of their number.
MAX_FOLDS = 64


@dataclass(frozen=True)
class Extrapolation:
    """How trajectories in rescaled variables were extended beyond their own range, so that folds can repeat it.

    Attributes:
        time_scaling: of the times. A trajectory whose rate is below 1 ends before rescaled time 1.
        trajectory_splines: the trajectories before they were resampled to rescaled times; None where times are common.
        missing: values at rescaled coordinates outside some trajectory's own grid; None where there are none.
    """

    time_scaling: TimeScaling = COMMON_TIMES
    trajectory_splines: TrajectorySplines | None = None
    missing: MissingValues | None = None

    @property
    def uses_other_points(self) -> bool:
        """Whether some value of a trajectory depends on the trajectories at other points."""
        return self.trajectory_splines is not None or self.missing is not None


@dataclass(frozen=True)
class TrainingSet:
    """Trajectories in POD coordinates at training points, and anchors.

    Anchors are points of the unit cube at which the kriging prediction of the field serves as data: they cost no solve.
    A decoder is free between the training points, and anchors keep it from being worse there than plain kriging.

    Attributes:
        x: training points of the unit cube `[point, d]`.
        c: POD coordinates `[point, time, rank]`.
        t: times in units of the training interval, from 0 to 1 `[time]`; rescaled ones where there is a time scaling.
        kernels: covariances over the parameters, chosen on the field, and the folds.
        anchors: points of the unit cube `[anchor, d]`.
        noise: mean square norm of the noise in the coordinates of a snapshot; zero where there is none.
        extrapolation: which values are extrapolated, and from what.
    """

    x: Float[np.ndarray, "point d"]
    c: Float[Tensor, "point time rank"]
    t: Float[Tensor, " time"]
    kernels: Kernels
    anchors: Float[np.ndarray, "anchor d"]
    noise: float = 0.0
    extrapolation: Extrapolation = Extrapolation()

    @property
    def n_points(self) -> int:
        return len(self.x)

    @property
    def kernel(self) -> Kernel:
        """The covariance that interpolates."""
        return self.kernels.mean

    @property
    def time_scaling(self) -> TimeScaling:
        return self.extrapolation.time_scaling

    @cached_property
    def is_recorded(self) -> Bool[np.ndarray, "point time"]:
        """Which values are solutions; the others are extrapolated in rescaled time."""
        return self.time_scaling.covers(self.x, self.t.numpy())

    @property
    def held_out(self) -> tuple[Int[np.ndarray, " _"], ...]:
        """The points that each fold leaves out: a training point, and its near-replicates."""
        return self.kernels.held_out or tuple(np.array([i]) for i in range(self.n_points))

    @cached_property
    def fold_points(self) -> Int[np.ndarray, " fold"]:
        """The points that leave-one-out errors leave out in turn: all of them, or a random sample of `MAX_FOLDS`."""
        if self.n_points <= MAX_FOLDS:
            return np.arange(self.n_points)
        return np.sort(np.random.default_rng(0).permutation(self.n_points)[:MAX_FOLDS])

    @cached_property
    def is_scored(self) -> Bool[np.ndarray, "point time"]:
        """Where leave-one-out errors count: at solutions, up to the last time that the fold covers."""
        return self.is_recorded & self._covered_by_fold

    @cached_property
    def _covered_by_fold(self) -> Bool[np.ndarray, "point time"]:
        """Times at which the fold of a point has at least one solution."""
        return np.array([np.delete(self.is_recorded, out, axis=0).any(axis=0) for out in self.held_out])

    @cached_property
    def interpolation_weights(self) -> Float[Tensor, "all point"]:
        """Kriging weights from the training points to training points and anchors."""
        to_anchors = Kriging(self.x, self.kernel).weights(self.anchors)
        return torch.from_numpy(np.concatenate([np.eye(self.n_points), to_anchors]))

    @cached_property
    def all_x(self) -> Float[np.ndarray, "all d"]:
        """Training points, then anchors."""
        return np.concatenate([self.x, self.anchors])

    @cached_property
    def targets(self) -> Float[Tensor, "all time rank"]:
        """The trajectories at the training points, and their kriging prediction at the anchors."""
        return torch.tensordot(self.interpolation_weights, self.c, dims=1)

    @cached_property
    def fold_weights(self) -> Float[np.ndarray, " fold"]:
        """Weights of the leave-one-out errors: inverse kriging variances of each point, given the rest of its fold.

        A fold at a corner of the box extrapolates, with errors several times those of interpolation. Without weights
        the corners alone would decide.
        """
        variances = [
            Kriging(self.without(i).x, self.kernel).variance(self.x[i : i + 1])[0] for i in self.fold_points.tolist()
        ]
        return 1 / np.array(variances)

    def without(self, i: int) -> "TrainingSet":
        """The training set of the fold of point `i`; the anchors stay, and are kriged from the points that are left.

        In rescaled time it ends with the trajectory that reaches furthest.
        """
        if self.extrapolation.uses_other_points:
            if i not in self._folds:
                self._folds[i] = self._extrapolated_without(i)
            return self._folds[i]
        keep = np.delete(np.arange(self.n_points), self.held_out[i])
        return replace(self, x=self.x[keep], c=self.c[keep], kernels=self.kernels.without_folds())

    @cached_property
    def _folds(self) -> dict[int, "TrainingSet"]:
        """The training sets of folds, extrapolated in time and space without the points that are left out."""
        return {}

    def _extrapolated_without(self, i: int) -> "TrainingSet":
        splines, missing = self.extrapolation.trajectory_splines, self.extrapolation.missing
        out = self.held_out[i]
        keep = np.delete(np.arange(self.n_points), out)
        rest = splines and splines.without(out)
        t = self.t[self._covered_by_fold[i]]
        c = self.c[keep].numpy() if rest is None else rest.c
        if missing is not None:
            c = c + missing.fold_correction(out)
        if rest is not None:
            rest = replace(rest, c=c)
            c = rest.resample_to_rescaled_time(self.time_scaling, t.numpy())
        extrapolation = replace(self.extrapolation, trajectory_splines=rest, missing=None)
        kernels = self.kernels.without_folds()
        return replace(self, x=self.x[keep], c=torch.from_numpy(c), t=t, kernels=kernels, extrapolation=extrapolation)
