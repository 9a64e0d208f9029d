"""RESULTS.md: the benchmark's tables in Markdown."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from importlib.metadata import version
from statistics import median

from ablation import Variant
from markdown_page import cpu_name
from markdown_page import table as markdown
from scoring import Score
from state_size import SizeTiming
from targets import REFERENCES, SIZE_RATIO, TARGETS
from unseen_page import unseen_sections

PACKAGES = ("numpy", "scipy", "torch", "gpytorch", "botorch", "scikit-learn", "ezyrb", "PyDMD")


@dataclass
class Results:
    """All that the benchmarks found.

    Attributes:
        scores: problem label -> method name -> one score a seed.
        solves: problem label -> number of training solves.
        measured: problem label -> when, and on which machine.
    """

    scores: dict[str, dict[str, list[Score]]] = field(default_factory=dict)
    solves: dict[str, int] = field(default_factory=dict)
    measured: dict[str, str] = field(default_factory=dict)
    variants: list[Variant] = field(default_factory=list)
    sizes: list[SizeTiming] = field(default_factory=list)

    def median_error(self, problem: str, method: str) -> float:
        return median(score.max_error for score in self.scores[problem][method])

    def median_seconds(self, problem: str, method: str) -> float:
        return median(score.train_s for score in self.scores[problem][method])

    @property
    def size_ratio(self) -> float:
        small, large = self.sizes
        return large.training_s / small.training_s


def page(results: Results) -> str:
    """The whole page."""
    sections = [
        _header(),
        *unseen_sections(),
        _targets(results),
        *_comparisons(results),
        _references(),
        _ablation(results),
    ]
    return "\n\n".join([*sections, _state_size(results)]) + "\n"


def _header() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = os.getloadavg()[0]
    return "\n".join(
        [
            "# Benchmark results",
            "",
            "Written by `make bench` (`pytest -m bench tests/benchmarks -s`); do not edit.",
            "",
            f"- Written: {date.today().isoformat()}, at a load average of {load:.1f}; one thread for everything",
            "- Each problem: all methods in one run, on one machine, unless it says that some were measured later; "
            "`--only` measures one problem, `--methods` some methods",
            f"- Versions: Python {platform.python_version()}, {versions}",
            "- Error: relative L2 error over the state, its maximum over time; its maximum and mean over the test set",
            "- Training: processor seconds of the fit alone, after a warm-up, all methods of a problem in one process",
            "- Several seeds: median, with the smallest and largest in brackets",
            "- Estimate: the model's own estimate of its largest error, from leave-one-out; needs three points",
            "- Coverage: share of the values inside the 90 % band, at test points that are no training points",
        ]
    )


def here_and_now() -> str:
    """When, and on which machine, for `Results.measured`."""
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return f"{now}, {os.cpu_count()} cores, {cpu_name()}, {platform.system()} {platform.machine()}"


def _targets(results: Results) -> str:
    rows = []
    for target in TARGETS:
        if target.problem not in results.scores:
            continue  # the wake, where NGSolve is not installed
        error = results.median_error(target.problem, "mlasdi")
        seconds = results.median_seconds(target.problem, "mlasdi")
        within = target.must_train_s is None or seconds <= target.must_train_s
        must = f"{_percent(target.must)}" + (f" in {target.must_train_s:g} s" if target.must_train_s else "")
        held = "goal" if within and error <= target.goal else "must" if within and error <= target.must else "none"
        found = f"{_percent(error)} in {seconds:.1f} s"
        plain = _percent(results.median_error(target.problem, "snapshot-gp"))
        rows.append([target.problem, must, _percent(target.goal), found, held, plain])
    table = markdown(["problem", "must", "goal", "default model", "reached", "snapshot-gp"], rows)
    return f"## Targets of the default model (largest error)\n\n{table}"


def _comparisons(results: Results) -> list[str]:
    head = ["method", "max error", "mean error", "training s", "solver runs", "estimate", "estimate / max error"]
    sections = []
    for problem, methods in results.scores.items():
        rows = [_comparison_row(name, scores, results.solves[problem]) for name, scores in methods.items()]
        table = markdown([*head, "90 % coverage", "stages kept"], rows)
        when = f"Measured: {results.measured[problem]}."
        sections.append(f"## {problem[0].upper()}{problem[1:]}\n\n{when}\n\n{table}")
    return sections


def _comparison_row(name: str, scores: list[Score], n_solves: int) -> list[str]:
    ratio = [s.estimate / s.max_error if s.estimate else None for s in scores]
    return [
        name,
        _spread([s.max_error for s in scores], _percent),
        _spread([s.mean_error for s in scores], _percent),
        _spread([s.train_s for s in scores], lambda seconds: f"{seconds:.1f}"),
        str(n_solves),
        _spread([s.estimate for s in scores], _percent),
        _spread(ratio, lambda value: f"{value:.1f}"),
        _spread([s.coverage for s in scores], lambda share: f"{100 * share:.0f} %"),
        "; ".join(dict.fromkeys(", ".join(s.stages) for s in scores)),
    ]


def _references() -> str:
    rows = [[r.problem, r.source, r.max_error, r.train_s] for r in REFERENCES]
    table = markdown(["problem", "source", "max error", "training s"], rows)
    note = "Not of this run: other authors' public code as they configured it, on one core of another machine."
    return f"## Published methods as published\n\n{note}\n\n{table}"


def _ablation(results: Results) -> str:
    measured = {v.problem for v in results.variants}
    problems = [problem for problem in results.scores if problem in measured]
    head = ["variant", *(f"{problem}: {column}" for problem in problems for column in ("max", "mean", "s"))]
    parts = ["## Ablation", "One seed; seconds of a second stage after the published first one are its own."]
    for group in dict.fromkeys(v.group for v in results.variants):
        cells = {(v.name, v.problem): _ablation_cells(v.score) for v in results.variants if v.group == group}
        names = dict.fromkeys(name for name, _ in cells)
        rows = [[name, *(c for p in problems for c in cells.get((name, p), [""] * 3))] for name in names]
        parts.append(f"### {group[0].upper()}{group[1:]}\n\n{markdown(head, rows)}")
    return "\n\n".join(parts)


def _ablation_cells(score: Score) -> list[str]:
    return [_percent(score.max_error), _percent(score.mean_error), f"{score.train_s:.1f}"]


def _state_size(results: Results) -> str:
    rows = [
        [f"{s.n_state:,}", str(s.rank), f"{s.basis_s:.1f}", f"{s.training_s:.1f}", ", ".join(s.stages)]
        for s in results.sizes
    ]
    table = markdown(["state values", "POD rank", "basis s", "training s, basis aside", "stages kept"], rows)
    ratio = f"Ratio of the training times, basis aside: {results.size_ratio:.2f} (must: at most {SIZE_RATIO})."
    note = "The burgers1d snapshots of 9 solves, as they are and linearly interpolated."
    return f"## Training time and the size of the state\n\n{note}\n\n{table}\n\n{ratio}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"


def _spread(values: Sequence[float | None], write: Callable[[float], str]) -> str:
    """Median, and smallest to largest where they differ as written; empty where a value is unknown."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return ""
    low, high = write(min(known)), write(max(known))
    return write(median(known)) + (f" [{low} to {high}]" if low != high else "")
