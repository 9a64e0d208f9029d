"""The experiments of arXiv 2506.09207: what the reproduction trains and measures, by the files of configs/paper."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from study_problems import Problem, multiscale, solved, stored
from study_reproduction_checks import RIDGE, Decoded, Library, libraries, second_decoders

from mlasdi.agent.config import load_config
from mlasdi.decoders import DecoderSettings
from mlasdi.latent import Trajectories, calibrate_derivative, propagate
from mlasdi.solvers import Parameter, ParameterSpace
from mlasdi.solvers.builtin.vlasov import Vlasov
from mlasdi.stages import NetworkSettings, decode
from mlasdi.surrogate import Surrogate, relative_error
from mlasdi.training import ModelSettings, Progress, fit
from mlasdi.validation import ErrorSplit, error_split, mean_split

CONFIGS = Path(__file__).parents[2] / "configs" / "paper"
KEPT = Path(__file__).parents[2] / "mlruns" / "studies" / "reproduction"
PUBLISHED, POD, LONGER, LARGE = "full states", "POD coordinates", "one stage, longer", "one stage, twice as wide"
# Models that are made to fail, by problem: name -> (section of the settings, what is changed in it).
FREE, FAST = "free coefficients", "kappa 75"
FAILING: Mapping[str, Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "wake": {FREE: ("first_stage", {"calibration": "joint"})},
    "vlasov": {FAST: ("network", {"kappa": 75.0})},
}
FEWER, NARROW = "3 x 3 training points", "three latent states"  # on vlasov
TOLERANCE = 1e-4  # of the POD basis where the configuration has full states


@dataclass(frozen=True)
class Size:
    """How large the reproduction is.

    Attributes:
        seeds: of the models of two stages on POD coordinates, and of those of one stage that take as long.
        single_seeds: of the models of one wider stage.
        published_seeds: of those on full states, which take longest; none leaves them out.
        multiscale, wake, vlasov: steps of each stage on POD coordinates, or None to leave the problem out.
        published: steps on full states for each problem; None for those of the configuration.
        options: of the solvers, by problem.
        kappas: of the sweep, and its steps.
        n_samples: random points at which sampled dynamics may blow up.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    single_seeds: tuple[int, ...] = (0,)
    published_seeds: tuple[int, ...] = ()
    multiscale: int | None = 10_000
    wake: int | None = 2500
    vlasov: int | None = 2000
    published: int | None = None
    options: Mapping[str, Mapping[str, Any]] | None = None
    kappas: tuple[float, ...] = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 75.0)
    kappa_steps: int = 2000
    n_samples: int = 1000

    def options_of(self, name: str) -> Mapping[str, Any]:
        return (self.options or {}).get(name, {})


FULL = Size(single_seeds=(0, 1, 2), published_seeds=(0, 1, 2), vlasov=5000, kappa_steps=10_000)


@dataclass(frozen=True)
class Run:
    """One trained model.

    Attributes:
        surrogate: the model, which knows the initial states of the test points.
        seconds: processor time of each stage.
    """

    problem: Problem
    surrogate: Surrogate
    seconds: tuple[float, ...]

    @cached_property
    def errors(self) -> Float[np.ndarray, "stage param time"]:
        """Relative error over time at the test points, with the first k stages."""
        return np.stack([self._error(n + 1, known=True) for n in range(self.surrogate.n_stages)])

    @cached_property
    def interpolated_start(self) -> Float[np.ndarray, "param time"]:
        """The same of all stages, with interpolated initial states."""
        return self._error(self.surrogate.n_stages, known=False)

    def largest(self, n_stages: int) -> float:
        """Largest error over test points and times, with the first stages."""
        return float(self.errors[n_stages - 1].max())

    @cached_property
    def split(self) -> ErrorSplit:
        """Mean error split over the test points."""
        test = self.problem.test
        return mean_split([error_split(self.knowing, mu, test.t, u) for mu, u in zip(test.mu, test.u, strict=True)])

    @cached_property
    def knowing(self) -> Surrogate:
        """The surrogate with the initial states of the test points, encoded as published."""
        return self.surrogate.starting_from(self.problem.test.mu, self.problem.test.u[:, 0])

    @cached_property
    def with_fitted_coefficients(self) -> float:
        """Largest error of all stages at the test points, with coefficients fitted to the encoded solutions."""
        test = self.problem.test
        x, tau = torch.from_numpy(test.space.to_unit(test.mu)), self.problem.tau
        z = torch.from_numpy(np.stack([self.encoded(k) for k in range(len(test.mu))])).double()
        along = propagate(calibrate_derivative(z, tau, ridge=RIDGE, edge_order=1), z[:, 0], tau)
        c = decode(self.surrogate.model.stages, Trajectories(x, tau, along)).numpy()
        return float(relative_error(test.u, self.surrogate.basis.lift(c)).max())

    def encoded(self, k: int) -> Float[np.ndarray, "time latent"]:
        """The encoded solution at a test point."""
        states = self.surrogate.basis.project(self.problem.test.u[k])
        return np.asarray(self.surrogate.encoder.encode(torch.from_numpy(states)).numpy())

    def residual(self, k: int, n_stages: int) -> Float[np.ndarray, "time state"]:
        """What the first stages leave of the solution at a test point."""
        test = self.problem.test
        predicted = self.knowing.predict(test.mu[k : k + 1], test.t, n_stages=n_stages, std=False)
        return np.asarray(test.u[k] - predicted.mean[0])

    def _error(self, n_stages: int, *, known: bool) -> Float[np.ndarray, "param time"]:
        test, surrogate = self.problem.test, self.knowing if known else self.surrogate
        return relative_error(test.u, surrogate.predict(test.mu, test.t, n_stages=n_stages, std=False).mean)


