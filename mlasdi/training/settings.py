"""Which model to fit: its stages, and the presets that users name."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from mlasdi.preprocessing import BasisSettings, NoiseSetting
from mlasdi.training.autoencoder import AutoencoderSettings, DecoderSettings, Kappas
from mlasdi.training.variable_projection import VariableProjectionSettings


class SineFeaturesSettings(BaseModel, frozen=True, extra="forbid"):
    """A later stage: random sine features of (z, mu), closed-form output; kappa and ridge by leave-one-out error."""

    kind: Literal["sine-features"] = "sine-features"
    n_sine: int = Field(200, ge=1)
    kappa: Kappas = (0.1, 0.3, 1.0)
    ridge: tuple[Annotated[float, Field(gt=0)], ...] = Field((1e-5, 1e-2), min_length=1)


class KrigingSettings(BaseModel, frozen=True, extra="forbid"):
    """A later stage: the remaining residual, interpolated over the parameters; stays unless it raises the error."""

    kind: Literal["kriging"] = "kriging"


class NoLatentSettings(BaseModel, frozen=True, extra="forbid"):
    """No first stage and no latent dynamics: what follows is kriging of the snapshots at equal times."""

    kind: Literal["none"] = "none"


FirstStageSettings = Annotated[
    VariableProjectionSettings | AutoencoderSettings | NoLatentSettings, Field(discriminator="kind")
]
LatentDim = Annotated[int, Field(ge=1)]
StageSettings = Annotated[SineFeaturesSettings | KrigingSettings | DecoderSettings, Field(discriminator="kind")]

# Latent dimensions that are averaged where the training is fast enough for several models.
AVERAGED_DIMS = (2, 3, 4)

RENAMED_KEYS = {"clock": "time_scaling", "frame": "coordinate_scaling"}

PRESETS: dict[str, dict[str, Any]] = {
    "mlasdi": {
        "first_stage": {"kind": "variable-projection"},
        "stages": [{"kind": "sine-features"}, {"kind": "kriging"}],
        "anchors": 16,
        "interpolation": "field",
        "time_scaling": "learned",
        "coordinate_scaling": "learned",
        "min_gain": 0.1,
    },
    # arXiv 2506.09207, as published: gradient training, GPs by the marginal likelihood of each coefficient
    "mlasdi-paper": {
        "first_stage": {"kind": "autoencoder"},
        "stages": [{"kind": "decoder"}],
        "anchors": 0,
        "interpolation": "marginal-likelihood",
        "time_scaling": "off",
        "coordinate_scaling": "off",
        "min_gain": None,
    },
    # arXiv 2308.05882, as published: one stage, coefficients by least squares on finite differences
    "gplasdi": {
        "first_stage": {"kind": "autoencoder", "calibration": "least-squares"},
        "stages": [],
        "anchors": 0,
        "interpolation": "marginal-likelihood",
        "time_scaling": "off",
        "coordinate_scaling": "off",
        "min_gain": None,
    },
    # no latent dynamics: Gaussian process interpolation of the snapshots at equal times
    "snapshot-gp": {
        "first_stage": {"kind": "none"},
        "stages": [{"kind": "kriging"}],
        "anchors": 0,
        "interpolation": "field",
        "time_scaling": "off",
        "coordinate_scaling": "off",
        "min_gain": None,
    },
}


class ModelSettings(BaseModel, frozen=True, extra="forbid"):
    """The surrogate model. `kind` is a preset for the keys below it; each can be overridden."""

    kind: Literal["mlasdi", "mlasdi-paper", "gplasdi", "snapshot-gp"] = "mlasdi"
    latent_dim: LatentDim | Annotated[tuple[LatentDim, ...], Field(min_length=1)] = Field(
        4, description="latent states n_z; several: one model each, of which those worth it are averaged"
    )
    n_time: int = Field(101, ge=5, description="snapshots of a trajectory used in training, evenly spread")
    basis: BasisSettings = BasisSettings()
    noise: NoiseSetting = Field(
        "estimate",
        description="white noise in the snapshots, taken off before the training: estimate (clean data stay as they "
        "are), none, or its standard deviation relative to that of each field's values",
    )
    noise_floor: float = Field(
        2.0,
        ge=0,
        description="no later stage where the mean square training residual is below this many times that of the "
        "noise: up to twice, a stage takes more noise along than it gains",
    )
    first_stage: FirstStageSettings
    stages: tuple[StageSettings, ...]
    anchors: int = Field(ge=0, description="virtual points between the training points that follow the kriged field")
    interpolation: Literal["field", "marginal-likelihood"]
    time_scaling: Literal["learned", "off"] = Field(
        description="learned: time runs at a rate that depends on the parameters, where that aligns the trajectories"
    )
    coordinate_scaling: Literal["learned", "off"] = Field(
        description="learned: scales and shifts of the coordinates, and amplitudes of the fields, depend on the "
        "parameters, where that aligns the trajectories"
    )
    min_gain: float | None = Field(
        ge=0,
        lt=1,
        description="a later stage stays only if it lowers the leave-one-out error by this fraction; null: all stay",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        _refuse_old_keys(given)
        preset = PRESETS.get(str(given.get("kind")), PRESETS["mlasdi"])
        filled = preset | dict(given)
        if isinstance(filled.get("first_stage"), Mapping):
            filled["first_stage"] = {"kind": preset["first_stage"]["kind"]} | dict(filled["first_stage"])
            _integrates_in_training(filled["first_stage"])
            if filled["first_stage"]["kind"] == "variable-projection":
                filled.setdefault("latent_dim", AVERAGED_DIMS)
        return filled

    @model_validator(mode="after")
    def _fits_together(self) -> "ModelSettings":
        if self.first_stage.kind == "none":
            if not self.stages or self.stages[0].kind != "kriging":
                raise ValueError(
                    "first_stage none has no latent state to decode: stages must begin with {kind: kriging}"
                )
            if self.interpolation != "field":
                raise ValueError("first_stage none has no coefficients: interpolation must be field")
        if len(self.latent_dims) > 1 and self.first_stage.kind != "variable-projection":
            raise ValueError(
                f"latent_dim {list(self.latent_dims)}: only first_stage variable-projection averages several models; "
                f"give one number for {self.first_stage.kind}"
            )
        return self

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """The latent dimensions, one a model."""
        return (self.latent_dim,) if isinstance(self.latent_dim, int) else self.latent_dim


def _refuse_old_keys(given: Mapping[str, Any]) -> None:
    for old, new in RENAMED_KEYS.items():
        if old in given:
            raise ValueError(f"{old} is a key of an earlier version; it is now {new}: learned | off")


def _integrates_in_training(first_stage: Mapping[str, Any]) -> None:
    """Refuse dynamics that only training through integrated trajectories can find."""
    kind, dynamics = first_stage["kind"], first_stage.get("dynamics")
    if dynamics is not None and kind in ("autoencoder", "none"):
        has = "fits affine dynamics to the velocities of encoded states" if kind == "autoencoder" else "has no dynamics"
        raise ValueError(
            f"first_stage.dynamics {dynamics}: first_stage.kind {kind} {has}; a choice there is only with "
            "variable-projection, which trains through the integrated trajectories"
        )
