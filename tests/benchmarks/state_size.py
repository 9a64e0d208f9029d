"""How the training time depends on the size of the state, at the same snapshots and the same POD rank."""

from dataclasses import dataclass, replace

import numpy as np
from methods import settings_for
from paper_problems import Problem
from scoring import processor_seconds

from mlasdi.preprocessing import BasisSettings, PodBasis, TrainingData
from mlasdi.solvers import StateLayout
from mlasdi.training import fit


@dataclass(frozen=True)
class SizeTiming:
    """Processor seconds of one training, the basis apart."""

    n_state: int
    rank: int
    basis_s: float
    training_s: float
    stages: tuple[str, ...]


def refined(data: TrainingData, n_state: int) -> TrainingData:
    """The same trajectories, linearly interpolated onto a grid of `n_state` points."""
    ((name, x),) = data.layout.coordinates.items()
    fine = np.linspace(x[0], x[-1], n_state)
    u = np.empty((*data.u.shape[:2], n_state))
    for row, coarse in zip(u.reshape(-1, n_state), data.u.reshape(-1, len(x)), strict=True):
        row[:] = np.interp(fine, x, coarse)
    return replace(data, u=u, layout=StateLayout(data.layout.fields, {name: fine}))


def time_state_sizes(problem: Problem, n_state: int = 100_000) -> list[SizeTiming]:
    """Training on the states as solved, and on `n_state` values each, with the rank of the former."""
    rank = PodBasis.fit(problem.train.u, BasisSettings()).rank
    return [_timed(problem, data, rank) for data in (problem.train, refined(problem.train, n_state))]


def _timed(problem: Problem, data: TrainingData, rank: int) -> SizeTiming:
    """`fit` contains the basis: its time, measured by itself, is taken off."""
    basis_settings = BasisSettings(tolerance=1e-14, max_rank=rank)
    settings = settings_for(problem, "mlasdi", basis=basis_settings)

    def compress() -> int:
        basis = PodBasis.fit(data.u, basis_settings)
        basis.project(data.u)
        return basis.rank

    rank_found, basis_s = processor_seconds(compress)
    surrogate, fit_s = processor_seconds(lambda: fit(data, settings, seed=0))
    return SizeTiming(data.u.shape[-1], rank_found, basis_s, fit_s - basis_s, surrogate.record.stage_names)
