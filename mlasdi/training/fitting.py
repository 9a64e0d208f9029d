"""From training trajectories to a surrogate: compress, calibrate the dynamics, add stages while they help, judge."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from mlasdi.alignment import aligned
from mlasdi.interpolation import select_kernels
from mlasdi.preprocessing import Denoised, PodBasis, TrainingData, noise_std
from mlasdi.stages import StagedModel, TrainingSet
from mlasdi.surrogate import Surrogate, TrainingRecord, min_factor, relative_std, student
from mlasdi.training.settings import ModelSettings
from mlasdi.training.stage_selection import Progress, StageSelection
from mlasdi.validation import (
    LeaveOneOut,
    distance_correlations,
    latent_correlations,
    leave_one_out,
    mean_errors,
    training_errors,
)

__all__ = ["ModelSettings", "Progress", "TrainingData", "fit"]


def fit(
    data: TrainingData,
    settings: ModelSettings,
    *,
    seed: int,
    report: Callable[[Progress], None] = lambda progress: None,
    info: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> Surrogate:
    """Fit a surrogate to training trajectories.

    Args:
        data: trajectories at the training points, of which there are at least two; several runs at one are averaged.
        settings: the model.
        seed: of everything random; the same seed gives the same surrogate on the same machine.
        report: called with the progress of the training.
        info: JSON to travel with the surrogate.
        device: on which networks are trained, as torch names it. All else is small, or in double precision, and done on
            the CPU.

    Raises:
        ValueError: fewer than two different training points, or a latent dimension above the POD rank.
    """
    start = time.perf_counter()
    thinned, noise = _prepared(data, settings)
    x = data.space.to_unit(thinned.mu)
    tau = (thinned.t - thinned.t[0]) / (thinned.t[-1] - thinned.t[0])
    allowed = {
        "time_scaling": settings.time_scaling == "learned",
        "coordinate_scaling": settings.coordinate_scaling == "learned",
    }
    found = aligned(x, tau, thinned.u, data.layout, data.space.spans, settings.basis, **allowed)
    basis = found.basis
    settings = _within_rank(settings, basis.rank, noisy=noise is not None)
    flat = found.c.reshape(len(x), -1)
    left = float(np.sum((noise.left / basis.unit / basis.scale) ** 2)) if noise else 0.0
    kernels = select_kernels(x, flat, left / basis.rank)
    anchors = data.space.unit_sobol(settings.anchors, seed)
    c, own = torch.from_numpy(found.c), torch.from_numpy(tau)
    training_set = TrainingSet(
        x, c, own, kernels.mean, anchors, kernels.uncertainty, left,
        found.time_scaling, found.trajectory_splines, found.missing, kernels.left_out,
    )  # fmt: skip
    staging = StageSelection(settings, training_set, basis, torch.Generator().manual_seed(seed), report, device)
    first, encoder = staging.first_stage()
    model = staging.add_stages(first)
    loo = leave_one_out(model, training_set, basis, min_factor(kernels.uncertainty, aligned=not found.is_common))
    record = TrainingRecord(
        stage_names=tuple(staging.names),
        stage_errors=tuple(mean_errors(loo.errors, training_set).tolist()) if loo else (),
        leave_one_out=tuple(map(tuple, loo.errors.tolist())) if loo else (),
        error_estimate=_error_estimate(model, basis, training_set, loo, data.space.unit_sobol(256, seed), noise),
        std_factors=loo.std_factors.values if loo else (student(len(x)),),
        error_factors=loo.error_factors.values if loo else (1.0,),
        loss_history={name: tuple(staging.losses[name]) for name in staging.names},
        dropped=staging.dropped,
        truncation_error=basis.truncation_error,
        training_errors=tuple(np.sqrt(np.mean(training_errors(model, training_set, basis) ** 2, axis=1)).tolist()),
        latent_correlations=latent_correlations(model, training_set),
        distance_correlations=distance_correlations(model, training_set),
        dropped_ratios=staging.dropped_ratios,
        fit_s=time.perf_counter() - start,
        noise_level=noise.level if noise else 0.0,
    )
    parts = (basis, model, encoder, record, dict(info or {}), found.time_scaling, found.coordinate_scaling)
    return Surrogate(data.space, data.layout, thinned.t, *parts)


def _prepared(data: TrainingData, settings: ModelSettings) -> tuple[TrainingData, Denoised | None]:
    """Each training point once, at few times, without most of the noise; and what that was, where there is any.

    Raises:
        ValueError: fewer than two different points.
    """
    std = noise_std(data.u, len(data.layout.fields), settings.noise)
    thinned, noise = data.denoised(std, settings.n_time) if std.any() else (data.thinned(settings.n_time), None)
    once, n_runs = thinned.averaged()
    if len(once.mu) < 2:
        raise ValueError(f"a surrogate needs at least 2 different training points, got {len(once.mu)}")
    return once, noise and replace(noise, left=noise.left * np.sqrt(np.mean(1 / n_runs)))


def _within_rank(settings: ModelSettings, rank: int, noisy: bool) -> ModelSettings:
    """The settings with latent dimensions that the basis has; with noise, those that stand out of it.

    Raises:
        ValueError: there are too many, for no other reason than the data.
    """
    largest = max(settings.latent_dims)
    if largest <= rank or settings.first_stage.kind == "none":
        return settings
    if not noisy:
        raise ValueError(f"model.latent_dim {largest} exceeds the POD rank {rank}; allowed: 1 to {rank}")
    clamped = tuple(sorted({min(n, rank) for n in settings.latent_dims}))
    return settings.model_copy(update={"latent_dim": clamped if len(clamped) > 1 else clamped[0]})


def _error_estimate(
    model: StagedModel,
    basis: PodBasis,
    data: TrainingSet,
    loo: LeaveOneOut | None,
    x: Float[np.ndarray, "param d"],
    noise: Denoised | None,
) -> float | None:
    """Largest calibrated relative standard deviation over points `x`, and what noise in the basis adds to it.

    None where it is not finite.
    """
    if loo is None:
        return None
    largest = relative_std(model, basis, x, data.t, time_scaling=data.time_scaling, factors=loo.error_factors).max()
    estimate = float(np.hypot(largest, noise.modes_error if noise else 0))
    return estimate if np.isfinite(estimate) else None
