"""Campaigns on a clock that counts processor seconds: error against cost for fixed sizes of rounds, and greedy ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from acquisition_problems import Study, box
from acquisition_study import largest_error
from scoring import processor_seconds

from mlasdi.agent.choosing import Costs, PointSets, SamplingSettings, points_of_round, propose
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.solvers.builtin.burgers2d import Burgers2D
from mlasdi.training import ModelSettings, fit

SEEDS = (0, 1, 2)
FIXED = (1, 2, 4, 8)
GREEDY = "greedy"
MODEL = ModelSettings.model_validate({"n_time": 26})


@dataclass(frozen=True)
class Race:
    """One problem, what a solve of it shall cost, and the seconds after which campaigns are compared."""

    study: Study
    solve_s: float
    seconds: float

    @property
    def label(self) -> str:
        return f"{self.study.name}, {self.solve_s:g} s a solve"


@dataclass(frozen=True)
class Course:
    """Error by cost of one campaign: after each training, the seconds until then and the largest test error."""

    seconds: np.ndarray
    runs: np.ndarray
    errors: np.ndarray

    def error_at(self, seconds: float) -> float:
        """Error of the last model that was there; infinite before the first."""
        there = self.errors[self.seconds <= seconds]
        return float(there[-1]) if len(there) else np.inf


def races() -> tuple[Race, ...]:
    """Solves as cheap as they are, and as dear as a training: made so by the clock, not by waiting."""
    burgers1d = Study("burgers1d", Burgers1D(), box(a=(0.7, 0.9), w=(0.9, 1.1)), 40, 11, 200, 1e-3)
    burgers2d = Study("burgers2d", Burgers2D(), box(a=(0.7, 0.9), w=(0.9, 1.1)), 8, 5, 200, 1e-2)
    return Race(burgers1d, 0.02, 15.0), Race(burgers1d, 4.0, 60.0), Race(burgers2d, 0.2, 40.0)


def course(race: Race, size: int | None, seed: int) -> Course:
    """One campaign with rounds of `size` points, or of greedy sizes, until the seconds are used up."""
    study, sampling = race.study, SamplingSettings()
    mu, seconds, beside_s, found = study.space.corners(), 0.0, 0.0, list[tuple[float, int, float]]()
    while True:
        n_new = len(mu) - (found[-1][1] if found else 0)
        data = study.trajectories(mu)
        surrogate, train_s = processor_seconds(lambda data=data: fit(data, MODEL, seed=seed))  # type: ignore[misc]
        seconds, beside_s = seconds + n_new * race.solve_s + train_s, beside_s + train_s
        if seconds > race.seconds:
            return Course(*map(np.array, zip(*found, strict=True)))
        found.append((seconds, len(mu), largest_error(study, surrogate)))
        costs = Costs.measured([n for _, n, _ in found], beside_s, race.solve_s, n_slots=1)
        wanted = size or points_of_round(costs, study.most_runs - len(mu), race.seconds - seconds)
        (points, _), choose_s = processor_seconds(lambda: propose(surrogate, sampling, PointSets(mu), wanted, seed))  # noqa: B023
        mu, seconds, beside_s = np.concatenate([mu, points]), seconds + choose_s, beside_s + choose_s


def final_errors(race: Race, courses: Sequence[Course]) -> float:
    """Error at the end of the race, median over the seeds."""
    return float(np.median([one.error_at(race.seconds) for one in courses]))
