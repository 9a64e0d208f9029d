"""Sine or not, and which kappa: decoders of the same residual, on three problems of different smoothness."""

from collections.abc import Sequence

from study_decoders import FULL, HIDDEN, Case, Outcome, Size, case
from study_page import Page, main, percent, table
from study_sine_figures import WAYS, convergence, errors_by_kappa, profiles, ringing

NOTICEABLE = 1.1  # ratio of errors below which two are called alike


def measure(full: bool) -> Page:
    """The study in its smaller or its full settings."""
    return study(FULL if full else Size(), full)


def study(size: Size, full: bool = False) -> Page:
    return page([case(problem, size) for problem in size.problems()], size, full)


def page(cases: Sequence[Case], size: Size, full: bool) -> Page:
    heat_case = cases[-1]
    text = f"""
A later stage of the published model (arXiv 2506.09207) is a decoder of what the stages before leave, with
`sin(kappa (W z + b))` in its first layer and kappa = 1. Is the sine better than tanh or softplus, and which kappa
is best?

For each problem one first stage is trained, an autoencoder with its latent dynamics. Then decoders with hidden layers
of {HIDDEN[0]} and {HIDDEN[1]} learn the *same* residual along the same integrated trajectories, by {size.steps} steps
of Adam, from {len(size.seeds)} random starts. *multiscale* has oscillations of high frequency, *burgers1d* a
steepening wave, *heat* is purely diffusive: a plateau that flattens, in closed form, with values between 0 and 1.
Errors are the largest relative L2 errors over time, at the training points and at points between them.
{_settings(size, full)}

## Error against kappa

![Errors against kappa](images/sine-errors.png)

*Geometric means over the random starts. Horizontal lines: test error with tanh, softplus, and without the stage;
white markers: the kappa that each way of choosing takes.*

{_error_table(cases)}

{_about_errors(cases)}

## Convergence on the same residual

![Loss against steps](images/sine-convergence.png)

{_convergence_table(cases)}

{_about_convergence(cases)}

## Which kappa: the spectrum, and left-out trajectories

Along a trajectory, `sin(kappa (W z + b))` oscillates as fast as `kappa W dz/dt`. The *spectrum* way takes the kappa
at which its root mean square frequency is that of the residual. *Left-out trajectories* trains short decoders without
some of the training trajectories and takes the kappa of the sweep whose error on those is smallest; *auto* does so for
1, 0.3, 0.1, 0.03 and 0.01 of the spectrum's kappa. In a configuration these are `kappa: spectrum`,
`kappa: [0.1, 1, 10]` and `kappa: auto` of a `decoder` stage.

{_choice_table(cases)}

{_about_choices(cases)}

## Ringing on the heat equation

![Ringing on the heat equation](images/sine-ringing.png)

![Profiles on the heat equation](images/sine-profiles.png)

*Overshoot: how far predictions leave the range of the solutions, which lies in [0, 1] by the maximum principle. Fast
energy: root of the energy in frequencies in time in which the solutions have less than 1e-8 of theirs, relative to all
their energy. Times between the training times count.*

{_about_ringing(heat_case)}

## What follows

{_guideline(cases)}
"""
    figures = {
        "errors": errors_by_kappa(cases),
        "convergence": convergence(cases),
        "ringing": ringing(heat_case),
        "profiles": profiles(heat_case),
    }
    return Page("Sine or not, and which kappa?", text, figures)


def _settings(size: Size, full: bool) -> str:
    other = FULL if not full else Size()
    name = "smaller" if full else "full"
    return (
        f"These are the {'full' if full else 'smaller'} settings; the {name} ones ({'without' if full else 'with'} "
        f"`--full`) take {other.steps} steps and {len(other.seeds)} seeds."
    )


def _best(case: Case, measure: str) -> float:
    """The kappa with the smallest error."""
    return min(case.sine, key=lambda kappa: getattr(case.sine[kappa], measure))


def _error_table(cases: Sequence[Case]) -> str:
    rows = []
    for one in cases:
        outcomes: dict[str, Outcome] = {"first stage alone": one.alone, **one.smooth}
        outcomes |= {f"sine, kappa {kappa:g}": outcome for kappa, outcome in one.sine.items()}
        rows += [[one.problem.name, name, percent(of.train), percent(of.test)] for name, of in outcomes.items()]
    return table(["problem", "decoder", "training points", "test points"], rows)


def _about_errors(cases: Sequence[Case]) -> str:
    lines = []
    for one in cases:
        fits, carries, top = _best(one, "train"), _best(one, "test"), max(one.sine)
        smooth = min(one.smooth, key=lambda name: one.smooth[name].test)
        gain = one.smooth[smooth].test / one.sine[carries].test
        beside = (
            f"{gain:.2g} times better than" if gain > NOTICEABLE
            else f"{1 / gain:.2g} times worse than" if gain < 1 / NOTICEABLE else "no better and no worse than"
        )  # fmt: skip
        lines.append(
            f"- **{one.problem.name}**: kappa {fits:g} fits the training data best ({percent(one.sine[fits].train)}), "
            f"kappa {carries:g} does best between them ({percent(one.sine[carries].test)}), {beside} {smooth} "
            f"({percent(one.smooth[smooth].test)}). With kappa {top:g} the test error is "
            f"{percent(one.sine[top].test)}, with the published kappa = 1 {percent(one.sine[1.0].test)}; the first "
            f"stage alone has {percent(one.alone.test)}."
        )
    return "\n".join(lines)


def _steps_to(outcome: Outcome, loss: float) -> str:
    """Steps until the training loss is below, or that it never is."""
    return next((f"{step:d}" for step, value in outcome.losses if value <= loss), "never")


