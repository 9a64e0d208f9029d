"""What each part of the model does to the error, with everything else as it is; one seed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from methods import from_surrogate, settings_for
from paper_problems import Problem
from scoring import Score, judge, processor_seconds

from mlasdi.decoders import DecoderSettings
from mlasdi.interpolation import select_kernels
from mlasdi.stages import NetworkSettings, TrainingSet
from mlasdi.surrogate import Surrogate
from mlasdi.training import TrainingContext, fit, later_stages
from mlasdi.training.settings import KrigingSettings, SineFeaturesSettings, StageSettings

SEED = 0
KAPPAS = (0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Variant:
    """One variant of the model on one problem; `group` says what it varies."""

    problem: str
    group: str
    name: str
    score: Score


def second_stages() -> list[tuple[str, StageSettings]]:
    """Every kind of second stage, by the name it has in the table."""
    hidden = DecoderSettings().network.hidden
    stages: list[tuple[str, StageSettings]] = [
        (f"{activation} decoder", DecoderSettings(network=NetworkSettings(hidden=hidden, activation=activation)))
        for activation in ("tanh", "softplus")
    ]
    for kappa in KAPPAS:
        network = NetworkSettings(hidden=hidden, activation="sine", kappa=kappa)
        stages.append((f"sine decoder, kappa {kappa:g}", DecoderSettings(network=network)))
    for kappa in KAPPAS:
        features = SineFeaturesSettings(kappa=(kappa,), ridge=(1e-5,))
        stages.append((f"closed-form sine features, kappa {kappa:g}", features))
    return [*stages, ("kriging of the residual", KrigingSettings())]


def after_published_first_stage(problem: Problem) -> Iterator[Variant]:
    """Each second stage on one and the same published first stage; the seconds are those of the second alone."""
    group = "second stage, after the published first stage"
    settings = settings_for(problem, "mlasdi-paper", stages=[])
    first, train_s = processor_seconds(partial(fit, problem.train, settings, seed=SEED))
    yield Variant(problem.label, group, "none", judge(problem, from_surrogate(first), train_s, band=False))
    for name, stage in second_stages():
        extended, train_s = processor_seconds(partial(extend, first, problem, stage))
        yield Variant(problem.label, group, name, judge(problem, from_surrogate(extended), train_s, band=False))


def extend(surrogate: Surrogate, problem: Problem, stage: StageSettings) -> Surrogate:
    """The surrogate with one more stage, fitted to what it leaves of the training data, and never dropped."""
    x = surrogate.space.to_unit(problem.train.mu)
    c = surrogate.basis.project(problem.train.u)
    kernels = select_kernels(x, c.reshape(len(x), -1)).without_folds()
    t = problem.train.t
    tau = torch.from_numpy((t - t[0]) / (t[-1] - t[0]))
    data = TrainingSet(x, torch.from_numpy(c), tau, kernels, np.empty((0, x.shape[1])))
    settings = settings_for(problem, "mlasdi-paper")
    generator = torch.Generator().manual_seed(SEED)
    context = TrainingContext(settings, data, surrogate.basis, generator, lambda progress: None)
    (candidate,) = later_stages(stage, surrogate.model, context)
    return replace(surrogate, model=candidate.model)


def variants_of_default(problem: Problem) -> Iterator[Variant]:
    """The default model with one thing changed at a time."""
    features = {"kind": "sine-features", "kappa": [0.3], "ridge": [1e-5]}
    kriging = {"kind": "kriging"}
    fixed: dict[str, dict[str, Any]] = {
        "as it is": {},
        "variable projection alone": {"stages": [], "min_gain": None},
        "variable projection, sine features": {"stages": [features], "min_gain": None},
        "variable projection, kriging": {"stages": [kriging], "min_gain": None},
        "variable projection, sine features, kriging": {"stages": [features, kriging], "min_gain": None},
    }
    changed: dict[str, dict[str, Any]] = {
        "without anchors": {"anchors": 0},
        "first_stage.iterations 10": {"first_stage": {"kind": "variable-projection", "iterations": 10}},
        "first_stage.roughness 1": {"first_stage": {"kind": "variable-projection", "roughness": 1.0}},
        **{f"latent_dim {n}": {"latent_dim": n} for n in (2, 3, 4, 5)},
        "without POD: all modes": {"basis": {"tolerance": 1e-14, "max_rank": 10_000}},
    }
    for group, variants in (("stages of the default: judged, or fixed", fixed), ("default, one key changed", changed)):
        for name, overrides in variants.items():
            settings = settings_for(problem, "mlasdi", **overrides)
            surrogate, train_s = processor_seconds(partial(fit, problem.train, settings, seed=SEED))
            scored = judge(problem, from_surrogate(surrogate), train_s, band=False)
            yield Variant(problem.label, group, name, scored)


def published_first_stages(problem: Problem) -> Iterator[Variant]:
    """The published first stage alone, with and without integrated trajectories in its loss."""
    for weight in (0.0, 1.0):
        overrides = {"stages": [], "first_stage": {"kind": "autoencoder", "propagation_weight": weight}}
        surrogate, train_s = processor_seconds(
            partial(fit, problem.train, settings_for(problem, "mlasdi-paper", **overrides), seed=SEED)
        )
        name = f"propagation in the loss, weight {weight:g}"
        scored = judge(problem, from_surrogate(surrogate), train_s, band=False)
        yield Variant(problem.label, "published first stage alone", name, scored)


def ablation(problem: Problem) -> Iterator[Variant]:
    yield from variants_of_default(problem)
    yield from published_first_stages(problem)
    yield from after_published_first_stage(problem)
