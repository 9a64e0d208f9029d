"""The measurements on the Burgers problem behind the page on the method: each changes one thing.

What is measured is returned as nested dictionaries of numbers, errors as fractions, and goes into `method.json`; fields
that only a figure needs come as dataclasses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr

from mlasdi.interpolation import Kernel, Kriging, select_kernels
from mlasdi.interpolation.kriging import FAMILIES
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import FullOrderModel, Parameter, ParameterSpace, Snapshots
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.surrogate import Surrogate
from mlasdi.surrogate.error_norms import max_relative_error
from mlasdi.training import ModelSettings, fit
from mlasdi.validation import LEVELS, assess

Numbers = dict[str, Any]

BURGERS_BOX = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))
SEED = 0
# With learned scaling all solutions of the Burgers problem nearly coincide, and the other settings have no effect.
SCALING_OFF: Mapping[str, Any] = {"time_scaling": "off", "coordinate_scaling": "off"}
SCALING_LEARNED: Mapping[str, Any] = {"time_scaling": "learned", "coordinate_scaling": "learned"}
# The first stage alone, without selection: later stages would compensate for what a setting does.
FIRST_STAGE_ALONE: Mapping[str, Any] = {"stages": [], "min_gain": None}


@dataclass(frozen=True)
class Size:
    """How large the cases are; the defaults are those of the page.

    Attributes:
        n_x, n_t, every: grid of the Burgers problem, its time steps, and every how many of these a state is kept.
        test_per_axis: points per parameter of the grid on which errors are taken.
        iterations, steps: of the first stage by variable projection, and of networks by Adam.
        per_axis: points per parameter of the training grids.
        presets: models that are compared.
        multiscale_every: every how many of the multiscale problem's 201 times a state is kept.
    """

    n_x: int = 1001
    n_t: int = 1001
    every: int = 20
    test_per_axis: int = 11
    iterations: int = 150
    steps: int = 5000
    per_axis: tuple[int, ...] = (2, 3, 4, 5)
    presets: tuple[str, ...] = ("mlasdi", "snapshot-gp", "gplasdi")
    anchors: tuple[int, ...] = (0, 2, 4, 8, 16, 32, 64)
    kappas: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    roughness: tuple[float, ...] = (1e-4, 1e-2, 1.0, 1e2, 1e4)
    n_lengthscales: int = 25
    multiscale_every: int = 1


def trajectories(
    fom: FullOrderModel, space: ParameterSpace, mu: Float[np.ndarray, "param n_params"], every: int
) -> TrainingData:
    """Solves at the points `mu`, every so many times."""
    solved = [fom.solve(space.as_dict(row)) for row in mu]
    layout = fom.layout
    assert layout is not None  # the built-in problems know their layout beforehand
    return TrainingData(space, layout, mu, solved[0].t[::every], np.stack([one.u[::every] for one in solved]))


class Burgers:
    """The Burgers problem: training points on tensor grids, and a finer grid of test points."""

    def __init__(self, size: Size) -> None:
        self.size, self.fom = size, Burgers1D(n_x=size.n_x, n_t=size.n_t)
        self.test = self.solved(size.test_per_axis)

    def solved(self, per_axis: int) -> TrainingData:
        return trajectories(self.fom, BURGERS_BOX, BURGERS_BOX.grid(per_axis), self.size.every)

    def fit(self, data: TrainingData, kind: str = "mlasdi", **overrides: Any) -> Surrogate:
        """A preset on all times of `data`, with scaling off, and some keys changed."""
        first = {"iterations": self.size.iterations} if kind == "mlasdi" else {"steps": self.size.steps}
        if kind != "snapshot-gp":
            overrides["first_stage"] = first | overrides.get("first_stage", {})
        if kind == "gplasdi":
            overrides["latent_dim"] = 5  # as published (arXiv 2308.05882)
        settings = ModelSettings.model_validate({"kind": kind, "n_time": len(data.t), **SCALING_OFF, **overrides})
        return fit(data, settings, seed=SEED)

    def errors(self, surrogate: Surrogate, n_stages: int | None = None) -> Float[np.ndarray, " param"]:
        prediction = surrogate.predict(self.test.mu, self.test.t, n_stages=n_stages, std=False)
        return max_relative_error(self.test.u, prediction.mean)


def summary(errors: Float[np.ndarray, " param"]) -> Numbers:
    return {"max": float(errors.max()), "mean": float(errors.mean())}


# Error against the number of solves


@dataclass(frozen=True)
class ErrorMap:
    """True and estimated error over the box.

    Attributes:
        mu: where, physical `[param, n_params]`.
        solved: training points.
    """

    mu: Float[np.ndarray, "param n_params"]
    error: Float[np.ndarray, " param"]
    estimate: Float[np.ndarray, " param"]
    solved: Float[np.ndarray, "point n_params"]

    def numbers(self) -> Numbers:
        """How well the estimate orders the points, and the ratio of the largest values, for the page."""
        rank = spearmanr(self.error, self.estimate).statistic
        return {"rank correlation": float(rank), "largest": float(self.estimate.max() / self.error.max())}


def solves(problem: Burgers) -> tuple[Numbers, dict[int, Surrogate]]:
    """Errors of the presets by the number of solves, and the default models."""
    found: Numbers = {kind: {} for kind in problem.size.presets}
    models = {}
    for per_axis in problem.size.per_axis:
        data = problem.solved(per_axis)
        for kind in found:
            if kind == "gplasdi" and per_axis > 4:  # its training takes longest, and its error has stopped falling
                continue
            surrogate = problem.fit(data, kind)
            found[kind][str(len(data.mu))] = summary(problem.errors(surrogate)) | {
                "estimate": surrogate.error_estimate,
                "first stage": float(problem.errors(surrogate, 1).max()),
            }
            if kind == "mlasdi":
                models[len(data.mu)] = surrogate
    return found, models


def similarity(problem: Burgers) -> tuple[Numbers, dict[int, Surrogate]]:
    """Largest errors in similarity variables by the number of solves, exponents of the parameters, and the models."""
    found: Numbers = {"mlasdi": {}, "snapshot-gp": {}}
    models = {}
    for per_axis in problem.size.per_axis:
        data = problem.solved(per_axis)
        for kind in ("snapshot-gp", "mlasdi"):
            surrogate = problem.fit(data, kind, **SCALING_LEARNED)
            found[kind][str(len(data.mu))] = summary(problem.errors(surrogate))
        models[len(data.mu)] = surrogate
        if per_axis == 3:
            found["exponents"] = _exponents(surrogate)
    return found, models


def _exponents(surrogate: Surrogate) -> Numbers:
    """Powers of the parameters in rate, scale and unit; zero where these are common."""
    names, spans = surrogate.space.names, np.log(surrogate.space.spans)
    coordinate_scaling, rates = (
        surrogate.coordinate_scaling,
        surrogate.time_scaling.log_rates or np.zeros(len(names)),
    )
    axis = coordinate_scaling.axes[0] if coordinate_scaling else None
    logs = {
        "rate": rates,
        "scale": axis.log_scales if axis else np.zeros(len(names)),
        "amplitude": coordinate_scaling.log_amplitudes[0]
        if coordinate_scaling and coordinate_scaling.log_amplitudes
        else np.zeros(len(names)),
    }
    exponents = {part: (np.array(one) / spans).round(2) + 0.0 for part, one in logs.items()}
    return {part: dict(zip(names, values.tolist(), strict=True)) for part, values in exponents.items()}


def error_map(problem: Burgers, surrogate: Surrogate) -> ErrorMap:
    """The default model with nine solves, everywhere."""
    mu = problem.test.mu
    solved = BURGERS_BOX.from_unit(surrogate.model.latent.x)
    return ErrorMap(mu, problem.errors(surrogate), surrogate.relative_std(mu), solved)


def reliability(problem: Burgers, learned: Mapping[int, Surrogate], off: Mapping[int, Surrogate]) -> Numbers:
    """Shares inside the bands at points that are no training points.

    Args:
        learned, off: models with learned scaling, measured with and without calibration, and with scaling off.
    """
    plain = {n: replace(one, record=replace(one.record, std_factors=(1.0,))) for n, one in learned.items()}
    cases = {"scaling learned": learned, "not calibrated": plain, "scaling off": off}
    return {name: {str(n): _shares(problem, one) for n, one in models.items()} for name, models in cases.items()}


def _shares(problem: Burgers, surrogate: Surrogate) -> Numbers:
    distance = np.abs(problem.test.mu[:, None] - BURGERS_BOX.from_unit(surrogate.model.latent.x)).max(axis=-1)
    unseen = np.flatnonzero(distance.min(axis=1) > 1e-9)
    truths = [(problem.test.mu[i], Snapshots(problem.test.t, problem.test.u[i])) for i in unseen]
    shares = assess(surrogate, truths, len(truths)).reliability
    assert shares is not None
    return {f"{level:g}": share for level, share in zip(LEVELS, shares.tolist(), strict=True)}


# One setting at a time


def _train_and_test(problem: Burgers, surrogate: Surrogate) -> Numbers:
    """Root mean square error at the training points, largest error elsewhere, and what leave-one-out says of it."""
    record = surrogate.record
    return {
        "train": record.training_errors[-1],
        "test": float(problem.errors(surrogate).max()),
        "leave-one-out": record.stage_errors[-1],
    }


def anchors(problem: Burgers) -> Numbers:
    """The first stage alone by the number of anchors, with four and with nine solves."""
    found: Numbers = {}
    for per_axis in (2, 3):
        data = problem.solved(per_axis)
        found[str(len(data.mu))] = {
            str(n): _train_and_test(problem, problem.fit(data, anchors=n, **FIRST_STAGE_ALONE))
            for n in problem.size.anchors
        }
    return found


def kappa(problem: Burgers) -> Numbers:
    """Frequency scale of the sine features: in the first stage's decoder, and in a second stage that sees (z, mu)."""
    data = problem.solved(3)
    found: Numbers = {"first stage": {}, "second stage": {}}
    for value in problem.size.kappas:
        first = problem.fit(data, first_stage={"kappa": value}, **FIRST_STAGE_ALONE)
        second: Numbers = {"stages": [{"kind": "sine-features", "kappa": [value], "ridge": [1e-5]}], "min_gain": None}
        found["first stage"][f"{value:g}"] = _train_and_test(problem, first)
        found["second stage"][f"{value:g}"] = _train_and_test(problem, problem.fit(data, **second))
    return found


