"""Latent dynamics without a closed solution, of one or several independent systems, integrated in fixed steps.

The step size is part of the model: predictions use the one of the training, whatever their times. The scheme of each
form (see `quadratic`) keeps bounded systems bounded in discrete time. Between the steps states are interpolated. Times
are in units of the training interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mlasdi.latent.affine import growth_rates
from mlasdi.latent.parametrisations import BoundedQuadratic, SecondOrder
from mlasdi.latent.quadratic import Outcome, integrate

StableForm = BoundedQuadratic | SecondOrder
FORMS: Mapping[str, type[StableForm]] = {"quadratic": BoundedQuadratic, "second-order": SecondOrder}
"""Forms that are stable for any value of their coefficients, by their name in the configuration."""

_NAMES = {form: name for name, form in FORMS.items()}
ON_A_STEP = 1e-9  # safety bound, in steps: a time that is off a step by rounding has the state of the step


@dataclass(frozen=True)
class SteppedDynamics:
    """Independent systems, whose coefficients, initial states and latent states are concatenated.

    Attributes:
        forms: one for each system.
        n_steps: number of steps in the training interval.
    """

    forms: tuple[StableForm, ...]
    n_steps: int

    @classmethod
    def joined(cls, systems: "Sequence[SteppedDynamics]") -> "SteppedDynamics":
        """Several independent systems as one, with the step size of the first."""
        return cls(tuple(form for system in systems for form in system.forms), systems[0].n_steps)

    @property
    def members(self) -> tuple["SteppedDynamics", ...]:
        """The systems one by one."""
        return tuple(SteppedDynamics((form,), self.n_steps) for form in self.forms)

    @property
    def kind(self) -> str:
        return _NAMES[type(self.forms[0])]

    @property
    def n_coefficients(self) -> int:
        return sum(form.n_coefficients for form in self.forms)

    @property
    def n_initial(self) -> int:
        """Entries of the initial state, velocities of second-order systems included."""
        return sum(form.n_latent for form in self.forms)

    @property
    def n_observed(self) -> int:
        """Number of latent states that stages use; velocities of second-order systems are not among them."""
        return sum(form.n_observed for form in self.forms)

    def outcome(
        self,
        xi: Float[Tensor, "*batch coefficient"],
        z0: Float[Tensor, "*batch initial"],
        t: Float[Tensor, " time"],
    ) -> Outcome:
        """The observed latent states at times `t`, not before 0 and in any order; differentiable."""
        last = max(int(t.max() * self.n_steps), self.n_steps)
        # Two more steps than needed, so that a state does not depend on the other times of a query.
        grid = torch.arange(last + 3, dtype=t.dtype) / self.n_steps
        outcomes = [
            integrate(form.assemble(coefficients), initial, grid, 1, energy_stable=form.energy_stable)
            for form, coefficients, initial in zip(self.forms, self.split(xi), self.split_initial(z0), strict=True)
        ]
        states = [outcome.z[..., : form.n_observed] for outcome, form in zip(outcomes, self.forms, strict=True)]
        blew_up_at = torch.stack([outcome.blew_up_at for outcome in outcomes]).amin(dim=0)
        return Outcome(_interpolated(torch.cat(states, dim=-1), t * self.n_steps), blew_up_at)

    @property
    def equation(self) -> str:
        """Of each of the systems."""
        return self.forms[0].equation

    def growth_rates(self, xi: Float[Tensor, "*batch coefficient"]) -> Float[Tensor, "*batch rate"]:
        """Real parts of the eigenvalues of the linear parts, about the centre."""
        rates = []
        for form, coefficients in zip(self.forms, self.split(xi), strict=True):
            system = form.assemble(coefficients)
            rates.append(growth_rates(torch.cat([system.constant[..., None], system.linear], dim=-1)))
        return torch.cat(rates, dim=-1)

    def split(self, xi: Float[Tensor, "*batch coefficient"]) -> tuple[Tensor, ...]:
        """Coefficients of each form."""
        return torch.split(xi, [form.n_coefficients for form in self.forms], dim=-1)

    def split_initial(self, z0: Float[Tensor, "*batch initial"]) -> tuple[Tensor, ...]:
        """Initial states of each form."""
        return torch.split(z0, [form.n_latent for form in self.forms], dim=-1)

    def state(self) -> dict[str, Any]:
        """The forms and the number of steps, as JSON."""
        forms = [
            {"kind": _NAMES[type(form)], "n": form.n_observed, "frequencies": list(form.frequencies), "eps": form.eps}
            for form in self.forms
        ]
        return {"n_steps": self.n_steps, "forms": forms}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "SteppedDynamics":
        forms = (FORMS[one["kind"]](one["n"], tuple(one["frequencies"]), one["eps"]) for one in state["forms"])
        return cls(tuple(forms), state["n_steps"])


def _interpolated(
    states: Float[Tensor, "*batch step latent"], at: Float[Tensor, " time"]
) -> Float[Tensor, "*batch time latent"]:
    """States at fractional steps, by the cubic through the four steps around each."""
    at = at.clamp_min(0.0)
    nearest = at.round()
    if bool(((at - nearest).abs() < ON_A_STEP).all()):
        return states.index_select(-2, nearest.long())
    first = (at.long() - 1).clamp_min(0)
    return sum(
        (weight[:, None] * states.index_select(-2, first + k) for k, weight in enumerate(_cubic_weights(at - first))),
        torch.zeros(()),
    )


def _cubic_weights(s: Float[Tensor, " time"]) -> tuple[Tensor, ...]:
    """Weights of the values at 0, 1, 2 and 3 in the cubic through them, at `s`."""
    one, two, three = s - 1, s - 2, s - 3
    return -one * two * three / 6, s * two * three / 2, -s * one * three / 2, s * one * two / 6