@dataclass(frozen=True)
class Case:
    """All models of one problem, by method.

    Attributes:
        runs: method -> one run for each seed.
        kappas, activations: second stages after the first stage of the first seed, by kappa and by activation.
        libraries: dynamics with other libraries in the latent space of the first seed.
    """

    problem: Problem
    runs: Mapping[str, Sequence[Run]]
    kappas: Mapping[float, Decoded]
    activations: Mapping[str, Decoded]
    libraries: Mapping[str, Library]

    def median(self, method: str, n_stages: int) -> float:
        """Median over the seeds of the largest error."""
        return float(np.median([one.largest(n_stages) for one in self.runs[method]]))

    def seconds(self, method: str) -> float:
        """Median over the seeds of the seconds of all stages."""
        return float(np.median([sum(one.seconds) for one in self.runs[method]]))


def problems(size: Size) -> Iterator[tuple[Problem, int]]:
    """Those of the paper, with the steps of a stage; the wake where NGSolve is installed."""
    if size.multiscale:
        yield multiscale(**size.options_of("multiscale")), size.multiscale
    if size.wake and find_spec("ngsolve"):
        space = ParameterSpace((Parameter("nu", 0.00032, 0.00054),))
        train, test = np.array([[0.00032], [0.00054]]), np.array([[0.00043]])
        yield stored("wake", size.options_of("wake"), space, train, test), size.wake
    if size.vlasov:
        yield vlasov_grid(**size.options_of("vlasov")), size.vlasov


def vlasov_grid(per_axis: int = 5, every: int = 4, **options: Any) -> Problem:
    """A grid of training points; the centres of the 4 x 4 cells of the finest one for the test."""
    space, fom = ParameterSpace((Parameter("T", 0.9, 1.1), Parameter("k", 1.0, 1.2))), Vlasov(**options)
    centres = space.from_unit((np.indices((4, 4)).reshape(2, -1).T + 0.5) / 4)
    return Problem("vlasov", *(solved(fom, space, mu, every) for mu in (space.grid(per_axis), centres)))


def measured(problem: Problem, steps: int, size: Size) -> Case:
    """All models of a problem."""
    settings = configured(problem)
    pod = on_pod(settings, steps)
    runs = {POD: [trained(problem, pod, seed) for seed in size.seeds]}
    runs[LONGER] = [trained(problem, at_equal_time(pod, 1, runs[POD]), seed) for seed in size.seeds]
    runs[LARGE] = [trained(problem, at_equal_time(pod, 2, runs[POD]), seed) for seed in size.single_seeds]
    if not settings.basis.compress and size.published_seeds:
        published = settings if size.published is None else with_steps(settings, size.published)
        runs[PUBLISHED] = [trained(problem, published, seed) for seed in size.published_seeds]
    for name, (section, change) in FAILING.get(problem.name, {}).items():
        runs[name] = [trained(problem, changed(pod, section, change), seed) for seed in size.seeds[:1]]
    if problem.name == "vlasov":
        fewer = vlasov_grid(3, **size.options_of("vlasov"))
        runs[FEWER] = [trained(fewer, pod, seed) for seed in size.seeds]
        runs[NARROW] = [trained(problem, pod.model_copy(update={"latent_dim": 3}), seed) for seed in size.seeds]
    stage, surrogate = pod.stages[0], runs[POD][0].surrogate
    assert isinstance(stage, DecoderSettings)
    by_kappa, by_activation = second_decoders(problem, surrogate, stage, size.kappas, size.kappa_steps, KEPT)
    return Case(problem, runs, by_kappa, by_activation, libraries(problem, surrogate, size.n_samples))


