"""Sections of the page on the paper: checks of the trained models, and the comparison with the default model."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from study_page import percent, table
from study_reproduction import FAILING, FEWER, FREE, LONGER, NARROW, POD, Case, Run
from study_reproduction_checks import LONG, Decoded, correlations

from mlasdi.validation import diagnose

RESULTS = Path(__file__).parents[1] / "tests/benchmarks/results.json"
LINE = 0.3  # correlation of latent states and residual under which the paper expects a second stage to fail
PAYS = 0.1  # share of the error that a second stage has to take away, as in the study of correlations
# Findings that are signs of failure in the paper -> its words.
SIGNATURES = {
    "unstable-dynamics": "diverging trajectories",
    "diverging-between-points": "diverging trajectories",
    "stalled-first-stage": "stalled loss of the first stage",
    "stage-fits-noise": "second stage that fits noise",
    "uncorrelated-residual": "residual without correlation with the latent states",
}


def correlation_section(cases: Sequence[Case]) -> str:
    """Whether the published line tells if a second stage pays."""
    rows, told = [], 0
    for name, runs in _of_two_stages(cases, [name for models in FAILING.values() for name in models]):
        pearson, distance = np.median([correlations(run.problem, run.surrogate) for run in runs], axis=0)
        gain = 1 - _median(runs, 2) / _median(runs, 1)
        told += (distance >= LINE) == (gain > PAYS)
        rows.append([name, f"{pearson:.2f}", f"{distance:.2f}", percent(gain), "yes" if gain > PAYS else "no"])
    shown = table(["models", "Pearson", "distance correlation", "gain of stage 2", f"above {percent(PAYS)}"], rows)
    return (
        f"{shown}\n\nThe paper expects a second stage to fail where the correlation of latent states and residual is "
        f"under {LINE}. The distance correlation tells {told} of these {len(rows)} right; the "
        "[study of correlations](../studies/correlation.md) has more cases."
    )


def _of_two_stages(cases: Sequence[Case], methods: Sequence[str]) -> list[tuple[str, Sequence[Run]]]:
    """Names and runs of the models on POD coordinates, and of those by other methods."""
    return [
        (one.problem.name if method == POD else f"{one.problem.name}, {method}", one.runs[method])
        for one in cases
        for method in (POD, *methods)
        if method in one.runs
    ]


def _median(runs: Sequence[Run], n_stages: int) -> float:
    return float(np.median([run.largest(n_stages) for run in runs]))


def limits_section(cases: Sequence[Case]) -> str:
    """Over-fitting, initial states, interpolation and free coefficients: what limits the second stage."""
    rows = []
    for name, runs in _of_two_stages(cases, (FEWER, NARROW)):
        training = np.median([run.surrogate.record.training_errors for run in runs], axis=0)
        start = float(np.median([run.interpolated_start.max() for run in runs]))
        phase = float(np.median([run.split.interpolation[-1] for run in runs]))
        rows.append([name, *map(percent, (*training, _median(runs, 2), start, phase))])
    head = [
        "problem", "training error, stage 1", "training error, stages 1 and 2", "test error", "with interpolated start",
        "by interpolated coefficients",
    ]  # fmt: skip
    return f"{table(head, rows)}\n\n{_about_hypotheses(cases)}"


def _about_hypotheses(cases: Sequence[Case]) -> str:
    lines = []
    for one in cases:
        runs = one.runs[POD]
        trained = float(np.median([run.surrogate.record.training_errors[1] for run in runs]))
        start = float(np.median([run.interpolated_start.max() for run in runs]))
        test = one.median(POD, 2)
        fits = (
            f"The test error is {test / trained:.1f} times the training error: "
            + ("the second stage fits more at the training points than carries over." if test > 1.5 * trained
               else "what the second stage learns carries over to the test points.")
        )  # fmt: skip
        starts = (
            "Interpolated initial states do no harm." if start < 1.1 * test
            else f"With interpolated initial states the error is {start / test:.1f} times as large."
        )  # fmt: skip
        text = f"- **{one.problem.name}**. {fits} {starts}"
        if FREE in one.runs:
            free = one.runs[FREE][0]
            errors = free.surrogate.record.training_errors
            text += (
                f" With coefficients as free variables of the training, in place of least squares in each step, the "
                f"errors are {percent(free.largest(1))} with one stage and {percent(free.largest(2))} with two. "
                f"Already at the training points they are {percent(errors[0])} and {percent(errors[1])}, since nothing "
                "then ties integrated trajectories to encoded ones: earlier versions of the preset failed here."
            )
        for method in (FEWER, NARROW):
            if method in one.runs:
                first, both = (_median(one.runs[method], n) for n in (1, 2))
                text += (
                    f" With {method} the second stage divides the error by {first / both:.1f}, to {percent(both)}, in "
                    f"place of {one.median(POD, 1) / test:.1f}, to {percent(test)}."
                )
        lines.append(text)
    return "\n".join(lines)


def seed_section(cases: Sequence[Case]) -> str:
    """Errors of each seed, and why some are larger with a second stage."""
    rows, worse = [], []
    for one in cases:
        for seed, run in enumerate(one.runs[POD]):
            first, both, fitted = run.largest(1), run.largest(2), run.with_fitted_coefficients
            left_out = [percent(error) for error in run.surrogate.record.stage_errors] or [""] * 2
            rows.append([one.problem.name, str(seed), percent(first), percent(both), percent(fitted), *left_out])
            if both > first:
                worse.append(_about_worse(one.problem.name, seed, run))
    head = [
        "problem", "seed", "stage 1", "stages 1 and 2", "with fitted coefficients", "leave-one-out, stage 1",
        "leave-one-out, both",
    ]  # fmt: skip
    none = "In no seed does the second stage make the error larger."
    return (
        f"{table(head, rows)}\n\n*With fitted coefficients: of both stages, with coefficients by least squares from "
        "the encoded test solution in place of interpolated ones. Leave-one-out errors need three points.*\n\n"
        f"{' '.join(worse) or none}"
    )


def _about_worse(problem: str, seed: int, run: Run) -> str:
    both, fitted = run.largest(2), run.with_fitted_coefficients
    text = (
        f"With seed {seed} on {problem} the second stage makes the error larger, {percent(both)}. With fitted "
        f"coefficients it is {percent(fitted)}: "
    )
    if fitted < 0.5 * both:
        text += (
            "the second decoder is right, and interpolated coefficients are not those of a trajectory that it was "
            "trained on. Least squares does not determine them in directions that a trajectory does not explore, so "
            "they differ between training points by more than the solutions do."
        )
    else:
        text += "interpolated coefficients are not the reason."
    if (
        run.surrogate.record.stage_errors
        and run.surrogate.record.stage_errors[1] > run.surrogate.record.stage_errors[0]
    ):
        text += " The leave-one-out error rises with the second stage too: `model.min_gain: 0.1` would drop it."
    return text


def kappa_section(cases: Sequence[Case]) -> str:
    """Errors of second decoders by kappa."""
    values = list(cases[0].kappas)
    rows = [[one.problem.name, *(percent(one.kappas[kappa].test) for kappa in values)] for one in cases]
    best = [
        f"On {one.problem.name} kappa {min(one.kappas, key=lambda k, of=one: of.kappas[k].test):g} is best, with "
        f"{percent(min(found.test for found in one.kappas.values()))}; kappa 1 has {percent(one.kappas[1.0].test)}."
        for one in cases
        if 1.0 in one.kappas
    ]
    return f"{table(['test error, kappa =', *(f'{k:g}' for k in values)], rows)}\n\n{' '.join(best)}"


def activation_section(cases: Sequence[Case], steps: int) -> str:
    """Convergence and errors of second decoders by activation."""
    rows, best = [], []
    for one in cases:
        reached = one.activations["tanh"].losses[-1][1]
        for name, found in one.activations.items():
            rows.append(
                [one.problem.name, name, f"{found.losses[-1][1]:.2g}", _steps_to(found, reached), percent(found.train),
                 percent(found.test)]
            )  # fmt: skip
        ordered = sorted(one.activations, key=lambda name, of=one: of.activations[name].test)
        best.append(f"on {one.problem.name} {ordered[0]}")
    head = [
        "problem",
        "activation",
        "loss at the end",
        "steps to the last loss of tanh",
        "training points",
        "test points",
    ]
    return (
        f"Second decoders with tanh or softplus in place of the sine (kappa = 1) in the first layer, {steps:,} steps "
        f"each, after the same first stage.\n\n{table(head, rows)}\n\nThe smallest test error has "
        f"{', '.join(best)}. Convergence and more problems are in the [study of the sine layer](../studies/sine.md)."
    )


def _steps_to(found: Decoded, loss: float) -> str:
    return next((f"{step:,}" for step, value in found.losses if value <= loss), "never")


def library_section(cases: Sequence[Case], n_samples: int) -> str:
    """How often dynamics with a quadratic library blow up."""
    rows = [
        [one.problem.name, name, str(found.n_coefficients), percent(found.misfit), percent(found.misfit_between),
         f"{found.blown_up:,}", f"{found.blown_up_longer:,}"]
        for one in cases
        for name, found in one.libraries.items()
    ]  # fmt: skip
    head = [
        "problem", "library", "coefficients", "misfit, training points", "misfit, test points", "blow-ups",
        f"in {LONG:g} intervals",
    ]  # fmt: skip
    return (
        "Affine dynamics cannot blow up in finite time; those of a richer library can. In the latent spaces of the "
        "first seed both are fitted to the encoded training trajectories, by least squares of finite differences, with "
        f"one Gaussian process for each coefficient. Of {n_samples:,} samples of these processes, each at another "
        f"point of the box, so many blow up in the training interval, and in {LONG:g} of them. The misfit is that of "
        "integrated latent trajectories, relative to the variation of the encoded ones.\n\n"
        f"{table(head, rows)}\n\nForms of quadratic dynamics that cannot blow up are in the "
        "[study of stability](../studies/stability.md)."
    )


def signature_section(cases: Sequence[Case]) -> str:
    """Which findings fire, and where."""
    rows, seen = [], set()
    for one in cases:
        for method in (POD, LONGER, *FAILING.get(one.problem.name, {})):
            runs = one.runs.get(method, ())
            fired: dict[str, list[str]] = {}
            for run in runs:
                for finding in diagnose(run.surrogate):
                    if finding.kind in SIGNATURES:
                        fired.setdefault(finding.kind, []).append(finding.message)
            seen |= fired.keys()
            name = "two stages" if method == POD else method
            for kind, messages in fired.items():
                rows.append([one.problem.name, name, f"{len(messages)} of {len(runs)}", f"`{kind}`", messages[0]])
            if runs and not fired:
                rows.append([one.problem.name, name, f"0 of {len(runs)}", "", ""])
    silent = [f"`{kind}`" for kind in SIGNATURES if kind not in seen]
    never = f"\n\nNone of these models shows {' or '.join(silent)}." if silent else ""
    changed = "; ".join(
        f"{problem}, {name}: {' and '.join(f'`{key}: {value}`' for key, value in change.items())}"
        for problem, models in FAILING.items()
        for name, (_, change) in models.items()
    )
    shown = table(["problem", "model", "seeds", "finding", "first message"], rows)
    return (
        "The paper names signs of failure: diverging trajectories, a stalled first stage, a second stage that fits "
        "noise, and a residual without correlation with the latent states. Here are the findings of `report` on the "
        f"models of this page, and on some that are made to fail ({changed}).\n\n{shown}{never}"
    )


def default_section() -> str:
    """The rows of the benchmarks on the papers' problems: is the published recipe better anywhere?"""
    rows, better = [], []
    for label, scores in json.loads(RESULTS.read_text())["scores"].items():
        errors = {
            name: float(np.median([score["max_error"] for score in scores[name]]))
            for name in ("mlasdi-paper", "gplasdi", "mlasdi")
        }
        seconds = [
            float(np.median([score["train_s"] for score in scores[name]])) for name in ("mlasdi-paper", "mlasdi")
        ]
        rows.append([label, *map(percent, errors.values()), *(f"{s:.0f}" for s in seconds)])
        if errors["mlasdi-paper"] < errors["mlasdi"]:
            better.append(label)
    head = ["problem", "mlasdi-paper", "gplasdi", "default", "mlasdi-paper, s", "default, s"]
    verdict = (
        f"The networks are better than the default on {', '.join(better)}."
        if better
        else "The networks are better than the default nowhere, so they are no candidate of it: the closed-form stages "
        "have less error in less time."
    )
    return (
        "Medians of the largest errors in the [benchmarks](benchmarks.md), where initial states of test points are not "
        f"given; `RESULTS.md` says when each row was measured.\n\n{table(head, rows)}\n\n{verdict}"
    )
