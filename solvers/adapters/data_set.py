"""Existing solutions in files as a full-order model that has solutions at their parameters only."""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from mlasdi.solvers import Json, Snapshots, SolverError, differ_by_white_noise, nearest, not_averaged
from mlasdi.solvers.adapters.array_files import read_group
from mlasdi.solvers.adapters.data_runs import Run, index_runs, size_of, stamps
from mlasdi.solvers.adapters.file_arrays import FileArrays, named_columns
from mlasdi.solvers.formats import is_series, members

# A requested point is that of a run if no parameter differs by more than this fraction of the range of its values.
_TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class DataSet(FileArrays):
    """Existing runs of a solver, in one of these forms.

    - a folder with one file for each run, and a table `parameters.csv` or `parameters.json` with a column `file` and
      one column for each parameter; in the column, a pattern such as `run_1/u_*.vtu` stands for files with one time
      each; without a table, each file contains its parameters as attributes or scalars
    - one HDF5 file with a group for each run, which contains its parameters as attributes or scalars
    - one HDF5, NetCDF, Zarr, MATLAB or NPZ file with arrays whose first axis is the run: each parameter `[run]`, fields
      `[run, time, ...]`, and times `[time]` or `[run, time]`; or a CSV table with a row of numbers for each run

    In the last two forms, `table` may give the parameters instead: a row for each run in the order of the file, or with
    a column `group` or `index` that names it.

    If several runs have the same parameters, the solution is their mean if they differ by white noise alone; other
    differences are an error, because the parameters do not say which run is meant.

    Stored solutions are found again by the parameters of all runs, the names and sizes of their files, and `version`.

    Attributes:
        path: the folder or file.
        parameters: names of the parameters.
        table: table of the runs, if it is not in the folder under its usual name.
        sources: parameter -> where it is, if not under its own name: a column, an array such as `scalars/viscosity`, an
            attribute, or a key in an attribute with YAML text such as `config:sim.viscosity`.
        run: which run is used of files that have several, which are those of the first axis of their arrays; for
            folders whose files have one set of parameters each.
        extra_times: number of times at the end that have no values.
        version: of the data.
        mean_of_runs: whether runs at equal parameters are averaged whatever they differ by; a configuration that gives
            the level of the noise as `model.noise` sets it.

    Raises:
        ValueError: the files or the table cannot be read.
    """

    path: str
    parameters: tuple[str, ...]
    table: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    run: int | None = None
    extra_times: int = 0
    version: str = ""
    mean_of_runs: bool = False

    layout = None  # each solution brings its own

    def __post_init__(self) -> None:
        if not self.parameters:
            raise ValueError("option parameters must name at least one")
        for name in self.sources:
            if name not in self.parameters:
                raise ValueError(f"option sources: '{name}' is no parameter; {nearest(name, self.parameters)}")
        if self.extra_times < 0 or (self.run is not None and self.run < 0):
            raise ValueError(f"options run = {self.run} and extra_times = {self.extra_times} must not be negative")
        _ = self.target  # an error of the option is told at once
        self.available()

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return self.parameters

    def available(self) -> Float[np.ndarray, "run n_params"]:
        """The different parameters of all runs, in the order of `parameter_names`."""
        return np.array(list(dict.fromkeys(run.mu for run in self.all_runs)))

    def identity(self) -> Json:
        runs = [[*run.mu, run.file.name, size_of(run.file), run.group, run.index] for run in self.all_runs]
        digest = hashlib.sha256(json.dumps(runs).encode()).hexdigest()
        cut = {"extra_times": self.extra_times} if self.extra_times else {}
        return {"solver": "data-set", "runs": digest, "version": self.version, **cut, **self.naming()}

    def source(self) -> Path | None:
        """Its solutions are not shared, as reading them costs nothing."""
        return None

    def solve(self, mu: Mapping[str, Any]) -> Snapshots:
        """The solution at one of the available points.

        Raises:
            SolverError: there is no run at these parameters (`bad-parameters`), its file cannot be used, or several
                runs there have different times or shapes (`bad-output`), or differ by more than white noise
                (`bad-parameters`).
        """
        runs = self._runs_at(mu)
        first, *others = (self._read(run) for run in runs)
        for other in others:
            if first.u.shape != other.u.shape or not np.array_equal(first.t, other.t):
                reason = "they have different times or shapes"
                raise SolverError("bad-output", not_averaged(runs, str(dict(mu)), reason))
        if not others or first.layout is None:
            return first
        u = np.stack([first.u, *(other.u for other in others)])
        if not (self.mean_of_runs or differ_by_white_noise(u, first.layout.sizes)):
            raise SolverError("bad-parameters", not_averaged(runs, str(dict(mu))))
        return replace(first, u=u.mean(axis=0))

    def _read(self, run: Run) -> Snapshots:
        try:
            if run.group:
                with h5py.File(run.file, "r", locking=False) as content:
                    arrays = read_group(content[run.group], self.wanted())
            elif run.index is not None:
                arrays = self._slice(run)
            else:
                arrays = self.read_files(Path(self.path), os.path.relpath(run.file, self.path))
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise SolverError("bad-output", f"{run} cannot be read: {error}") from error
        if self.extra_times and self.time in arrays:
            arrays[self.time] = np.ravel(arrays[self.time])[: -self.extra_times]
        try:
            snapshots = self.snapshots({name: one for name, one in arrays.items() if name not in self._places})
        except SolverError as error:
            raise SolverError(error.kind, f"{run}: {error}") from error
        files = members(run.file.parent, run.file.name) if is_series(run.file.name) else []
        self.check_finite(snapshots, str(run), () if run.index is None else (run.index,), files)
        return snapshots

    @property
    def _places(self) -> tuple[str, ...]:
        """Where the parameters are, in their order."""
        return tuple(self.sources.get(name, name) for name in self.parameters)

    @cached_property
    def all_runs(self) -> tuple[Run, ...]:
        """All runs, in the order of the table or of the file names."""
        root, table = Path(self.path), Path(self.table) if self.table else None
        try:
            found = index_runs(root, table, self._places, self.reader, stamps(root, table))
            return found if self.run is None else tuple(replace(run, index=self.run) for run in found)
        except SolverError as error:
            raise ValueError(f"option path: {error}") from error
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ValueError(f"option path: {self.path}: {' '.join(str(error).split())}") from error

    def _runs_at(self, mu: Mapping[str, Any]) -> list[Run]:
        points, wanted = self.available(), np.array([mu[name] for name in self.parameters])
        spread = np.maximum(np.ptp(points, axis=0), np.finfo(float).tiny)
        distance = (np.abs(points - wanted) / spread).max(axis=1)
        nearest = int(np.argmin(distance))
        if distance[nearest] > _TOLERANCE:
            there = dict(zip(self.parameters, points[nearest].tolist(), strict=True))
            raise SolverError("bad-parameters", f"the data set has no run at {dict(mu)}; the nearest is at {there}")
        return [run for run in self.all_runs if run.mu == tuple(points[nearest])]

    def _slice(self, run: Run) -> dict[str, np.ndarray]:
        """Arrays of one run from a file that contains all runs."""
        arrays, _ = named_columns(run.file, self.wanted(), self.reader)
        shared = {*self.coordinate_names(), *self._places}
        if self.time in arrays and 1 in (arrays[self.time].ndim, *arrays[self.time].shape):  # MATLAB's vectors
            shared.add(self.time)
        return {name: values if name in shared else values[run.index] for name, values in arrays.items()}
