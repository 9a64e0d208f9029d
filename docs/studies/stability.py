"""Richer latent dynamics that stay stable: quadratic ones with and without the constraint, affine, second order."""

from collections.abc import Sequence

from study_chosen_dynamics import DYNAMICS, Chosen, chosen
from study_dynamics import BOUNDED, COUNTS, FORMS, FREE, FULL, Case, Penalised, Result, Size, case, penalised
from study_page import Page, main, percent, table
from study_stability_figures import errors, reach, samples
from trajectory_fit import TrajectoryFitSettings


def measure(full: bool) -> Page:
    """The study in its smaller or its full settings."""
    return study(FULL if full else Size(), full)


def study(size: Size, full: bool = False) -> Page:
    problems = list(size.problems())
    in_the_model = [one for problem in problems for one in chosen(problem, size)]
    return page([case(problem, size) for problem in problems], list(penalised(size)), in_the_model, size, full)


def page(
    cases: Sequence[Case], by_penalty: Sequence[Penalised], in_the_model: Sequence[Chosen], size: Size, full: bool
) -> Page:
    worst = _worst(cases)
    text = f"""
The default latent dynamics are affine, $\\dot z = A z + b$: they cannot blow up in finite time, and cannot follow a
nonlinear system for long. A richer library can do that, and blows up where coefficients that were interpolated over the
parameters happen to be unstable. Is there a form that is richer *and* stable, whatever interpolation makes of its
coefficients?

Four forms are calibrated to the same latent trajectories, the leading {size.n_latent} POD coordinates (all three for
Duffing) at 3 x 3 training points, by {size.iterations} Levenberg-Marquardt steps on the integrated trajectories, with a
penalty of {TrajectoryFitSettings().roughness:g} on coefficients that are not linear in the parameters:

- **affine**: $\\dot z = A z + b$, any $A$.
- **quadratic, free**: $\\dot z = b + A z + Q(z, z)$, any $A$ and $Q$, the SINDy library [1, z, z z]; Runge-Kutta.
- **quadratic, bounded**: $\\dot y = b + (S - S^T - L L^T - \\epsilon I) y + K(y) y$ with $z = m + T y$ and
  antisymmetric $K(y) = \\sum_k y_k K_k$. The quadratic term does no work, $y^T K(y) y = 0$, the linear one damps, so
  $|y|^2 \\le |y_0|^2 + t |b|^2 / 2 \\epsilon$, for *any* value of $b, S, L, K_k, m, T$: these are what is interpolated
  (the trapping theorem; as a constraint on SINDy models in arXiv 2105.01843). A linearly implicit midpoint rule keeps
  the inequality at any step size.
- **second order**: $\\ddot q = b - K q - C \\dot q$ with $K = L L^T + \\epsilon I$, $C = D D^T + S - S^T$, whose energy
  does not grow; $q$ is the {size.n_latent} coordinates. On Duffing these hold velocities, which no such equation
  describes: it is there for completeness.

On Duffing all have forcing $\\cos \\omega t$, $\\sin \\omega t$ besides $b$. *burgers1d* and *vlasov* are the benchmark
problems, *duffing* is $\\ddot x + \\delta \\dot x + x + x^3 = \\gamma \\cos \\omega t$, lifted by $x^2$ to a quadratic
system. {_settings(size, full)}

## Blow-ups

![Posterior samples on {worst.problem.name}](images/stability-samples.png)

*{worst.problem.name}: the first latent coordinate for posterior samples at random parameter points (coloured), and
for the training trajectories (black), over three training intervals T. Samples that blow up end there.*

{size.n_samples:,} random points of the box, each with one sample of the Gaussian processes of all coefficients. A
state beyond $10^6$, or not finite, counts as a blow-up, with its time, and is never passed on as NaN.

{_count_table(cases)}

{_about_blow_ups(cases, size)}

![How far samples go](images/stability-reach.png)

*{worst.problem.name}: largest $|z|$ of each sample over the largest of the training trajectories, in three training
intervals, kernels by marginal likelihood. The line of a form that blows up does not fall to zero at the right.*

{_about_reach(worst)}

## A penalty is no promise

Coefficients that vary little over the parameters are safer to interpolate. On vlasov, by the weight of the penalty:

{_penalty_table(by_penalty)}

{_about_penalty(by_penalty, size)}

## Errors

![Errors of the forms](images/stability-errors.png)

*Latent: relative root mean square error of the trajectories, at the training points and, with interpolated coefficients
(shared kernel), at six test points. Field: largest relative L2 error over times and test points after a decoder that is
linear in 1, z, z z and sines of z, with {16} anchors.*

{_error_table(cases)}

{_about_errors(cases)}

## In the default model

Above, dynamics are calibrated to fixed coordinates. With `model.first_stage.dynamics`, the default model optimises
their coefficients and its decoder together, through the integrated trajectories: affine ones solved exactly, bounded
quadratic and second-order ones in {size.steps} steps of the midpoint rule. First stages alone, {size.first_stage}
steps of L-BFGS, models of {", ".join(map(str, size.latent_dims))} latent states averaged (3 for Duffing; there with
`forcing`, but for affine dynamics, which have none). The last column: of {size.n_samples:,} samples of the
coefficients at random points, those that blow up within three training intervals.

{_chosen_table(in_the_model)}

{_about_chosen(in_the_model)}

## What follows

{_guideline(cases, in_the_model)}

The forms are in `mlasdi.latent.parametrisations`, their calibration and interpolation in `docs.studies.trajectory_fit`.
"""
    figures = {"samples": samples(worst), "reach": reach(worst), "errors": errors(cases)}
    return Page("Richer latent dynamics that stay stable", text, figures)


