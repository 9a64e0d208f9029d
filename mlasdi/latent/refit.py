"""Latent trajectories of a model's own form of dynamics that follow given latent states best."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import least_squares
from torch import Tensor

from mlasdi.latent.affine import calibrate, propagate
from mlasdi.latent.fixed_step import SteppedDynamics
from mlasdi.latent.initial_guess import start
from mlasdi.latent.latent_model import LatentModel

CALIBRATION_STEPS = 30  # of a least-squares problem that starts close and converges in about ten

Solve = Callable[[Float[Tensor, "row value"]], Float[Tensor, "row time latent"]]


def best_trajectory(
    latent: LatentModel,
    sizes: Sequence[int],
    x: Float[np.ndarray, "1 d"],
    z: Float[Tensor, "time latent"],
    tau: Float[Tensor, " time"],
) -> Float[Tensor, "time latent"]:
    """The trajectory from z(0) of the dynamics whose *integrated* trajectory follows z best (least squares).

    Coefficients by integral form alone would add the quadrature error of the times, and may diverge where z does not.
    They are one start, the interpolated coefficients the other, and least squares goes on from the better.

    Args:
        sizes: latent states of each model that the latent model has side by side.
        x: where to interpolate the coefficients.
    """
    xi, z0 = (part[0] for part in latent.split(latent.mean_coefficients(x)))
    elapsed, parts = tau - tau[0], z.split(list(sizes), dim=-1)
    if latent.dynamics:
        systems = [
            _stepped_system(*member, elapsed)
            for member in zip(
                latent.dynamics.members, latent.dynamics.split(xi), latent.dynamics.split_initial(z0), parts,
                strict=True,
            )
        ]  # fmt: skip
    else:
        systems, at = [], 0
        for part in parts:
            own = slice(at, at + part.shape[-1])
            interpolated = torch.cat([xi[own, :1], xi[own, 1:][:, own]], dim=1)
            systems.append(_affine_system(interpolated, part, elapsed))
            at = own.stop
    return torch.cat([_calibrated(*system, part) for system, part in zip(systems, parts, strict=True)], dim=-1)


def _affine_system(
    interpolated: Float[Tensor, "latent terms"], z: Float[Tensor, "time latent"], elapsed: Float[Tensor, " time"]
) -> tuple[Float[Tensor, "start value"], Solve]:
    """Coefficients to start from, and the trajectories from z(0) of rows of coefficients."""
    starts = torch.stack([calibrate(z, elapsed), interpolated])

    def solve(rows: Tensor) -> Tensor:
        return propagate(rows.reshape(-1, *interpolated.shape), z[0].expand(len(rows), -1), elapsed)

    return starts.flatten(1), solve


def _stepped_system(
    dynamics: SteppedDynamics,
    interpolated: Float[Tensor, " coefficient"],
    initial: Float[Tensor, " initial"],
    z: Float[Tensor, "time latent"],
    elapsed: Float[Tensor, " time"],
) -> tuple[Float[Tensor, "start value"], Solve]:
    """`_affine_system` of stepped dynamics; what the stages do not see of the initial state is calibrated, too."""
    (form,), n = dynamics.forms, z.shape[-1]
    found, states = start(form, z[None], elapsed)
    starts = torch.stack([torch.cat([found, states[0, n:]]), torch.cat([interpolated, initial[n:]])])

    def solve(rows: Tensor) -> Tensor:
        xi, hidden = torch.split(rows, [form.n_coefficients, form.n_latent - n], dim=-1)
        return dynamics.outcome(xi, torch.cat([z[0].expand(len(rows), -1), hidden], dim=-1), elapsed).z

    return starts, solve


def _calibrated(
    starts: Float[Tensor, "start value"], solve: Solve, z: Float[Tensor, "time latent"]
) -> Float[Tensor, "time latent"]:
    """The trajectory that follows z best, by least squares from the better start."""
    misfit = (solve(starts) - z).square().sum(dim=(-2, -1))
    first = starts[misfit.nan_to_num(torch.inf).argmin()]

    def residuals(rows: Tensor) -> Tensor:
        return (solve(rows) - z).flatten(1)

    def jacobian(v: np.ndarray) -> np.ndarray:
        centre = torch.from_numpy(v)
        steps = 1e-6 * centre.abs().clamp_min(1.0)
        found = residuals(torch.cat([centre[None], centre + torch.diag(steps)]))
        return ((found[1:] - found[0]) / steps[:, None]).T.numpy()

    if not misfit.min() < torch.inf:
        return solve(first[None])[0]
    solution = least_squares(
        lambda v: residuals(torch.from_numpy(v)[None])[0].numpy(), first.numpy(), jac=jacobian, x_scale="jac",
        max_nfev=CALIBRATION_STEPS,
    )  # fmt: skip
    return solve(torch.from_numpy(solution.x)[None])[0]
