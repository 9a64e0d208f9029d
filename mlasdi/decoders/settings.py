"""Settings of dynamics and decoders, in a file that does not import torch: configurations are read without it."""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from mlasdi.stages import NetworkSettings

Calibration = Literal["integral", "weak", "least-squares"]
Kappas = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
Schedule = Literal["cosine", "constant"]


class DescentSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Steps of Adam, and its learning rate."""

    steps: int = Field(5000, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    schedule: Schedule = Field("cosine", description="of the learning rate: falls to 0 like a cosine, or is constant")


class AutoencoderSettings(DescentSettings):
    """First stage: autoencoder and latent dynamics, trained jointly by Adam."""

    kind: Literal["autoencoder"] = "autoencoder"
    network: NetworkSettings = NetworkSettings(hidden=(20, 100), activation="softplus")
    dynamics_weight: float = Field(0.1, ge=0, description="weight of |dz/dt - Theta(z) Xi|^2")
    coefficient_weight: float = Field(1e-3, ge=0, description="weight of |Xi|")
    propagation_weight: float = Field(
        0.0, ge=0, description="weight of the error of decoded *integrated* trajectories; 0 as published"
    )
    units: Literal["relative", "solver"] = Field(
        "relative",
        description="of the loss. relative: errors relative to the data, times in units of the training interval; "
        "solver: those of the solver for both, as published",
    )
    calibration: Literal["joint", "least-squares", "weak"] = Field(
        "least-squares",
        description="least-squares: Xi are computed in each step from finite differences, as published; weak: in weak "
        "form, which is less sensitive to noise; joint: they are variables of the training",
    )
    initial_state: Literal["kriged", "given"] = Field(
        "kriged",
        description="kriged: latent states at the first time are interpolated like coefficients; given: encoded "
        "where the initial state is given, by Surrogate.starting_from and to the folds of leave-one-out errors",
    )


class DecoderSettings(DescentSettings):
    """A later stage: a decoder network for the residual, trained by Adam; by default with the published sine layer."""

    reproduces_training_data: ClassVar[bool] = False

    kind: Literal["decoder"] = "decoder"
    network: NetworkSettings = NetworkSettings(hidden=(20, 200), activation="sine")
    kappa: Literal["auto", "spectrum"] | Kappas | None = Field(
        None,
        description="in place of network.kappa: spectrum, from the residual's spectrum; a list, of which the best on "
        "left-out trajectories is taken; auto, the best of the spectrum's kappa and fractions of it",
    )

    @field_validator("kappa", mode="before")
    @classmethod
    def _check_kappa(cls, given: Any) -> Any:
        """One error message, where the union of types would give one for each."""
        if given is None or given in ("auto", "spectrum"):
            return given
        values = given if isinstance(given, list | tuple) else [given]
        if not values or not all(isinstance(value, int | float) and 0 < value < math.inf for value in values):
            raise ValueError(f"{given}: give positive numbers in a list, or spectrum, or auto")
        return tuple(map(float, values))

    @model_validator(mode="after")
    def _has_a_sine_layer(self) -> "DecoderSettings":
        if self.kappa is not None and self.network.activation != "sine":
            raise ValueError(f"kappa belongs to network.activation: sine; it is {self.network.activation}")
        return self


class VariableProjectionSettings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """First stage by variable projection."""

    kind: Literal["variable-projection"] = "variable-projection"
    n_sine: int = Field(100, ge=0, le=10_000, description="random sine features of the decoder, besides 1, z and z z")
    kappa: float = Field(0.3, gt=0, description="scale of the frequencies of these features")
    ridge: float = Field(1e-8, gt=0)
    roughness: float = Field(1.0, ge=0, description="penalty on coefficients that are not linear in the parameters")
    calibration: Calibration = Field(
        "integral", description="of the first guess: least squares in integral form, in weak form, or on differences"
    )
    iterations: int = Field(150, ge=1, description="L-BFGS steps")
    checkpoints: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (2, 5, 15, 50), description="steps after which the training may stop, if the leave-one-out error is smallest"
    )
    dynamics: Literal["affine", "quadratic", "second-order"] = Field(
        "affine",
        description="form of the latent ODE: affine, solved exactly; quadratic or second-order (oscillators), which "
        "are bounded for all coefficients, and are integrated in steps",
    )
    forcing: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (), description="frequencies of a forcing in time, in oscillations per trajectory; not with affine dynamics"
    )
    integration_steps: int = Field(
        100, ge=10, description="steps of the integration of a trajectory; affine dynamics need none"
    )

    @model_validator(mode="after")
    def _suits_the_dynamics(self) -> "VariableProjectionSettings":
        if self.forcing and self.dynamics == "affine":
            raise ValueError(f"forcing {list(self.forcing)} needs dynamics: quadratic or second-order; it is affine")
        if self.calibration != "integral" and self.dynamics != "affine":
            raise ValueError(f"calibration {self.calibration} needs dynamics: affine; it is {self.dynamics}")
        return self
