"""Files of predictions: HDF5, NumPy's NPZ, NetCDF with coordinates and units, and meshes; written block by block."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mlasdi.agent.prediction.contents import Block, Contents, PredictionFile
from mlasdi.agent.prediction.mesh_files import MESH_SUFFIXES, check_contents, check_mesh_package, opened_mesh
from mlasdi.prediction import FieldAxes
from mlasdi.solvers import StateLayout
from mlasdi.solvers.storage import atomic_write, hdf5_target

SUFFIXES = (".h5", ".nc", ".npz", *MESH_SUFFIXES)


def check_suffix(path: Path) -> None:
    """Check that the format of a file can be written.

    Raises:
        ValueError: the suffix is unknown, or a package is missing.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"--out {path}: give a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if path.suffix == ".nc" and find_spec("h5netcdf") is None:
        raise ValueError(f"--out {path}: NetCDF needs an additional package: pip install 'mlasdi[netcdf]'")
    check_mesh_package(path)


@contextmanager
def opened(path: Path, contents: Contents) -> Iterator[PredictionFile]:
    """A file for blocks, which appears under its name when the body has ended without an error.

    Raises:
        ValueError: a mesh file cannot hold these contents.
    """
    if path.suffix in MESH_SUFFIXES:
        check_contents(path, contents)
        with opened_mesh(path, contents) as file:
            yield file
        return
    kinds = {".h5": _hdf5, ".nc": _netcdf, ".npz": _npz}
    with atomic_write(path) as partial, kinds[path.suffix](partial, contents) as file:
        yield file


