"""Training trajectories in POD coordinates, and the hyperparameters of a model that is fitted to them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, Field

from mlasdi.interpolation import Kernel, Kriging, select_kernels

Form = Literal[
    "linear",
    "two-delays",
    "continuous-linear",
    "second-order",
    "quadratic",
    "cubic",
    "quintic",
    "kernel-quadratic",
    "kernel-cubic",
]
LINEAR: tuple[Form, ...] = ("linear", "two-delays", "continuous-linear", "second-order")
OF_SECOND_ORDER: tuple[Form, ...] = ("two-delays", "second-order")
DISCRETE: tuple[Form, ...] = ("linear", "two-delays")
KERNEL: tuple[Form, ...] = ("kernel-quadratic", "kernel-cubic")
POWER: dict[Form, int] = {"quadratic": 2, "cubic": 3, "quintic": 5, "kernel-quadratic": 2, "kernel-cubic": 3}
EQUATIONS: dict[Form, str] = {
    "linear": "z[k+1] - z[k] = b + A z[k]",
    "two-delays": "z[k+1] - 2 z[k] + z[k-1] = b + A z[k] + B (z[k] - z[k-1])",
    "continuous-linear": "dz/dt = b + A z",
    "second-order": "d2z/dt2 = b + A z + B dz/dt",
    "quadratic": "dz/dt = b + A z + H (z x z)",
    "cubic": "dz/dt = b + A z + H (z x z) + C (z x z x z)",
    "quintic": "dz/dt = a polynomial of degree five of z",
    "kernel-quadratic": "dz/dt = a quadratic polynomial of z, as an expansion in kernels",
    "kernel-cubic": "dz/dt = a cubic polynomial of z, as an expansion in kernels",
}

MIN_POINTS_FOR_KERNEL = 4  # fewer points select none of their own


class OperatorInferenceSettings(BaseModel, frozen=True, extra="forbid"):
    """Hyperparameters of one model of latent dynamics; `forms` gives the equations."""

    form: Form
    rank: int = Field(ge=1, description="leading POD coordinates that the dynamics evolve")
    degree: int = Field(ge=0, le=3, description="total degree of the operators in the parameters")
    parameter_degrees: tuple[int, ...] = Field(
        (), description="largest degree in each parameter; none: the total degree in all"
    )
    ratios: tuple[float, ...] = Field((), description="upper over lower bound of each parameter; none without powers")
    powers: tuple[float, ...] = Field(
        (), description="of each parameter, in which the operators are polynomials; 0: its logarithm; none: 1 for all"
    )
    ridge: float = Field(1e-7, gt=0)
    frequencies: tuple[float, ...] = Field((), description="angular, of a forcing by sin and cos of the time")
    frequency_parameter: tuple[int, float] | None = Field(
        None,
        description="parameter to which the frequencies are proportional, which are those at its lower bound, and its "
        "upper over its lower bound; null: they are the same everywhere",
    )
    start: Literal["kriged", "rest"] = Field(
        "kriged", description="first increment, or velocity, of forms of second order"
    )

    def frequency_factors(self, raw: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Of the frequencies, at points `(mu - low) / (high - low)`."""
        if self.frequency_parameter is None:
            return np.ones(len(raw))
        column, ratio = self.frequency_parameter
        return 1 + raw[:, column] * (ratio - 1)

    @property
    def equation(self) -> str:
        """The latent dynamics as a formula: z are the leading POD coordinates, k numbers the times."""
        return EQUATIONS[self.form] + (" + F [sin(w t), cos(w t)]" if self.frequencies else "")


