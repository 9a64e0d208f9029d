"""What the studies of later stages share: problems, and a first stage with what it leaves of the training data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import erf
from torch import Tensor

from mlasdi.errors import max_relative_error
from mlasdi.latent_model import Trajectories
from mlasdi.staged_model import StagedModel, decode
from mlasdi.stages import Stage
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings, TrainingData, fit
from solvers.burgers import Burgers1D
from solvers.contract import FullOrderModel, StateLayout
from solvers.multiscale import Multiscale
from solvers.parameters import Parameter, ParameterSpace
from solvers.vlasov import Vlasov

BOX = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))
BETWEEN = np.array([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75], [0.5, 0.25], [0.25, 0.5]])
EDGE = 0.2  # of the heat problem's plateau, when it starts


@dataclass(frozen=True)
class Problem:
    """Training trajectories, and those at points between, on which errors are taken."""

    name: str
    train: TrainingData
    test: TrainingData

    @property
    def tau(self) -> Float[Tensor, " time"]:
        """Training times in units of the training interval."""
        t = self.train.t
        return torch.from_numpy((t - t[0]) / (t[-1] - t[0]))

    @property
    def x(self) -> Float[np.ndarray, "point d"]:
        """Training points of the unit cube."""
        return self.train.space.to_unit(self.train.mu)

    def errors(self, surrogate: Surrogate, data: TrainingData | None = None) -> Float[np.ndarray, " param"]:
        """Largest relative error over time, at the test points unless other data are given."""
        data = data or self.test
        return max_relative_error(data.u, surrogate.predict(data.mu, data.t, std=False).mean)


def _solved(fom: FullOrderModel, space: ParameterSpace, mu: np.ndarray, every: int) -> TrainingData:
    solved = [fom.solve(space.as_dict(row)) for row in mu]
    assert fom.layout is not None  # the built-in problems know their layout beforehand
    return TrainingData(space, fom.layout, mu, solved[0].t[::every], np.stack([one.u[::every] for one in solved]))


def multiscale(every: int = 1) -> Problem:
    """Amplitudes 1 and 1.4 for training, 1.2 for the test (arXiv 2506.09207, section 4.1)."""
    space = ParameterSpace((Parameter("A", 1.0, 1.4),))
    solved = [_solved(Multiscale(), space, np.array(mu), every) for mu in ([[1.0], [1.4]], [[1.2]])]
    return Problem("multiscale", *solved)


def burgers(n_x: int = 1001, n_t: int = 1001, every: int = 20) -> Problem:
    """3 x 3 training points, six test points between them."""
    fom = Burgers1D(n_x=n_x, n_t=n_t)
    return Problem("burgers1d", _solved(fom, BOX, BOX.grid(3), every), _solved(fom, BOX, BOX.from_unit(BETWEEN), every))


def vlasov(every: int = 5, **options: Any) -> Problem:
    """3 x 3 training points, six test points between them."""
    space, fom = ParameterSpace((Parameter("T", 0.9, 1.1), Parameter("k", 1.0, 1.2))), Vlasov(**options)
    return Problem("vlasov", *(_solved(fom, space, mu, every) for mu in (space.grid(3), space.from_unit(BETWEEN))))


def heat(n_time: int = 51, n_x: int = 201) -> Problem:
    """u_t = u_xx on the line, from a plateau of half width w with smooth edges; in closed form.

    u = (erf((x + w) / s) - erf((x - w) / s)) / 2 with s^2 = EDGE^2 + 4 t. By the maximum principle u stays in [0, 1].
    The test points lie half-way between the five training points, at four times as many times.
    """
    space = ParameterSpace((Parameter("w", 0.5, 1.0),))
    x = np.linspace(-3, 3, n_x)
    layout = StateLayout(fields=("u",), coordinates={"x": x})

    def solved(w: np.ndarray, n: int) -> TrainingData:
        t = np.linspace(0, 0.5, n)
        s = np.sqrt(EDGE**2 + 4 * t)[:, None]
        u = np.stack([(erf((x + one) / s) - erf((x - one) / s)) / 2 for one in w])
        return TrainingData(space, layout, w[:, None], t, u)

    training = np.linspace(0.5, 1.0, 5)
    return Problem("heat", solved(training, n_time), solved((training[1:] + training[:-1]) / 2, 4 * (n_time - 1) + 1))


def with_noise(problem: Problem, size: float, seed: int) -> Problem:
    """Normal noise on the training data; `size` is relative to their root mean square."""
    u = problem.train.u
    noise = size * np.sqrt(np.mean(u**2)) * np.random.default_rng(seed).standard_normal(u.shape)
    return replace(problem, name=f"{problem.name}, {100 * size:g} % noise", train=replace(problem.train, u=u + noise))


@dataclass(frozen=True)
class FirstStage:
    """A first stage, and what it leaves of the training data along its integrated trajectories."""

    problem: Problem
    surrogate: Surrogate
    along: Trajectories
    residual: Float[Tensor, "param time rank"]

    @classmethod
    def trained(cls, problem: Problem, latent_dim: int, settings: Mapping[str, Any], seed: int) -> "FirstStage":
        """An autoencoder with latent dynamics, as published.

        Args:
            settings: of `model.first_stage`.
        """
        given = {"kind": "mlasdi-paper", "latent_dim": latent_dim, "first_stage": dict(settings), "stages": []}
        model = ModelSettings.model_validate(given | {"n_time": len(problem.train.t)})
        return cls.of(problem, fit(problem.train, model, seed=seed))

    @classmethod
    def of(cls, problem: Problem, surrogate: Surrogate) -> "FirstStage":
        along = surrogate.model.latent.trajectories(problem.x, problem.tau)
        c = torch.from_numpy(surrogate.basis.project(problem.train.u))
        return cls(problem, surrogate, along, c - decode(surrogate.model.stages, along))

    def followed_by(self, stage: Stage) -> Surrogate:
        """The surrogate with one more stage."""
        model = self.surrogate.model
        return replace(self.surrogate, model=StagedModel(model.latent, (*model.stages, stage)))