def _settings(size: Size, full: bool) -> str:
    other = Size() if full else FULL
    name, how = ("smaller", "without") if full else ("full", "with")
    return (
        f"These are the {'full' if full else 'smaller'} settings; the {name} ones ({how} `--full`) take "
        f"{other.iterations} steps and {other.n_samples:,} samples."
    )


def _count_table(cases: Sequence[Case]) -> str:
    rows = [
        [one.problem.name, name, *(f"{result.blown_up[count]:,}" for count in COUNTS)]
        for one in cases
        for name, result in one.results.items()
    ]
    return table(["problem", "form", *COUNTS.values()], rows)


def _total(cases: Sequence[Case], form: str) -> int:
    return sum(one.results[form].blown_up[count] for one in cases for count in COUNTS)


def _worst(cases: Sequence[Case]) -> Case:
    """The problem on which the free form blows up most often."""
    return max(cases, key=lambda one: sum(one.results[FREE].blown_up.values()))


def _about_blow_ups(cases: Sequence[Case], size: Size) -> str:
    worst = _worst(cases)
    counts = {name: f"{count:,}" for name, count in worst.results[FREE].blown_up.items()}
    never = [one.problem.name for one in cases if not any(one.results[FREE].blown_up.values())]
    tried = len(cases) * len(COUNTS) * size.n_samples
    sentences = [
        f"The bounded quadratic form blows up in {_total(cases, BOUNDED)} of {tried:,} cases, the second-order form in "
        f"{_total(cases, 'second order')}, the free quadratic one in {_total(cases, FREE):,}: on {worst.problem.name}, "
        f"in {counts['shared']} of {size.n_samples:,} samples with a shared kernel, in {counts['own']} with kernels by "
        f"marginal likelihood, and in {counts['longer']} within three training intervals.",
        f"That is not the scheme's doing: by Runge-Kutta with four times as many steps the bounded form blows up in "
        f"{sum(one.by_runge_kutta for one in cases)} of {len(cases) * size.n_samples:,} samples.",
    ]
    if never:
        sentences.append(
            f"On {' and '.join(never)} the free form does not blow up either: it may well be stable, without a promise."
        )
    return " ".join(sentences)


def _penalty_table(by_penalty: Sequence[Penalised]) -> str:
    rows = [
        [one.form, f"{one.roughness:g}", percent(one.train), percent(one.latent), f"{one.blown_up:,}"]
        for one in by_penalty
    ]
    return table(["form", "penalty", "latent, training", "latent, test", "samples that blow up"], rows)


def _about_penalty(by_penalty: Sequence[Penalised], size: Size) -> str:
    free, bounded = ([one for one in by_penalty if one.form == form] for form in (FREE, BOUNDED))
    counts = [one.blown_up for one in free]
    safe = [one.roughness for one in free if not one.blown_up]
    best = min(bounded, key=lambda one: one.latent)
    best_free = min(free, key=lambda one: one.latent)
    return (
        f"Of {size.n_samples:,} samples of the free form {counts[0]:,} blow up with the smallest penalty and "
        f"{counts[-1]:,} with the largest; {f'none from {min(safe):g} on' if safe else 'some with each'}. The bounded "
        f"form has {sum(one.blown_up for one in bounded)} blow-ups with any. That promises stability, not accuracy: at "
        f"the test points it has {percent(bounded[0].latent)} with the smallest penalty and {percent(best.latent)} "
        f"with the best, {best.roughness:g}, where the free form at its best has {percent(best_free.latent)}, with "
        f"{best_free.roughness:g}."
    )


def _far(result: Result) -> float:
    """Share of the samples that go more than three times as far as the training trajectories."""
    return float((result.reach > 3).mean())


def _about_reach(one: Case) -> str:
    shares = {name: percent(_far(one.results[name])) for name in FORMS}
    return (
        f"{shares['affine']} of the affine samples go more than three times as far as any training trajectory, "
        f"{shares[BOUNDED]} of the bounded quadratic ones, {shares['second order']} of the second-order ones, and "
        f"{shares[FREE]} of the free quadratic ones."
    )


