"""Models with several stages, for every split of the training among them: errors and seconds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from study_problems import Problem, burgers, burgers2d, multiscale, vlasov, wake

from mlasdi.training import ModelSettings, fit

LATENT_DIM = {"multiscale": 10, "burgers1d": 4, "burgers2d": 5, "vlasov": 5, "wake": 8}
# Name -> shares of the steps that n stages get.
SPLITS: Mapping[str, Callable[[int], np.ndarray]] = {
    "equal": lambda n: np.ones(n),
    "half to the first": lambda n: np.array([1.0, *[1 / max(n - 1, 1)] * (n - 1)]),
    "halved from stage to stage": lambda n: 0.5 ** np.arange(n),
}


@dataclass(frozen=True)
class Size:
    """How large the study is.

    Attributes:
        budgets: Adam steps of all stages together.
        most: stages.
        seeds: errors are geometric means over them.
        every, n_x, n_t: thinning of the multiscale problem, mesh and time steps of the Burgers problem.
        burgers2d, vlasov, wake: options of these problems; None leaves a problem out.
        tolerance: of the basis of all problems but the first two, whose bases are small anyway.
    """

    budgets: tuple[int, ...] = (500, 2000)
    most: int = 4
    seeds: tuple[int, ...] = (0,)
    every: int = 1
    n_x: int = 1001
    n_t: int = 1001
    burgers2d: Mapping[str, Any] = field(default_factory=lambda: {"n_x": 40, "n_t": 101, "every": 2})
    vlasov: Mapping[str, Any] | None = field(default_factory=lambda: {"n_x": 64, "n_v": 64})
    wake: Mapping[str, Any] | None = None
    tolerance: float = 1e-3

    def problems(self) -> Iterator[Problem]:
        yield multiscale(self.every)
        yield burgers(self.n_x, self.n_t, max(self.n_t // 50, 1))
        yield burgers2d(**self.burgers2d)
        if self.vlasov is not None:
            yield vlasov(**self.vlasov)
        if self.wake is not None:
            yield wake(**self.wake)


FULL = Size(
    most=5, budgets=(1000, 3000, 10_000, 30_000), seeds=(0, 1, 2), burgers2d={}, vlasov={}, wake={}, tolerance=1e-4
)


@dataclass(frozen=True)
class Trained:
    """Models with one split of one budget, or selected.

    Attributes:
        kept: stages in the model, of the first seed.
        test, train: largest relative error at test and training points.
    """

    problem: str
    split: str
    budget: int
    n_stages: int
    kept: int
    seconds: float
    test: float
    train: float


SELECTED = "selected"


def all_trained(size: Size) -> Iterator[Trained]:
    for problem in size.problems():
        for budget in size.budgets:
            for n in range(1, size.most + 1):
                for split, shares in SPLITS.items():
                    if n > 1 or split == "equal":
                        weights = shares(n) / shares(n).sum()
                        yield _trained(problem, split, budget, (budget * weights).round().astype(int).tolist(), size)
            each = [max(budget // size.most, 1)] * size.most
            yield _trained(problem, SELECTED, budget, each, size)


def _trained(problem: Problem, split: str, budget: int, steps: Sequence[int], size: Size) -> Trained:
    first, *later = (max(one, 1) for one in steps)
    given = {
        "kind": "mlasdi-paper", "latent_dim": LATENT_DIM[problem.name], "n_time": len(problem.train.t),
        "first_stage": {"steps": first}, "stages": [{"kind": "decoder", "steps": one} for one in later],
        "min_gain": 0.1 if split == SELECTED else None,
    }  # fmt: skip
    if problem.name not in ("multiscale", "burgers1d"):
        given["basis"] = {"tolerance": size.tolerance}
    models = [fit(problem.train, ModelSettings.model_validate(given), seed=seed) for seed in size.seeds]
    test, train = (
        float(np.exp(np.mean([np.log(problem.errors(one, data).max()) for one in models])))
        for data in (problem.test, problem.train)
    )
    seconds = float(np.mean([one.record.fit_s for one in models]))
    return Trained(problem.name, split, budget, len(steps), models[0].n_stages, seconds, test, train)


def groups(found: Sequence[Trained]) -> list[list[Trained]]:
    keys = dict.fromkeys((one.problem, one.budget) for one in found)
    return [[one for one in found if (one.problem, one.budget) == key] for key in keys]


def parts(group: Sequence[Trained]) -> tuple[Trained, Trained, Trained, Trained]:
    """One stage alone, the published two equal ones, the best split found, and the model by the selection rule."""
    fixed = [one for one in group if one.split != SELECTED]
    single = next(one for one in fixed if one.n_stages == 1)
    two = next(one for one in fixed if one.n_stages == 2 and one.split == "equal")
    return single, two, min(fixed, key=lambda one: one.test), next(one for one in group if one.split == SELECTED)
