"""What all stages have in common: each adds to the prediction of the stages before it, in POD coordinates.

With k stages the prediction is `w_k * (prediction with k - 1 stages) + stage_k`, evaluated along given latent
trajectories. The drift weight `w_k` is 1 for decoders. A kriging stage fits it to the training data.

A stage is the immutable result of a fit. `refit` fits the same kind of stage, with the same settings and random
features, to other points. Stages in closed form need milliseconds for that, which makes leave-one-out errors cheap.
A network is not trained again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.interpolate import CubicSpline
from torch import Tensor

from mlasdi.interpolation import CoefficientGP, Kernel, Kriging
from mlasdi.latent import LatentModel, Modes, Trajectories

Json = dict[str, Any]

# Power of the kriging standard deviation to which errors are proportional over the box: the expected one, its weight in
# squared logarithms, and its range. It is 1 for fields that are kriged; errors of good dynamics vary less over the box.
# Mean coverage of the 90 % band on fisher, kdv (9 points) and bar (9, 20): 0.84 with the power 1 throughout, now 0.94.
POWER, PRIOR_WEIGHT, POWERS = 0.75, 1.0, (0.5, 1.0)
Predict: TypeAlias = Callable[[Float[np.ndarray, "n d"], Float[np.ndarray, " m"]], Float[np.ndarray, "n m rank"]]
MOST_REMEMBERED = 1 << 23  # values of the predictions that are kept: 64 MB


@dataclass(frozen=True)
class LatentSteps:
    """Latent trajectories with the mean coefficients, and one standard deviation away along each direction.

    Attributes:
        latent: coefficients and initial states over the unit cube.
        x: points of the unit cube `[param, d]`.
        t: times in units of the training interval `[time]`.
        for_estimate: whether they are for error estimates, which are calibrated for standard deviations proportional to
            those of kriging, and not for bands.
    """

    latent: LatentModel
    x: Float[np.ndarray, "param d"]
    t: Float[Tensor, " time"]
    for_estimate: bool = False

    @property
    def gp(self) -> CoefficientGP:
        """The Gaussian processes of the coefficients, which give the directions."""
        return self.latent.gp

    @cached_property
    def mean(self) -> Trajectories:
        return self.latent.trajectories(self.x, self.t)

    @cached_property
    def deviated(self) -> Trajectories:
        """All directions one after the other: `[direction * param, time, latent]`."""
        return self.latent.deviated(self.x, self.t)

    def change(self, stage: "Stage") -> Float[Tensor, "direction param time rank"]:
        """What each step changes in the contribution of a stage."""
        mean = stage.evaluate(self.mean)
        return stage.evaluate(self.deviated).reshape(-1, *mean.shape) - mean


@dataclass(frozen=True)
class CommonDirections:
    """Steps of one standard deviation that differ between points by a factor alone, so norms need them once.

    Attributes:
        std: factor at each point, or at each point and time.
        directions: of the steps.
        everywhere: further steps, the same at all points; None without any.
    """

    std: Float[np.ndarray, " param"] | Float[np.ndarray, "param time"]
    directions: Float[np.ndarray, "direction time rank"]
    everywhere: Float[np.ndarray, "_ time rank"] | None = None

    def steps(self) -> Float[Tensor, "direction param time rank"]:
        """The steps of all points, as `Stage.deviations` returns them."""
        std = self.std if self.std.ndim == 2 else self.std[:, None]
        steps = torch.from_numpy(std[:, :, None] * self.directions[:, None])
        if self.everywhere is None:
            return steps
        return torch.cat([steps, torch.from_numpy(self.everywhere)[:, None].expand(-1, len(std), -1, -1)])


@dataclass(frozen=True)
class FoldErrors:
    """Errors of the folds of a model, which give its standard deviations their shape.

    The steps of one standard deviation are the errors E_i of the folds, each of which predicts the trajectory at a
    training point x_i without it: `(std(x) / std_i(x_i))^p E_i / sqrt(n)`, where the kriging standard deviation is that
    from all points, and that from the points of fold i. So they have the shape of the errors that the model makes, in
    time and in state, and vanish at the training points. The power p is the slope of `log |E_i|` over `log std_i(x_i)`;
    for error estimates it is 1.

    Attributes:
        scaled: errors of the folds, divided by `std_i(x_i)` `[fold, time, rank]`.
        std: `std_i(x_i)` `[fold]`; None if p is 1.
        power: the exponent p.
    """

    scaled: Float[np.ndarray, "fold time rank"]
    std: Float[np.ndarray, " fold"] | None
    power: float

    @classmethod
    def of(
        cls,
        x: Float[np.ndarray, "point d"],
        kernel: Kernel,
        points: Int[np.ndarray, " fold"],
        errors: Float[np.ndarray, "fold time rank"],
    ) -> "FoldErrors":
        """Of errors at the training points `points` of `x`, each of a prediction without it."""
        variances = [Kriging(np.delete(x, i, axis=0), kernel).variance(x[i : i + 1])[0] for i in points.tolist()]
        std = np.sqrt(np.array(variances))
        power = _growth_of_errors(np.linalg.norm(errors, axis=(1, 2)), std)
        return cls(errors / std[:, None, None], std, power)

    def subset(self, rows: Sequence[int], n_times: int) -> "FoldErrors":
        """Those of some folds, at the first times."""
        return FoldErrors(self.scaled[rows, :n_times], None if self.std is None else self.std[rows], self.power)

    def directions(
        self, x: Float[np.ndarray, "point d"], times: Float[np.ndarray, " own"], kernel: Kernel, steps: LatentSteps
    ) -> CommonDirections:
        """Steps of one standard deviation.

        Args:
            x, times: training points, and the times of the errors.
            kernel: of the standard deviations where the latent model has none.
        """
        errors, power = self.scaled, 1.0
        std = steps.gp.process_std(steps.x) if steps.gp.kernel else np.sqrt(Kriging(x, kernel).variance(steps.x))
        t = np.clip(steps.t.numpy(), times[0], times[-1])
        if len(t) != len(times) or not np.array_equal(t, times):
            errors = CubicSpline(times, errors, axis=1)(t)
        if self.std is not None and not steps.for_estimate:
            power = self.power
            errors = errors * self.std[:, None, None] ** (1 - power)
        return CommonDirections(std**power, errors / np.sqrt(len(errors)))

    def state(self) -> tuple[Json, dict[str, np.ndarray]]:
        """As JSON and arrays: all that `from_state` needs."""
        return {"power": self.power}, {"fold_errors": self.scaled} | (
            {} if self.std is None else {"fold_std": self.std}
        )

    @classmethod
    def from_state(cls, settings: Json, arrays: dict[str, np.ndarray]) -> "FoldErrors | None":
        """From the state of a stage; None if it has no errors. Those of earlier versions have no standard deviation."""
        if "fold_errors" not in arrays:
            return None
        return cls(arrays["fold_errors"], arrays.get("fold_std"), settings.get("power", 1.0))


def _growth_of_errors(errors: Float[np.ndarray, " fold"], std: Float[np.ndarray, " fold"]) -> float:
    """Slope of the logarithm of errors over that of standard deviations, by least squares with a prior."""
    known = (errors > 0) & (std > 0)
    if known.sum() < 2:
        return POWER
    y, x = np.log(errors[known]), np.log(std[known])
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip((x @ y + PRIOR_WEIGHT * POWER) / (x @ x + PRIOR_WEIGHT), *POWERS))


@dataclass
class RecentPredictions:
    """Predictions of a stage by point and times: errors, deviations and comparisons ask for the same ones."""

    rows: dict[bytes, Float[np.ndarray, "time rank"]] = field(default_factory=dict)

    def values(
        self,
        along: Trajectories,
        own: Float[np.ndarray, " own"],
        predict: Predict,
    ) -> Float[np.ndarray, "param time rank"]:
        """Predictions along trajectories, those at points of earlier ones from memory.

        Args:
            own: times of the stage, at all of which it is evaluated where the times are some of these.
            predict: trajectories at points and times.
        """
        x, t = along.x.numpy(), along.t.numpy()
        is_own = bool(np.isin(t, own).all())
        times = own if is_own else t
        keys = [row.tobytes() + times.tobytes() for row in x]
        new = [i for i, key in enumerate(keys) if key not in self.rows]
        if new:
            latest = dict(zip([keys[i] for i in new], predict(x[new], times), strict=True))
            found = self.rows | latest
            kept = next((rows for rows in (found, latest) if sum(map(np.size, rows.values())) <= MOST_REMEMBERED), {})
            self.rows = dict(kept)
        else:
            found = self.rows
        values = np.stack([found[key] for key in keys])
        return values[:, np.searchsorted(own, t)] if is_own else values


class Stage(ABC):
    """One term of the prediction.

    Attributes:
        kind: its name in saved surrogates.
        uses_anchors: whether it is fitted at the anchors, too, and not only at the training points.
        uses_latent: whether it is a function of the latent state; otherwise trajectories need not be integrated.
        is_smooth: whether it is analytic in time, to more digits than single precision has; its drift weight is 1 then.
        reproduces_training_data: whether the prediction with it has no training error, whatever the stages before it.
    """

    kind: ClassVar[str]
    uses_anchors: ClassVar[bool] = False
    uses_latent: ClassVar[bool] = True
    is_smooth: ClassVar[bool] = False
    reproduces_training_data: ClassVar[bool] = False

    @property
    def drift_weight(self) -> float:
        """Factor on the prediction of the stages before, inside the training interval."""
        return 1.0

    def drift_weight_at(self, t: Float[Tensor, " n"]) -> Float[Tensor, "#n 1"] | float:
        """Factor on the prediction of the stages before, at times `t`."""
        return self.drift_weight

    @property
    def equation(self) -> str:
        """Of latent dynamics that the stage integrates itself; empty where it integrates none."""
        return ""

    def modes(self, x: Float[np.ndarray, "n d"]) -> list[Modes]:
        """Modes of these dynamics at points of the unit cube, per training interval; none where they are not linear."""
        return []

    @property
    def uses_initial_states(self) -> bool:
        """Whether `starting_from` changes predictions."""
        return False

    def starting_from(
        self, x: Float[np.ndarray, "n d"], c: Float[np.ndarray, "n rank"], between: bool = False
    ) -> "Stage":
        """The stage with known initial states `c` at points `x`, of which most stages make no use.

        Args:
            between: whether initial states elsewhere are interpolated between these.
        """
        return self

    @abstractmethod
    def evaluate(self, along: Trajectories) -> Float[Tensor, "param time rank"]:
        """Contribution to the POD coordinates along latent trajectories."""

    def deviations(
        self, before: Float[Tensor, "..."], steps: LatentSteps
    ) -> Float[Tensor, "direction param time rank"]:
        """Steps of one standard deviation of the prediction with this stage, from those of the stages before it.

        Args:
            before: the steps of the stages before, of the same shape; or one zero.
            steps: the latent trajectories that differ by one standard deviation.
        """
        return before + steps.change(self)

    def common_directions(self, steps: LatentSteps) -> CommonDirections | None:
        """`deviations` as the first stage, where these are the same directions at all points; None where not."""
        return None

    def weighted_sums(
        self, x: Float[np.ndarray, "n d"], t: Float[Tensor, " m"]
    ) -> tuple[Float[np.ndarray, "n point"], Float[np.ndarray, "point m rank"]] | None:
        """Weights of the sum 1, and trajectories whose sums with them are `evaluate`; None of other stages."""
        return None

    def forget(self) -> None:
        """Free the memory of recent predictions."""
        return

    @abstractmethod
    def refit(self, along: Trajectories, residual: Float[Tensor, "param time rank"]) -> "Stage":
        """The same kind of stage for other data; a stage that cannot be fitted in closed form returns itself."""

    def decoders(self, n_latent: int) -> Sequence[tuple["Stage", int]]:
        """The decoders whose mean this stage is, with the number of latent states of each.

        Args:
            n_latent: latent states of the model.
        """
        return [(self, n_latent)]

    @abstractmethod
    def state(self) -> tuple[Json, dict[str, Tensor]]:
        """Settings as JSON, and tensors: all that `from_state` needs."""

    @classmethod
    @abstractmethod
    def from_state(cls, settings: Json, tensors: dict[str, Tensor]) -> "Stage": ...
