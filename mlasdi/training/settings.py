"""Settings of the model: its stages, and the presets that `model.kind` names."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from mlasdi.decoders import AutoencoderSettings, DecoderSettings, Kappas, VariableProjectionSettings
from mlasdi.preprocessing import BasisSettings, NoiseSetting, RunLength


class SineFeaturesSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A later stage: random sine features of (z, mu) with output weights in closed form.

    Each combination of `kappa` and `ridge` is tried, and the one with the smallest leave-one-out error is kept.
    """

    reproduces_training_data: ClassVar[bool] = False

    kind: Literal["sine-features"] = "sine-features"
    n_sine: int = Field(200, ge=1, le=10_000)
    kappa: Kappas = (0.1, 0.3, 1.0)
    ridge: tuple[Annotated[float, Field(gt=0)], ...] = Field((1e-5, 1e-2), min_length=1)


class KrigingSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A later stage: the remaining residual, kriged over the parameters; kept unless it raises the error."""

    reproduces_training_data: ClassVar[bool] = True

    kind: Literal["kriging"] = "kriging"


class NoLatentSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """No first stage and no latent dynamics: a kriging stage interpolates the snapshots at equal times."""

    kind: Literal["none"] = "none"


class InferredDynamicsSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Latent dynamics by operator inference in POD coordinates, their form and size by leave-one-out errors."""

    kind: Literal["operator-inference"] = "operator-inference"
    frequencies: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (), description="angular frequencies of a known forcing, in radians per unit of time"
    )
    initial_state: Literal["kriged", "given"] = Field(
        "kriged",
        description="kriged: between the training points like the rest of the field; given: by "
        "Surrogate.starting_from, and to the folds of leave-one-out errors",
    )


class CurveSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Kriging of registered curves; one of those that `chosen` tries, on one-dimensional grids."""

    kind: Literal["curve-kriging"] = "curve-kriging"


class ChosenSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The best of several: kriging, operator inference, and latent dynamics with a closed-form decoder."""

    kind: Literal["chosen"] = "chosen"
    frequencies: tuple[Annotated[float, Field(gt=0)], ...] = Field((), description="as of operator-inference")
    initial_state: Literal["kriged", "given"] = Field("kriged", description="as of operator-inference")


FirstStageSettings = Annotated[
    ChosenSettings | InferredDynamicsSettings | VariableProjectionSettings | AutoencoderSettings | NoLatentSettings,
    Field(discriminator="kind"),
]
LatentDim = Annotated[int, Field(ge=1, le=1000)]
StageSettings = Annotated[SineFeaturesSettings | KrigingSettings | DecoderSettings, Field(discriminator="kind")]

# Default latent dimensions of variable projection, which is fast enough for several models. Chosen on the wake, vlasov
# and burgers2d, where their mean has a third to two thirds less error than one model.
AVERAGED_DIMS = (2, 3, 4)

RENAMED_KEYS = {"clock": "time_scaling", "frame": "coordinate_scaling"}

