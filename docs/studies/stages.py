"""How many stages, and how to split the training among them: error against seconds, and the selection rule."""

from collections.abc import Sequence

import numpy as np
from study_page import Page, main, percent, table
from study_splits import FULL, SELECTED, Size, Trained, all_trained, groups, parts
from study_splits_figures import errors

ALIKE = 1.1  # ratio of errors below which two are called alike


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

Autoencoder and sine decoders (kappa = 1) of `mlasdi-paper` on {_problems(found)}, with {_budgets(size)} steps of
Adam *in all*, from one to {size.most} stages, in three splits: *equal*; *half to the first* stage, the rest equal;
*halved from stage to stage*; with two stages the first two are the same. *Selected* is the rule of
`model.min_gain: 0.1` with {size.most} equal stages: a stage stays only if the leave-one-out error falls by a tenth.
Below five training points nothing is selected, and it keeps the first stage alone; the seconds of dropped stages count.
Errors are the largest over times and test points{_seeds(size)}. Seconds include the Gaussian processes and the
leave-one-out errors, and scatter where a machine is shared. These are the {"full" if full else "smaller"} settings;
the {name} ones ({how} `--full`) have up to {other.most} stages and budgets of {_budgets(other)}
steps{_seeds(other)}{"" if full else ", the problems' own meshes, and the wake"}. {_meshes(size)}

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
    return _listed(list(dict.fromkeys(one.problem for one in found)))


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _meshes(size: Size) -> str:
    """What is not a problem's own."""
    coarser = [
        f"{name} with {', '.join(f'{key} {value}' for key, value in options.items() if key != 'every')}"
        for name, options in (("burgers2d", size.burgers2d), ("vlasov", size.vlasov))
        if options
    ]
    mesh = f"Meshes: {'; '.join(coarser)}. " if coarser else ""
    return f"{mesh}Bases of all but multiscale and burgers1d have a tolerance of {size.tolerance:g}."


def _stages(n: int) -> str:
    return f"{n} stage{'s' * (n > 1)}"


def _budgets(size: Size) -> str:
    return _listed([f"{budget:,}" for budget in size.budgets])


def _seeds(size: Size) -> str:
    return f", geometric means over {len(size.seeds)} random starts" if len(size.seeds) > 1 else ""


def _table(found: Sequence[Trained]) -> str:
    rows = []
    for group in groups(found):
        single, two, best, selected = parts(group)
        for name, one in (
            ("one stage", single), ("two, equal", two), (f"best: {best.n_stages}, {best.split}", best),
            (f"selected: keeps {selected.kept}", selected),
        ):  # fmt: skip
            numbers = [percent(one.train), percent(one.test), f"{one.seconds:.1f}"]
            rows.append([one.problem, f"{one.budget:,}", name, *numbers])
    return table(["problem", "steps in all", "stages", "training points", "test points", "seconds"], rows)


def _about(found: Sequence[Trained]) -> str:
    lines = []
    for group in groups(found):
        single, _, best, selected = parts(group)
        worst = max((one for one in group if one.split != SELECTED), key=lambda one: one.test)
        lines.append(
            f"- **{best.problem}, {best.budget:,} steps**: the best found, {_stages(best.n_stages)} ({best.split}), "
            f"has {single.test / best.test:.2g} times less error than one stage, {_worst(worst, single)}. The selected "
            "rule keeps "
            f"{_stages(selected.kept)} and has {selected.test / best.test:.2g} times the error of the best found."
        )
    return "\n".join(lines)


def _worst(worst: Trained, single: Trained) -> str:
    if worst.n_stages == 1:
        return "which is the worst"
    return (
        f"the worst ({_stages(worst.n_stages)}, {worst.split}) {worst.test / single.test:.2g} times that of one stage"
    )


def _costs(found: Sequence[Trained]) -> dict[tuple[str, int], float]:
    """Split and number of stages -> error relative to the best found, geometric mean over the cases."""
    logs: dict[tuple[str, int], list[float]] = {}
    for group in groups(found):
        best = parts(group)[2].test
        for one in group:
            if one.split != SELECTED:
                logs.setdefault((one.split, one.n_stages), []).append(np.log(one.test / best))
    return {key: float(np.exp(np.mean(values))) for key, values in logs.items()}


def _guideline(found: Sequence[Trained]) -> str:
    cases = [(group, *parts(group)) for group in groups(found)]
    pays = sum(single.test > ALIKE * best.test for _, single, _, best, _ in cases)
    published = [two.test / best.test for _, _, two, best, _ in cases]
    third = sum(_least(group, 2) > ALIKE * best.test for group, _, _, best, _ in cases)
    costs = _costs(found)
    split, n = min(costs, key=lambda key: costs[key])
    by_number = {k: min(cost for (_, m), cost in costs.items() if m == k) for k in sorted({k for _, k in costs})}
    told = ", ".join(f"{cost:.2f} ({k})" for k, cost in by_number.items())
    selected = [selected.test / best.test for *_, best, selected in cases]
    return f"""
- Without knowing better, train {_stages(n)}, {split}: over all {len(cases)} cases that has {costs[split, n]:.2f} times
  the error of the best found in each, in the geometric mean. The best single recipe by its number of stages:
  {told}.
- More than one stage pays in {pays} of {len(cases)} cases, more than two in {third}. The numbers of stages of the best
  found: {", ".join(str(best.n_stages) for *_, best, _ in cases)}.
- Two equal stages, as published, have {min(published):.2g} to {max(published):.2g} times the error of the best found,
  {costs["equal", 2]:.2f} times in the mean.
- The selection rule costs a factor of {min(selected):.2g} to {max(selected):.2g} against the best found, which is not
  known without a test set. Its {_most(found)} equal stages leave the first one little training, and below five points
  it keeps only that.
""".strip()


def _least(group: Sequence[Trained], most: int) -> float:
    """Smallest error with at most so many stages."""
    return min(one.test for one in group if one.split != SELECTED and one.n_stages <= most)


def _most(found: Sequence[Trained]) -> int:
    return max(one.n_stages for one in found)


if __name__ == "__main__":
    main("stages", measure)
