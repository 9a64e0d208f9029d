"""All methods on the held-out and the development problems: `python tests/benchmarks/unseen.py [problem ...]`.

Each with three designs of training points. Writes `unseen.json`, a problem at a time, which is the first part of
RESULTS.md.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from methods import METHODS, Fitted, Method, from_surrogate, own, settings_for
from paper_problems import Problem
from peers import chebyshev_points, gp_in_time, tensor_polynomial
from problems.catalogue import DEVELOPMENT, HELD_OUT, problem_named
from problems.problem import Problem as Kind
from results_page import here_and_now
from scoring import Score, score

from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import StateLayout
from mlasdi.training import fit

FILE = Path(__file__).with_name("unseen.json")
PLAIN = "kriging"  # the alternative that needs no training
NAMES = {"snapshot-gp": PLAIN, "snapshot-gp, aligned": "kriging, aligned"}
PEERS = (
    Method("GP with time as input", gp_in_time),
    Method("Chebyshev tensor polynomial", tensor_polynomial),
)
QUICK = Method("mlasdi, effort quick", own("mlasdi", effort="quick"))
GIVEN = "mlasdi, initial state given"  # where the parameters move the initial state alone
KNOWN_INITIAL = ("wave2d",)
DESIGNS = (None, 0, 1)  # seeds that scramble the Sobol sequence of the training points; None: it is not scrambled
PAPERS = ("mlasdi-paper", "gplasdi")  # trained by gradients for a minute: on the papers' problems alone


def methods() -> list[Method]:
    kept = [replace(one, name=NAMES.get(one.name, one.name), seeds=(0,)) for one in METHODS if one.name not in PAPERS]
    return [kept[0], QUICK, *kept[1:], *PEERS]


def fit_given(problem: Problem, seed: int) -> Fitted:
    """The default model, which is told the initial states at the test points."""
    surrogate = fit(problem.train, settings_for(problem, "mlasdi", first_stage={"initial_state": "given"}), seed=seed)
    return from_surrogate(surrogate.starting_from(problem.test.mu, problem.test.u[:, 0]))


def as_problem(kind: Kind, mu: np.ndarray) -> Problem:
    """Training and test trajectories of a problem, at all of the solver's times."""
    layout = StateLayout(kind.fields, kind.coordinates)
    test = kind.test_points()
    train, judge = (TrainingData(kind.space, layout, points, kind.t, kind.data(points)) for points in (mu, test))
    return Problem(kind.name, train, judge)


def measure(kind: Kind, n: int, chosen: Iterable[str] = ()) -> dict[str, list[Score]]:
    """Scores of the methods with `n` training points, for each design: corners, then a Sobol sequence."""
    problems = [as_problem(kind, kind.design(n, seed)) for seed in DESIGNS]
    found = {}
    others = [Method(GIVEN, fit_given)] if kind.name in KNOWN_INITIAL else []
    for method in [*methods(), *others]:
        if chosen and method.name not in chosen:
            continue
        own_points = method.name.startswith("Chebyshev")
        posed = [as_problem(kind, chebyshev_points(kind.space, n))] if own_points else problems
        found[method.name] = [score(problem, method, 0) for problem in posed]
        for one in found[method.name]:
            errors = f"max {100 * one.max_error:.3g} %, mean {100 * one.mean_error:.3g} %"
            cost = f"{one.train_s:.1f} s, estimate {one.estimate}, {one.stages}"
            print(f"{kind.name} {n}: {method.name}: {errors}, {cost}", flush=True)
    return found


def load() -> dict[str, dict]:
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", help="names; all by default")
    parser.add_argument(
        "--methods", nargs="*", default=(), help="names; all by default, else scores of others are kept"
    )
    parser.add_argument("--small", action="store_true", help="the smaller number of training points alone")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for kind in [problem_named(name) for name in given.problems] or [*HELD_OUT, *DEVELOPMENT]:
        for n in kind.sizes[:1] if given.small else kind.sizes:
            label = f"{kind.name}, {n} solves"
            found = measure(kind, n, given.methods)
            scores = {name: [asdict(one) for one in of_designs] for name, of_designs in found.items()}
            known = load().get(label, {}).get("scores", {}) if given.methods else {}
            entry = {"use": kind.use, "n": n, "measured": here_and_now(), "scores": known | scores}
            FILE.write_text(json.dumps(load() | {label: entry}, indent=1) + "\n")


if __name__ == "__main__":
    main()
