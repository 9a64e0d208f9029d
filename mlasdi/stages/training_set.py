"""What the stages are fitted to: compressed training trajectories, and anchors between them."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mlasdi.alignment import COMMON_TIMES, MissingValues, TimeScaling, TrajectorySplines
from mlasdi.interpolation import Kernel, Kriging


@dataclass(frozen=True)
class TrainingSet:
    """Trajectories in POD coordinates at training points, and anchor points that follow their kriging prediction.

    Anchors are virtual: they cost no solve. They keep a decoder, which is free between the training points, from doing
    worse there than plain interpolation of the field.

    Attributes:
        x: training points of the unit cube `[point, d]`.
        c: POD coordinates `[point, time, rank]`.
        t: times in units of the training interval, from 0 to 1 `[time]`; with a clock, own times.
        kernel: covariance over the parameters, chosen on the field.
        anchors: points of the unit cube `[anchor, d]`.
        uncertainty_kernel: covariance for standard deviations, of a rougher family; `kernel` by default.
        noise: mean square norm of the noise in the coordinates of a snapshot; zero where there is none.
        clock: of the times. With clocks of their own, some trajectories end before own time 1, and are continued.
        recorded: the trajectories before they were brought to own times; None where times are common.
        gaps: own coordinates that some trajectory does not reach; None where there are none.
        left_out: for each point, which ones its fold forgets, itself first; by default itself alone.
    """

    x: Float[np.ndarray, "point d"]
    c: Float[Tensor, "point time rank"]
    t: Float[Tensor, " time"]
    kernel: Kernel
    anchors: Float[np.ndarray, "anchor d"]
    uncertainty_kernel: Kernel | None = None
    noise: float = 0.0
    time_scaling: TimeScaling = COMMON_TIMES
    trajectory_splines: TrajectorySplines | None = None
    missing: MissingValues | None = None
    left_out: tuple[Int[np.ndarray, " _"], ...] = ()

    @property
    def n_points(self) -> int:
        return len(self.x)

    @cached_property
    def is_recorded(self) -> Bool[np.ndarray, "point time"]:
        """Which values are solutions, and not their continuation."""
        return self.time_scaling.covers(self.x, self.t.numpy())

    @property
    def held_out(self) -> tuple[Int[np.ndarray, " _"], ...]:
        """The points that each fold forgets."""
        return self.left_out or tuple(np.array([i]) for i in range(self.n_points))

    @cached_property
    def is_scored(self) -> Bool[np.ndarray, "point time"]:
        """Which of these can be predicted without the point: those that some other point has come as far as."""
        return self.is_recorded & self._covered_by_fold

    @cached_property
    def _covered_by_fold(self) -> Bool[np.ndarray, "point time"]:
        """Which times some point has is_recorded that the fold of a point knows."""
        return np.array([np.delete(self.is_recorded, out, axis=0).any(axis=0) for out in self.held_out])

    @cached_property
    def spread(self) -> Float[Tensor, "all point"]:
        """Interpolation weights from the training points to training points and anchors."""
        to_anchors = Kriging(self.x, self.kernel).weights(self.anchors)
        return torch.from_numpy(np.concatenate([np.eye(self.n_points), to_anchors]))

    @cached_property
    def all_x(self) -> Float[np.ndarray, "all d"]:
        return np.concatenate([self.x, self.anchors])

    @cached_property
    def targets(self) -> Float[Tensor, "all time rank"]:
        """The trajectories at the training points, and their kriging prediction at the anchors."""
        return torch.tensordot(self.spread, self.c, dims=1)

    @cached_property
    def fold_weights(self) -> Float[np.ndarray, " point"]:
        """Weights of the leave-one-out errors: inverse variances of the kriging of each point from the others.

        A fold at a corner of the box extrapolates, and errs by several times what interpolation does; unweighted, the
        corners alone would decide.
        """
        folds = (self.without(i) for i in range(self.n_points))
        variances = [Kriging(fold.x, self.kernel).variance(self.x[i : i + 1])[0] for i, fold in enumerate(folds)]
        return 1 / np.array(variances)

    def without(self, i: int) -> "TrainingSet":
        """The set that the fold of point `i` knows; the anchors stay where they are and follow its points.

        It ends with the trajectory that comes furthest in own time: beyond, it knows nothing.
        """
        keep = np.delete(np.arange(self.n_points), self.held_out[i])
        if self.trajectory_splines is None and self.missing is None:
            return replace(self, x=self.x[keep], c=self.c[keep], left_out=())
        return self._folds[i]

    @cached_property
    def _folds(self) -> list["TrainingSet"]:
        """For each training point, the trajectories at the others, continued in time and space without it."""
        folds = []
        for i, out in enumerate(self.held_out):
            keep = np.delete(np.arange(self.n_points), out)
            rest = self.trajectory_splines and self.trajectory_splines.without(out)
            t = self.t[self._covered_by_fold[i]]
            c = self.c[keep].numpy() if rest is None else np.stack([spline(self.t.numpy()) for spline in rest.splines])
            if self.missing is not None:
                c = c + self.missing.fold_correction(out)
            if rest is not None:
                if self.missing is not None:
                    rest = TrajectorySplines.of(rest.x, self.t.numpy(), c, rest.mean)
                c = rest.resample_to_rescaled_time(self.time_scaling, t.numpy())
            fold = replace(
                self, x=self.x[keep], c=torch.from_numpy(c), t=t, trajectory_splines=rest, missing=None, left_out=()
            )
            folds.append(fold)
        return folds
