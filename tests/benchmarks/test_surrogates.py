"""All methods on all problems, side by side in one run; writes RESULTS.md, then checks it against the targets."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from ablation import ablation
from methods import METHODS, Method, own
from paper_problems import Problem, all_problems, burgers1d, multiscale
from results_file import load, save
from results_page import Results, here_and_now, page
from scoring import Score, score
from state_size import time_state_sizes
from targets import SIZE_RATIO, STAGE_CHOICE, TARGETS, Target

from mlasdi.agent.figures.style import stage_kind

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]
PAGE = Path(__file__).with_name("RESULTS.md")
ABLATED: dict[str, Callable[[], Problem]] = {"multiscale": multiscale, "burgers1d": partial(burgers1d, 3)}


@pytest.fixture(scope="module")
def results(plain_signatures: None, request: pytest.FixtureRequest) -> Results:
    assert torch.get_num_threads() == 1
    only, names = request.config.getoption("--only"), request.config.getoption("--methods")
    found = load() if only or names else Results()
    warm_up(multiscale())
    for problem in all_problems(only):
        if names:
            measure_again(found, problem, names.split(","))
        else:
            found.solves[problem.label], found.measured[problem.label] = problem.n_solves, here_and_now()
            found.scores[problem.label] = {m.name: scores_of(m, problem) for m in METHODS}
        save(found)  # what is known already, if the rest fails: `--only` adds to it
    if not names:
        measure_variants(found, only)
    save(found)
    PAGE.write_text(page(found))
    print(f"written: {PAGE}")
    return found


def measure_again(found: Results, problem: Problem, names: Sequence[str]) -> None:
    """Some methods on one problem, beside what is known of the others there.

    Raises:
        ValueError: there is no method of that name.
        KeyError: nothing is known of the problem yet.
    """
    methods = {method.name: method for method in METHODS}
    if unknown := set(names) - set(methods):
        raise ValueError(f"--methods {', '.join(sorted(unknown))}: there are {', '.join(methods)}")
    found.scores[problem.label] |= {name: scores_of(methods[name], problem) for name in names}
    before = found.measured[problem.label].partition("; ")[0]
    found.measured[problem.label] = f"{before}; {', '.join(names)}: {here_and_now()}"


def measure_variants(found: Results, only: str | None) -> None:
    """The ablation, and the training time by the size of the state."""
    for name, make in ABLATED.items():
        if only in (None, name):
            problem = make()
            found.variants = [variant for variant in found.variants if variant.problem != problem.label]
            for variant in ablation(problem):
                report(problem.label, variant.name, variant.score.max_error, variant.score.train_s)
                found.variants.append(variant)
    if only in (None, "burgers1d"):
        found.sizes = time_state_sizes(burgers1d(3))


def warm_up(problem: Problem) -> None:
    """Imports and caches of every method, at little cost: the networks are trained for one step."""
    short = {"first_stage": {"kind": "autoencoder", "steps": 1}, "stages": [{"kind": "decoder", "steps": 1}]}
    own("mlasdi", first_stage={"kind": "variable-projection", "iterations": 1})(problem, 0)
    own("mlasdi-paper", **short)(problem, 0)
    for method in METHODS:
        if method.name not in ("mlasdi", "mlasdi-paper", "gplasdi"):
            method.fit(problem, 0)


def scores_of(method: Method, problem: Problem) -> list[Score]:
    scores = []
    for seed in method.seeds:
        scores.append(score(problem, method, seed))
        report(problem.label, f"{method.name}, seed {seed}", scores[-1].max_error, scores[-1].train_s)
    return scores


def report(problem: str, name: str, max_error: float, train_s: float) -> None:
    print(f"{problem}: {name}: max error {100 * max_error:.4g} %, {train_s:.1f} s", flush=True)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.problem)
def test_default_model_reaches_the_required_error(results: Results, target: Target):
    if target.problem not in results.scores:
        pytest.skip("NGSolve is not installed")
    assert results.median_error(target.problem, "mlasdi") <= target.must


def test_default_model_is_not_worse_than_interpolated_snapshots(results: Results):
    """To rounding: where the latent model is of no help, the default model is kriging of the snapshots."""
    for problem in results.scores:
        assert results.median_error(problem, "mlasdi") <= 1.01 * results.median_error(problem, "snapshot-gp"), problem


@pytest.mark.parametrize(("problem", "must_s"), [(t.problem, t.must_train_s) for t in TARGETS if t.must_train_s])
def test_default_model_trains_in_the_required_time(results: Results, problem: str, must_s: float):
    if problem not in results.scores:
        pytest.skip("NGSolve is not installed")
    assert results.median_seconds(problem, "mlasdi") <= must_s


def test_training_time_does_not_depend_on_the_state_size(results: Results):
    """Of the same kinds of stages: which of a few frequencies is best, of all that were tried, costs no time."""
    small, large = results.sizes
    kinds = [[stage_kind(name) for name in size.stages] for size in results.sizes]
    assert (small.rank, kinds[0]) == (large.rank, kinds[1])
    assert results.size_ratio <= SIZE_RATIO


@pytest.mark.parametrize("problem", ABLATED.values(), ids=ABLATED)
def test_judged_stages_are_close_to_the_best_fixed_ones(results: Results, problem: Callable[[], Problem]):
    errors = {
        v.name: v.score.max_error
        for v in results.variants
        if v.problem == problem().label and v.group.startswith("stages of the default")
    }
    judged = errors.pop("as it is")
    assert judged <= STAGE_CHOICE * min(errors.values())
    assert judged <= errors["variable projection alone"]
