"""From training trajectories to a surrogate: compress, calibrate the dynamics, add stages while they help, judge."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from mlasdi.alignment import aligned
from mlasdi.basis import PodBasis
from mlasdi.calibration import least_factor, student
from mlasdi.kernel_selection import select_kernels
from mlasdi.leave_one_out import LeaveOneOut, leave_one_out, mean_errors, relative_std
from mlasdi.model_settings import ModelSettings
from mlasdi.noise import Denoised, denoised, noise_std
from mlasdi.results import TrainingRecord
from mlasdi.stage_measures import distance_correlations, latent_correlations, training_errors
from mlasdi.staged_model import StagedModel
from mlasdi.staging import Progress, Staging
from mlasdi.surrogate import Surrogate
from mlasdi.training_set import TrainingSet
from solvers.contract import StateLayout
from solvers.parameters import ParameterSpace

__all__ = ["ModelSettings", "Progress", "TrainingData", "fit"]


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
        if n_time >= len(self.t):
            return self  # a copy could be as large as all else
        keep = self._spread_times(n_time)
        return replace(self, t=self.t[keep], u=self.u[:, keep])

    def denoised(self, std: Float[np.ndarray, " field"], n_time: int) -> tuple["TrainingData", Denoised]:
        """At most `n_time` times of the states without most of their noise; all times tell what it is.

        Args:
            std: standard deviation of the noise in each field.
        """
        keep = self._spread_times(n_time)
        found = denoised(self.u, self.t, std, keep)
        return replace(self, t=self.t[keep], u=found.u), found

    def averaged(self) -> tuple["TrainingData", Int[np.ndarray, " param"]]:
        """Each point once, with the mean of the runs there; and how many these are."""
        x = self.space.to_unit(self.mu).round(12)
        _, first, group, counts = np.unique(x, axis=0, return_index=True, return_inverse=True, return_counts=True)
        if len(first) == len(x):
            return self, counts
        order = np.argsort(first)
        u = np.stack([self.u[group.ravel() == k].mean(axis=0) for k in order])
        return replace(self, mu=self.mu[first[order]], u=u), counts[order]

    def _spread_times(self, n_time: int) -> Int[np.ndarray, " n"]:
        return np.unique(np.linspace(0, len(self.t) - 1, min(n_time, len(self.t))).round().astype(int))


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
    allowed = {"clock": settings.clock == "own", "frame": settings.frame == "own"}
    found = aligned(x, tau, thinned.u, data.layout, data.space.spans, settings.basis, **allowed)
    basis = found.basis
    settings = _within_rank(settings, basis.rank, noisy=noise is not None)
    flat = found.c.reshape(len(x), -1)
    left = float(np.sum((noise.left / basis.unit / basis.scale) ** 2)) if noise else 0.0
    kernels = select_kernels(x, flat, left / basis.rank)
    anchors = data.space.unit_sobol(settings.anchors, seed)
    c, own = torch.from_numpy(found.c), torch.from_numpy(tau)
    training_set = TrainingSet(
        x, c, own, kernels.mean, anchors, kernels.rougher, left,
        found.clock, found.recorded, found.gaps, kernels.left_out,
    )  # fmt: skip
    staging = Staging(settings, training_set, basis, torch.Generator().manual_seed(seed), report, device)
    first, encoder = staging.first_stage()
    model = staging.add_stages(first)
    loo = leave_one_out(model, training_set, basis, least_factor(kernels.rougher, aligned=not found.is_common))
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
    parts = (basis, model, encoder, record, dict(info or {}), found.clock, found.frame)
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
    largest = relative_std(model, basis, x, data.t, clock=data.clock, factors=loo.error_factors).max()
    estimate = float(np.hypot(largest, noise.modes_error if noise else 0))
    return estimate if np.isfinite(estimate) else None
