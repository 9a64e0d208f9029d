"""How far surrogates predict in time beyond their training data: trained on [0, T/2], judged until T."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from study_page import Page, main, percent, table

from agent.figure_style import OKABE_ITO, log_error_axis, new_figure, styled
from agent.tasks import SolverSpec, SolveTask, execute
from mlasdi.basis import BasisSettings, PodBasis
from mlasdi.errors import relative_error
from mlasdi.latent_dynamics import growth_rates
from mlasdi.surrogate import ExtrapolationWarning, Surrogate
from mlasdi.training import ModelSettings, TrainingData, fit
from solvers.contract import FullOrderModel
from solvers.parameters import Parameter, ParameterSpace
from solvers.store import SnapshotStore, address

STORE = Path(__file__).parents[2] / "mlruns" / "studies" / "snapshots"
LIMIT = 0.05  # error up to which a prediction counts
DMD, LAST, GP = "DMD of the test trajectory", "last state held", "snapshot GP"
# Name -> settings of the model.
MODELS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "without kriging": {"stages": [{"kind": "sine-features"}]},
    "one model of 8 latents": {"latent_dim": 8, "stages": []},
    GP: {"kind": "snapshot-gp"},
}


@dataclass(frozen=True)
class Size:
    """How large the study is; the defaults are the smaller settings of the page.

    Attributes:
        burgers1d, multiscale, wake: options of the solvers.
        every: every how many times of burgers1d are kept.
        viscosities: of the wake, for training; the test is at .00043.
        iterations: of the first stage.
    """

    burgers1d: Mapping[str, Any] = field(default_factory=dict)
    multiscale: Mapping[str, Any] = field(default_factory=dict)
    wake: Mapping[str, Any] | None = field(default_factory=lambda: {"order": 3})
    every: int = 5
    viscosities: tuple[float, ...] = (0.00032, 0.00041, 0.00054)
    iterations: int = 150


FULL = Size(wake={}, every=1, viscosities=(0.00032, 0.00037, 0.00041, 0.00047, 0.00054))


@dataclass(frozen=True)
class Problem:
    """Trajectories over all of [0, T]: at training points, of which the first half trains, and at test points."""

    name: str
    train: TrainingData
    test: TrainingData

    @property
    def half(self) -> int:
        """Number of times in [0, T/2]."""
        return len(self.train.t) // 2 + 1

    @property
    def known(self) -> TrainingData:
        return replace(self.train, t=self.train.t[: self.half], u=self.train.u[:, : self.half])


def problems(size: Size) -> list[Problem]:
    """All problems; solves of the wake are kept between runs, and it is left out where there are no options for it."""
    square = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))
    line = ParameterSpace((Parameter("A", 1.0, 1.4),))
    found = [
        solved("burgers1d", size.burgers1d, square, square.grid(3), square.from_unit(_off_grid()), size.every),
        solved("multiscale", size.multiscale, line, np.array([[1.0], [1.4]]), np.array([[1.2]])),
    ]
    twice = {"t_end": 4 * np.pi, "n_t": 2 * found[1].train.u.shape[1] - 1}
    longer = solved("multiscale", {**size.multiscale, **twice}, line, found[1].train.mu, found[1].test.mu)
    found.append(replace(longer, name="multiscale (two periods)"))
    if size.wake is not None:
        space = ParameterSpace((Parameter("nu", 0.00032, 0.00054, scale="log"),))
        found.append(solved("wake", size.wake, space, np.array(size.viscosities)[:, None], np.array([[0.00043]])))
    return found


def _off_grid() -> Float[np.ndarray, "point 2"]:
    """The centres of the four cells of the training grid."""
    return np.array([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]])


def solved(
    name: str,
    options: Mapping[str, Any],
    space: ParameterSpace,
    train: Float[np.ndarray, "point n_params"],
    test: Float[np.ndarray, "point n_params"],
    every: int = 1,
) -> Problem:
    """Solves of a built-in problem, each going on from another where the solver can; none is done twice."""
    spec, store = SolverSpec(name, dict(options)), SnapshotStore(STORE)
    fom: FullOrderModel = spec.build()
    layout = fom.layout
    assert layout is not None  # the built-in problems know their layout beforehand

    def at(mu: Float[np.ndarray, "point n_params"]) -> TrainingData:
        found = []
        for i, row in enumerate(mu):
            point = space.as_dict(row)
            key = address(fom.identity(), point)
            failure = execute(SolveTask(i, spec, point, key, str(STORE))).failure
            if failure:
                raise RuntimeError(f"{name} at {point}: {failure.message}")
            found.append(store.get(key))
        return TrainingData(space, layout, mu, found[0].t[::every], np.stack([one.u[::every] for one in found]))

    return Problem(name, at(train), at(test))


# Measurements


@dataclass(frozen=True)
class Measured:
    """What was measured on one problem.

    Attributes:
        t: times `[time]`, of which the first `half` train.
        errors: method -> largest relative L2 error over the test points `[time]`.
        growth: model with latent dynamics -> largest growth rate of its latent states, in units of one over T/2.
        reach: how far the default model's latent states get after T/2 from the middle of those before, in units of how
            far they get before.
        trust: of the default model's kriging stage in the stages before, None where it has none.
    """

    t: Float[np.ndarray, " time"]
    half: int
    errors: Mapping[str, Float[np.ndarray, " time"]]
    growth: Mapping[str, float]
    reach: float
    trust: float | None

    def horizon(self, method: str) -> float:
        """Time after T/2 for which the error stays below the limit, in units of T/2; below zero, before T/2."""
        above = np.flatnonzero(self.errors[method] > LIMIT)
        end = self.t[above[0] - 1 if len(above) and above[0] else above[0] if len(above) else -1]
        middle = self.t[self.half - 1]
        return float((end - middle) / (middle - self.t[0]))


def measured(size: Size, problem: Problem) -> Measured:
    errors, growth, trust, reach = {}, {}, None, np.nan
    for name, given in MODELS.items():
        own = {"kind": given.get("kind", "mlasdi"), "n_time": problem.half, **given}
        if problem.name == "wake":
            own["basis"] = {"tolerance": 1e-4}  # beyond, the modes are noise of the scheme
        if own["kind"] == "mlasdi":
            own["first_stage"] = {"iterations": size.iterations}
        surrogate = fit(problem.known, ModelSettings.model_validate(own), seed=0)
        errors[name] = _largest(problem, beyond(surrogate, problem))
        if own["kind"] == "mlasdi":
            growth[name] = float(growth_rates(torch.from_numpy(surrogate.model.latent.xi)).max())
        if name == "default":
            trust = next((stage.trust for stage in surrogate.model.stages if stage.kind == "kriging"), None)
            reach = _reach(surrogate, problem)
            held = beyond(surrogate, problem)
            held[:, problem.half :] = held[:, problem.half - 1 : problem.half]
            errors[LAST] = _largest(problem, held)
    errors[DMD] = _largest(problem, np.stack([dmd(u[: problem.half], len(problem.train.t)) for u in problem.test.u]))
    return Measured(problem.train.t, problem.half, errors, growth, reach, trust)


def beyond(surrogate: Surrogate, problem: Problem) -> Float[np.ndarray, "param time state"]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)  # it is what this study is about
        return surrogate.predict(problem.test.mu, problem.test.t, std=False).mean


def _reach(surrogate: Surrogate, problem: Problem) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        z = surrogate.propagate(problem.test.mu, problem.test.t).mean
    distance = np.linalg.norm(z - z[:, : problem.half].mean(axis=(0, 1)), axis=-1)
    return float(distance[:, problem.half :].max() / distance[:, : problem.half].max())


def _largest(problem: Problem, prediction: Float[np.ndarray, "param time state"]) -> Float[np.ndarray, " time"]:
    return relative_error(problem.test.u, prediction).max(axis=0)


def dmd(u: Float[np.ndarray, "known state"], n_time: int, tolerance: float = 1e-4) -> Float[np.ndarray, "time state"]:
    """Dynamic mode decomposition of one trajectory at equidistant times, and its continuation.

    The operator of P. J. Schmid, J. Fluid Mech. 656, 2010, on POD coordinates and a constant.
    """
    basis = PodBasis.fit(u, BasisSettings(tolerance=tolerance))
    c = np.concatenate([basis.project(u), np.ones((len(u), 1))], axis=1)
    step = np.linalg.lstsq(c[:-1], c[1:], rcond=None)[0]
    values, vectors = np.linalg.eig(step)
    powers = values ** np.arange(n_time)[:, None]
    return basis.lift(np.real((powers * (c[0] @ vectors)) @ np.linalg.inv(vectors))[:, :-1])


# The page


@styled
def figure(found: Mapping[str, Measured]) -> Figure:
    """Errors over time, a panel for each problem."""
    drawn = new_figure(3.4)
    panels = drawn.subplots(1, len(found), sharey=True, squeeze=False)[0]
    styles = dict(
        zip([*MODELS, LAST, DMD], zip(OKABE_ITO, ("-", "--", "-", "-", ":", "-."), strict=False), strict=False)
    )
    for axes, (name, one) in zip(panels, found.items(), strict=True):
        share = (one.t - one.t[0]) / (one.t[-1] - one.t[0])
        for method, (colour, line) in styles.items():
            axes.plot(share, np.clip(100 * one.errors[method], 0, 300), line, color=colour, label=method)
        axes.axvspan(0, 0.5, color="0.94", zorder=0)
        axes.axhline(100 * LIMIT, color="0.4", lw=0.8)
        axes.set(xlabel="t / T", title=name.replace(" (", "\n("), xlim=(0, 1))
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    log_error_axis(panels[0], [0.02, 250.0])
    panels[0].set_ylabel("relative error, test points [%]")
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawn


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
    kriging = "has no kriging stage" if one.trust is None else f"has a kriging stage with trust {one.trust:.2g}"
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
