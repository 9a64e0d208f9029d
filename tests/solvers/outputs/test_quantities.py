"""Quantities of interest against integrals and extrema that are known, and sentences that cannot be read."""

from pathlib import Path

import numpy as np
import pytest

from mlasdi.solvers import StateLayout
from mlasdi.solvers.outputs import is_function, quantity

T, X, Y = np.linspace(0, 2, 41), np.linspace(0, 1, 51), np.array([3.0, 1.0, 0.0])
PLANE = StateLayout(
    ("u", "v", "volt", "area"),
    {"x": X, "y": Y},
    others={"volt": StateLayout(("volt",), {}), "area": StateLayout(("area",), {"x": X}, steady=True)},
)
U = T[:, None, None] * X[:, None] * (1 + Y)
STATES = np.concatenate(
    [U.reshape(41, -1), -U.reshape(41, -1), (T**2)[:, None], np.tile(np.sin(np.pi * X), (41, 1))], axis=1
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max over time of volt", 4.0),
        ("max over time and space of u", 8.0),
        ("max over time, x, y of u", 8.0),
        ("min over time and space of v", -8.0),
        ("mean over time of volt", 4 / 3),
        ("integral over time of volt", 8 / 3),
        ("integral over x of area", 2 / np.pi),
        ("mean over space of area", 2 / np.pi),
        ("integral over time and space of u", 2 * 0.5 * 7.5),
        ("max over time of integral over space of u", 2 * 0.5 * 7.5),
        ("u at x=0.25, y=2, time=1.5", 1.5 * 0.25 * 3),
        ("max over time of u at x=0.33 and y=0.5", 2 * 0.33 * 1.5),
        ("volt at time=2", 4.0),
    ],
)
def test_numbers(text, expected):
    found = quantity(text, PLANE, T, STATES)
    assert found.shape == ()
    assert found == pytest.approx(expected, rel=1e-3)


def test_axes_that_are_left_make_an_array():
    np.testing.assert_allclose(quantity("max over time of u", PLANE, T, STATES), U[-1])
    np.testing.assert_allclose(quantity("volt", PLANE, T, STATES), T**2)
    np.testing.assert_allclose(quantity("u at y=2", PLANE, T, STATES), 3 * T[:, None] * X)


def test_masked_points_do_not_count():
    mask = np.ones((51, 3), dtype=bool)
    mask[25:, 0] = False
    masked = StateLayout(("u",), {"x": X, "y": Y}, mask=mask)
    states = U[:, mask]
    assert quantity("max over time and space of u", masked, T, states) == pytest.approx(2 * max(X[24] * 4, 2.0 * 1))
    ones = np.ones_like(states)
    assert quantity("mean over space of u at time=1", masked, T, ones) == pytest.approx(1.0)
    assert quantity("integral over space of u at time=1", masked, T, ones) < 3.0


def test_scattered_points():
    points = StateLayout(("p",), {"x": np.array([0.0, 1.0, 1.0]), "y": np.array([0.0, 0.0, 2.0])}, scattered=True)
    states = np.outer(T, [1.0, 2.0, 6.0])
    assert quantity("mean over space of p at time=1", points, T, states) == pytest.approx(3.0)
    assert quantity("max over time of p at x=0.9, y=1.8", points, T, states) == pytest.approx(12.0)
    with pytest.raises(ValueError, match="an integral needs a grid, and the points are scattered"):
        quantity("integral over space of p", points, T, states)
    with pytest.raises(ValueError, match="need all coordinates; y is missing"):
        quantity("p at x=0.5", points, T, states)


def test_a_function_of_the_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code = (
        "def ratio(f): return f['volt'].max() / f['area'].max() + f['t'][-1] + len(f['x'])\ndef bad(f): return f['w']"
    )
    (tmp_path / "derived_quantities.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    assert is_function("derived_quantities:ratio")
    assert quantity("derived_quantities:ratio", PLANE, T, STATES) == pytest.approx(4 + 2 + 51, rel=1e-3)
    with pytest.raises(ValueError, match="quantity derived_quantities:bad: KeyError: 'w'"):
        quantity("derived_quantities:bad", PLANE, T, STATES)
    with pytest.raises(ValueError, match="cannot be loaded"):
        quantity("derived_quantities:missing", PLANE, T, STATES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max over time of w", "there is no field 'w'"),
        ("max over z of u", "there is no axis 'z'; the axes are time, x, y, space"),
        ("max over time of max over time of volt", "there is no axis 'time'; the axes are none, it is a number"),
        ("max over time of u at z=1", "there is no axis 'z'; the axes are time, x, y"),
        ("u at x=2", "x=2 lies outside; give x from 0 to 1"),
        ("u at x", "'x' is no place; write for example x=0.5"),
        ("u at x=here", "'x=here' is no place"),
        ("largest u ever", "write 'max over time of FIELD'"),
        ("__import__('os')", "there is no field"),
    ],
)
def test_what_cannot_be_read_is_named(text, told):
    with pytest.raises(ValueError, match=told.replace("(", r"\(").replace(")", r"\)")):
        quantity(text, PLANE, T, STATES)
