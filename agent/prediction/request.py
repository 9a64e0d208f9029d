"""Reads the options of `mlasdi predict` as a request to the surrogate."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mlasdi.agent.prediction.predict import Request, Selection
from mlasdi.agent.text import levels, time_points, values
from mlasdi.agent.text import sensors as sensor_places
from mlasdi.solvers import read_columns
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
        points = space.as_array(values(self.at)) if self.table is None else read_columns(self.table, space.names)
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
