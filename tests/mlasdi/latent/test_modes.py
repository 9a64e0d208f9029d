"""Modes of linear dynamics: their rates and their shares of the motion."""

import numpy as np
import pytest
from scipy.linalg import expm

from mlasdi.latent import Modes

T = np.linspace(0, 20, 2001)
MATRIX = np.array([[-0.1, 3.0, 0, 0], [-3.0, -0.1, 0, 0], [0, 0, -0.1, 1.0], [0, 0, -1.0, -0.1]])


def trajectory(z0: np.ndarray, constant: float = 0.0) -> np.ndarray:
    fixed = -np.linalg.solve(MATRIX, np.full(4, constant))
    return np.stack([fixed + expm(MATRIX * t) @ (z0 - fixed) for t in T])


@pytest.mark.parametrize("constant", [0.0, 5.0])
def test_shares_are_those_of_the_squared_amplitudes(constant: float) -> None:
    fixed = -np.linalg.solve(MATRIX, np.full(4, constant))
    z = trajectory(fixed + np.array([1.0, 0, 2.0, 0]), constant)
    modes = Modes.along(*np.linalg.eig(MATRIX), z, T, 4)
    np.testing.assert_allclose(modes.rates, [-0.1 + 1j, -0.1 + 3j], atol=1e-12)
    np.testing.assert_allclose(modes.shares, [0.8, 0.2], atol=1e-3)


def test_only_what_is_observed_counts() -> None:
    modes = Modes.along(*np.linalg.eig(MATRIX), trajectory(np.array([1.0, 0, 2.0, 0])), T, 2)
    np.testing.assert_allclose(modes.shares, [1, 0], atol=1e-12)


def test_without_motion_there_are_no_shares() -> None:
    assert not Modes.along(*np.linalg.eig(MATRIX), np.zeros((len(T), 4)), T, 4).shares.any()
