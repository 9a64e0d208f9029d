"""Scaling laws in words: how rescaled times, coordinates and amplitudes depend on the parameters."""

from collections.abc import Sequence

import numpy as np

from mlasdi.alignment.coordinate_scaling import CoordinateScaling
from mlasdi.alignment.time_scaling import TimeScaling
from mlasdi.solvers import Parameter, ParameterSpace

NEGLIGIBLE = 5e-3  # relative change over the range of a parameter that is left out of a law


def scaling_formulas(
    space: ParameterSpace, time_scaling: TimeScaling, coordinate_scaling: CoordinateScaling | None
) -> dict[str, str]:
    """What is rescaled, and its law: `{"rate of time": "a^1 w^-0.99", "shift of x": "0.2 over x0"}`.

    Powers are of the physical parameters. A shift is in units of the coordinate, from the lower end of a parameter's
    range to the upper one. Empty where nothing is rescaled.
    """
    logarithms: dict[str, Sequence[float]] = {"rate of time": time_scaling.log_rates}
    shifts: dict[str, str] = {}
    if coordinate_scaling is not None:
        # A mesh has several coordinates and counts as one axis, which is never rescaled.
        for (name, nodes), axis in zip(
            coordinate_scaling.layout.coordinates.items(), coordinate_scaling.axes, strict=False
        ):
            if axis is not None:
                logarithms[f"scale of {name}"] = axis.log_scales
                length = float(np.ptp(nodes))
                moved = [
                    f"{length * shift:.3g} over {parameter.name}"
                    for parameter, shift in zip(space.parameters, axis.shifts, strict=True)
                    if abs(shift) > NEGLIGIBLE
                ]
                shifts[f"shift of {name}"] = ", ".join(moved)
        for name, amplitudes in zip(coordinate_scaling.layout.fields, coordinate_scaling.log_amplitudes, strict=False):
            logarithms[f"unit of {name}"] = amplitudes
    laws = {what: _law(space, values) for what, values in logarithms.items()} | shifts
    return {what: law for what, law in laws.items() if law}


def _law(space: ParameterSpace, logarithms: Sequence[float]) -> str:
    pairs = zip(space.parameters, logarithms, strict=False)  # none at all where it is common
    return " ".join(_factor(parameter, value) for parameter, value in pairs if abs(value) > NEGLIGIBLE)


def _factor(parameter: Parameter, logarithm: float) -> str:
    """A power; of a parameter that has no logarithm, the factor over its range."""
    if parameter.low <= 0:
        return f"{np.exp(logarithm):.3g}-fold over {parameter.name}"
    return f"{parameter.name}^{logarithm / np.log(parameter.high / parameter.low):.3g}"
