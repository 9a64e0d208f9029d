"""How well surrogates do whose training snapshots are noisy, and which parts of the method make the difference."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from study_page import Page, main, percent, table

from agent.figure_style import OKABE_ITO, log_error_axis, new_figure, styled
from mlasdi.errors import max_relative_error
from mlasdi.latent_dynamics import calibrate, calibrate_derivative, propagate
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings, TrainingData, fit
from mlasdi.weak_form import WeakForm
from solvers.burgers import Burgers1D
from solvers.multiscale import Multiscale
from solvers.parameters import Parameter, ParameterSpace

Numbers = dict[str, Any]
TARGETS = {0.1: 0.02, 1.0: 0.06}  # largest errors wanted on burgers1d; the second is WLaSDI's (arXiv 2311.12880)
# What is compared with the default model: name -> settings of the model.
UNCLEANED = "snapshots as they are"
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "no noise floor, all stages": {"noise_floor": 0, "min_gain": None},
    UNCLEANED: {"noise": "none"},
}
SMALLEST = 0.01  # per cent; what is smaller is drawn there, or clean data would take most of the axes
FORMS = {"least-squares": "strong form", "weak": "weak form", "integral": "integral form"}


@dataclass(frozen=True)
class Size:
    """How large the study is; the defaults are the smaller settings of the page.

    Attributes:
        levels: standard deviation of the noise, relative to that of the values.
        uncleaned: levels at which models are also fitted to the snapshots as they are, which takes longest.
        seeds: of the noise.
        n_x, n_t: grid points and times of burgers1d.
        multiscale: grid points and times of the multiscale problem.
        test_per_axis: test points per parameter of burgers1d, off the training grid.
        every: every how many times of burgers1d predictions are judged.
        iterations: of the first stage.
        steps, n_latent: of the published autoencoder.
        samples: of noise, for the coefficients of a known system.
    """

    levels: tuple[float, ...] = (0.0, 0.05, 0.1, 0.5, 1.0)
    uncleaned: tuple[float, ...] = (0.1, 1.0)
    seeds: tuple[int, ...] = (0,)
    n_x: int = 1001
    n_t: int = 1001
    multiscale: tuple[int, int] = (600, 201)
    test_per_axis: int = 5
    every: int = 20
    iterations: int = 150
    steps: int = 2000
    n_latent: int = 4
    samples: int = 20


FULL = Size(uncleaned=(0.0, 0.05, 0.1, 0.5, 1.0), seeds=(0, 1, 2), test_per_axis=20, steps=5000, samples=200)


@dataclass(frozen=True)
class Problem:
    """Clean trajectories to train on, and clean ones to judge by."""

    name: str
    train: TrainingData
    test: TrainingData

    def noisy(self, level: float, seed: int, n_runs: int = 1) -> TrainingData:
        """Gaussian noise on the training snapshots, independent in every value and run."""
        rng = np.random.default_rng(seed)
        u = np.concatenate([self.train.u] * n_runs)
        u = u + level * u.std() * rng.standard_normal(u.shape)
        return replace(self.train, mu=np.concatenate([self.train.mu] * n_runs), u=u)

    def errors(self, surrogate: Surrogate) -> list[float]:
        """Largest error over the test points, with the first k stages."""
        mu, t = self.test.mu, self.test.t
        return [
            float(max_relative_error(self.test.u, surrogate.predict(mu, t, std=False, n_stages=k).mean).max())
            for k in range(1, surrogate.n_stages + 1)
        ]


def burgers(size: Size) -> Problem:
    """A 3 x 3 training grid, and the centres of a grid of cells to judge by."""
    space, fom = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1))), Burgers1D(size.n_x, size.n_t)
    centres = (np.arange(size.test_per_axis) + 0.5) / size.test_per_axis
    test = space.from_unit(np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2))
    t = fom.solve({"a": 0.8, "w": 1.0}).t

    def solved(mu: np.ndarray, every: int) -> TrainingData:
        u = np.stack([fom.solve(space.as_dict(row)).u[::every] for row in mu])
        return TrainingData(space, fom.layout, mu, t[::every], u)

    return Problem("burgers1d", solved(space.grid(3), 1), solved(test, size.every))


def multiscale(size: Size) -> Problem:
    """Amplitudes 1 and 1.4, judged at 1.2."""
    n_x, n_t = size.multiscale
    space, fom = ParameterSpace((Parameter("A", 1.0, 1.4),)), Multiscale(n_x=n_x, n_t=n_t)

    def solved(mu: Sequence[float]) -> TrainingData:
        u = np.stack([fom.solve({"A": a}).u for a in mu])
        return TrainingData(space, fom.layout, np.array(mu)[:, None], fom.solve({"A": 1.0}).t, u)

    return Problem("multiscale", solved([1.0, 1.4]), solved([1.2]))


# Measurements


def settings(size: Size, problem: Problem, **given: Any) -> ModelSettings:
    """A model: the default one, or the published autoencoder with closed-form coefficients."""
    published = given.get("kind") == "gplasdi"
    first = {"steps": size.steps} if published else {"iterations": size.iterations}
    given["first_stage"] = first | given.get("first_stage", {})
    if published:
        given["latent_dim"] = size.n_latent
    n_time = 201 if problem.name == "multiscale" else 101  # its fine scale takes all times
    return ModelSettings.model_validate({"n_time": n_time, **given})


def measured(size: Size) -> tuple[Numbers, Figure]:
    """All numbers of the page, and the figure of one prediction."""
    problems = [burgers(size), multiscale(size)]
    numbers: Numbers = {problem.name: by_level(size, problem) for problem in problems}
    numbers["published"] = published(size, problems[0])
    numbers["starts"] = starts(size, problems[0])
    numbers["runs"] = runs(size, problems[0])
    numbers["coefficients"] = coefficients(size)
    numbers["without fine scale"] = without_fine_scale(problems[1])
    return numbers, example(size, problems[0])


def by_level(size: Size, problem: Problem) -> Numbers:
    """The default model and what is compared with it, at all levels: errors of the worst noise sample."""
    found: Numbers = {}
    for name, given in VARIANTS.items():
        found[name] = {}
        for level in size.uncleaned if name == UNCLEANED else size.levels:
            if name == UNCLEANED and problem.name == "multiscale" and size != FULL:
                continue
            fits = [fit(problem.noisy(level, s), settings(size, problem, **given), seed=0) for s in size.seeds]
            stages = [problem.errors(surrogate) for surrogate in fits]
            worst = int(np.argmax([errors[-1] for errors in stages]))
            found[name][level] = {
                "error": stages[worst][-1],
                "stages": stages[worst],
                "worsened": max(b / a for errors in stages for a, b in zip([errors[0], *errors], errors, strict=False)),
                "level": fits[worst].record.noise_level,
                "rank": fits[worst].basis.rank,
                "estimate": fits[worst].error_estimate,
            }
    return found


def published(size: Size, problem: Problem) -> Numbers:
    """The published autoencoder, its coefficients by least squares in strong and in weak form."""
    found: Numbers = {}
    highest = size.uncleaned if size == FULL else size.uncleaned[-1:]
    for noise, levels in (("estimate", size.levels), ("none", highest)):
        for form in ("least-squares", "weak"):
            given = settings(size, problem, kind="gplasdi", noise=noise, first_stage={"calibration": form})
            found[f"{noise}/{form}"] = {
                level: max(problem.errors(fit(problem.noisy(level, s), given, seed=0))[-1] for s in size.seeds)
                for level in levels
            }
    return found


def starts(size: Size, problem: Problem) -> Numbers:
    """The default model, its training started from each calibration."""
    level = size.levels[-1]
    return {
        form: problem.errors(
            fit(problem.noisy(level, 0), settings(size, problem, first_stage={"calibration": form}), seed=0)
        )[-1]
        for form in FORMS
    }


def runs(size: Size, problem: Problem) -> Numbers:
    """The default model with one and with four runs at each training point, at the second highest level."""
    level = size.levels[-2]
    return {
        n: max(problem.errors(fit(problem.noisy(level, s, n), settings(size, problem), seed=0))[-1] for s in size.seeds)
        for n in (1, 4)
    }


def coefficients(size: Size) -> Numbers:
    """Relative error of the coefficients of a known system with four latent states, root mean square over samples."""
    a = torch.block_diag(torch.tensor([[-0.5, -6.0], [6.0, -0.5]]), torch.tensor([[-1.0, -11.0], [11.0, -1.0]]))
    xi = torch.cat([torch.tensor([[0.3], [-0.2], [0.5], [0.1]]), a], dim=1).double()
    found: Numbers = {}
    for n_time in (101, 1001):
        t = torch.linspace(0, 1, n_time, dtype=torch.float64)
        z, weak = propagate(xi, torch.tensor([1.0, 0.4, -0.8, 0.6]).double(), t), WeakForm.on(t)
        for level in size.levels:
            errors = []
            for seed in range(size.samples):
                noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
                y = z + level * z.std() * noise
                found_by = calibrate_derivative(y, t), weak.calibrate(y), calibrate(y, t)
                errors.append([float((one - xi).norm() / xi.norm()) for one in found_by])
            rms = np.sqrt(np.mean(np.square(errors), axis=0)).tolist()
            found.setdefault(str(n_time), {})[level] = dict(zip(FORMS, rms, strict=True))
    return found


def without_fine_scale(problem: Problem) -> float:
    """Error of the multiscale problem's solution when its fine scale is left out."""
    x, t = problem.test.layout.coordinates["x"], problem.test.t[:, None]
    slow = problem.test.mu[0, 0] * np.sin(2 * x - t) * np.exp(-(x**2))
    return float(max_relative_error(problem.test.u[0], slow))


