"""What the studies share: problems, and a first stage with what it leaves of the training data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import erf
from torch import Tensor

from mlasdi.agent.execution import SolverSpec, SolveTask
from mlasdi.agent.execution.solve_task import execute
from mlasdi.latent import Trajectories
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import FullOrderModel, Parameter, ParameterSpace, StateLayout
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.solvers.builtin.burgers2d import Burgers2D
from mlasdi.solvers.builtin.multiscale import Multiscale
from mlasdi.solvers.builtin.vlasov import Vlasov
from mlasdi.solvers.storage import SnapshotStore, address
from mlasdi.stages import Stage, StagedModel, decode
from mlasdi.surrogate import Surrogate
from mlasdi.surrogate.error_norms import max_relative_error
from mlasdi.training import ModelSettings, fit

BOX = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))
BETWEEN = np.array([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75], [0.5, 0.25], [0.25, 0.5]])
VISCOSITIES = (0.00032, 0.00037, 0.00041, 0.00047, 0.00054)
STORE = Path(__file__).parents[2] / "mlruns" / "studies" / "snapshots"
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


def solved(
    fom: FullOrderModel, space: ParameterSpace, mu: Float[np.ndarray, "param n_params"], every: int = 1
) -> TrainingData:
    """Solves at all points, and every so many-th time of them."""
    found = [fom.solve(space.as_dict(row)) for row in mu]
    assert fom.layout is not None  # the built-in problems know their layout beforehand
    return TrainingData(space, fom.layout, mu, found[0].t[::every], np.stack([one.u[::every] for one in found]))


def multiscale(every: int = 1, **options: Any) -> Problem:
    """Amplitudes 1 and 1.4 for training, 1.2 for the test (arXiv 2506.09207, section 4.1)."""
    space = ParameterSpace((Parameter("A", 1.0, 1.4),))
    both = [solved(Multiscale(**options), space, np.array(mu), every) for mu in ([[1.0], [1.4]], [[1.2]])]
    return Problem("multiscale", *both)


def burgers(n_x: int = 1001, n_t: int = 1001, every: int = 20) -> Problem:
    """3 x 3 training points, six test points between them."""
    fom = Burgers1D(n_x=n_x, n_t=n_t)
    return Problem("burgers1d", solved(fom, BOX, BOX.grid(3), every), solved(fom, BOX, BOX.from_unit(BETWEEN), every))


def vlasov(every: int = 5, **options: Any) -> Problem:
    """3 x 3 training points, six test points between them."""
    space, fom = ParameterSpace((Parameter("T", 0.9, 1.1), Parameter("k", 1.0, 1.2))), Vlasov(**options)
    return Problem("vlasov", *(solved(fom, space, mu, every) for mu in (space.grid(3), space.from_unit(BETWEEN))))


def burgers2d(every: int = 4, **options: Any) -> Problem:
    """3 x 3 training points, six test points between them."""
    fom = Burgers2D(**options)
    return Problem("burgers2d", *(solved(fom, BOX, mu, every) for mu in (BOX.grid(3), BOX.from_unit(BETWEEN))))


def wake(viscosities: Sequence[float] = VISCOSITIES, **options: Any) -> Problem:
    """Wakes of a cylinder at these viscosities, tested at .00043."""
    space = ParameterSpace((Parameter("nu", 0.00032, 0.00054, scale="log"),))
    return stored("wake", options, space, np.array(viscosities)[:, None], np.array([[0.00043]]))


def stored(
    name: str,
    options: Mapping[str, Any],
    space: ParameterSpace,
    train: Float[np.ndarray, "point n_params"],
    test: Float[np.ndarray, "point n_params"],
    every: int = 1,
) -> Problem:
    """Solves of a built-in problem, each going on from another where the solver can; none is done twice.

    Raises:
        RuntimeError: a solve fails.
    """
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


def heat(n_time: int = 51, n_x: int = 201) -> Problem:
    """u_t = u_xx on the line, from a plateau of half width w with smooth edges; in closed form.

    u = (erf((x + w) / s) - erf((x - w) / s)) / 2 with s^2 = EDGE^2 + 4 t. By the maximum principle u stays in [0, 1].
    The test points lie half-way between the five training points, at four times as many times.
    """
    space = ParameterSpace((Parameter("w", 0.5, 1.0),))
    x = np.linspace(-3, 3, n_x)
    layout = StateLayout(fields=("u",), coordinates={"x": x})

    def exact(w: np.ndarray, n: int) -> TrainingData:
        t = np.linspace(0, 0.5, n)
        s = np.sqrt(EDGE**2 + 4 * t)[:, None]
        u = np.stack([(erf((x + one) / s) - erf((x - one) / s)) / 2 for one in w])
        return TrainingData(space, layout, w[:, None], t, u)

    training = np.linspace(0.5, 1.0, 5)
    return Problem("heat", exact(training, n_time), exact((training[1:] + training[:-1]) / 2, 4 * (n_time - 1) + 1))


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
