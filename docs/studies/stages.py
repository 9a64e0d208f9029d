"""How many stages, and how to split the training among them: error against seconds, and the judged rule."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from study_page import Page, main, percent, table
from study_problems import Problem, burgers, multiscale

from agent.figure_style import OKABE_ITO, log_error_axis, log_ticks, new_figure, styled
from mlasdi.training import ModelSettings, fit

LATENT_DIM = {"multiscale": 10, "burgers1d": 4}
ALIKE = 1.1  # ratio of errors below which two are called alike
# Name -> shares of the steps that n stages get.
SPLITS: Mapping[str, Callable[[int], np.ndarray]] = {
    "equal": lambda n: np.ones(n),
    "half to the first": lambda n: np.array([1.0, *[1 / max(n - 1, 1)] * (n - 1)]),
    "halved from stage to stage": lambda n: 0.5 ** np.arange(n),
}


@dataclass(frozen=True)
class Size:
    """How large the study is.

    Attributes:
        budgets: Adam steps of all stages together.
        most: stages.
        seeds: errors are geometric means over them.
        every, n_x, n_t: thinning of the multiscale problem, mesh and time steps of the Burgers problem.
    """

    budgets: tuple[int, ...] = (500, 2000)
    most: int = 5
    seeds: tuple[int, ...] = (0,)
    every: int = 1
    n_x: int = 1001
    n_t: int = 1001

    def problems(self) -> Iterator[Problem]:
        yield multiscale(self.every)
        yield burgers(self.n_x, self.n_t, max(self.n_t // 50, 1))


FULL = Size(budgets=(1000, 3000, 10_000, 30_000), seeds=(0, 1, 2))


@dataclass(frozen=True)
class Trained:
    """Models with one split of one budget, or judged.

    Attributes:
        kept: stages in the model, of the first seed.
        test, train: largest relative error at test and training points.
    """

    problem: str
    split: str
    budget: int
    n_stages: int
    kept: int
    seconds: float
    test: float
    train: float


JUDGED = "judged"


def all_trained(size: Size) -> Iterator[Trained]:
    for problem in size.problems():
        for budget in size.budgets:
            for n in range(1, size.most + 1):
                for split, shares in SPLITS.items():
                    if n > 1 or split == "equal":
                        weights = shares(n) / shares(n).sum()
                        yield _trained(problem, split, budget, (budget * weights).round().astype(int).tolist(), size)
            each = [max(budget // size.most, 1)] * size.most
            yield _trained(problem, JUDGED, budget, each, size)


def _trained(problem: Problem, split: str, budget: int, steps: Sequence[int], size: Size) -> Trained:
    first, *later = (max(one, 1) for one in steps)
    given = {
        "kind": "mlasdi-paper", "latent_dim": LATENT_DIM[problem.name], "n_time": len(problem.train.t),
        "first_stage": {"steps": first}, "stages": [{"kind": "decoder", "steps": one} for one in later],
        "min_gain": 0.1 if split == JUDGED else None,
    }  # fmt: skip
    models = [fit(problem.train, ModelSettings.model_validate(given), seed=seed) for seed in size.seeds]
    test, train = (
        float(np.exp(np.mean([np.log(problem.errors(one, data).max()) for one in models])))
        for data in (problem.test, problem.train)
    )
    seconds = float(np.mean([one.record.fit_s for one in models]))
    return Trained(problem.name, split, budget, len(steps), models[0].n_stages, seconds, test, train)


def measure(full: bool) -> Page:
    """The study in its smaller or its full settings."""
    return study(FULL if full else Size(), full)


def study(size: Size, full: bool = False) -> Page:
    return page(list(all_trained(size)), size, full)


def page(found: Sequence[Trained], size: Size, full: bool) -> Page:
    other, name, how = (Size(), "smaller", "without") if full else (FULL, "full", "with")
    text = f"""
The published model has two stages, trained for as long each. How many pay, and how should a budget of training be split
among them?

Autoencoder and sine decoders (kappa = 1) of `mlasdi-paper` on {_problems(found)}, with {_budgets(size)} steps of Adam
*in all*, from one to {size.most} stages, in three splits: *equal*; *half to the first* stage, the rest equal; *halved
from stage to stage*. *Judged* is the rule of `model.min_gain: 0.1` with {size.most} equal stages: a stage stays only if
the leave-one-out error falls by a tenth. Below five training points nothing can be judged, and it keeps the first stage
alone; the seconds of dropped stages count. Errors are the largest over times and test points{_seeds(size)}. Seconds
include the Gaussian processes and the leave-one-out errors, and scatter where a machine is shared. These are the
{"full" if full else "smaller"} settings; the {name} ones ({how} `--full`) have budgets of {_budgets(other)}
steps{_seeds(other)}.

![Errors against the number of stages and the seconds](images/stages-errors.png)

*Above, the test error by the number of stages with the largest budget; dashed, the error at the training points with
equal split. Below, the test error by the seconds of training: every model of the study.*

{_table(found)}

{_about(found)}

## What follows

