"""Reads the options of `mlasdi predict` as a request to the surrogate."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mlasdi.agent.prediction.predict import Request, Selection
from mlasdi.agent.text import levels, time_points, values
from mlasdi.agent.text import sensors as sensor_places
from mlasdi.solvers import StateLayout, read_columns
from mlasdi.surrogate import Surrogate


@dataclass(frozen=True)
class PredictOptions:
    """The options of `mlasdi predict` as they are typed.

    Attributes:
        at: parameters, `name=value`; or else
        table: a file with parameter points.
        times: `start:stop:count` or a list; None for the times of training.
        fields: names, separated by commas; None for all.
        sensors: places, `x=0.5,y=1` each; or else
        sensor_table: a file with places.
        std: whether to compute the standard deviation.
        quantiles: levels, such as `5%,95%`.
        extrapolate: whether points and times outside the trained ranges are allowed.
        initial: a file with the known initial state, .npy or .npz; None if the model predicts it.
    """

    at: Sequence[str] = ()
    table: Path | None = None
    times: str | None = None
    fields: str | None = None
    sensors: Sequence[str] | None = None
    sensor_table: Path | None = None
    std: bool = True
    quantiles: str | None = None
    extrapolate: bool = False
    initial: Path | None = None

    def starting(self, surrogate: Surrogate, request: Request) -> Surrogate:
        """The surrogate, which starts from the known initial state if there is one.

        Raises:
            ValueError: the file cannot be read or does not fit, there are several points, or the model makes no use of
                initial states.
        """
        if self.initial is None:
            return surrogate
        if len(request.points) > 1:
            raise ValueError(f"--initial {self.initial}: it is one state, and {len(request.points)} points are given")
        if not surrogate.model.uses_initial_states:
            raise ValueError(
                f"--initial {self.initial}: the model makes no use of initial states; train it with "
                "model.first_stage.kind operator-inference and initial_state: given"
            )
        return surrogate.starting_from(request.points, _state(self.initial, surrogate.layout)[None])

    def request(self, surrogate: Surrogate) -> Request:
        """The options, read and checked for a surrogate.

        Raises:
            ValueError: an option cannot be read, two exclude each other, or they do not suit the model.
        """
        if bool(self.at) == bool(self.table):
            raise ValueError(
                "give the parameters as --at NAME=VALUE ..., or a table of points as --points FILE; not both"
            )
        if self.sensors and self.sensor_table:
            raise ValueError("--sensor and --sensors are both given; choose one")
        space = surrogate.space
        if self.table is None:
            points = space.as_array(values(self.at, space.words))
        else:
            points = read_columns(self.table, space.names)
        first = surrogate.layout.fields[0] if self.fields is None else self.fields.partition(",")[0].strip()
        chosen = None if self.fields is None else tuple(name.strip() for name in self.fields.split(","))
        return Request(
            points=points,
            times=None if self.times is None else time_points(self.times),
            std=self.std,
            levels=() if self.quantiles is None else levels(self.quantiles),
            selection=Selection(chosen, self._places(tuple(surrogate.layout.of(first).coordinates))),
            extrapolate=self.extrapolate,
        )

    def _places(self, axes: tuple[str, ...]) -> dict[str, Float[np.ndarray, " sensor"]] | None:
        """Coordinates of the sensors by name; None without sensors."""
        if self.sensor_table is not None:
            table = read_columns(self.sensor_table, axes)
            return dict(zip(axes, np.ascontiguousarray(table.T), strict=True))
        return sensor_places(self.sensors) if self.sensors else None


def _state(path: Path, layout: StateLayout) -> Float[np.ndarray, " state"]:
    """A state from a file: one array of all values (.npy), or one for each field (.npz).

    Raises:
        ValueError: the file cannot be read, or fields are missing or have other sizes or values that are not finite.
    """
    try:
        if path.suffix not in (".npy", ".npz"):
            raise ValueError("give a file that ends in .npy or .npz")
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            arrays = {name: found[name] for name in found.files} if path.suffix == ".npz" else {"": found}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"--initial {path}: cannot be read ({error})") from None
    expected = {"": layout.n_state} if "" in arrays else dict(zip(layout.fields, layout.sizes, strict=True))
    if missing := [name for name in expected if name not in arrays]:
        raise ValueError(f"--initial {path}: it has no array {', '.join(missing)}; found {', '.join(arrays) or 'none'}")
    for name, size in expected.items():
        what = f"array {name}" if name else "the array"
        if arrays[name].size != size:
            raise ValueError(f"--initial {path}: {what} has {arrays[name].size} values, expected {size}")
        if arrays[name].dtype.kind not in "fiu" or not np.isfinite(arrays[name]).all():
            raise ValueError(f"--initial {path}: {what} has values that are no finite numbers")
    return np.concatenate([np.asarray(arrays[name], dtype=float).ravel() for name in expected])
