"""Error at equal cost for fixed sizes of rounds and for greedy ones; writes POLICY.md, then checks the greedy ones."""

import platform
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from markdown_page import cpu_name, table
from matplotlib.figure import Figure
from policy_study import FIXED, GREEDY, MODEL, SEEDS, Course, course, final_errors, races

from mlasdi.agent.figures import OKABE_ITO, new_figure, save, styled
from mlasdi.agent.figures.style import log_error_axis

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]
PAGE = Path(__file__).with_name("POLICY.md")
FIGURE = PAGE.with_name("policy.png")
TOLERANCE = 1.1  # of the error that the best fixed size reaches at the same cost
RACES = {race.label: race for race in races()}
Courses = dict[str, dict[int | str, list[Course]]]


@pytest.fixture(scope="module")
def found(plain_signatures: None) -> Courses:
    result: Courses = {}
    for label, race in RACES.items():
        result[label] = {size: [course(race, size, seed) for seed in SEEDS] for size in FIXED}
        result[label][GREEDY] = [course(race, None, seed) for seed in SEEDS]
        for size, courses in result[label].items():
            runs = [int(one.runs[-1]) for one in courses]
            print(f"{label}, rounds of {size}: {100 * final_errors(race, courses):.3g} %, {runs} runs", flush=True)
    save(cost_figure(result), FIGURE)
    PAGE.write_text(page(result))
    print(f"written: {PAGE}")
    return result


@pytest.mark.parametrize("label", RACES)
def test_greedy_rounds_are_as_good_as_the_best_fixed_size(found: Courses, label: str) -> None:
    errors = {size: final_errors(RACES[label], courses) for size, courses in found[label].items()}
    assert errors[GREEDY] <= TOLERANCE * min(errors[size] for size in FIXED)


def page(found: Courses) -> str:
    rows = []
    for label, by_size in found.items():
        race = RACES[label]
        for size, courses in by_size.items():
            runs, trainings = ([int(value) for value in found] for found in zip(*_ends(courses), strict=True))
            error = f"{100 * final_errors(race, courses):.3g} %"
            rows.append([label, f"{race.seconds:g} s", str(size), error, _list(runs), _list(trainings)])
    head = ["problem", "cost", "points a round", "largest test error", "solver runs", "trainings"]
    return "\n".join(
        [
            "# How many points a round: error at equal cost",
            "",
            "Written by `pytest -m bench tests/benchmarks/test_policy.py -s`; do not edit.",
            "",
            f"- Date: {date.today().isoformat()}",
            f"- Machine: {cpu_name()}, {platform.system()} {platform.machine()}; one thread",
            "- Cost: processor seconds of trainings and choices, and for every solve the seconds that the table names",
            f"- Model: the default one, with {MODEL.n_time} times; start from the four corners; {len(SEEDS)} seeds",
            "- `greedy` is `sampling.rounds: greedy`; the others are `sampling.batch` of that size",
            "",
            f"![Largest test error against cost]({FIGURE.name})",
            "",
            "*Median of the seeds; each step is a training.*",
            "",
            table(head, rows),
            "",
        ]
    )


def _ends(courses: list[Course]) -> list[tuple[int, int]]:
    return [(int(one.runs[-1]), len(one.runs)) for one in courses]


def _list(values: list[int]) -> str:
    return ", ".join(map(str, values))


@styled
def cost_figure(found: Courses) -> Figure:
    """A panel for each problem, a curve for each size of rounds."""
    figure = new_figure(3.0)
    for panel, (label, by_size) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        seconds = np.linspace(0, RACES[label].seconds, 200)
        for (size, courses), colour in zip(reversed(by_size.items()), OKABE_ITO, strict=False):
            errors = np.median([[one.error_at(s) for s in seconds] for one in courses], axis=0)
            there = np.isfinite(errors)
            panel.plot(
                seconds[there], 100 * errors[there], "-" if size == GREEDY else "--", color=colour,
                label=str(size), lw=2 if size == GREEDY else 1, drawstyle="steps-post",
            )  # fmt: skip
        log_error_axis(panel, np.concatenate([100 * one.errors for courses in by_size.values() for one in courses]))
        panel.set_title(label)
        panel.set_xlabel("cost [s]")
        panel.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("largest test error [%]")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, title="points a round")
    return figure
