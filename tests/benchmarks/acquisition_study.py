"""Campaigns without the bookkeeping: error against solver runs for every acquisition function."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from acquisition_problems import Study

from mlasdi.agent.choosing import PointSets, SamplingSettings, initial_design, propose
from mlasdi.surrogate import Surrogate
from mlasdi.surrogate.error_norms import max_relative_error
from mlasdi.training import ModelSettings, fit

SEEDS = (0, 1, 2, 3, 4)
# Errors at which solver runs are compared, beside the target of each problem.
LEVELS = tuple(a * 10.0**b for b in (-1, -2, -3, -4) for a in (5, 2, 1))
CHUNK = 32  # test points at a time: bounds the memory that predictions take


@dataclass(frozen=True)
class Policy:
    """How a campaign chooses its points.

    Attributes:
        label: of the curve.
        sampling: settings, as in a configuration.
    """

    label: str
    sampling: dict[str, Any]


# All start from the four corners, but for the last, which is Sobol points from the first on.
POLICIES = (
    Policy("field-std", {"acquisition": "field-std"}),
    Policy("integrated-variance", {"acquisition": "integrated-variance"}),
    Policy("coefficient-std", {"acquisition": "coefficient-std"}),
    Policy("sobol", {"acquisition": "sobol"}),
    Policy("sobol, without corners", {"acquisition": "sobol", "initial": "sobol", "initial_sobol": 4}),
)
BATCHES = tuple(
    Policy(f"{name}, batches of 4", {"acquisition": name, "batch": 4}) for name in ("field-std", "integrated-variance")
)


@dataclass(frozen=True)
class Curve:
    """Largest error over the test points, by solver runs, for several seeds.

    Attributes:
        runs: solver runs after each round `[round]`.
        errors: as fractions `[seed, round]`.
    """

    study: Study
    label: str
    runs: np.ndarray
    errors: np.ndarray

    @property
    def median(self) -> np.ndarray:
        return np.median(self.errors, axis=0)

    def runs_to(self, level: float) -> float:
        """Solver runs until the error is at the level for the first time, median over the seeds; infinite if never."""
        reached = self.errors <= level
        first = np.where(reached.any(axis=1), self.runs[reached.argmax(axis=1)], np.inf)
        return float(np.median(first))


def curve(study: Study, policy: Policy, model: ModelSettings, seeds: Sequence[int] = SEEDS) -> Curve:
    """One campaign for each seed, which changes Sobol sequences, the starts of the search, and the model."""
    histories = [campaign(study, SamplingSettings(**policy.sampling), model, seed) for seed in seeds]
    return Curve(study, policy.label, np.array(list(histories[0])), np.array([list(h.values()) for h in histories]))


def campaign(study: Study, sampling: SamplingSettings, model: ModelSettings, seed: int) -> dict[int, float]:
    """Solver runs -> largest error over the test points, after every round."""
    mu, history = initial_design(study.space, sampling, seed), dict[int, float]()
    while True:
        surrogate = fit(study.trajectories(mu), model, seed=seed)
        history[len(mu)] = largest_error(study, surrogate)
        n = min(sampling.batch, study.most_runs - len(mu))
        if n <= 0:
            return history
        mu = np.concatenate([mu, propose(surrogate, sampling, PointSets(mu), n, seed)[0]])


def largest_error(study: Study, surrogate: Surrogate) -> float:
    test = study.test
    parts = (slice(start, start + CHUNK) for start in range(0, len(test.mu), CHUNK))
    return max(
        float(max_relative_error(test.u[part], surrogate.predict(test.mu[part], std=False).mean).max())
        for part in parts
    )


def levels_of(study: Study) -> list[float]:
    """The levels at which a study is compared, the target among them, from the largest."""
    return sorted({*LEVELS, study.target}, reverse=True)
