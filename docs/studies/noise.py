"""How well surrogates do whose training snapshots are noisy, and which parts of the method make the difference."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from study_noise import FORMS, FULL, TARGETS, UNCLEANED, VARIANTS, Numbers, Size, burgers, measured
from study_noise_figures import SMALLEST, by_level_figure, example, weak_figure
from study_page import Page, main, percent, table


def _level(level: float) -> str:
    return f"{100 * level:g} %"


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3g} to {max(values):.3g}"


def _errors_table(rows: Numbers, levels: Sequence[float]) -> str:
    head = ["noise", *VARIANTS, "noise found", "modes", "own estimate of the error"]
    lines = []
    for level in levels:
        default = rows["default"][level]
        errors = [percent(rows[v][level]["error"]) if level in rows[v] else "" for v in VARIANTS]
        estimate = percent(default["estimate"]) if default["estimate"] is not None else ""
        lines.append([_level(level), *errors, percent(default["level"]), str(default["rank"]), estimate])
    return table(head, lines)


def _burgers_says(rows: Numbers, levels: Sequence[float]) -> str:
    default, raw, said = rows["default"], rows[UNCLEANED], []
    for level, target in TARGETS.items():
        if level in levels:
            error = default[level]["error"]
            word = "met" if error < target else "missed"
            said.append(
                f"With {_level(level)} noise the error is {percent(error)}; the target, {percent(target)}, is {word}."
            )
    for level in raw:
        if level > 0:
            ratio = raw[level]["error"] / default[level]["error"]
            said.append(f"With the snapshots as they are it is {ratio:.2g} times that at {_level(level)}.")
    ratios = [row["error"] / row["estimate"] for level, row in default.items() if level > 0]
    said.append(f"""The largest true error is {_range(ratios)} times the model's own estimate, in which noise in the
modes counts by its mean over all snapshots.""")
    return "\n".join(said)


def _multiscale_says(numbers: Numbers, levels: Sequence[float]) -> str:
    default = numbers["multiscale"]["default"]
    few = [level for level in levels if default[level]["error"] > 0.9 * numbers["without fine scale"]]
    said = f"Its fine scale is a tenth of the field: without it the error is {percent(numbers['without fine scale'])}."
    if not few:
        return f"{said} At all levels the model keeps a part of it."
    n_modes = max(default[level]["rank"] for level in few)
    return f"""{said} From {_level(min(few))} noise on, where {n_modes} modes or fewer stand out of the noise, the
model does no better than that: the fine scale is lost."""


def _floor_says(numbers: Numbers) -> str:
    """What the later stages do with noise, with and without the rule."""
    said = []
    for name in ("burgers1d", "multiscale"):
        default, all_kept = (
            [row for level, row in numbers[name][variant].items() if level > 0] for variant in list(VARIANTS)[:2]
        )
        ratios = [one["error"] / other["error"] for one, other in zip(all_kept, default, strict=True)]
        said.append(f"""On {name} a stage of the default model multiplies the error by
{max(row["worsened"] for row in default):.3g} at most, and by {max(row["worsened"] for row in all_kept):.3g} where all
stages are kept; final errors are then {_range(ratios)} times those of the default model.""")
    return "\n".join(said)


def _coefficients_say(numbers: Numbers, level: float) -> str:
    many, few = (numbers["coefficients"][n][level] for n in ("1001", "101"))
    return f"""With {_level(level)} noise on 1001 times the coefficients of the known system err by
{percent(many["least-squares"])} in strong form (finite differences), {percent(many["integral"])} in integral form and
{percent(many["weak"])} in weak form; with 101 times by {percent(few["least-squares"])}, {percent(few["integral"])}
and {percent(few["weak"])}."""


def _published_says(numbers: Numbers, levels: Sequence[float]) -> str:
    columns = [numbers["published"][f"{noise}/{form}"] for noise in ("estimate", "none") for form in list(FORMS)[:2]]
    strong, weak = columns[:2]
    better = [level for level in levels if weak[level] < 0.95 * strong[level]]
    spoilt = [
        f"in {FORMS[form]} at {_level(v)}"
        for form, cleaned, raw in zip(FORMS, columns[:2], columns[2:], strict=False)
        for v in raw
        if raw[v] < 0.95 * cleaned[v]
    ]
    against = f"Cleaning does not help it {', '.join(spoilt)}." if spoilt else ""
    head = ["noise", "strong form", "weak form", "strong form, as they are", "weak form, as they are"]
    rows = [[_level(v), *(percent(column[v]) if v in column else "" for column in columns)] for v in levels]
    return f"""In the published autoencoder on burgers1d the weak form is better by more than a twentieth at
{len(better)} of {len(levels)} levels ({", ".join(map(_level, better)) or "none"}), with cleaned snapshots:

