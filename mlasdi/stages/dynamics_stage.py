"""The stage of latent dynamics by operator inference: leading POD coordinates are integrated, the rest is kriged."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mlasdi.interpolation import Kernel
from mlasdi.latent import InitialStates, Modes, Trajectories
from mlasdi.operator_inference import OperatorInferenceModel, TrajectoryData
from mlasdi.stages.kriging_stage import KrigingStage
from mlasdi.stages.stage import CommonDirections, FoldErrors, Json, LatentSteps, RecentPredictions, Stage

# Points up to which a fold chooses the kernel of initial states anew; among more, one point does not change it.
FEW_POINTS = 32


@dataclass(frozen=True)
class DynamicsStage(Stage):
    """A model of operator inference as the only stage: its dynamics, and the kriging of what they leave.

    Where the integration fails at some point, the prediction there is plain kriging of the trajectories.

    Attributes:
        model: fitted to the training trajectories.
        log_ratios: of each parameter, the logarithm of the ratio of its bounds; 0 for those of linear scale. They lead
            from the unit cube to `(mu - low) / (high - low)`.
        mean_coordinates, mean_rest: the norm of a state with coordinates c, in their unit, is the root of
            `|mean_coordinates + c|^2 + mean_rest`.
        kernel: covariance over the parameters, for standard deviations.
        initial_states: where they are known, beside the training points; None if predictions krige them.
        fold_errors: by which its standard deviations are shaped; None before they are known.
        folds: models of folds that were fitted before, by their points.
        recent: the last predictions.
    """

    kind: ClassVar[str] = "operator-inference"
    uses_latent: ClassVar[bool] = False

    model: OperatorInferenceModel
    log_ratios: tuple[float, ...]
    mean_coordinates: Float[np.ndarray, " rank"]
    mean_rest: float
    kernel: Kernel
    initial_states: InitialStates | None = None
    fold_errors: FoldErrors | None = None
    folds: dict[bytes, "DynamicsStage"] = field(default_factory=dict, compare=False, repr=False)
    recent: RecentPredictions = field(default_factory=RecentPredictions, init=False, compare=False, repr=False)

    def evaluate(self, along: Trajectories) -> Float[Tensor, "param time rank"]:
        own = self.model.data.t
        return torch.from_numpy(self.recent.values(along, own, lambda x, t: self._predicted(x, np.maximum(t, own[0]))))

    def forget(self) -> None:
        self.recent.rows.clear()

    def _predicted(self, x: Float[np.ndarray, "n d"], t: Float[np.ndarray, " m"]) -> Float[np.ndarray, "n m rank"]:
        z0 = None
        if self.initial_states is not None:
            data, rank = self.model.data, self.model.settings.rank
            z0 = self.initial_states.put_into(data.weights(x, data.initial_kernel) @ data.c[:, 0, :rank], x)
        values = self.model.predict(x, unscaled(x, self.log_ratios), t, z0)
        failed = ~np.isfinite(values).all(axis=(1, 2))
        if failed.any():
            values[failed] = self._plain_kriging(x[failed], t)
        return values

    @property
    def equation(self) -> str:
        return self.model.settings.equation

    def modes(self, x: Float[np.ndarray, "n d"]) -> list[Modes]:
        return self.model.modes(x, unscaled(x, self.log_ratios))

    def _plain_kriging(self, x: Float[np.ndarray, "n d"], t: Float[np.ndarray, " m"]) -> Float[np.ndarray, "n m rank"]:
        data = self.model.data
        stage = KrigingStage(data.x, data.kernel, torch.from_numpy(data.t), torch.from_numpy(data.c))
        inside = torch.from_numpy(np.minimum(t, data.t[-1]))
        return stage.weighted_residuals(stage.kriging.weights(x), inside).numpy()

    def deviations(
        self, before: Float[Tensor, "..."], steps: LatentSteps
    ) -> Float[Tensor, "direction param time rank"]:
        return before + self.common_directions(steps).steps()

    def common_directions(self, steps: LatentSteps) -> CommonDirections:
        data = self.model.data
        known = self.fold_errors or FoldErrors(data.c - data.c.mean(axis=0), None, 1.0)
        times = np.searchsorted(data.t, np.clip(steps.t.numpy(), data.t[0], data.t[-1]))
        # Errors of the folds vanish at the training points, where dynamics are not exact.
        misfit = self.model.misfit[np.minimum(times, len(data.t) - 1)]
        return replace(known.directions(data.x, data.t, self.kernel, steps), everywhere=misfit[None])

    @property
    def uses_initial_states(self) -> bool:
        return self.initial_states is not None

    def starting_from(
        self, x: Float[np.ndarray, "n d"], c: Float[np.ndarray, "n rank"], between: bool = False
    ) -> "DynamicsStage":
        """The stage with initial states at points `x`, as POD coordinates `c`.

        Raises:
            ValueError: it was trained to krige initial states.
        """
        if self.initial_states is None:
            raise ValueError("the model was trained with first_stage.initial_state: kriged; train it with given")
        return replace(self, initial_states=self.initial_states.with_more(x, c, between))

    def with_errors(
        self, points: Int[np.ndarray, " fold"], errors: Float[np.ndarray, "fold time rank"]
    ) -> "DynamicsStage":
        """The stage with the errors of its folds.

        Args:
            points: training points that the folds leave out.
            errors: at each of them, of the prediction without it.
        """
        x = self.model.data.x
        found = FoldErrors.of(x, self.kernel, points, errors)
        for fold in self.folds.values():  # what a fold knows of errors: those at its own points
            rows = _places(x[points], fold.model.data.x)
            object.__setattr__(fold, "fold_errors", found.subset(rows, len(fold.model.data.t)))
        return replace(self, fold_errors=found)

    def refit(self, along: Trajectories, residual: Float[Tensor, "param time rank"]) -> "DynamicsStage":
        x, t = along.x.numpy(), along.t.numpy()
        key = _key(x, t)
        if key not in self.folds:
            self.folds[key] = self._fitted(x, t, residual.numpy())
        return self.folds[key]

    def _fitted(
        self, x: Float[np.ndarray, "point d"], t: Float[np.ndarray, " time"], c: Float[np.ndarray, "point time rank"]
    ) -> "DynamicsStage":
        norm = np.sqrt(np.sum((self.mean_coordinates + c) ** 2, axis=-1) + self.mean_rest)
        data = TrajectoryData(
            x=x,
            raw=unscaled(x, self.log_ratios),
            c=c,
            t=t,
            kernel=self.model.data.kernel,
            norm=norm,
            start_kernel=self._start_kernel,
        )
        return replace(self, model=self.model.refit(data), folds={}, fold_errors=None)

    @property
    def _start_kernel(self) -> Kernel | None:
        """Kernel of the initial states of a fold; None where it chooses its own."""
        data = self.model.data
        return data.start_kernel if data.n_points <= FEW_POINTS else data.initial_kernel

    def with_folds(self) -> "DynamicsStage":
        """The stage with the models of its folds, where these know the same trajectories at the other points."""
        folds = {}
        for model in self.model.folds():
            data = replace(model.data, start_kernel=self._start_kernel)
            fold = replace(self, model=replace(model, data=data).integrated(model.in_sample), folds={})
            folds[_key(data.x, data.t)] = fold
        return replace(self, folds=folds)

    def state(self) -> tuple[Json, dict[str, Tensor]]:
        settings, arrays = self.model.state()
        own = {
            "model": settings,
            "log_ratios": self.log_ratios,
            "mean_rest": self.mean_rest,
            "kernel": self.kernel.model_dump(mode="json"),
        }
        own |= {"initial_between": True} if self.initial_states is not None and self.initial_states.between else {}
        arrays |= {"mean_coordinates": self.mean_coordinates}
        if self.fold_errors is not None:
            of_folds, of_arrays = self.fold_errors.state()
            own, arrays = own | of_folds, arrays | of_arrays
        if self.initial_states is not None:
            arrays |= {"initial_x": self.initial_states.x, "initial_c": self.initial_states.c}
        return own, {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    @classmethod
    def from_state(cls, settings: Json, tensors: dict[str, Tensor]) -> "DynamicsStage":
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        log_ratios = tuple(settings["log_ratios"])
        return cls(
            model=OperatorInferenceModel.from_state(_with_powers(settings["model"], log_ratios), arrays),
            log_ratios=log_ratios,
            mean_coordinates=arrays["mean_coordinates"],
            mean_rest=settings["mean_rest"],
            kernel=Kernel.model_validate(settings["kernel"]),
            initial_states=InitialStates(
                arrays["initial_x"], arrays["initial_c"], settings.get("initial_between", False)
            )
            if "initial_x" in arrays
            else None,
            fold_errors=FoldErrors.from_state(settings, arrays),
        )


def _with_powers(model: Json, log_ratios: tuple[float, ...]) -> Json:
    """Settings of a model as saved by earlier versions: they name `coordinates` in place of powers."""
    own = dict(model["settings"])
    if own.pop("coordinates", "raw") == "scaled":
        own["ratios"] = [float(np.exp(ratio)) for ratio in log_ratios]
        own["powers"] = [0.0 if ratio else 1.0 for ratio in log_ratios]
    return {**model, "settings": own}


def unscaled(x: Float[np.ndarray, "n d"], log_ratios: tuple[float, ...]) -> Float[np.ndarray, "n d"]:
    """From points of the unit cube to `(mu - low) / (high - low)`, which differ where the scale is logarithmic."""
    raw = np.array(x)
    for k, ratio in enumerate(log_ratios):
        if ratio:
            raw[:, k] = np.expm1(x[:, k] * ratio) / np.expm1(ratio)
    return raw


def _key(x: Float[np.ndarray, "n d"], t: Float[np.ndarray, " m"]) -> bytes:
    """Of the fold with these points and times."""
    return x.tobytes() + bytes(str(len(t)), "ascii")


def _places(x: Float[np.ndarray, "n d"], some: Float[np.ndarray, "k d"]) -> list[int]:
    """The places in `x` of those rows that are among `some`."""
    wanted = {row.tobytes() for row in np.ascontiguousarray(some)}
    return [i for i, row in enumerate(np.ascontiguousarray(x)) if row.tobytes() in wanted]
