"""How far a campaign can trust its own error estimate: `python tests/benchmarks/trust.py [problem ...]`.

Campaigns on the held-out and the development problems, from the corners of the box on, with points that the agent
chooses and with Sobol points. After each round the estimate, the errors found at new points, and the true error at test
points are written to `trust.json`; `trust_page.py` makes TRUST.md of it.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from problems.catalogue import DEVELOPMENT, HELD_OUT, problem_named
from problems.problem import Problem
from results_page import here_and_now
from scoring import processor_seconds

from mlasdi.agent.choosing import PointSets, SamplingSettings, propose
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import StateLayout
from mlasdi.surrogate import Surrogate, covered, max_relative_error
from mlasdi.surrogate.uncertainty import NORMAL_90
from mlasdi.training import ModelSettings, fit

FILE = Path(__file__).with_name("trust.json")
N_ROUNDS = 8  # about so many from the corners to the large number of points
Design = Literal["agent", "sobol"]
DESIGNS: tuple[Design, ...] = ("agent", "sobol")


@dataclass(frozen=True)
class Round:
    """One model of a campaign, and its true errors at the test points.

    Attributes:
        n: number of training points.
        estimate: its own estimate of the largest error; None if it is not known.
        found: errors of the model before at the points of this round.
        max_error, mean_error: at the test points.
        coverage: share of the values at test points inside the 90 % band.
        seconds: processor seconds of the fit.
        chosen: kind of the model.
    """

    n: int
    estimate: float | None
    found: tuple[float, ...]
    max_error: float
    mean_error: float
    coverage: float
    seconds: float
    chosen: str


def rounds(kind: Problem, design: Design, effort: str, seed: int = 0) -> Iterator[Round]:
    """The rounds of one campaign."""
    settings = ModelSettings.model_validate({"effort": effort})
    test_mu = kind.test_points()
    test_u = kind.data(test_mu)
    mu, model = kind.space.corners(), None
    u = kind.data(mu)
    step = max((kind.sizes[1] - len(mu)) // N_ROUNDS, 1)
    while True:
        data = TrainingData(kind.space, StateLayout(kind.fields, kind.coordinates), mu, kind.t, u)
        model, seconds = processor_seconds(lambda: fit(data, settings, seed=seed, before=model))  # noqa: B023
        errors, coverage = judged(model, kind, test_mu, test_u)
        newest = model.record.prequential
        found = newest.newest.errors if len(newest) else ()
        yield Round(
            len(mu), model.error_estimate, found, float(errors.max()), float(errors.mean()), coverage, seconds,
            model.record.chosen,
        )  # fmt: skip
        if len(mu) + step > kind.sizes[1]:
            return
        if design == "agent":
            new, _ = propose(model, SamplingSettings(), PointSets(mu), step, seed)
        else:
            new = kind.design(len(mu) + step, seed=seed)[len(mu) :]
        if not len(new):
            return
        mu, u = np.concatenate([mu, new]), np.concatenate([u, kind.data(new)])


def judged(model: Surrogate, kind: Problem, mu: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, float]:
    """Errors at the test points, and the share of values in the 90 % band."""
    errors, inside = [], []
    for point, truth in zip(mu, u, strict=True):
        prediction = model.predict(point, kind.t)
        assert prediction.std is not None
        errors.append(max_relative_error(truth[None], prediction.mean)[0])
        inside.append(covered(truth[None], prediction.mean, prediction.std, NORMAL_90).mean())
    return np.array(errors), float(np.mean(inside))


def load() -> dict[str, dict]:
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", help="names; all by default")
    parser.add_argument("--effort", default="quick", help="of the model")
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=DESIGNS, help="how points are chosen")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for kind in [problem_named(name) for name in given.problems] or [*HELD_OUT, *DEVELOPMENT]:
        for design in given.designs:
            found = []
            for one in rounds(kind, design, given.effort):
                found.append(asdict(one))
                print(kind.name, design, one, flush=True)
            entry = {
                "problem": kind.name, "use": kind.use, "design": design, "effort": given.effort,
                "measured": here_and_now(), "rounds": found,
            }  # fmt: skip
            FILE.write_text(json.dumps(load() | {f"{kind.name}, {design}": entry}, indent=1) + "\n")


if __name__ == "__main__":
    main()
