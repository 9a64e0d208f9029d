"""Problems whose exact solution is known, and trained models that tests share."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mlasdi.interpolation import Kernels, select_kernels
from mlasdi.latent import LatentModel, propagate
from mlasdi.preprocessing import PodBasis, TrainingData
from mlasdi.solvers import Parameter, ParameterSpace
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.stages import TrainingSet
from mlasdi.training import ModelSettings, fit


@dataclass(frozen=True)
class Oscillator:
    """A damped oscillator whose frequency and start depend on one parameter x of [0, 1], decoded linearly.

    Coefficients and initial states are polynomials in x, so everything is smooth over the parameter.
    """

    t: torch.Tensor
    decoder: torch.Tensor  # [latent, rank]
    offset: torch.Tensor  # [rank]

    def coefficients(self, x: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """`xi [param, 2, 3]` and `z0 [param, 2]` at points `[param, 1]`."""
        s = torch.from_numpy(x[:, 0])
        frequency, one = 4 + s, torch.ones_like(s)
        xi = torch.stack([0.3 * one, -0.5 * one, -frequency, -0.1 * one, frequency, -0.5 * one], dim=1)
        return xi.reshape(-1, 2, 3), torch.stack([one, 0.5 * s], dim=1)

    def solve(self, x: np.ndarray) -> torch.Tensor:
        """POD coordinates `[param, time, rank]`."""
        return propagate(*self.coefficients(x), self.t) @ self.decoder + self.offset

    def latent_model(self, x: np.ndarray) -> LatentModel:
        """The true coefficients at training points, as a latent model."""
        xi, z0 = self.coefficients(x)
        kernel = select_kernels(x, self.solve(x).reshape(len(x), -1).numpy()).mean
        return LatentModel(x, xi.numpy(), z0.numpy(), kernel)

    def training_set(self, x: np.ndarray, anchors: np.ndarray) -> TrainingSet:
        c = self.solve(x)
        kernel = select_kernels(x, c.reshape(len(x), -1).numpy()).mean
        return TrainingSet(x, c, self.t, Kernels.single(kernel), anchors)


@pytest.fixture(scope="session")
def oscillator() -> Oscillator:
    rng = torch.Generator().manual_seed(5)
    decoder = torch.randn(2, 4, generator=rng, dtype=torch.float64)
    return Oscillator(torch.linspace(0, 1, 41, dtype=torch.float64), decoder, torch.tensor([0.5, 0, -1, 2.0]).double())


@pytest.fixture(scope="session")
def points() -> np.ndarray:
    """Five training points of the unit interval."""
    return np.linspace(0, 1, 5)[:, None]


@pytest.fixture(scope="session")
def four_coordinates() -> PodBasis:
    """A basis of four coordinates in a state of dimension six."""
    rng = np.random.default_rng(6)
    modes = np.linalg.qr(rng.standard_normal((6, 4)))[0]
    return PodBasis(rng.standard_normal(6), modes, 2.5, 0.0)


BURGERS = Burgers1D(n_x=101, n_t=51)
BURGERS_BOX = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))


@pytest.fixture(scope="session")
def burgers_data() -> TrainingData:
    """A small Burgers problem, solved at the corners and the centre of the benchmark's box."""
    mu = np.concatenate([BURGERS_BOX.corners(), [[0.8, 1.0]]])
    solved = [BURGERS.solve(BURGERS_BOX.as_dict(row)) for row in mu]
    return TrainingData(BURGERS_BOX, BURGERS.layout, mu, solved[0].t, np.stack([s.u for s in solved]))


@pytest.fixture(scope="session")
def burgers_truth() -> tuple[np.ndarray, np.ndarray]:
    """Parameters `[param, 2]` that no training point shares, and the solutions there `[param, time, state]`."""
    mu = BURGERS_BOX.from_unit(np.array([[0.25, 0.25], [0.75, 0.3], [0.4, 0.8], [0.9, 0.6], [0.1, 0.5]]))
    return mu, np.stack([BURGERS.solve(BURGERS_BOX.as_dict(row)).u for row in mu])


@pytest.fixture(scope="session")
def surrogate(burgers_data):
    """A surrogate of the small Burgers problem with all its stages, whether or not each of them helps."""
    given = {
        "first_stage": {"kind": "variable-projection", "iterations": 60, "n_sine": 50},
        "min_gain": None,
        "time_scaling": "off",
        "coordinate_scaling": "off",
    }
    return fit(burgers_data, ModelSettings.model_validate(given), seed=0)
