"""The figure of one prediction: a field and its standard deviation, or the values at sensors over time."""

import warnings
from pathlib import Path

from mlasdi.agent.figures import save, styled
from mlasdi.agent.prediction.predict import Request, Selection
from mlasdi.solvers import evenly_spread
from mlasdi.surrogate import ExtrapolationWarning, Surrogate

# Largest number of lines with distinguishable colours, and of times that are visible.
MAX_SENSORS, _MAX_TIMES = 8, 300


def check_figure(path: Path, request: Request) -> None:
    """Check that a figure can be drawn, before the prediction.

    Raises:
        ValueError: unknown suffix, no such folder, several points, or too many sensors.
    """
    if path.suffix != ".png":
        raise ValueError(f"--plot {path}: give a file that ends in .png")
    if not path.parent.is_dir():
        raise ValueError(f"--plot {path}: there is no folder {path.parent}")
    if len(request.points) > 1:
        raise ValueError(f"--plot {path}: it shows one trajectory, and {len(request.points)} points are given")
    sensors = request.selection.sensors
    if sensors and len(next(iter(sensors.values()))) > MAX_SENSORS:
        raise ValueError(f"--plot {path}: it shows at most {MAX_SENSORS} sensors")


def draw_prediction(surrogate: Surrogate, request: Request, path: Path) -> None:
    """Draw the trajectory of the first requested field, at the only point of the request."""
    t = surrogate.default_times(request.points) if request.times is None else request.times
    whole = request.selection.layout(surrogate.layout)
    selection = Selection(whole.fields[:1], request.selection.sensors)
    shown = evenly_spread(
        len(t), _MAX_TIMES if selection.sensors is not None or len(whole.of(whole.fields[0]).coordinates) < 2 else 3
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)  # the summary of the prediction contains it
        found = surrogate.predict(request.points, t[shown], probes=selection.probes(surrogate.layout))
    save(styled(found.plot)(), path)