@dataclass(frozen=True)
class TrajectoryData:
    """Training trajectories of one basis.

    Attributes:
        x: points of the unit cube, logarithmic parameters scaled by their logarithm `[point, d]`.
        raw: the same points, `(mu - low) / (high - low)` `[point, d]`.
        c: POD coordinates, leading modes first `[point, time, rank]`.
        t: increasing times `[time]`.
        kernel: covariance over `x`, by which fields and residuals are kriged.
        norm: norms of the states in the unit of `c`, to which errors are relative `[point, time]`; by default those
            of `c`, which is right for coordinates that are not centred.
        groups: for each point, the points that its fold leaves out, itself first; by default itself alone.
        folds: the points that leave-one-out errors leave out in turn; by default all.
        start_kernel: covariance over `x` of the initial states, which are often far smoother than the later field; by
            default selected on them. With the kernel of the field, the initial state of two solitons (kdv, 9 points)
            errs by .9 %, with its own by .02 %, and the integration carries the error on.
        mean_square: of the norms of `c`, the unit of kernels of the state; by default that of these trajectories.
        ratios: upper over lower bound of each parameter; 0 for those whose powers differ little from themselves, or
            are not defined. By default no powers are tried.
        frequency_parameters: parameters to which frequencies of a forcing may be proportional, with their upper over
            their lower bounds.
    """

    x: Float[np.ndarray, "point d"]
    raw: Float[np.ndarray, "point d"]
    c: Float[np.ndarray, "point time rank"]
    t: Float[np.ndarray, " time"]
    kernel: Kernel
    norm: Float[np.ndarray, "point time"] | None = None
    groups: tuple[Int[np.ndarray, " _"], ...] = ()
    folds: Int[np.ndarray, " fold"] | None = None
    start_kernel: Kernel | None = None
    mean_square: float | None = None
    ratios: tuple[float, ...] = ()
    frequency_parameters: tuple[tuple[int, float], ...] = ()

    @cached_property
    def state_norms(self) -> Float[np.ndarray, "point time"]:
        return np.linalg.norm(self.c, axis=-1) if self.norm is None else self.norm

    @cached_property
    def unit(self) -> float:
        """Mean square norm of the coordinates, kept by subsets."""
        own = float(np.mean(np.sum(self.c**2, axis=-1)))
        return max(own if self.mean_square is None else self.mean_square, np.finfo(float).tiny)

    @cached_property
    def left_out(self) -> tuple[Int[np.ndarray, " _"], ...]:
        """The points that each fold leaves out."""
        return self.groups or tuple(np.array([i]) for i in range(self.n_points))

    @cached_property
    def fold_points(self) -> Int[np.ndarray, " fold"]:
        """The points that leave-one-out errors leave out in turn."""
        return np.arange(self.n_points) if self.folds is None else self.folds

    @cached_property
    def initial_kernel(self) -> Kernel:
        """Kernel of the initial states or, where these do not depend on the parameters, of the first increments."""
        if self.start_kernel is not None:
            return self.start_kernel
        if self.n_points < MIN_POINTS_FOR_KERNEL or self.c.shape[1] < 2:
            return self.kernel
        for values in (self.c[:, 0], self.c[:, 1] - self.c[:, 0]):
            if np.ptp(values, axis=0).max() > 1e-9 * np.abs(self.c).max():
                return select_kernels(self.x, values).mean
        return self.kernel

    @property
    def n_points(self) -> int:
        return len(self.x)

    @cached_property
    def is_uniform(self) -> bool:
        steps = np.diff(self.t)
        return bool(np.ptp(steps) <= 1e-6 * steps.mean())

    @cached_property
    def denominators(self) -> Float[np.ndarray, "point time"]:
        """Norms that errors are divided by: where a state vanishes, the largest norm of its trajectory."""
        largest = np.maximum(self.state_norms.max(axis=1, keepdims=True), np.finfo(float).tiny)
        return np.where(self.state_norms > 1e-6 * largest, self.state_norms, largest)

    def subset(self, keep: Int[np.ndarray, " kept"] | Sequence[int]) -> "TrajectoryData":
        """Some of the points, with the same kernels."""
        index = np.asarray(keep)
        norm = self.state_norms[index]
        return replace(
            self,
            x=self.x[index],
            raw=self.raw[index],
            c=self.c[index],
            norm=norm,
            groups=(),
            folds=None,
            start_kernel=self.initial_kernel,
            mean_square=self.unit,
        )

    def thinned(self, step: int) -> "TrajectoryData":
        """The trajectories at every `step`-th time."""
        norm = self.state_norms[:, ::step]
        return replace(self, c=self.c[:, ::step], t=self.t[::step], norm=norm, start_kernel=self.initial_kernel)

    def kept(self, i: int) -> Int[np.ndarray, " kept"]:
        """The points that the fold of point `i` knows."""
        return np.delete(np.arange(self.n_points), self.left_out[i])

    def weights(self, x: Float[np.ndarray, "n d"], kernel: Kernel | None = None) -> Float[np.ndarray, "n point"]:
        """Kriging weights of the training points, with the kernel of the field by default."""
        if self.n_points == 1:
            return np.ones((len(x), 1))
        return Kriging(self.x, kernel or self.kernel).weights(x)

    def _fold_weights(self, kernel: Kernel) -> Float[np.ndarray, "fold point"]:
        weights = np.zeros((len(self.fold_points), self.n_points))
        for row, i in enumerate(self.fold_points.tolist()):
            keep = self.kept(i)
            weights[row, keep] = self.subset(keep).weights(self.x[i : i + 1], kernel)[0]
        return weights

    @cached_property
    def fold_weights(self) -> Float[np.ndarray, "fold point"]:
        """Weights of the points in the kriging prediction at each left-out point by its fold."""
        return self._fold_weights(self.kernel)

    @cached_property
    def fold_start_weights(self) -> Float[np.ndarray, "fold point"]:
        """The same for initial states."""
        return self._fold_weights(self.initial_kernel)

    @cached_property
    def fold_kriging(self) -> Float[np.ndarray, "fold time rank"]:
        """Prediction at each left-out point by kriging the fields of its fold."""
        return np.tensordot(self.fold_weights, self.c, axes=1)

    def errors(self, predicted: Float[np.ndarray, "fold time rank"]) -> Float[np.ndarray, " fold"]:
        """Largest relative error over the time at the left-out points; infinite where the prediction is not finite."""
        distance = np.linalg.norm(predicted - self.c[self.fold_points], axis=-1)
        errors = np.max(distance / self.denominators[self.fold_points], axis=-1)
        return np.where(np.isfinite(errors), errors, np.inf)