PRESETS: dict[str, dict[str, Any]] = {
    "mlasdi": {
        "first_stage": {"kind": "chosen"},
        "stages": [{"kind": "sine-features"}, {"kind": "kriging"}],
        "anchors": 16,
        "interpolation": "field",
        "time_scaling": "learned",
        "coordinate_scaling": "learned",
        "min_gain": 0.1,
    },
    # arXiv 2506.09207: gradient training, coefficients by least squares in each step, GPs by the marginal likelihood of
    # each coefficient. What the paper sets for each of its problems is in configs/paper.
    "mlasdi-paper": {
        "first_stage": {"kind": "autoencoder"},
        "stages": [{"kind": "decoder"}],
        "anchors": 0,
        "interpolation": "marginal-likelihood",
        "time_scaling": "off",
        "coordinate_scaling": "off",
        "min_gain": None,
    },
    # arXiv 2308.05882: one stage, trained for as long as the two of mlasdi-paper
    "gplasdi": {
        "first_stage": {"kind": "autoencoder", "steps": 8000},
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


class ModelSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The surrogate model. `kind` is a preset for the keys below it; each can be overridden."""

    kind: Literal["mlasdi", "mlasdi-paper", "gplasdi", "snapshot-gp"] = "mlasdi"
    latent_dim: LatentDim | Annotated[tuple[LatentDim, ...], Field(min_length=1)] = Field(
        4,
        description="latent states n_z; a list trains one model per dimension, and averages those with a leave-one-out "
        "error within a factor 2 of the best",
    )
    effort: Literal["quick", "normal", "thorough"] = Field(
        "normal",
        description="of first_stage chosen. quick: kriging, and few forms of operator inference; normal: more forms, "
        "and latent dynamics with a decoder where the points are fewer than five; thorough: all that there are",
    )
    n_time: Annotated[int, Field(ge=5)] | Literal["auto"] = Field(
        "auto",
        description="snapshots of a trajectory used in training, evenly spread; auto: as many as a cubic spline "
        "through them needs to give back the others; of states of at most 8 values all, up to 501",
    )
    run_length: RunLength = Field(
        "auto",
        description="of runs that end at different times. shortest: what is beyond the end of the shortest run is not "
        "used; normalised: all of each run, over its own length, and the end time is an output of its own; auto: "
        "normalised if the lengths differ by more than 1 % and the runs begin together",
    )
    basis: BasisSettings = BasisSettings()
    noise: NoiseSetting = Field(
        "estimate",
        description="white noise in the snapshots, most of which is removed before the training: estimate (clean data "
        "are not changed), none, or its standard deviation relative to that of each field's values",
    )
    noise_floor: float = Field(
        2.0,
        ge=0,
        description="no later stage if the mean square training residual is below this many times that of the noise: "
        "below two, a stage fits more noise than signal",
    )
    first_stage: FirstStageSettings
    stages: tuple[StageSettings, ...]
    anchors: int = Field(
        ge=0, le=1024, description="points between the training points where the kriged field serves as data"
    )
    interpolation: Literal["field", "marginal-likelihood"]
    time_scaling: Literal["learned", "off"] = Field(
        description="learned: time is scaled by a rate that depends on the parameters, where that aligns trajectories"
    )
    coordinate_scaling: Literal["learned", "off"] = Field(
        description="learned: scales and shifts of the coordinates, and amplitudes of the fields, depend on the "
        "parameters, where that aligns the trajectories"
    )
    min_gain: float | None = Field(
        ge=0,
        lt=1,
        description="a later stage is kept only if it lowers the leave-one-out error by this fraction; null: all are",
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
            filled["first_stage"] = {"kind": _first_stage_kind(preset, filled)} | dict(filled["first_stage"])
            _refuse_dynamics_without_integration(filled["first_stage"])
            if filled["first_stage"]["kind"] in ("variable-projection", "chosen"):
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
        if not self.basis.compress and self.first_stage.kind != "autoencoder":
            raise ValueError(
                f"basis.compress false: only networks are trained on full states, and first_stage is "
                f"{self.first_stage.kind}; take model.kind mlasdi-paper or gplasdi"
            )
        if len(self.latent_dims) > 1 and self.first_stage.kind not in ("variable-projection", "chosen"):
            raise ValueError(
                f"latent_dim {list(self.latent_dims)}: only first_stage variable-projection averages several models; "
                f"give one number for {self.first_stage.kind}"
            )
        return self

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """The latent dimensions, one for each model."""
        return (self.latent_dim,) if isinstance(self.latent_dim, int) else self.latent_dim


def with_given_starts(settings: ModelSettings) -> ModelSettings:
    """The settings with `first_stage.initial_state: given`, unless they say what it is or have no such key."""
    first = settings.first_stage
    if "initial_state" in first.model_fields_set or "initial_state" not in type(first).model_fields:
        return settings
    return settings.model_copy(update={"first_stage": first.model_copy(update={"initial_state": "given"})})


def _first_stage_kind(preset: Mapping[str, Any], filled: Mapping[str, Any]) -> str:
    """The preset's kind; keys of latent dynamics with a decoder, such as `iterations`, ask for these."""
    kind = str(preset["first_stage"]["kind"])
    if kind == "chosen" and not set(filled["first_stage"]) <= set(ChosenSettings.model_fields):
        return "variable-projection"
    return kind


def _refuse_old_keys(given: Mapping[str, Any]) -> None:
    for old, new in RENAMED_KEYS.items():
        if old in given:
            raise ValueError(f"{old} is a key of an earlier version; it is now {new}: learned | off")


def _refuse_dynamics_without_integration(first_stage: Mapping[str, Any]) -> None:
    """Refuse a form of dynamics where the training does not integrate trajectories."""
    kind, dynamics = first_stage["kind"], first_stage.get("dynamics")
    if dynamics is not None and kind in ("autoencoder", "none"):
        has = "fits affine dynamics to the velocities of encoded states" if kind == "autoencoder" else "has no dynamics"
        raise ValueError(
            f"first_stage.dynamics {dynamics}: first_stage.kind {kind} {has}; only variable-projection, which trains "
            "through the integrated trajectories, has a choice"
        )
