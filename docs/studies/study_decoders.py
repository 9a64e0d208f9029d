"""Decoders of one residual, by activation and kappa: what the study on the sine layer measures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from study_problems import FirstStage, Problem, burgers, heat, multiscale

from mlasdi.decoders import DecoderSettings, fit_decoder
from mlasdi.decoders.sine_frequency import with_kappa
from mlasdi.stages import NetworkSettings
from mlasdi.surrogate import Surrogate

HIDDEN = (20, 200)
LATENT_DIM = {"multiscale": 10, "burgers1d": 4, "heat": 4}


@dataclass(frozen=True)
class Size:
    """How large the study is.

    Attributes:
        steps: Adam steps of the first stage and of each decoder.
        seeds: of the decoders; the first stage has one for all.
        every, n_x, n_t: thinning of the multiscale problem, mesh and time steps of the Burgers problem.
    """

    steps: int = 2500
    seeds: tuple[int, ...] = (0, 1)
    kappas: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 75.0)
    every: int = 1
    n_x: int = 1001
    n_t: int = 1001

    def problems(self) -> Iterator[Problem]:
        yield multiscale(self.every)
        yield burgers(self.n_x, self.n_t, max(self.n_t // 50, 1))
        yield heat()


FULL = Size(steps=10_000, seeds=(0, 1, 2, 3, 4), kappas=(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 75.0))


@dataclass(frozen=True)
class Outcome:
    """One decoder, or none, after the first stage; numbers are means over the seeds unless said otherwise.

    Attributes:
        train, test: largest relative error over times and points, geometric mean over the seeds.
        losses: (step, loss) of the first seed; the loss is the mean square of what is left of the scaled residual.
        overshoot: how far predictions leave the range of the solutions, relative to the range.
        fast: root of the energy in time frequencies above all but 1e-8 of the solutions' energy, relative to all.
        predicted: at the test points, first seed.
    """

    train: float
    test: float
    losses: Sequence[tuple[int, float]]
    overshoot: float
    fast: float
    predicted: Float[np.ndarray, "param time state"]


@dataclass(frozen=True)
class Case:
    """All decoders of one residual.

    Attributes:
        alone: the first stage without any.
        smooth: activation -> outcome.
        sine: kappa -> outcome.
        chosen: way of choosing -> kappa and outcome.
    """

    problem: Problem
    alone: Outcome
    smooth: Mapping[str, Outcome]
    sine: Mapping[float, Outcome]
    chosen: Mapping[str, tuple[float, Outcome]]


def case(problem: Problem, size: Size) -> Case:
    """The sweep over activations and kappas, and the kappas that are chosen without test data."""
    first = FirstStage.trained(problem, LATENT_DIM[problem.name], {"steps": size.steps}, seed=0)

    def outcome(activation: str, kappa: float = 1.0) -> Outcome:
        network = NetworkSettings.model_validate({"hidden": HIDDEN, "activation": activation, "kappa": kappa})
        return _decoded(first, DecoderSettings(network=network, steps=size.steps), size.seeds)

    sine = {kappa: outcome("sine", kappa) for kappa in size.kappas}
    chosen = {}
    ways: Mapping[str, object] = {"spectrum": "spectrum", "left-out": size.kappas, "auto": "auto"}
    for way, asked in ways.items():
        settings = DecoderSettings.model_validate({"steps": size.steps, "kappa": asked})
        generator = torch.Generator().manual_seed(size.seeds[0])
        kappa = with_kappa(first.along, first.residual, settings, generator).network.kappa
        chosen[way] = (kappa, sine[kappa] if kappa in sine else outcome("sine", kappa))
    smooth = {activation: outcome(activation) for activation in ("tanh", "softplus")}
    return Case(problem, _outcome(problem, [first.surrogate], []), smooth, sine, chosen)


def _decoded(first: FirstStage, settings: DecoderSettings, seeds: Sequence[int]) -> Outcome:
    found: list[Surrogate] = []
    losses: list[tuple[int, float]] = []
    for seed in seeds:
        history: list[tuple[int, float]] = []
        generator = torch.Generator().manual_seed(seed)
        decoder = fit_decoder(
            first.along, first.residual, settings, generator, lambda *pair, to=history: to.append(pair)
        )
        found.append(first.followed_by(decoder))
        losses = losses or history
    return _outcome(first.problem, found, losses)


def _outcome(problem: Problem, surrogates: Sequence[Surrogate], losses: Sequence[tuple[int, float]]) -> Outcome:
    truth = problem.test.u
    predicted = [one.predict(problem.test.mu, problem.test.t, std=False).mean for one in surrogates]
    train = [problem.errors(one, problem.train).max() for one in surrogates]
    test = [problem.errors(one).max() for one in surrogates]
    return Outcome(
        float(np.exp(np.mean(np.log(train)))),
        float(np.exp(np.mean(np.log(test)))),
        losses,
        float(np.mean([overshoot(one, truth) for one in predicted])),
        float(np.mean([fast_energy(one, truth) for one in predicted])),
        predicted[0],
    )


def overshoot(predicted: Float[np.ndarray, "*shape"], truth: Float[np.ndarray, "*shape"]) -> float:
    """How far values leave the range of the true ones, relative to that range."""
    low, high = truth.min(), truth.max()
    return float(max(predicted.max() - high, low - predicted.min(), 0.0) / (high - low))


def fast_energy(
    predicted: Float[np.ndarray, "param time state"], truth: Float[np.ndarray, "param time state"]
) -> float:
    """Root of the energy of `predicted` in frequencies in time that `truth` has next to nothing of, relative to all.

    Both after the straight line between first and last state is taken off and under a Hann window, as they are not
    periodic. The frequencies are those above which all but 1e-8 of the true energy lies.
    """
    n = truth.shape[1]
    ramp, window = np.linspace(0, 1, n)[:, None], np.hanning(n)[:, None]

    def energies(u: np.ndarray) -> np.ndarray:
        level = u[:, :1] + ramp * (u[:, -1:] - u[:, :1])
        return np.sum(np.abs(np.fft.rfft(window * (u - level), axis=1)) ** 2, axis=(0, 2))

    true = energies(truth)
    above = np.cumsum(true[::-1])[::-1] <= 1e-8 * true.sum()
    return float(np.sqrt(energies(predicted)[above].sum() / true.sum()))
