"""What the command line asks to predict, as a request to the surrogate."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlasdi.agent.prediction.predict import Request, Selection
from mlasdi.agent.text import levels, read_columns, time_points, values
from mlasdi.agent.text import sensors as sensor_places
from mlasdi.surrogate import Surrogate


def request_of(
    surrogate: Surrogate,
    *,
    at: Sequence[str],
    table: Path | None,
    times: str | None,
    fields: str | None,
    sensors: Sequence[str] | None,
    sensor_table: Path | None,
    std: bool,
    quantiles: str | None,
    extrapolate: bool,
) -> Request:
    """The options of `mlasdi predict`, read and checked.

    Raises:
        ValueError: one cannot be read, two exclude each other, or they do not fit the model.
    """
    if bool(at) == bool(table):
        raise ValueError("give the parameters as --at NAME=VALUE ..., or a table of points as --points FILE; not both")
    if sensors and sensor_table:
        raise ValueError("--sensor and --sensors are both given; choose one")
    names = surrogate.space.names
    points = surrogate.space.as_array(values(at)) if table is None else read_columns(table, names)
    places = sensor_places(sensors) if sensors else None
    if sensor_table is not None:
        axes = tuple(surrogate.layout.coordinates)
        places = dict(zip(axes, np.ascontiguousarray(read_columns(sensor_table, axes).T), strict=True))
    chosen = None if fields is None else tuple(name.strip() for name in fields.split(","))
    return Request(
        points=points,
        times=None if times is None else time_points(times),
        std=std,
        levels=() if quantiles is None else levels(quantiles),
        selection=Selection(chosen, places),
        extrapolate=extrapolate,
    )