def roughness(problem: Burgers) -> Numbers:
    """Weight of the penalty on coefficients that are not linear in the parameters, with nine and sixteen solves."""
    found: Numbers = {}
    for per_axis in (3, 4):
        data = problem.solved(per_axis)
        found[str(len(data.mu))] = {
            f"{value:g}": _train_and_test(
                problem, problem.fit(data, first_stage={"roughness": value}, **FIRST_STAGE_ALONE)
            )
            for value in problem.size.roughness
        }
    return found


def kernel(problem: Burgers) -> Numbers:
    """Kriging of the field by family and length scale, what is chosen, and what the choice does to the first stage."""
    data = problem.solved(3)
    x, x_test = BURGERS_BOX.to_unit(data.mu), BURGERS_BOX.to_unit(problem.test.mu)

    def error(one: Kernel) -> float:
        predicted = np.tensordot(Kriging(x, one).weights(x_test), data.u, axes=1)
        return float(max_relative_error(problem.test.u, predicted).max())

    scales = 2.0 ** np.linspace(-2, 4, problem.size.n_lengthscales)
    sweep = {
        family: {f"{scale:.4g}": error(Kernel(family=family, lengthscale=(float(scale),) * 2)) for scale in scales}
        for family in FAMILIES
    }
    chosen = select_kernels(x, data.u.reshape(len(x), -1)).mean
    choice = {
        "family": chosen.family,
        "lengthscale": float(np.exp(np.mean(np.log(chosen.lengthscale)))),
        "test": error(chosen),
    }
    return {"sweep": sweep, "chosen": choice, "interpolation": _interpolation(problem)}


def _interpolation(problem: Burgers) -> Numbers:
    """The first stage alone, its coefficients interpolated with kernels chosen in either way."""
    found: Numbers = {"field": {}, "marginal-likelihood": {}}
    for per_axis in problem.size.per_axis[:3]:  # with more points, length scales of 24 outputs take long to fit
        data = problem.solved(per_axis)
        for way in found:
            surrogate = problem.fit(data, interpolation=way, **FIRST_STAGE_ALONE)
            found[way][str(len(data.mu))] = _train_and_test(problem, surrogate)
    return found
