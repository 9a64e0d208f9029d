"""Training runs whose arrays have named axes: outputs of several shapes, and xarray datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from mlasdi.solvers import SolverError, StateLayout
from mlasdi.solvers.outputs import NamedArrays

TIME_NAMES = ("time", "t")


@dataclass(frozen=True)
class LabelledRuns:
    """Outputs of all training runs.

    Attributes:
        n_runs: number of runs.
        t: times `[time]`; None for steady solutions.
        outputs: name -> values `[param, *axes]`.
        coordinates: axis -> coordinates of the grid.
        axes: output -> the names of its axes after that of the runs, where lengths do not tell them.
        units: name of an output or axis, or `time` -> unit.
        mu: parameter -> its values `[param]`; empty where they are given apart from the runs.
    """

    n_runs: int
    t: Float[np.ndarray, " time"] | None
    outputs: Mapping[str, np.ndarray]
    coordinates: Mapping[str, ArrayLike] = field(default_factory=dict)
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    mu: Mapping[str, np.ndarray] = field(default_factory=dict)

    def trajectories(self) -> tuple[Float[np.ndarray, " time"], Float[np.ndarray, "param time state"], StateLayout]:
        """Times, states and layout.

        Raises:
            ValueError: there are no runs, or shapes do not fit together.
        """
        for name, values in self.outputs.items():
            if values.shape[:1] != (self.n_runs,):
                raise ValueError(f"u['{name}'] has shape {values.shape}; expected [{self.n_runs}, ...], as mu has rows")
        known = {
            f"axis {axis}": numbers(f"coordinates['{axis}']", values).ravel()
            for axis, values in self.coordinates.items()
        }
        naming = NamedArrays(
            time="time",
            fields=tuple(self.outputs),
            coordinates={axis: f"axis {axis}" for axis in self.coordinates},
            times="steady" if self.t is None else None,
            axes={name: tuple(of_field) for name, of_field in self.axes.items()},
            units=self.units,
        )
        known |= {} if self.t is None else {"time": self.t}
        try:
            runs = [
                naming.snapshots({name: one[k] for name, one in self.outputs.items()} | known)
                for k in range(self.n_runs)
            ]
        except SolverError as error:
            raise ValueError(f"u: {error}") from error
        if not runs or runs[0].layout is None:
            raise ValueError("there are no runs")
        return runs[0].t, np.stack([run.u for run in runs]), runs[0].layout


def is_dataset(given: Any) -> bool:
    """Whether this is an xarray Dataset or DataArray; xarray itself need not be installed."""
    return hasattr(given, "dims") and hasattr(given, "coords")


def runs_of_dataset(given: Any, parameters: Sequence[str], fields: Sequence[str]) -> LabelledRuns:
    """The runs in an xarray Dataset or DataArray.

    Args:
        given: parameters are variables along the dimension of the runs, or dimensions of their own, which together
            make a grid of runs.
        parameters: names of the parameters.
        fields: names of the outputs; if empty, all data variables that have the dimension of the runs.

    Raises:
        ValueError: a parameter, an output or the times are missing or have other dimensions, or hold no numbers.
    """
    data = given if hasattr(given, "data_vars") else given.to_dataset(name=given.name or "u")
    missing = [name for name in parameters if name not in data.variables]
    if missing:
        raise ValueError(f"the dataset has no parameter '{missing[0]}'; it has {', '.join(map(str, data.variables))}")
    along = {name: tuple(map(str, data[name].dims)) for name in parameters}
    parameter_units = {name: str(data[name].attrs.get("units", "")) for name in parameters}
    if len(parameters) > 1 and all(dims == (name,) for name, dims in along.items()):  # a grid of parameters
        run = "run" if "run" not in data.variables and "run" not in data.dims else "_run"
        wanted = [name for name in data.data_vars if set(parameters) <= set(data[name].dims)]
        data = data[wanted].stack({run: list(parameters)})
    elif len(set(along.values())) == 1 and len(along[parameters[0]]) == 1:
        (run,) = along[parameters[0]]
    else:
        raise ValueError(f"parameters must have one dimension, that of the runs; they have {along}")
    outputs = _outputs(data, run, parameters, fields)
    dims = {name: tuple(str(axis) for axis in one.dims if axis != run) for name, one in outputs.items()}
    every = list(dict.fromkeys(axis for axes in dims.values() for axis in axes))
    time = next((name for name in TIME_NAMES if name in every), None)
    coordinates = {axis: data[axis].values for axis in every if axis != time and axis in data.coords}
    units = {"time" if name == time else name: str(data[name].attrs.get("units", "")) for name in (*outputs, *every)}
    return LabelledRuns(
        n_runs=int(data.sizes[run]),
        t=None if time is None else _times(data, time),
        outputs={
            name: numbers(f"dataset['{name}']", one.transpose(run, *dims[name]).values) for name, one in outputs.items()
        },
        coordinates=coordinates,
        axes={name: tuple("time" if axis == time else axis for axis in axes) for name, axes in dims.items()},
        units={name: unit for name, unit in (units | parameter_units).items() if unit},
        mu={name: numbers(f"dataset['{name}']", data[name].values) for name in parameters},
    )


def numbers(name: str, values: Any) -> Float[np.ndarray, "..."]:
    """An array as float64, NaN where a masked array has no value.

    Raises:
        ValueError: it holds something else than real numbers.
    """
    array = np.asanyarray(values)
    if array.dtype.kind in "mM":
        raise ValueError(f"{name} holds {array.dtype}; give numbers, such as seconds since the start")
    if array.dtype.kind == "c":
        raise ValueError(f"{name} holds {array.dtype}, not real numbers; give real and imaginary part as two fields")
    if array.dtype.names is not None:
        raise ValueError(f"{name} is a structured array with {list(array.dtype.names)}; give a mapping of its columns")
    try:
        return np.asarray(np.ma.filled(array.astype(float), np.nan))
    except (TypeError, ValueError):
        raise ValueError(f"{name} holds {array.dtype}, not numbers") from None


def _outputs(data: Any, run: str, parameters: Sequence[str], fields: Sequence[str]) -> dict[str, Any]:
    """The outputs as DataArrays, all with the dimension of the runs."""
    found = [name for name in data.data_vars if name not in parameters and run in data[name].dims]
    for name in fields:
        if name not in found:
            has = "is not in the dataset" if name not in data.data_vars else f"has dimensions {data[name].dims}"
            raise ValueError(f"field '{name}' {has}; fields along the runs ('{run}') are {', '.join(found) or 'none'}")
    if not found:
        raise ValueError(f"the dataset has no field along the runs, the dimension '{run}'")
    return {str(name): data[name] for name in fields or found}


def _times(data: Any, time: str) -> Float[np.ndarray, " time"]:
    if time not in data.coords:
        raise ValueError(f"dimension '{time}' has no coordinate; assign the times: dataset.assign_coords({time}=...)")
    if data[time].ndim != 1:
        raise ValueError(f"times '{time}' have dimensions {data[time].dims}; runs need common times, one dimension")
    return numbers(f"dataset['{time}']", data[time].values)
