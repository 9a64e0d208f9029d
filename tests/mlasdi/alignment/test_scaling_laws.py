"""Scaling laws in words."""

import numpy as np

from mlasdi.alignment import COMMON_TIMES, AxisMap, CoordinateScaling, TimeScaling, scaling_formulas
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout

SPACE = ParameterSpace(
    (Parameter("a", 0.5, 2.0), Parameter("nu", 1e-3, 1e-1, scale="log"), Parameter("angle", -1.0, 1.0))
)
LAYOUT = StateLayout(("u", "p"), {"x": np.linspace(-2, 2, 9), "y": np.linspace(0, 1, 5)})


def test_powers_are_of_the_physical_parameters():
    time_scaling = TimeScaling((2 * np.log(4), -np.log(100) / 2, 0.0), SPACE.spans)
    assert scaling_formulas(SPACE, time_scaling, None) == {"rate of time": "a^2 nu^-0.5"}


def test_scales_shifts_and_amplitudes_by_name():
    axis = AxisMap((-np.log(4), 0.0, np.log(1.5)), (0.0, 0.1, -0.05))
    coordinate_scaling = CoordinateScaling(LAYOUT, (axis, None), ((np.log(2), 0.0, 0.0), (0.0, 1e-4, 0.0)), SPACE.spans)
    assert scaling_formulas(SPACE, COMMON_TIMES, coordinate_scaling) == {
        "scale of x": "a^-1 1.5-fold over angle",
        "shift of x": "0.4 over nu, -0.2 over angle",
        "unit of u": "a^0.5",
    }


def test_on_a_mesh_only_amplitudes_are_named():
    mesh = StateLayout(("u",), {"x": np.linspace(0, 1, 7), "y": np.linspace(0, 1, 7) ** 2}, scattered=True)
    coordinate_scaling = CoordinateScaling(mesh, (None,), ((np.log(4), 0.0, 0.0),), SPACE.spans)
    assert scaling_formulas(SPACE, COMMON_TIMES, coordinate_scaling) == {"unit of u": "a^1"}


def test_without_scaling_there_are_no_laws():
    assert scaling_formulas(SPACE, COMMON_TIMES, None) == {}
