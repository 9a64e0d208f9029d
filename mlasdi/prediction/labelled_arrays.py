"""Predictions as `xarray.Dataset`."""

from typing import TYPE_CHECKING, Any

from mlasdi.interpolation import END_TIME
from mlasdi.prediction.field_axes import FieldAxes

if TYPE_CHECKING:
    import xarray as xr

    from mlasdi.prediction.trajectories import Prediction


def as_dataset(prediction: "Prediction") -> "xr.Dataset":
    """See `Prediction.to_xarray`."""
    try:
        import xarray as xr
    except ModuleNotFoundError:
        raise ValueError("to_xarray needs an additional package: pip install 'mlasdi[xarray]'") from None
    layout, taken = prediction.named_layout(), {"point", "time", "place"}
    taken |= {name + suffix for name in layout.fields for suffix in ("", "_std")}
    axes = FieldAxes.of(layout, taken)
    taken |= set(axes.coordinates)
    coordinates: dict[str, Any] = {"time": ("time", prediction.t, _unit(layout.time_unit))}
    coordinates |= {name: (dimension, x, _unit(unit)) for name, (dimension, x, unit) in axes.coordinates.items()}
    if prediction.mu is not None and prediction.space is not None:
        for column, parameter in enumerate(prediction.space.parameters):
            name = f"parameter_{parameter.name}" if parameter.name in taken else parameter.name
            coordinates[name] = ("point", prediction.mu[:, column], _unit(parameter.unit))
    variables: dict[str, Any] = {}
    for name in layout.fields:
        unit = _unit(layout.field_units.get(name, ""))
        dimensions = ("point", *(() if layout.of(name).steady else ("time",)), *axes.dimensions[name])
        variables[name] = (dimensions, prediction.field(name), unit)
        if prediction.std is not None:
            variables[f"{name}_std"] = (dimensions, prediction.field(name, "std"), unit)
    for name, ends in ((END_TIME, prediction.end_time), (f"{END_TIME}_std", prediction.end_time_std)):
        if ends is not None:
            variables[name] = ("point", ends, _unit(layout.time_unit))
    return xr.Dataset(variables, coordinates)


def _unit(unit: str) -> dict[str, str]:
    return {"units": unit} if unit else {}
