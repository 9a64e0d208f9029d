"""The latent trajectory, under a given form of dynamics, that is closest to given latent states."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import least_squares
from torch import Tensor

from mlasdi.latent.affine import calibrate, propagate
from mlasdi.latent.fixed_step import SteppedDynamics
from mlasdi.latent.initial_guess import first_guess
from mlasdi.latent.latent_model import LatentModel

MAX_EVALUATIONS = 30  # safety bound: least squares starts close to the solution and converges in about ten steps
DIFFERENCE_STEP = 1e-6  # of the Jacobian by finite differences, relative to coefficients above one

Solve = Callable[[Float[Tensor, "row value"]], Float[Tensor, "row time latent"]]


def best_trajectory(
    latent: LatentModel,
    sizes: Sequence[int],
    x: Float[np.ndarray, "1 d"],
    z: Float[Tensor, "time latent"],
    tau: Float[Tensor, " time"],
) -> Float[Tensor, "time latent"]:
    """The integrated trajectory from z(0) that is closest to z, over all coefficients of the dynamics (least squares).

    Coefficients in integral form would add the quadrature error of the times, and their trajectory may diverge. They
    are one first guess, the interpolated coefficients the other. Least squares starts from the better one.

    Args:
        latent: the model whose form of dynamics is fitted.
        sizes: number of latent states of each independent block of the model.
        x: the point of the unit cube whose interpolated coefficients are a first guess.
        z: the latent states.
        tau: their times, in units of the training interval.
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
        systems, first = [], 0
        for part in parts:
            block = slice(first, first + part.shape[-1])
            interpolated = torch.cat([xi[block, :1], xi[block, 1:][:, block]], dim=1)
            systems.append(_affine_system(interpolated, part, elapsed))
            first = block.stop
    return torch.cat([_calibrated(*system, part) for system, part in zip(systems, parts, strict=True)], dim=-1)


def _affine_system(
    interpolated: Float[Tensor, "latent terms"], z: Float[Tensor, "time latent"], elapsed: Float[Tensor, " time"]
) -> tuple[Float[Tensor, "start value"], Solve]:
    """First guesses of the coefficients, and a function from rows of coefficients to their trajectories from z(0)."""
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
    """`_affine_system` of stepped dynamics; unobserved parts of the initial state are fitted with the coefficients."""
    (form,), n = dynamics.forms, z.shape[-1]
    coefficients, states = first_guess(form, z[None], elapsed)
    starts = torch.stack([torch.cat([coefficients, states[0, n:]]), torch.cat([interpolated, initial[n:]])])

    def solve(rows: Tensor) -> Tensor:
        xi, hidden = torch.split(rows, [form.n_coefficients, form.n_latent - n], dim=-1)
        return dynamics.outcome(xi, torch.cat([z[0].expand(len(rows), -1), hidden], dim=-1), elapsed).z

    return starts, solve


def _calibrated(
    starts: Float[Tensor, "start value"], solve: Solve, z: Float[Tensor, "time latent"]
) -> Float[Tensor, "time latent"]:
    """The trajectory that is closest to z, by least squares from the better start."""
    misfit = (solve(starts) - z).square().sum(dim=(-2, -1))
    first = starts[misfit.nan_to_num(torch.inf).argmin()]

    def residuals(rows: Tensor) -> Tensor:
        return (solve(rows) - z).flatten(1)

    def jacobian(v: np.ndarray) -> np.ndarray:
        centre = torch.from_numpy(v)
        steps = DIFFERENCE_STEP * centre.abs().clamp_min(1.0)
        values = residuals(torch.cat([centre[None], centre + torch.diag(steps)]))
        return ((values[1:] - values[0]) / steps[:, None]).T.numpy()

    if not misfit.min() < torch.inf:
        return solve(first[None])[0]
    solution = least_squares(
        lambda v: residuals(torch.from_numpy(v)[None])[0].numpy(), first.numpy(), jac=jacobian, x_scale="jac",
        max_nfev=MAX_EVALUATIONS,
    )  # fmt: skip
    return solve(torch.from_numpy(solution.x)[None])[0]
