"""How far surrogates predict in time beyond their training data: trained on [0, T/2], tested until T."""

from collections.abc import Mapping

from study_horizons import DMD, FULL, GP, LAST, LIMIT, MODELS, Measured, Size, measured, problems
from study_horizons_figures import figure
from study_page import Page, main, percent, table


def _horizon(one: Measured, method: str) -> str:
    share = one.horizon(method)
    if share >= 1:
        return "all of it"
    return f"{share:.2f}" if share > 0 else "none"


def _for(one: Measured, method: str) -> str:
    share = one.horizon(method)
    return "until T" if share >= 1 else f"for {share:.2f} T/2" if share > 0 else "for no time"


def _says(name: str, one: Measured) -> str:
    """What was found on one problem."""
    best = max(one.errors, key=one.horizon)
    kriging = (
        "has no kriging stage"
        if one.drift_weight is None
        else f"has a kriging stage with weight {one.drift_weight:.2g}"
    )
    further = one.horizon(best) > one.horizon("default")
    better = f"{best} gets furthest, {_for(one, best)}" if further else "no method gets further"
    at_half, at_end = (percent(float(one.errors["default"][k])) for k in (one.half - 1, -1))
    return f"""**{name}.** Beyond T/2 the default model stays below {percent(LIMIT)} {_for(one, "default")}; its error
is {at_half} at T/2 and {at_end} at T, and {better}. The fastest of its latent
states grows by e^{one.growth["default"]:.2g} in T/2, and they get {one.reach:.2g} times as far after T/2 as before. It
{kriging}; without kriging the error at T/2 is
{percent(float(one.errors["without kriging"][one.half - 1]))}. The last state, held, stays below the limit
{_for(one, LAST)}, which says how fast the solution changes."""


def _summary(found: Mapping[str, Measured]) -> str:
    ahead = [n for n, one in found.items() if one.horizon("default") > max(one.horizon(GP), one.horizon(LAST), 0)]
    past = [n for n, one in found.items() if one.horizon("default") >= 1]
    behind = [n for n, one in found.items() if one.horizon(DMD) > one.horizon("default")]
    wild = [n for n, one in found.items() if one.errors["default"][-1] > one.errors[GP][-1]]
    worse = (
        f"On {' and '.join(wild)} it ends worse than the mean state, which is what the snapshot GP predicts."
        if wild
        else ""
    )
    return f"""The default model gets beyond T/2, and further than both the snapshot GP and the last state held, on
{" and ".join(ahead) or "none of the problems"}; to the end, on {" and ".join(past) or "none"}. The decomposition of the
test trajectory itself gets further on {" and ".join(behind) or "none"}. {worse}"""


def page(size: Size, found: Mapping[str, Measured]) -> Page:
    """The page, its sentences with what was measured."""
    methods = [*MODELS, LAST, DMD]
    rows = [[method, *(_horizon(one, method) for one in found.values())] for method in methods]
    ends = [[method, *(percent(float(one.errors[method][-1])) for one in found.values())] for method in methods]
    each = "\n\n".join(_says(name, one) for name, one in found.items())
    text = f"""
Models are trained on the first half [0, T/2] of the trajectories at the training points, and predict all of [0, T] at
parameters between them. Error: relative L2 error, the largest over the test points. The horizon is the time after
T/2 for which the error stays below {percent(LIMIT)}, in units of T/2.

{_settings_say(size)}

Beyond T/2 the kriging stage knows nothing: its residual counts as zero there, and the latent stages before it in
full. The snapshot GP interpolates at equal times, has no dynamics, and predicts the mean state. All say so in a
warning. The dynamic mode decomposition (DMD) sees what no surrogate sees: the first half of the *test* trajectory
itself.

![Error over time](images/extrapolation-errors.png)

*Relative error over time, cut at 300 %; shaded: the training times; line: {percent(LIMIT)}.*

Horizon in units of T/2:

{table(["method", *found], rows)}

Error at T:

{table(["method", *found], ends)}

{each}

{_summary(found)}

The decoder is fitted to the latent states of the training times, and nothing says what it does elsewhere. A periodic
flow has come back to them by T/2. The fine scale of the multiscale problem, `cos((40 x + 2 t) sin t)`, is in no period
what it was in the last, and cannot be had from [0, T/2].
"""
    return Page("Prediction beyond the training times", text, {"errors": figure(found)})


def _settings_say(size: Size) -> str:
    which = "the full settings (`--full`)" if size == FULL else "the smaller settings"
    options = ", ".join(f"{name} {value:g}" for name, value in (size.wake or {}).items())
    mesh = f", with {options}, coarser than its own scheme" if options else ""
    wake = f"""wake: {len(size.viscosities)} viscosities from .00032 to .00054{mesh}; tested at .00043, T = 2, which
is 6.5 periods. """
    return f"""burgers1d: 3 x 3 training points, the four centres of their cells as test points, T = 1. multiscale:
amplitudes 1 and 1.4, tested at 1.2, T = 2 pi, and once more with T = 4 pi. {"" if size.wake is None else wake}These are
{which}; `--full` takes the wake's own scheme and five viscosities, which is half an hour of solving. Solves are kept in
`mlruns/studies`: the first run takes some minutes more."""


def measure(full: bool) -> Page:
    """How far surrogates predict in time beyond their training data."""
    size = FULL if full else Size()
    return page(size, {problem.name: measured(size, problem) for problem in problems(size)})


if __name__ == "__main__":
    main("extrapolation", measure)