# Figures


def _percent(values: Iterable[float]) -> list[float]:
    return [max(100 * value, SMALLEST) for value in values]


def _axis(axes: Any, levels: Sequence[float], drawn: Sequence[float], title: str) -> None:
    axes.set_xticks(range(len(levels)), [f"{100 * level:g}" for level in levels])
    axes.set_xlim(-0.3, len(levels) - 0.7)
    axes.set(xlabel="noise [% of the values' standard deviation]", title=title)
    log_error_axis(axes, drawn)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", lw=0.6)
    axes.set_axisbelow(True)


def _lines(axes: Any, levels: Sequence[float], lines: Mapping[str, Mapping[float, float]], title: str) -> None:
    """One line for each name, over the levels at which it was measured."""
    looks = zip(("o-", "s--", "^-", "D--"), ("full", "none", "full", "none"), OKABE_ITO, strict=False)
    for (name, line), (look, fill, colour) in zip(lines.items(), looks, strict=False):
        at = [list(levels).index(level) for level in line]
        axes.plot(at, _percent(line.values()), look, fillstyle=fill, color=colour, label=name)
    _axis(axes, levels, _percent(value for line in lines.values() for value in line.values()), title)


@styled
def by_level_figure(numbers: Numbers, levels: Sequence[float]) -> Figure:
    """Errors of the default model and its variants over the noise."""
    figure = new_figure(3.2)
    panels = figure.subplots(1, 2)
    for axes, name in zip(panels, ("burgers1d", "multiscale"), strict=True):
        lines = {v: {level: row["error"] for level, row in rows.items()} for v, rows in numbers[name].items() if rows}
        _lines(axes, levels, lines, name)
    at = [(list(levels).index(level), 100 * target) for level, target in TARGETS.items() if level in levels]
    panels[0].plot(*zip(*at, strict=True), "_", ms=16, mew=2, color="black", label="target", zorder=4)
    panels[0].set_ylabel("max relative error, clean test points [%]")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@styled