def _convergence_table(cases: Sequence[Case]) -> str:
    rows = []
    for one in cases:
        tanh = one.smooth["tanh"]
        goal = tanh.losses[-1][1]
        sines = {f"sine, kappa {kappa:g}": outcome for kappa, outcome in one.sine.items()}
        for name, outcome in {**one.smooth, **sines}.items():
            last = outcome.losses[-1][1]
            rows.append([one.problem.name, name, f"{last:.2g}", _steps_to(outcome, goal)])
    return table(["problem", "decoder", "loss at the end", "steps to the last loss of tanh"], rows)


def _about_convergence(cases: Sequence[Case]) -> str:
    lines = []
    for one in cases:
        goal = one.smooth["tanh"].losses[-1][1]
        fastest = min(one.sine, key=lambda kappa: one.sine[kappa].losses[-1][1])
        outcome = one.sine[fastest]
        steps = _steps_to(outcome, goal)
        if steps == "never":
            lines.append(f"On {one.problem.name} no kappa trains further than tanh does.")
            continue
        lines.append(
            f"On {one.problem.name} kappa {fastest:g} trains furthest, to a loss of {outcome.losses[-1][1]:.2g} where "
            f"tanh ends at {goal:.2g}, and passes that after {steps} of {outcome.losses[-1][0]} steps."
        )
    return " ".join(lines)


def _choice_table(cases: Sequence[Case]) -> str:
    rows = []
    for one in cases:
        best = _best(one, "test")
        rows.append([one.problem.name, "best on the test points", f"{best:g}", *_errors(one.sine[best])])
        rows += [
            [one.problem.name, WAYS[way], f"{kappa:.3g}", *_errors(outcome)]
            for way, (kappa, outcome) in one.chosen.items()
        ]
    return table(["problem", "kappa chosen by", "kappa", "training points", "test points"], rows)


def _errors(outcome: Outcome) -> tuple[str, str]:
    return percent(outcome.train), percent(outcome.test)


def _about_choices(cases: Sequence[Case]) -> str:
    worst = {way: max(cases, key=lambda one: _loss(one, way)) for way in WAYS}
    sentences = [
        f"{WAYS[way].capitalize()}: at worst {_loss(one, way):.2g} times the test error of the best kappa "
        f"({one.problem.name})."
        for way, one in worst.items()
    ]
    beyond = [one for one in cases if one.chosen["left-out"][0] > 4 * one.chosen["spectrum"][0]]
    sentences += [
        f"On {one.problem.name} the left-out trajectories ask for kappa = {one.chosen['left-out'][0]:g}, far beyond "
        f"the spectrum's {one.chosen['spectrum'][0]:.3g}: their decoders are trained for a fifth of the steps, in "
        "which fast features get further. `auto` cannot go there."
        for one in beyond
    ]
    ratios = [one.chosen["spectrum"][0] / _best(one, "train") for one in cases]
    sentences.insert(
        0,
        f"The spectrum asks for {min(ratios):.2g} to {max(ratios):.2g} times the kappa that fits the training data "
        "best: "
        "it looks at each trajectory by itself, and does not know what carries over to the next one.",
    )
    return " ".join(sentences)


def _loss(one: Case, way: str) -> float:
    """Test error with the chosen kappa over that with the best one of the sweep."""
    return one.chosen[way][1].test / one.sine[_best(one, "test")].test


def _about_ringing(one: Case) -> str:
    alone, worst = one.alone, max(one.sine, key=lambda kappa: one.sine[kappa].fast)
    ringing_kappas = [kappa for kappa, of in one.sine.items() if of.fast > 2 * one.smooth["tanh"].fast]
    says = f"From kappa {min(ringing_kappas):g} on" if ringing_kappas else "For no kappa"
    tanh, softplus, published, top = one.smooth["tanh"], one.smooth["softplus"], one.sine[1.0], one.sine[worst]
    return (
        f"The first stage alone overshoots by {percent(alone.overshoot)}, with a fast energy of {percent(alone.fast)}. "
        f"After it tanh has {percent(tanh.overshoot)} and {percent(tanh.fast)}, softplus {percent(softplus.overshoot)} "
        f"and {percent(softplus.fast)}, the sine with kappa = 1 {percent(published.overshoot)} and "
        f"{percent(published.fast)}. {says} is the fast energy more than twice that of tanh; it is largest at kappa "
        f"{worst:g}, {percent(top.fast)}, with an overshoot of {percent(top.overshoot)}."
    )


def _guideline(cases: Sequence[Case]) -> str:
    harmed = [one.problem.name for one in cases if one.sine[max(one.sine)].test > one.alone.test]
    safest = min(WAYS, key=lambda way: max(_loss(one, way) for one in cases))
    ones = max(one.sine[1.0].test / one.sine[_best(one, "test")].test for one in cases)
    one_name = max(cases, key=lambda one: one.sine[1.0].test / one.sine[_best(one, "test")].test).problem.name
    sines = [
        one.problem.name for one in cases
        if one.sine[_best(one, "test")].test * NOTICEABLE < min(of.test for of in one.smooth.values())
    ]  # fmt: skip
    return f"""
- With the best kappa, the sine layer gains more than a tenth over the better of tanh and softplus on
  {_listed(sines) or "none of the problems"}.
- A large kappa makes the model worse than without the stage on {_listed(harmed) or "none of the problems"}.
- kappa = 1, the published value, costs at most a factor of {ones:.2g} against the best kappa ({one_name}).
- Of the ways to choose without test data, {WAYS[safest]} is the safest: at most
  {max(_loss(one, safest) for one in cases):.2g} times the error of the best kappa.
""".strip()


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


if __name__ == "__main__":
    main("sine", measure)