def _error_table(cases: Sequence[Case]) -> str:
    rows = []
    for one in cases:
        for name, r in one.results.items():
            numbers = [percent(value) for value in (r.train, r.latent, r.field)]
            rows.append([one.problem.name, name, str(r.n_coefficients), *numbers, f"{r.fit_s:.1f}"])
        rows.append([one.problem.name, "kriging of the snapshots", "", "", "", percent(one.kriging), ""])
    head = ["problem", "form", "coefficients", "latent, training", "latent, test", "field, test", "calibration [s]"]
    return table(head, rows)


def _about_errors(cases: Sequence[Case]) -> str:
    lines = []
    for one in cases:
        r = one.results
        best = min(r, key=lambda name: r[name].field)
        free = r[FREE].field / r[BOUNDED].field
        beside = (
            "the constraint costs nothing" if free > 1 / 1.1 else f"the constraint costs a factor of {1 / free:.2g}"
        )
        over = r["affine"].field / r[BOUNDED].field
        gain = f"{over:.2g} times less" if over >= 1 else f"{1 / over:.2g} times more"
        lines.append(
            f"- **{one.problem.name}**: the bounded quadratic form has {percent(r[BOUNDED].field)} on the field, "
            f"{gain} than the affine one ({percent(r['affine'].field)}); against the free one "
            f"({percent(r[FREE].field)}) {beside}. Best is {best} ({percent(r[best].field)}), kriging has "
            f"{percent(one.kriging)}. At the training points the misfit of the latent trajectories is "
            f"{percent(r['affine'].train)} (affine), {percent(r[FREE].train)} (free), {percent(r[BOUNDED].train)} "
            f"(bounded), {percent(r['second order'].train)} (second order)."
        )
    return "\n".join(lines)


def _chosen_table(found: Sequence[Chosen]) -> str:
    rows = [
        [
            one.problem, one.dynamics, *(percent(value) for value in (one.train, one.left_out, one.test)),
            f"{one.fit_s:.0f}", f"{one.blown_up:,}",
        ]
        for one in found
    ]  # fmt: skip
    head = ["problem", "dynamics", "training points", "leave-one-out", "test points", "training [s]", "blow-ups"]
    return table(head, rows)


def _by_problem(found: Sequence[Chosen]) -> dict[str, dict[str, Chosen]]:
    problems = dict.fromkeys(one.problem for one in found)
    return {name: {one.dynamics: one for one in found if one.problem == name} for name in problems}


def _about_chosen(found: Sequence[Chosen]) -> str:
    lines = []
    for problem, own in _by_problem(found).items():
        affine = own["affine"]
        ratios = ", ".join(
            f"{one.dynamics} {one.test / affine.test:.2g} times at {one.fit_s / affine.fit_s:.2g} times the seconds"
            for one in own.values()
            if one is not affine
        )
        lines.append(f"- **{problem}**: of the error of affine dynamics, {percent(affine.test)}: {ratios}.")
    return "\n".join(lines)


def _guideline(cases: Sequence[Case], in_the_model: Sequence[Chosen]) -> str:
    better = [one.problem.name for one in cases if one.results[BOUNDED].field < 0.9 * one.results["affine"].field]
    worse = [one.problem.name for one in cases if one.results[BOUNDED].field > 1.1 * one.results["affine"].field]
    oscillators = [
        one.problem.name for one in cases if one.results["second order"].field < 0.9 * one.results["affine"].field
    ]
    none, models = "none of the problems", _by_problem(in_the_model)
    beaten = [one.problem.name for one in cases if min(r.field for r in one.results.values()) > one.kriging]
    bounded, free = _total(cases, BOUNDED), _total(cases, FREE)
    pays = {
        dynamics: [name for name, own in models.items() if own[dynamics].test < 0.9 * own["affine"].test]
        for dynamics in DYNAMICS
    }
    return f"""
- Interpolated factors: {bounded} blow-ups. Interpolated coefficients of the same library: {free:,}.
- Bounded quadratic dynamics pay over affine ones on {" and ".join(better) or none}; they are worse on
  {" and ".join(worse) or none}.
- Second-order dynamics pay over affine ones on {" and ".join(oscillators) or none}.
- Plain kriging of the snapshots is better than every form on {" and ".join(beaten) or none}: calibrated to fixed POD
  coordinates, one after the other, the dynamics have no share in the choice of the latent space.
- In the default model, where they have, quadratic dynamics pay on {" and ".join(pays["quadratic"]) or none} and
  second-order ones on {" and ".join(pays["second-order"]) or none} (errors under nine tenths of those of affine ones).
  {_default(pays)} Try another choice where the leave-one-out error falls with it; none can blow up.
""".strip()


def _default(pays: dict[str, list[str]]) -> str:
    """What the default becomes."""
    n = max(len(problems) for problems in pays.values())
    return "The default stays affine, the fastest." if n < 3 else "On no problem affine ones are as good."


if __name__ == "__main__":
    main("stability", measure)
