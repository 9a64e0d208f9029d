"""TRUST.md: error estimates, stops and chosen points of campaigns, beside the truth."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markdown_page import table

from mlasdi.agent.config import Budget
from mlasdi.agent.config.budget import BudgetSettings

FILE, PAGE = Path(__file__).with_name("trust.json"), Path(__file__).with_name("TRUST.md")
# Target errors, relative to the true error of the middle round of a campaign.
TARGETS = (0.3, 0.6, 1.0, 1.7, 3.0)
# Problems on whose campaigns the constants of the error estimate were chosen (`mlasdi.surrogate.local_calibration`).
CHOSEN_ON = ("bar", "fisher", "kdv", "heat4", "wave2d", "bore", "chain", "ignition")
FALSE = 1.5  # true error over target beyond which a stop is false

Round = Mapping[str, Any]
Campaigns = Mapping[tuple[str, str], Sequence[Round]]  # (problem, design) -> rounds


def page(entries: Mapping[str, Mapping[str, Any]]) -> str:
    campaigns = {(entry["problem"], entry["design"]): entry["rounds"] for entry in entries.values()}
    problems = {problem for problem, _ in campaigns}
    held_out = problems - set(CHOSEN_ON)
    effort = next(iter(entries.values()))["effort"]
    sections = [
        "# How far a campaign can trust its own error estimate",
        "Written by `python tests/benchmarks/trust.py && python tests/benchmarks/trust_page.py` (`make bench`). "
        f"Campaigns of the default model (effort {effort}) on {len(problems) - len(held_out)} problems on which the "
        f"constants of the estimate were chosen and {len(held_out)} others (*), from the corners of the box, with "
        "points that the agent chooses and with Sobol points. "
        "The truth is the largest error at 40 test points; it is a lower bound of that over the box.",
        _summary(campaigns),
        "## Estimate over truth, by problem",
        _by_problem(campaigns, held_out),
        "## Chosen points",
        "Errors with the agent's points over errors with Sobol points, at the same numbers of solves (geometric means "
        "over the rounds after the corners).",
        _designs(campaigns, held_out),
        f"Measured: {next(iter(entries.values()))['measured']}.",
    ]
    return "\n\n".join(sections) + "\n"


def ratios(rounds: Iterable[Round]) -> np.ndarray:
    """Estimate over true largest error, of the rounds that have an estimate."""
    return np.array([one["estimate"] / one["max_error"] for one in rounds if one["estimate"] is not None])


def _summary(campaigns: Campaigns) -> str:
    every = np.concatenate([ratios(rounds) for rounds in campaigns.values()])
    rows = [
        ["rounds with an estimate", f"{len(every)}"],
        ["estimate within a factor of two of the truth", f"{100 * np.mean(_within(every)):.0f} %"],
        ["smallest and largest estimate over truth", f"{every.min():.2f}, {every.max():.1f}"],
    ]
    for n, name in ((0, "the estimate alone"), (2, "estimate and newest two solves (default)")):
        stops = [stop for rounds in campaigns.values() for stop in _stops(rounds, n)]
        overshoot = np.array([truth / target for truth, target, _ in stops])
        wasted = [solves for _, _, solves in stops]
        if len(stops):
            what = f"stops by {name}: number; false (truth above {FALSE} targets); solves after the target was reached"
            shares = f"{len(stops)}; {100 * np.mean(overshoot > FALSE):.0f} %; {np.mean(wasted):.1f}"
            rows.append([what, shares])
    coverage = [one["coverage"] for rounds in campaigns.values() for one in rounds if one["estimate"] is not None]
    outside = np.mean([not 0.75 <= share <= 0.98 for share in coverage])
    shares = f"{100 * np.mean(coverage):.0f} %; {100 * outside:.0f} %"
    rows.append(["coverage of 90 % bands: mean; models outside of 75 to 98 %", shares])
    return table(["", ""], rows)


def _within(values: np.ndarray, factor: float = 2.0) -> np.ndarray:
    return (values <= factor) & (values >= 1 / factor)


def _stops(rounds: Sequence[Round], check_solves: int) -> list[tuple[float, float, int]]:
    """Of each target that stops the campaign: true error, target, and solves since the truth was within the target."""
    middle, found = rounds[len(rounds) // 2]["max_error"], []
    for factor in TARGETS:
        target = factor * middle
        if target >= 1:
            continue
        budget = Budget(BudgetSettings(solver_runs=10**6, target_error=target, check_solves=check_solves))
        errors: list[float] = []
        reached_at = None
        for one in rounds:
            errors += one["found"]
            if reached_at is None and one["max_error"] <= target:
                reached_at = one["n"]
            if budget.reaches_target(one["estimate"], errors):
                found.append((one["max_error"], target, one["n"] - (reached_at or one["n"])))
                break
    return found


def _by_problem(campaigns: Campaigns, held_out: set[str]) -> str:
    by_problem: dict[str, list[Round]] = defaultdict(list)
    for (problem, _), rounds in campaigns.items():
        by_problem[problem] += rounds
    rows = []
    for problem, rounds in by_problem.items():
        values = ratios(rounds)
        known = [one for one in rounds if one["estimate"] is not None]
        rows.append([
            problem + " *" * (problem in held_out),
            f"{100 * np.mean(_within(values)):.0f} %",
            f"{values.min():.2f} / {np.median(values):.2f} / {values.max():.2f}",
            f"{100 * np.mean([one['coverage'] for one in known]):.0f} %",
            f"{np.mean([one['seconds'] for one in known]):.0f}",
        ])  # fmt: skip
    return table(
        ["problem", "within a factor of two", "smallest / median / largest", "90 % coverage", "training s"], rows
    )


def _designs(campaigns: Campaigns, held_out: set[str]) -> str:
    rows, largest, means = [], [], []
    for problem in dict.fromkeys(problem for problem, _ in campaigns):
        agent, sobol = campaigns.get((problem, "agent")), campaigns.get((problem, "sobol"))
        if not agent or not sobol:
            continue
        pairs = [(one, other) for one, other in zip(agent, sobol, strict=False) if one["n"] == other["n"]][1:]
        ratio = [_geometric(one[key] / other[key] for one, other in pairs) for key in ("max_error", "mean_error")]
        largest.append(ratio[0])
        means.append(ratio[1])
        rows.append([problem + " *" * (problem in held_out), *(f"{value:.2f}" for value in ratio)])
    rows.append(["all", f"{_geometric(largest):.2f}", f"{_geometric(means):.2f}"])
    return table(["problem", "largest error", "mean error"], rows)


def _geometric(values: Iterable[float]) -> float:
    return float(np.exp(np.mean(np.log(list(values)))))


def main() -> None:
    PAGE.write_text(page(json.loads(FILE.read_text())))
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
