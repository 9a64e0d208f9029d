"""The latent model: coefficients and initial states over the parameters, and their trajectories."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mlasdi.interpolation import CoefficientGP, Kernel, Kriging
from mlasdi.latent.affine import growth_rates, propagate
from mlasdi.latent.fixed_step import SteppedDynamics
from mlasdi.latent.initial_states import InitialStates
from mlasdi.latent.modes import Modes
from mlasdi.latent.quadratic import Outcome

N_MODE_TIMES = 201  # of the trajectories along which the shares of modes are computed


@dataclass(frozen=True)
class Trajectories:
    """Latent trajectories at parameter points: the inputs of a stage.

    Attributes:
        x: points of the unit cube `[param, d]`.
        t: times in units of the training interval `[time]`.
        z: latent states `[param, time, latent]`.
    """

    x: Float[Tensor, "param d"]
    t: Float[Tensor, " time"]
    z: Float[Tensor, "param time latent"]

    def __getitem__(self, keep: np.ndarray | slice) -> "Trajectories":
        return Trajectories(self.x[keep], self.t, self.z[keep])


@dataclass(frozen=True)
class LatentModel:
    """Calibrated coefficients and initial latent states at the training points, interpolated over the unit cube.

    Attributes:
        x: training points of the unit cube `[point, d]`.
        xi: coefficients in units of one over the training interval: `[point, latent, 1 + latent]` for affine dynamics,
            `[point, coefficient]` for others.
        z0: initial latent states `[point, initial]`, velocities of second-order dynamics included.
        kernel: shared by all coefficients; None for one per coefficient by marginal likelihood.
        uncertainty_kernel: of the standard deviations, where `kernel` is shared; `kernel` by default.
        dynamics: dynamics that are integrated in steps; None for affine dynamics, which are solved exactly.
        initial_states: latent states that are known at t = 0; None if all but the training points interpolate them.
    """

    x: Float[np.ndarray, "point d"]
    xi: Float[np.ndarray, "point ..."]
    z0: Float[np.ndarray, "point initial"]
    kernel: Kernel | None
    uncertainty_kernel: Kernel | None = None
    dynamics: SteppedDynamics | None = None
    initial_states: InitialStates | None = None

    @classmethod
    def trivial(cls, x: Float[np.ndarray, "point d"], kernel: Kernel) -> "LatentModel":
        """One latent state that stays zero, for stages that depend on parameters and time alone."""
        return cls(x, np.zeros((len(x), 1, 2)), np.zeros((len(x), 1)), kernel)

    @property
    def has_dynamics(self) -> bool:
        """Whether there are dynamics; not so for the latent state of `trivial`, which stays zero."""
        return bool(self.xi.any() or self.z0.any())

    @property
    def kind(self) -> str:
        """Name of the form of the dynamics."""
        if not self.has_dynamics:
            return "none"
        return self.dynamics.kind if self.dynamics else "affine"

    @property
    def n_latent(self) -> int:
        """Number of latent states that stages use."""
        return self.dynamics.n_observed if self.dynamics else self.z0.shape[1]

    @cached_property
    def gp(self) -> CoefficientGP:
        """GPs of all coefficients and initial states, as one output vector."""
        flat = np.concatenate([self.xi.reshape(len(self.x), -1), self.z0], axis=1)
        return CoefficientGP(self.x, flat, self.kernel and (self.uncertainty_kernel or self.kernel))

    @cached_property
    def kriging(self) -> Kriging | None:
        """Kriging of coefficients and initial states; None where these do not share a kernel."""
        return None if self.kernel is None else Kriging(self.x, self.kernel)

    def trajectories(self, x: Float[np.ndarray, "param d"], t: Float[Tensor, " time"]) -> Trajectories:
        """Trajectories with the mean coefficients."""
        return self._integrate(x, self.mean_coefficients(x), t)

    def mean_coefficients(self, x: Float[np.ndarray, "param d"]) -> Float[np.ndarray, "param output"]:
        """Posterior mean of coefficients and initial states, or these where known; in closed form where the kernel is
        shared.
        """
        mean = self.gp.posterior(x)[0] if self.kriging is None else self.kriging.weights(x) @ self.gp.values
        if self.initial_states is not None:
            n = self.z0.shape[1]
            mean[:, -n:] = self.initial_states.put_into(mean[:, -n:], x)
        return mean

    def deviated(self, x: Float[np.ndarray, "param d"], t: Float[Tensor, " time"]) -> Trajectories:
        """Trajectories one standard deviation away along each direction: `[direction * param, ...]`."""
        steps = self.gp.deviations(x)
        if self.initial_states is not None:
            steps[:, self.initial_states.are_known(x), -self.z0.shape[1] :] = 0.0
        flat = (self.mean_coefficients(x) + steps).reshape(-1, steps.shape[-1])
        return self._integrate(np.tile(x, (len(steps), 1)), flat, t)

    def without(self, left_out: Int[np.ndarray, " left_out"]) -> "LatentModel":
        """The model without some training points; the coefficients at the others are not calibrated again."""
        keep = np.delete(np.arange(len(self.x)), left_out)
        return replace(self, x=self.x[keep], xi=self.xi[keep], z0=self.z0[keep])

    def starting_from(
        self, x: Float[np.ndarray, "n d"], z0: Float[np.ndarray, "n initial"], between: bool = False
    ) -> "LatentModel":
        """The model with known initial states `z0` at points `x`.

        Raises:
            ValueError: it was trained to interpolate initial states.
        """
        if self.initial_states is None:
            raise ValueError("the model was trained with first_stage.initial_state: kriged; train it with given")
        return replace(self, initial_states=self.initial_states.with_more(x, z0, between))

    def outcome(self, x: Float[np.ndarray, "param d"], t: Float[Tensor, " time"]) -> Outcome:
        """Trajectories with the mean coefficients, and when they blow up."""
        return self.solve(self.mean_coefficients(x), t)

    def growth_rates(self, xi: Float[Tensor, "param ..."]) -> Float[Tensor, "param rate"]:
        """Real parts of the eigenvalues of the linear part of the dynamics with these coefficients."""
        return self.dynamics.growth_rates(xi) if self.dynamics else growth_rates(xi)

    @property
    def equation(self) -> str:
        """The dynamics as a formula; empty where there are none."""
        if not self.has_dynamics:
            return ""
        return self.dynamics.equation if self.dynamics else "dz/dt = b + A z"

    def modes(self, x: Float[np.ndarray, "param d"]) -> list[Modes]:
        """Modes of affine dynamics at points, per unit of time; none of others."""
        if not self.has_dynamics or self.dynamics:
            return []
        t = torch.linspace(0, 1, N_MODE_TIMES, dtype=torch.float64)
        matrices = self.split(self.mean_coefficients(x))[0][..., 1:].numpy()
        states = self.trajectories(x, t).z.numpy()
        return [
            Modes.along(*np.linalg.eig(matrix.astype(complex)), along, t.numpy(), len(matrix))
            for matrix, along in zip(matrices, states, strict=True)
        ]

    def split(
        self, flat: Float[np.ndarray, "param output"]
    ) -> tuple[Float[Tensor, "param ..."], Float[Tensor, "param initial"]]:
        """Rows of coefficients and initial states, split into these."""
        n = self.z0.shape[1]
        values = torch.from_numpy(flat)
        return values[:, :-n].reshape(len(flat), *self.xi.shape[1:]), values[:, -n:]

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Settings as JSON, and arrays: all that `from_state` needs."""
        settings = {"kernels": [k and k.model_dump(mode="json") for k in (self.kernel, self.uncertainty_kernel)]}
        stepped: dict[str, Any] = {"dynamics": self.dynamics.state()} if self.dynamics else {}
        known = self.initial_states
        stepped |= {"known_between": True} if known is not None and known.between else {}
        starts = {} if known is None else {"known_x": known.x, "known_z0": known.c}
        return settings | stepped, {"x": self.x, "xi": self.xi, "z0": self.z0, **starts}

    @classmethod
    def from_state(cls, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "LatentModel":
        kernel, uncertainty_kernel = (k and Kernel.model_validate(k) for k in settings["kernels"])
        dynamics = SteppedDynamics.from_state(settings["dynamics"]) if "dynamics" in settings else None
        known = None
        if "known_x" in arrays:
            known = InitialStates(arrays["known_x"], arrays["known_z0"], settings.get("known_between", False))
        return cls(arrays["x"], arrays["xi"], arrays["z0"], kernel, uncertainty_kernel, dynamics, known)

    def solve(self, flat: Float[np.ndarray, "param output"], t: Float[Tensor, " time"]) -> Outcome:
        """Trajectories for rows of coefficients and initial states."""
        xi, z0 = self.split(flat)
        if self.dynamics:
            return self.dynamics.outcome(xi, z0, t)
        return Outcome(propagate(xi, z0, t), torch.full((len(flat),), math.inf, dtype=torch.float64))

    def _integrate(self, x: np.ndarray, flat: np.ndarray, t: Tensor) -> Trajectories:
        return Trajectories(torch.from_numpy(x), t, self.solve(flat, t).z)
