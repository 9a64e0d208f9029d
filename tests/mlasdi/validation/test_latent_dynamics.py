"""The equation and the modes of latent dynamics, in the units of the problem."""

import numpy as np
import pytest

import mlasdi
from mlasdi.validation import describe_dynamics

T, X = np.linspace(2, 6, 81), np.linspace(0, 1, 21)
A = np.linspace(1, 2, 5)


def oscillators(a: np.ndarray) -> np.ndarray:
    """Two standing waves of frequencies 3 a and 6 a, damped by 0.2."""
    a, t = a[:, None, None], T[:, None] - 2
    first = np.cos(3 * a * t) * np.sin(np.pi * X)
    return np.exp(-0.2 * t) * (first + 0.5 * np.cos(6 * a * t) * np.sin(2 * np.pi * X))


@pytest.mark.parametrize("scaling", ["off", pytest.param("learned", marks=pytest.mark.slow)])
def test_frequencies_and_damping_of_oscillators(scaling: str) -> None:
    """Also in rescaled time, where all of them have the same frequencies."""
    surrogate = mlasdi.fit(
        A, T, oscillators(A), parameters={"a": (1, 2)}, coordinates={"x": X}, time_scaling=scaling,
        coordinate_scaling="off", first_stage={"kind": "operator-inference"}, effort="quick",
    )  # fmt: skip
    found = describe_dynamics(surrogate)
    assert found is not None
    assert found["equation"]
    assert [one["mu"]["a"] for one in found["modes"]] == pytest.approx([1.5, 1, 2])
    for one in found["modes"]:
        a = one["mu"]["a"]
        np.testing.assert_allclose(one["frequencies"][:2], [3 * a, 6 * a], rtol=0.02)
        np.testing.assert_allclose(one["growth_rates"][:2], -0.2, atol=0.05)
        assert one["shares"][0] == pytest.approx(0.8, abs=0.05)


def test_kriging_has_no_dynamics() -> None:
    surrogate = mlasdi.fit(A, T, oscillators(A), parameters={"a": (1, 2)}, coordinates={"x": X}, kind="snapshot-gp")
    assert describe_dynamics(surrogate) is None