def weak_figure(numbers: Numbers, levels: Sequence[float]) -> Figure:
    """Coefficients of a known system, and surrogates with the published autoencoder, by the form of the equations."""
    figure = new_figure(3.4)
    left, right = figure.subplots(1, 2)
    rows = numbers["coefficients"]["1001"]
    _lines(left, levels, {FORMS[f]: {level: row[f] for level, row in rows.items()} for f in FORMS}, "a known system")
    left.set_ylabel("relative error of the coefficients [%]")
    left.legend(loc="lower right")
    names = {"estimate": "", "none": ",\nsnapshots as they are"}
    lines = {
        FORMS[key.partition("/")[2]] + names[key.partition("/")[0]]: values
        for key, values in numbers["published"].items()
    }
    _lines(right, levels, lines, "published autoencoder, burgers1d")
    right.set_ylabel("max relative error, clean test points [%]")
    right.legend(loc="best")
    return figure


@styled
def example(size: Size, problem: Problem) -> Figure:
    """One test point at the end, with the truth, the prediction, and the snapshot of the nearest training point."""
    level = size.levels[-1]
    data = problem.noisy(level, 0)
    surrogate = fit(data, settings(size, problem), seed=0)
    k, x = len(problem.test.mu) // 2 + 1, problem.test.layout.coordinates["x"]
    nearest = int(np.argmin(np.abs(problem.train.mu - problem.test.mu[k]).sum(axis=1)))
    figure = new_figure(2.8)
    axes = figure.subplots()
    axes.plot(x, data.u[nearest, -1], ".", ms=2, color="0.7", label="a training snapshot nearby")
    axes.plot(x, problem.test.u[k, -1], color="black", label="truth")
    predicted = surrogate.predict(problem.test.mu[k], problem.test.t[-1:], std=False).mean[0, 0]
    axes.plot(x, predicted, "--", color=OKABE_ITO[1], label="prediction")
    a, w = problem.test.mu[k]
    axes.set(xlabel="x", ylabel="u", xlim=(x[0], x[-1]), title=f"a = {a:.3g}, w = {w:.3g}, t = {problem.test.t[-1]:g}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", markerscale=3)
    return figure


