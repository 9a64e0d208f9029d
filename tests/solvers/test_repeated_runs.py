"""Runs at equal parameters: which differences are white noise."""

import numpy as np
import pytest

from mlasdi.solvers import differ_by_white_noise, not_averaged

T, X = np.linspace(0, 1, 40), np.linspace(0, 1, 30)
U = np.exp(-(((X - 0.3 - 0.3 * T[:, None]) / 0.2) ** 2))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def are_alike(runs: np.ndarray, n_fields: int = 1) -> bool:
    return differ_by_white_noise(runs, (runs.shape[-1] // n_fields,) * n_fields)


@pytest.mark.parametrize("level", [1e-5, 1e-2, 1.0, 10.0])
@pytest.mark.parametrize("n_runs", [2, 3, 8])
@pytest.mark.parametrize("n_values", [1, 2, 30])
def test_white_noise_of_any_level_is_found(level: float, n_runs: int, n_values: int) -> None:
    """Not once in twenty sets is it taken for something else."""
    for seed in range(20):
        runs = U[:, :n_values] + level * noise(n_runs, 40, n_values, seed=seed)
        assert are_alike(runs)


def test_each_field_has_its_own_level() -> None:
    runs = np.concatenate([U + 0.01 * noise(2, 40, 30), 300 + 5 * noise(2, 40, 30, seed=1)], axis=-1)
    assert are_alike(runs, n_fields=2)
    assert not are_alike(np.concatenate([runs[..., :30], [U, 1.01 * U]], axis=-1), n_fields=2)


def test_boundary_values_and_initial_states_may_be_exact() -> None:
    differences = noise(3, 40, 30)
    differences[:, 0] = differences[..., [0, -1]] = 0
    assert are_alike(U + 0.1 * differences)


def test_equal_runs_do_not_differ() -> None:
    """Also if they differ by rounding, by the tolerance of an iteration, or where a field is constant."""
    for other in (U, U * (1 + 1e-14), U + 1e-8 * np.sin(T)[:, None] * X):
        assert are_alike(np.stack([U, other]))
    assert are_alike(np.full((2, 5, 3), 300.0))


SHAPES = {
    "another amplitude": 1.1 * U,
    "another start": np.roll(U, 1, axis=1),
    "another time": np.roll(U, 2, axis=0),
    "an offset": U + 1,
    "a small offset": U + 1e-4,
    "growth": U + T[:, None],
    "alternation": U + 0.1 * (-1.0) ** np.arange(40)[:, None],
    "one rough function of time and one of space": U + np.outer(noise(40), noise(30, seed=1)),
    "noise that is constant in time": U + noise(30),
    "noise that is constant in space": U + noise(40)[:, None],
    "noise that is correlated in time": U + sum(np.roll(noise(40, 30), k, axis=0) for k in range(4)),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_all_else_is_no_white_noise(name: str, level: float) -> None:
    """Also beside white noise as large as the difference."""
    runs = np.stack([U, SHAPES[name]])
    difference = np.sqrt(np.mean((runs[1] - runs[0]) ** 2))
    assert not are_alike(runs + level * difference / np.sqrt(2) * noise(2, 40, 30, seed=5))


def test_few_values_do_not_show_that_noise_is_white() -> None:
    assert not are_alike(noise(2, 3, 2))
    assert are_alike(np.stack([noise(3, 2)] * 2))


def test_wide_states_cost_little_and_are_judged_alike() -> None:
    wide = noise(2, 50, 20_000)
    assert are_alike(wide)
    wide[1] += np.sin(np.linspace(0, 30, 20_000))
    assert not are_alike(wide)


def test_the_message_names_runs_and_remedies() -> None:
    message = not_averaged([f"row {i}" for i in range(9)], "{'a': 1.0}")
    assert "runs at equal parameters {'a': 1.0}" in message
    assert "row 0; row 1; row 2; row 3; row 4 and 4 more; give what distinguishes them as a parameter" in message
    assert "model.noise" in message


def test_fields_of_different_sizes_have_their_own_level() -> None:
    """A number at each time beside a field: steady over the runs, or with noise of another level."""
    number = T[:, None] + 30 * noise(3, 40, 1, seed=2)
    runs = np.concatenate([U + 0.01 * noise(3, 40, 30), number], axis=-1)
    assert differ_by_white_noise(runs, (30, 1))
    runs[1, :, 30] += 1e3 * T
    assert not differ_by_white_noise(runs, (30, 1))
