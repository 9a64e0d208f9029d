"""What the latent dynamics of a surrogate are: their equation, and their modes over the parameter box."""

from typing import Any

import numpy as np

from mlasdi.latent import LatentModel
from mlasdi.stages import Stage
from mlasdi.surrogate import Surrogate

MAX_CORNERS = 16  # of the box, at which modes are told; with more parameters the centre alone
MAX_MODES = 6
SMALLEST_SHARE = 0.005  # of the motion that a mode carries


def describe_dynamics(surrogate: Surrogate) -> dict[str, Any] | None:
    """Equation and modes of the latent dynamics, as JSON; None of a model without any.

    Returns:
        `equation`; and `modes`, where the dynamics are linear: for the centre of the box and each of its corners `mu`,
        and, for each of the leading modes, `growth_rates` per unit of time (negative: damping), angular `frequencies`
        in radians per unit of time, and `shares` of the motion (see `mlasdi.latent.Modes`).
    """
    parts: list[LatentModel | Stage] = [surrogate.model.latent, *surrogate.model.stages]
    dynamics = next((part for part in parts if part.equation), None)
    if dynamics is None:
        return None
    space = surrogate.space
    corners = space.to_unit(space.corners()) if 2**space.n_params <= MAX_CORNERS else np.empty((0, space.n_params))
    x = np.concatenate([np.full((1, space.n_params), 0.5), corners])
    units = surrogate.run_times.rates(x)
    described = []
    for mu, unit, modes in zip(space.from_unit(x), units, dynamics.modes(x), strict=False):
        kept = np.flatnonzero(modes.shares >= SMALLEST_SHARE)[:MAX_MODES]
        rates = unit * modes.rates[kept]
        described.append(
            {
                "mu": space.as_dict(mu),
                "growth_rates": rates.real.tolist(),
                "frequencies": rates.imag.tolist(),
                "shares": modes.shares[kept].tolist(),
            }
        )
    return {"equation": dynamics.equation, "modes": described}