{table(head, rows)}

{against}"""


def _starts_say(starts: Numbers, level: float) -> str:
    effect = "It matters" if max(starts.values()) > 1.1 * min(starts.values()) else "It hardly matters"
    return f"""The default model takes the calibration only as the start of its training, which fits integrated
trajectories to the data and needs no derivative either. {effect}: with {_level(level)} noise the error is
{percent(starts["integral"])} from the integral form, {percent(starts["weak"])} from the weak form and
{percent(starts["least-squares"])} from the strong form."""


def _runs_say(by_runs: Numbers, level: float) -> str:
    return f"""With four runs at every training point, not one, {_level(level)} noise leaves {percent(by_runs[4])} in
place of {percent(by_runs[1])}: {by_runs[1] / by_runs[4]:.2g} times less, where the noise of their mean is 2 times
less. Runs at one point count one by one in the search for modes, and as their mean in all that follows."""


def _settings_say(size: Size) -> str:
    which = "the full settings (`--full`)" if size == FULL else "the smaller settings"
    once = "drawn once" if len(size.seeds) == 1 else f"drawn {len(size.seeds)} times, of which the worst counts"
    return f"""burgers1d: {size.n_t} snapshots of {size.n_x} values at each of 3 x 3 training points,
{size.test_per_axis} x {size.test_per_axis} test points between them. multiscale: {size.multiscale[1]} snapshots of
{size.multiscale[0]} values at A = 1 and 1.4, tested at 1.2. The noise is {once}. These are {which}; `--full` takes
three draws of the noise, 20 x 20 test points, a longer training of the autoencoder, and snapshots as they are at all
levels, which takes hours."""


def page(size: Size, numbers: Numbers, shown: Figure) -> Page:
    """The page, its sentences with what was measured."""
    levels = size.levels
    text = f"""
Gaussian noise on every value of every training snapshot; its standard deviation is relative to that of the values.
Errors are against the *clean* solution, at points that are not training points: the maximum over these points and
over time of the relative L2 error. {_settings_say(size)}

{_about_the_model(size, numbers)}

{_about_the_form(size, numbers)}

## Several runs at one point

{_runs_say(numbers["runs"], levels[-2])}

## What this does not cover

Noise that is correlated in space or time does not follow the law and is not recognised; its level can be given
(`model.noise: 0.1`). Levels may differ between fields, not within one. The pointwise standard deviation of
predictions does not hold the noise in the modes, which is the same at all parameters; the error estimate does.
"""
    figures = {"levels": by_level_figure(numbers, levels), "weak": weak_figure(numbers, levels), "example": shown}
    return Page("Noisy solutions", text, figures)


def _about_the_model(size: Size, numbers: Numbers) -> str:
    levels = size.levels
    return f"""## What the default model does

1. It asks whether there is noise. The lower part of the singular values of white noise follows the Marchenko-Pastur
   law, and its median gives the level (arXiv 1305.5870). Where the law does not hold, as for clean data, nothing is
   touched.
2. It projects the snapshots onto the modes that stand out of the noise, and onto few functions of time. All times that
   the solver wrote count, not only the `n_time` of the training.
3. Its kernels get the nugget that goes with the noise left, and once the training residual is down to that noise no
   further stage is fitted (`model.noise_floor`).

![Error against the level of noise](images/noise-levels.png)

*Largest error on clean test points against the noise. Bars: the targets. Errors below {SMALLEST} % are drawn there.*

### burgers1d

{_errors_table(numbers["burgers1d"], levels)}

{_burgers_says(numbers["burgers1d"], levels)}

![A prediction](images/noise-example.png)

*{_level(levels[-1])} noise: the end of a trajectory between the training points.*

### multiscale

{_errors_table(numbers["multiscale"], levels)}

{_multiscale_says(numbers, levels)}

### Stages and the noise floor

{_floor_says(numbers)}"""


def _about_the_form(size: Size, numbers: Numbers) -> str:
    levels = size.levels
    return f"""## Strong against weak form

![Strong against weak form](images/noise-weak.png)

*Left: coefficients of a known affine system with four latent states from 1001 times; root mean square over
{size.samples} samples of noise. Right: the published autoencoder (preset `gplasdi`, {size.steps} steps), its
coefficients solved for at each step. Errors below {SMALLEST} % are drawn there.*

{_coefficients_say(numbers, levels[-1])}

{_published_says(numbers, levels)}

{_starts_say(numbers["starts"], levels[-1])}"""


def measure(full: bool) -> Page:
    """How well surrogates do whose training snapshots are noisy."""
    size = FULL if full else Size()
    return page(size, measured(size), example(size, burgers(size)))


if __name__ == "__main__":
    main("noise", measure)
