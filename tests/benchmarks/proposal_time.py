"""How long a proposal takes in a box of eight parameters."""

from dataclasses import dataclass

import numpy as np
from scoring import processor_seconds

from mlasdi.agent.choosing import PointSets, SamplingSettings, propose
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings, fit

N_PARAMS, N_POINTS = 8, 60
ACQUISITIONS = ("field-std", "integrated-variance", "coefficient-std", "sobol")


@dataclass(frozen=True)
class ProposalTime:
    """Processor seconds of one proposal."""

    acquisition: str
    seconds: float


def trajectory(p: np.ndarray, x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """A pulse and a wave; every parameter matters."""
    pulse = (1 + 0.2 * p[0]) * np.exp(-(((x - 0.2 - (0.3 + 0.2 * p[1] + 0.1 * p[2]) * t) / (0.1 + 0.05 * p[3])) ** 2))
    wave = 0.2 * p[4] * np.sin(2 * np.pi * (x - p[5] * t)) + 0.1 * p[6] * x * t + 0.1 * p[7] * p[1] * np.cos(x)
    return pulse + wave


def surrogate_of_eight() -> Surrogate:
    """The default model, trained at `N_POINTS` points for a few iterations: proposals take as long as with more."""
    space = ParameterSpace(tuple(Parameter(f"p{i}", 0.0, 1.0) for i in range(N_PARAMS)))
    mu, x, t = space.sobol(N_POINTS, seed=0), np.linspace(0, 1, 200), np.linspace(0, 1, 51)
    u = np.stack([trajectory(p, x, t[:, None]) for p in mu])
    settings = {"n_time": 51, "min_gain": None, "first_stage": {"iterations": 10, "checkpoints": []}}
    return fit(
        TrainingData(space, StateLayout(("u",), {"x": x}), mu, t, u), ModelSettings.model_validate(settings), seed=0
    )


def proposal_times() -> list[ProposalTime]:
    """One proposal by each acquisition function, after one that fills the caches."""
    surrogate = surrogate_of_eight()
    known, found = surrogate.space.from_unit(surrogate.model.latent.x), []
    for acquisition in ACQUISITIONS:
        settings = SamplingSettings(acquisition=acquisition)
        propose(surrogate, settings.model_copy(update={"candidates": 8}), PointSets(known), 1, seed=0)
        _, seconds = processor_seconds(
            lambda settings=settings: propose(surrogate, settings, PointSets(known), 1, seed=0)
        )
        found.append(ProposalTime(acquisition, seconds))
    return found
