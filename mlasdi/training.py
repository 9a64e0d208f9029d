"""From training trajectories to a surrogate: compress, calibrate the dynamics, add stages while they help, judge."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BaseModel, Field, model_validator
from scipy.stats import qmc

from mlasdi.autoencoder import AutoencoderSettings, SineDecoderSettings, fit_autoencoder, fit_decoder
from mlasdi.basis import BasisSettings, PodBasis
from mlasdi.encoders import Encoder, LinearEncoder
from mlasdi.kriging import select_kernel
from mlasdi.leave_one_out import LeaveOneOut, fold_errors, leave_one_out, relative_std
from mlasdi.networks import FeatureMap
from mlasdi.results import TrainingRecord
from mlasdi.staged_model import StagedModel
from mlasdi.stages import FeatureStage, KrigingStage
from mlasdi.surrogate import Surrogate
from mlasdi.training_set import TrainingSet
from mlasdi.variable_projection import VariableProjectionSettings, fit_latent_model
from solvers.contract import StateLayout
from solvers.parameters import ParameterSpace


class SineFeaturesSettings(BaseModel, frozen=True, extra="forbid"):
    """A later stage: random sine features of (z, mu), closed-form output; kappa and ridge by leave-one-out error."""

    kind: Literal["sine-features"] = "sine-features"
    n_sine: int = Field(200, ge=1)
    kappa: tuple[Annotated[float, Field(gt=0)], ...] = Field((0.1, 0.3, 1.0), min_length=1)
    ridge: tuple[Annotated[float, Field(gt=0)], ...] = Field((1e-5, 1e-2), min_length=1)


class KrigingSettings(BaseModel, frozen=True, extra="forbid"):
    """A later stage: the remaining residual, interpolated over the parameters."""

    kind: Literal["kriging"] = "kriging"


FirstStageSettings = Annotated[VariableProjectionSettings | AutoencoderSettings, Field(discriminator="kind")]
StageSettings = Annotated[SineFeaturesSettings | KrigingSettings | SineDecoderSettings, Field(discriminator="kind")]

PRESETS: dict[str, dict[str, Any]] = {
    "mlasdi": {
        "first_stage": {"kind": "variable-projection"},
        "stages": [{"kind": "sine-features"}, {"kind": "kriging"}],
        "anchors": 16,
        "interpolation": "field",
        "min_gain": 0.1,
    },
    "mlasdi-paper": {
        "first_stage": {"kind": "autoencoder"},
        "stages": [{"kind": "sine-decoder"}],
        "anchors": 0,
        "interpolation": "marginal-likelihood",
        "min_gain": None,
    },
}


class ModelSettings(BaseModel, frozen=True, extra="forbid"):
    """The surrogate model. `kind` is a preset for the keys below it; each can be overridden."""

    kind: Literal["mlasdi", "mlasdi-paper"] = "mlasdi"
    latent_dim: int = Field(4, ge=1)
    n_time: int = Field(101, ge=5, description="snapshots of a trajectory used in training, evenly spread")
    basis: BasisSettings = BasisSettings()
    first_stage: FirstStageSettings
    stages: tuple[StageSettings, ...]
    anchors: int = Field(ge=0, description="virtual points between the training points that follow the kriged field")
    interpolation: Literal["field", "marginal-likelihood"]
    min_gain: float | None = Field(
        ge=0,
        lt=1,
        description="a later stage stays only if it lowers the leave-one-out error by this fraction; null: all",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        preset = PRESETS.get(str(given.get("kind")), PRESETS["mlasdi"])
        filled = preset | dict(given)
        if isinstance(filled.get("first_stage"), Mapping):
            filled["first_stage"] = {"kind": preset["first_stage"]["kind"]} | dict(filled["first_stage"])
        return filled


@dataclass(frozen=True)
class TrainingData:
    """Trajectories of the full-order model at the training points, on common times.

    Attributes:
        mu: parameters `[param, n_params]` in physical units.
        t: times `[time]`.
        u: states `[param, time, state]`.
    """

    space: ParameterSpace
    layout: StateLayout
    mu: Float[np.ndarray, "param n_params"]
    t: Float[np.ndarray, " time"]
    u: Float[np.ndarray, "param time state"]

    def thinned(self, n_time: int) -> "TrainingData":
        """At most `n_time` times, evenly spread, first and last included."""
        keep = np.unique(np.linspace(0, len(self.t) - 1, min(n_time, len(self.t))).round().astype(int))
        return replace(self, t=self.t[keep], u=self.u[:, keep])


@dataclass(frozen=True)
class Progress:
    """Where the training stands."""

    stage: str
    step: int
    n_steps: int
    loss: float


@dataclass
class _Fit:
    """Everything that grows while a surrogate is fitted."""

    settings: ModelSettings
    data: TrainingSet
    basis: PodBasis
    generator: torch.Generator
    report: Callable[[Progress], None]
    names: list[str] = field(default_factory=list)
    losses: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    dropped: dict[str, float] = field(default_factory=dict)

    def reporter(self, name: str, n_steps: int) -> Callable[[int, float], None]:
        """Record and pass on the loss of one stage."""

        def record(step: int, loss: float) -> None:
            self.losses[name].append((step, loss))
            self.report(Progress(name, step, n_steps, loss))

        return record

    def first_stage(self) -> tuple[StagedModel, Encoder]:
        """Latent dynamics with their decoder, and an encoder that belongs to them."""
        settings, n_latent = self.settings.first_stage, self.settings.latent_dim
        self.names.append(settings.kind)
        if isinstance(settings, AutoencoderSettings):
            report = self.reporter(settings.kind, settings.steps)
            latent, encoder, decoder = fit_autoencoder(self.data, n_latent, settings, self.generator, report)
            if self.settings.interpolation == "field":
                latent = replace(latent, kernel=self.data.kernel)
            return StagedModel(latent, (decoder,)), encoder
        report = self.reporter(settings.kind, settings.iterations)
        latent, features = fit_latent_model(self.data, n_latent, settings, self.generator, report)
        if self.settings.interpolation == "marginal-likelihood":
            latent = replace(latent, kernel=None)
        model = StagedModel(latent, (FeatureStage.unfitted(features, settings.ridge),)).refit(self.data)
        z = latent.trajectories(self.data.x, self.data.t).z
        return model, LinearEncoder.fit(self.data.c, z)

    def candidates(self, model: StagedModel, settings: StageSettings) -> list[tuple[str, StagedModel]]:
        """The model with one more stage, in each of the variants that the settings leave open."""
        if isinstance(settings, KrigingSettings):
            blank = KrigingStage(self.data.x, self.data.kernel, self.data.t, torch.zeros_like(self.data.c))
            return [(settings.kind, model.extended(blank, self.data))]
        if isinstance(settings, SineDecoderSettings):
            name = f"{settings.kind}-{len(self.names) + 1}"
            residual, along = model.residual(self.data, with_anchors=False)
            report = self.reporter(name, settings.steps)
            decoder = fit_decoder(along, residual, settings, self.generator, report)
            return [(name, StagedModel(model.latent, (*model.stages, decoder)))]
        _, along = model.residual(self.data, with_anchors=True)
        found = []
        for kappa, ridge in product(settings.kappa, settings.ridge):
            n_in = along.z.shape[-1] + along.x.shape[-1]
            features = FeatureMap.random(n_in, settings.n_sine, kappa, self.generator)
            stage = FeatureStage.unfitted(features, ridge, along)
            found.append((f"{settings.kind} (kappa {kappa:g}, ridge {ridge:g})", model.extended(stage, self.data)))
        return found

    def add_stages(self, model: StagedModel) -> StagedModel:
        """Add the configured stages in order; where judged, each in its best variant and only if it helps."""
        judged = self.settings.min_gain is not None and self.data.n_points >= 3
        allowed = 1 - (self.settings.min_gain or 0.0)
        error = self._judge(model) if judged else np.inf
        for settings in self.settings.stages:
            candidates = self.candidates(model, settings)
            scores = [self._judge(candidate) for _, candidate in candidates] if judged else [0.0]
            best = int(np.argmin(scores))
            name, candidate = candidates[best]
            if judged and scores[best] > allowed * error:
                self.dropped[name] = scores[best]
                continue
            model, error = candidate, scores[best]
            self.names.append(name)
            if name not in self.losses:
                residual, _ = model.residual(self.data, with_anchors=False)
                self.reporter(name, 1)(1, float(residual.square().sum(dim=-1).mean()))
        return model

    def _judge(self, model: StagedModel) -> float:
        return float(np.sqrt(np.mean(fold_errors(model, self.data, self.basis) ** 2)))


def fit(
    data: TrainingData,
    settings: ModelSettings,
    *,
    seed: int,
    report: Callable[[Progress], None] = lambda progress: None,
    info: Mapping[str, Any] | None = None,
) -> Surrogate:
    """Fit a surrogate to training trajectories.

    Args:
        data: trajectories at the training points; at least two.
        settings: the model.
        seed: of everything random; the same seed gives the same surrogate on the same machine.
        report: called with the progress of the training.
        info: JSON to travel with the surrogate.

    Raises:
        ValueError: fewer than two training points, repeated points, or a latent dimension above the POD rank.
    """
    start = time.perf_counter()
    if len(data.mu) < 2:
        raise ValueError(f"a surrogate needs at least 2 training points, got {len(data.mu)}")
    thinned = data.thinned(settings.n_time)
    x = data.space.to_unit(data.mu)
    if len(np.unique(x.round(12), axis=0)) < len(x):
        raise ValueError("training points must differ from each other")
    basis = PodBasis.fit(thinned.u, settings.basis)
    if settings.latent_dim > basis.rank:
        allowed = f"allowed: 1 to {basis.rank}"
        raise ValueError(f"model.latent_dim {settings.latent_dim} exceeds the POD rank {basis.rank}; {allowed}")
    c = basis.project(thinned.u)
    kernel = select_kernel(x, c.reshape(len(x), -1))
    anchors = qmc.Sobol(x.shape[1], rng=np.random.default_rng(seed)).random(settings.anchors)
    tau = torch.from_numpy((thinned.t - thinned.t[0]) / (thinned.t[-1] - thinned.t[0]))
    training_set = TrainingSet(x, torch.from_numpy(c), tau, kernel, anchors)
    progress = _Fit(settings, training_set, basis, torch.Generator().manual_seed(seed), report)
    first, encoder = progress.first_stage()
    model = progress.add_stages(first)
    loo = leave_one_out(model, training_set, basis)
    record = TrainingRecord(
        stage_names=tuple(progress.names),
        stage_errors=tuple(np.sqrt(np.mean(loo.errors**2, axis=1)).tolist()) if loo else (),
        leave_one_out=tuple(map(tuple, loo.errors.tolist())) if loo else (),
        error_estimate=_error_estimate(model, basis, tau, loo, seed),
        std_factor=loo.std_factor if loo else 1.0,
        error_factor=loo.error_factor if loo else 1.0,
        loss_history={name: tuple(progress.losses[name]) for name in progress.names},
        dropped=progress.dropped,
        truncation_error=basis.truncation_error,
        fit_s=time.perf_counter() - start,
    )
    return Surrogate(data.space, data.layout, thinned.t, basis, model, encoder, record, dict(info or {}))


def _error_estimate(
    model: StagedModel, basis: PodBasis, t: torch.Tensor, loo: LeaveOneOut | None, seed: int
) -> float | None:
    """Largest calibrated relative standard deviation over 256 points of the box."""
    if loo is None:
        return None
    x = qmc.Sobol(model.latent.x.shape[1], rng=np.random.default_rng(seed)).random(256)
    return float(loo.error_factor * relative_std(model, basis, x, t).max())
