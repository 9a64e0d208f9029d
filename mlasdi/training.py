"""From training trajectories to a surrogate: compress, calibrate the dynamics, add stages while they help, judge."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from mlasdi.basis import PodBasis
from mlasdi.kriging import select_kernel
from mlasdi.leave_one_out import LeaveOneOut, leave_one_out, relative_std
from mlasdi.model_settings import ModelSettings
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
        keep = np.unique(np.linspace(0, len(self.t) - 1, n_time).round().astype(int))
        return replace(self, t=self.t[keep], u=self.u[:, keep])


def fit(
    data: TrainingData,
    settings: ModelSettings,
    *,
    seed: int,
    report: Callable[[Progress], None] = lambda progress: None,
    info: Mapping[str, Any] | None = None,
) -> Surrogate:
    """Fit a surrogate to training trajectories.

    Args:
        data: trajectories at the training points; at least two.
        settings: the model.
        seed: of everything random; the same seed gives the same surrogate on the same machine.
        report: called with the progress of the training.
        info: JSON to travel with the surrogate.

    Raises:
        ValueError: fewer than two training points, repeated points, or a latent dimension above the POD rank.
    """
    start = time.perf_counter()
    if len(data.mu) < 2:
        raise ValueError(f"a surrogate needs at least 2 training points, got {len(data.mu)}")
    thinned = data.thinned(settings.n_time)
    x = data.space.to_unit(data.mu)
    if len(np.unique(x.round(12), axis=0)) < len(x):
        raise ValueError("training points must differ from each other")
    basis = PodBasis.fit(thinned.u, settings.basis, len(data.layout.fields))
    largest = max(settings.latent_dims)
    if largest > basis.rank and settings.first_stage.kind != "none":
        raise ValueError(f"model.latent_dim {largest} exceeds the POD rank {basis.rank}; allowed: 1 to {basis.rank}")
    c = basis.project(thinned.u)
    flat = c.reshape(len(x), -1)
    # The smoothest kernel interpolates best, and is far too sure of itself: its variance assumes analytic functions.
    kernel, rougher = select_kernel(x, flat), select_kernel(x, flat, families=("matern52",))
    anchors = data.space.unit_sobol(settings.anchors, seed)
    tau = torch.from_numpy((thinned.t - thinned.t[0]) / (thinned.t[-1] - thinned.t[0]))
    training_set = TrainingSet(x, torch.from_numpy(c), tau, kernel, anchors, rougher)
    staging = Staging(settings, training_set, basis, torch.Generator().manual_seed(seed), report)
    first, encoder = staging.first_stage()
    model = staging.add_stages(first)
    loo = leave_one_out(model, training_set, basis)
    record = TrainingRecord(
        stage_names=tuple(staging.names),
        stage_errors=tuple(np.sqrt(np.mean(loo.errors**2, axis=1)).tolist()) if loo else (),
        leave_one_out=tuple(map(tuple, loo.errors.tolist())) if loo else (),
        error_estimate=_error_estimate(model, basis, tau, loo, data.space.unit_sobol(256, seed)),
        std_factor=loo.std_factor if loo else 1.0,
        error_factor=loo.error_factor if loo else 1.0,
        loss_history={name: tuple(staging.losses[name]) for name in staging.names},
        dropped=staging.dropped,
        truncation_error=basis.truncation_error,
        training_errors=tuple(np.sqrt(np.mean(training_errors(model, training_set, basis) ** 2, axis=1)).tolist()),
        latent_correlations=latent_correlations(model, training_set),
        distance_correlations=distance_correlations(model, training_set),
        dropped_ratios=staging.dropped_ratios,
        fit_s=time.perf_counter() - start,
    )
    return Surrogate(data.space, data.layout, thinned.t, basis, model, encoder, record, dict(info or {}))


def _error_estimate(
    model: StagedModel, basis: PodBasis, t: torch.Tensor, loo: LeaveOneOut | None, x: Float[np.ndarray, "param d"]
) -> float | None:
    """Largest calibrated relative standard deviation over points `x`; None where it is not finite."""
    if loo is None:
        return None
    estimate = float(loo.error_factor * relative_std(model, basis, x, t).max())
    return estimate if np.isfinite(estimate) else None