{_guideline(found)}
"""
    return Page("How many stages, and which split of the training?", text, {"errors": errors(found)})


def _problems(found: Sequence[Trained]) -> str:
    return " and ".join(dict.fromkeys(one.problem for one in found))


def _stages(n: int) -> str:
    return f"{n} stage{'s' * (n > 1)}"


def _budgets(size: Size) -> str:
    return " and ".join(f"{budget:,}" for budget in size.budgets)


def _seeds(size: Size) -> str:
    return f", geometric means over {len(size.seeds)} random starts" if len(size.seeds) > 1 else ""


def _groups(found: Sequence[Trained]) -> list[list[Trained]]:
    keys = dict.fromkeys((one.problem, one.budget) for one in found)
    return [[one for one in found if (one.problem, one.budget) == key] for key in keys]


def _parts(group: Sequence[Trained]) -> tuple[Trained, Trained, Trained, Trained]:
    """One stage alone, the published two equal ones, the best split found, and the judged model."""
    fixed = [one for one in group if one.split != JUDGED]
    single = next(one for one in fixed if one.n_stages == 1)
    two = next(one for one in fixed if one.n_stages == 2 and one.split == "equal")
    return single, two, min(fixed, key=lambda one: one.test), next(one for one in group if one.split == JUDGED)


def _table(found: Sequence[Trained]) -> str:
    rows = []
    for group in _groups(found):
        single, two, best, judged = _parts(group)
        for name, one in (
            ("one stage", single), ("two, equal", two), (f"best: {best.n_stages}, {best.split}", best),
            (f"judged: keeps {judged.kept}", judged),
        ):  # fmt: skip
            numbers = [percent(one.train), percent(one.test), f"{one.seconds:.1f}"]
            rows.append([one.problem, f"{one.budget:,}", name, *numbers])
    return table(["problem", "steps in all", "stages", "training points", "test points", "seconds"], rows)


def _about(found: Sequence[Trained]) -> str:
    lines = []
    for group in _groups(found):
        single, _, best, judged = _parts(group)
        worst = max((one for one in group if one.split != JUDGED), key=lambda one: one.test)
        lines.append(
            f"- **{best.problem}, {best.budget:,} steps**: the best found, {_stages(best.n_stages)} ({best.split}), "
            f"has {single.test / best.test:.2g} times less error than one stage, the worst ({_stages(worst.n_stages)}, "
            f"{worst.split}) {worst.test / single.test:.2g} times that of one stage. The judged rule keeps "
            f"{_stages(judged.kept)} and has {judged.test / best.test:.2g} times the error of the best found."
        )
    return "\n".join(lines)


def _guideline(found: Sequence[Trained]) -> str:
    groups = _groups(found)
    parts = [_parts(group) for group in groups]
    pays = sum(single.test > ALIKE * best.test for single, _, best, _ in parts)
    published = max(two.test / best.test for _, two, best, _ in parts)
    by_split = {
        split: np.exp(np.mean([
            np.log(min(one.test for one in group if one.split == split) / _parts(group)[2].test) for group in groups
        ]))
        for split in SPLITS
    }  # fmt: skip
    safest = min(by_split, key=lambda split: by_split[split])
    numbers = [best.n_stages for *_, best, _ in parts]
    others = ", ".join(f"{value:.2g}" for split, value in by_split.items() if split != safest)
    return f"""
- More than one stage pays in {pays} of {len(groups)} cases. The numbers of stages of the best found:
  {", ".join(map(str, numbers))}.
- Two equal stages, as published, have at most {published:.2g} times the error of the best found.
- With its best number of stages each, *{safest}* is the best split on average: {by_split[safest]:.2g} times the error
  of the best found, the others {others}.
- The judged rule costs a factor of {min(j.test / b.test for *_, b, j in parts):.2g} to
  {max(j.test / b.test for *_, b, j in parts):.2g} against the best found, which nobody knows without a test set.
""".strip()


@styled
def errors(found: Sequence[Trained]) -> Figure:
    """Test error by the number of stages, and by seconds."""
    problems = list(dict.fromkeys(one.problem for one in found))
    figure = new_figure(5.0)
    panels = figure.subplots(2, len(problems), squeeze=False)
    styles = dict(zip((*SPLITS, JUDGED), zip("os^*", OKABE_ITO, strict=False), strict=True))
    for column, problem in zip(panels.T, problems, strict=True):
        mine = [one for one in found if one.problem == problem]
        top = max(one.budget for one in mine)
        drawn = []
        for split, (marker, colour) in styles.items():
            rows = [one for one in mine if one.split == split or (split in SPLITS and one.n_stages == 1)]
            largest = [one for one in rows if one.budget == top]
            x = [one.kept if split == JUDGED else one.n_stages for one in largest]
            column[0].plot(
                x,
                [100 * one.test for one in largest],
                marker,
                ls="-",
                color=colour,
                label=split,
                ms=9 if marker == "*" else 4.5,
            )
            if split == "equal":
                train = [100 * one.train for one in largest]
                column[0].plot(x, train, ls="--", color=colour, label="equal, training points")
                drawn += train
            column[1].plot(
                [one.seconds for one in rows], [100 * one.test for one in rows], marker, color=colour, ls="none",
                ms=9 if marker == "*" else 4.5, mfc=colour if marker == "*" else "none",
            )  # fmt: skip
        log_error_axis(column[0], [*drawn, *(100 * one.test for one in mine if one.budget == top)])
        log_error_axis(column[1], [100 * one.test for one in mine])
        column[0].set(title=problem, xlabel="stages")
        column[0].set_xticks(sorted({one.n_stages for one in mine}))
        column[1].set_xscale("log")
        log_ticks(column[1].xaxis, *column[1].get_xlim())
        column[1].set_xlabel("training [s]")
        for axes in column:
            axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("max relative error [%]")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


if __name__ == "__main__":
    main("stages", measure)