# The page


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
    worth = "It matters" if max(starts.values()) > 1.1 * min(starts.values()) else "It hardly matters"
    return f"""The default model takes the calibration only as the start of its training, which fits integrated
trajectories to the data and needs no derivative either. {worth}: with {_level(level)} noise the error is
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

## What the default model does

1. It asks whether there is noise. The lower part of the singular values of white noise follows the Marchenko-Pastur
   law, and its median tells the level (arXiv 1305.5870). Where the law does not hold, as for clean data, nothing is
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

{_floor_says(numbers)}

## Strong against weak form

![Strong against weak form](images/noise-weak.png)

*Left: coefficients of a known affine system with four latent states from 1001 times; root mean square over
{size.samples} samples of noise. Right: the published autoencoder (preset `gplasdi`, {size.steps} steps), its
coefficients solved for at each step. Errors below {SMALLEST} % are drawn there.*

{_coefficients_say(numbers, levels[-1])}

{_published_says(numbers, levels)}

{_starts_say(numbers["starts"], levels[-1])}

## Several runs at one point

{_runs_say(numbers["runs"], levels[-2])}

## What this does not cover

Noise that is correlated in space or time does not follow the law and is not recognised; its level can be given
(`model.noise: 0.1`). Levels may differ between fields, not within one. The pointwise standard deviation of
predictions does not hold the noise in the modes, which is the same at all parameters; the error estimate does.
"""
    figures = {"levels": by_level_figure(numbers, levels), "weak": weak_figure(numbers, levels), "example": shown}
    return Page("Noisy solutions", text, figures)


def measure(full: bool) -> Page:
    """How well surrogates do whose training snapshots are noisy."""
    size = FULL if full else Size()
    return page(size, *measured(size))


if __name__ == "__main__":
    main("noise", measure)