def changed(settings: ModelSettings, section: str, change: Mapping[str, Any]) -> ModelSettings:
    """The settings with other values in the first stage, or in the network of each later one."""
    if section == "first_stage":
        return settings.model_copy(update={section: settings.first_stage.model_copy(update=dict(change))})
    stages = tuple(
        stage.model_copy(update={section: stage.network.model_copy(update=dict(change))})  # type: ignore[union-attr]
        for stage in settings.stages
    )
    return settings.model_copy(update={"stages": stages})


def configured(problem: Problem) -> ModelSettings:
    """The settings of configs/paper, with all times of the problem."""
    model = load_config(CONFIGS / f"{problem.name}.yaml").model
    return model.model_copy(update={"n_time": len(problem.train.t)})


def on_pod(settings: ModelSettings, steps: int) -> ModelSettings:
    """Our variant: the same networks of POD coordinates, with so many steps in each stage."""
    tolerance = settings.basis.tolerance if settings.basis.compress else TOLERANCE
    basis = settings.basis.model_copy(update={"compress": True, "tolerance": tolerance})
    return with_steps(settings.model_copy(update={"basis": basis}), steps)


def with_steps(settings: ModelSettings, steps: int) -> ModelSettings:
    """The settings with so many steps for each stage."""
    first = settings.first_stage.model_copy(update={"steps": steps})
    stages = tuple(stage.model_copy(update={"steps": steps}) for stage in settings.stages)
    return settings.model_copy(update={"first_stage": first, "stages": stages})


def at_equal_time(settings: ModelSettings, width: int, both: Sequence[Run]) -> ModelSettings:
    """One stage with hidden layers so many times as wide, and as many steps as take about the time of two stages.

    The time of a step is that of the first of the two stages times the ratio of the numbers of weights.

    Args:
        both: models of two stages.
    """
    network = settings.first_stage.network  # type: ignore[union-attr]
    wider = network.model_copy(update={"hidden": tuple(width * n for n in network.hidden)})
    first = settings.first_stage.model_copy(update={"network": wider})
    alone = settings.model_copy(update={"first_stage": first, "stages": ()})
    ends = both[0].surrogate.basis.rank, both[0].surrogate.model.latent.n_latent
    share = n_weights(network, *ends) / n_weights(wider, *ends)
    seconds = np.median([run.seconds for run in both], axis=0)
    return with_steps(alone, max(round(settings.first_stage.steps * seconds.sum() / seconds[0] * share), 1))  # type: ignore[union-attr]


def n_weights(network: NetworkSettings, n_in: int, n_out: int) -> int:
    """Weights of all layers of a network."""
    return sum(a * b for a, b in pairwise((n_in, *network.hidden, n_out)))


def trained(problem: Problem, settings: ModelSettings, seed: int) -> Run:
    """The model; one that was trained before is loaded."""
    asked = [problem.name, problem.train.u.shape, settings.model_dump(mode="json"), seed]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]
    folder = KEPT / f"{problem.name}-{key}"
    if folder.exists():
        surrogate = Surrogate.load(folder)
        return Run(problem, surrogate, tuple(surrogate.info["seconds"]))
    clock = _StageClock()
    surrogate = fit(problem.train, settings, seed=seed, report=clock)
    surrogate = replace(surrogate, info={"seconds": clock.seconds()})
    if not folder.exists():  # another process may have trained the same
        surrogate.save(folder)
    print(f"{folder.name}: trained in {sum(clock.seconds()):.0f} s", flush=True)
    return Run(problem, surrogate, tuple(clock.seconds()))


class _StageClock:
    """Processor seconds between the first and the last step of each stage."""

    def __init__(self) -> None:
        self._spans: dict[str, list[float]] = {}

    def __call__(self, progress: Progress) -> None:
        self._spans.setdefault(progress.stage, []).append(time.process_time())

    def seconds(self) -> list[float]:
        return [times[-1] - times[0] for times in self._spans.values()]