class _Arrays:
    """Predictions as arrays: `mean` and `std` [param, time, state], `quantiles` [param, level, time, state]."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.arrays = arrays

    def write(self, block: Block) -> None:
        self.arrays["mean"][block.rows, block.times] = block.mean
        if block.std is not None:
            self.arrays["std"][block.rows, block.times] = block.std
        if block.quantiles is not None:
            self.arrays["quantiles"][block.rows, :, block.times] = block.quantiles


class _OwnAxes:
    """Predictions as arrays `FIELD/mean`, `FIELD/std` and `FIELD/quantiles` of each field, on axes of its own."""

    def __init__(self, arrays: Mapping[str, Any], layout: StateLayout) -> None:
        self.arrays, self.layout = arrays, layout

    def write(self, block: Block) -> None:
        for kind, values in (("mean", block.mean), ("std", block.std), ("quantiles", block.quantiles)):
            if values is not None:
                for name, field in self.layout.split(values).items():
                    write_field(self.arrays[f"{name}/{kind}"], field, block, kind, self.layout.of(name).steady)


def write_field(array: Any, field: np.ndarray, block: Block, kind: str, steady: bool) -> None:
    """Write a block of one field into its array `[param, time, *grid]`, or `[param, *grid]` for a steady one.

    Quantiles have the axis of their levels after that of the points.
    """
    between = (slice(None),) if kind == "quantiles" else ()
    if steady:
        array[(block.rows, *between)] = np.take(field, 0, axis=1 + len(between))
    else:
        array[(block.rows, *between, block.times)] = field


def _has_own_axes(layout: StateLayout) -> bool:
    """Whether fields have different axes, so that they have an array each."""
    return bool(layout.others) or layout.steady


def _grids(layout: StateLayout) -> list[tuple[str, StateLayout]]:
    """Prefix of the names of the arrays that describe a grid, and that grid."""
    return [(f"{name}/", layout.of(name)) for name in layout.fields] if _has_own_axes(layout) else [("", layout)]


def _filler(arrays: Mapping[str, Any], layout: StateLayout) -> PredictionFile:
    return _OwnAxes(arrays, layout) if _has_own_axes(layout) else _Arrays(arrays)


def _shapes(contents: Contents) -> dict[str, tuple[int, ...]]:
    n_points, n_time, layout = len(contents.points), len(contents.t), contents.layout
    kinds: dict[str, tuple[int, ...]] = {"mean": (n_points,)}
    kinds |= {"std": (n_points,)} if contents.has_std else {}
    kinds |= {"quantiles": (n_points, len(contents.levels))} if contents.levels else {}
    if not _has_own_axes(layout):
        return {kind: (*leading, n_time, layout.n_state) for kind, leading in kinds.items()}
    return {
        f"{name}/{kind}": (*leading, *(() if one.steady else (n_time,)), *one.shape)
        for name in layout.fields
        for one in [layout.of(name)]
        for kind, leading in kinds.items()
    }


def _known(contents: Contents) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """The contents that are known before the prediction, as arrays and as names."""
    layout = contents.layout
    arrays = {"t": contents.t, "mu": contents.points, **contents.ends}
    for prefix, one in _grids(layout):
        arrays |= {f"{prefix}x_{axis}": np.asarray(values) for axis, values in one.coordinates.items()}
        arrays |= {} if one.mask is None else {f"{prefix}mask": one.mask}
    arrays |= {"levels": np.array(contents.levels)} if contents.levels else {}
    return arrays, {"parameter_names": list(contents.space.names), "fields": list(layout.fields)}


@contextmanager
def _hdf5(path: Path, contents: Contents) -> Iterator[PredictionFile]:
    import h5py  # slow to import, and not needed for other files

    arrays, names = _known(contents)
    layout = contents.layout
    with hdf5_target(path) as target, h5py.File(target, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file.attrs.update(names)
        file["t"].attrs["unit"] = layout.time_unit
        for prefix, one in _grids(layout):
            for axis in one.coordinates:
                file[f"{prefix}x_{axis}"].attrs["unit"] = one.coordinate_units.get(axis, "")
        file.attrs["field_units"] = [layout.field_units.get(name, "") for name in layout.fields]
        file.attrs["parameter_units"] = [p.unit for p in contents.space.parameters]
        created = {name: file.create_dataset(name, shape, "f8") for name, shape in _shapes(contents).items()}
        yield _filler(created, layout)


@contextmanager
def _npz(path: Path, contents: Contents) -> Iterator[PredictionFile]:
    """Arrays are first written to separate files, because an NPZ file cannot be written in blocks."""
    arrays, names = _known(contents)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}-") as folder:
        mapped = {
            name: np.lib.format.open_memmap(Path(folder, f"{k}.npy"), "w+", np.float64, shape)
            for k, (name, shape) in enumerate(_shapes(contents).items())
        }
        yield _filler(mapped, contents.layout)
        texts = {name: np.array(values) for name, values in names.items()}
        with path.open("wb") as stream:  # given a path, NumPy would append .npz
            np.savez_compressed(stream, allow_pickle=False, **arrays, **texts, **mapped)


class _Fields:
    """Predictions as NetCDF variables on their grids."""

    def __init__(self, variables: Mapping[str, Any], layout: StateLayout) -> None:
        self.variables, self.layout = variables, layout

    def write(self, block: Block) -> None:
        for suffix, values in (("", block.mean), ("_std", block.std), ("_quantiles", block.quantiles)):
            if values is not None:
                for name, field in self.layout.split(values).items():
                    variable, steady = self.variables[name + suffix], self.layout.of(name).steady
                    write_field(variable, field, block, suffix.removeprefix("_"), steady)


@contextmanager
def _netcdf(path: Path, contents: Contents) -> Iterator[PredictionFile]:
    """Variables `u`, `u_std`, `u_quantiles` of each field u, with dimensions point, time and those of the grid."""
    import h5netcdf

    layout = contents.layout
    axes, parameters = _netcdf_names(contents)
    sizes = {"point": len(contents.points), "time": len(contents.t), **axes.sizes}
    with hdf5_target(path) as target, h5netcdf.File(target, "w") as file:
        file.dimensions = sizes | ({"quantile": len(contents.levels)} if contents.levels else {})
        file.attrs["Conventions"] = "CF-1.8"

        def add(name: str, dimensions: tuple[str, ...], values: Any = None, unit: str = "") -> Any:
            missing = {} if values is not None else {"fillvalue": np.nan}
            variable = file.create_variable(name, dimensions, "f8", data=values, **missing)
            variable.attrs["units"] = unit or "1"
            return variable

        add("time", ("time",), contents.t, layout.time_unit)
        if contents.levels:
            add("quantile", ("quantile",), np.array(contents.levels))
        for name, (dimension, values, unit) in axes.coordinates.items():
            add(name, (dimension,), values, unit)
        for column, parameter in enumerate(contents.space.parameters):
            add(parameters[parameter.name], ("point",), contents.points[:, column], parameter.unit)
        for name, ends in contents.ends.items():
            add(name, ("point",), ends, layout.time_unit)
        variables = {}
        for field in layout.fields:
            for suffix, leading in _netcdf_kinds(contents, layout.of(field).steady).items():
                dimensions, unit = (*leading, *axes.dimensions[field]), layout.field_units.get(field, "")
                variables[field + suffix] = add(field + suffix, dimensions, unit=unit)
                aside = " ".join([*parameters.values(), *axes.places[field]])
                variables[field + suffix].attrs["coordinates"] = aside
        yield _Fields(variables, layout)


def _netcdf_kinds(contents: Contents, steady: bool) -> dict[str, tuple[str, ...]]:
    """Suffix of a variable's name, and its first dimensions."""
    time = () if steady else ("time",)
    kinds: dict[str, tuple[str, ...]] = {"": ("point", *time)}
    kinds |= {"_std": ("point", *time)} if contents.has_std else {}
    return kinds | ({"_quantiles": ("point", "quantile", *time)} if contents.levels else {})


def _netcdf_names(contents: Contents) -> tuple[FieldAxes, dict[str, str]]:
    """Coordinates, and names of parameters in the file, made unique."""
    taken = {"point", "time", "quantile", "place", *contents.ends}
    taken |= {field + suffix for field in contents.layout.fields for suffix in ("", "_std", "_quantiles")}
    axes = FieldAxes.of(contents.layout, taken)
    taken |= set(axes.coordinates)
    return axes, {name: f"parameter_{name}" if name in taken else name for name in contents.space.names}
