"""The Python face: a surrogate from arrays of trajectories, and surrogates found again."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from mlasdi.array_runs import check_points, check_trajectories, has_own_times, runs_at_own_times, trajectories
from mlasdi.labelled_runs import is_dataset, numbers, runs_of_dataset
from mlasdi.preprocessing import MEMORY_MB, TrainingData, common_runs
from mlasdi.solvers import Parameter as NamedParameter
from mlasdi.solvers import ParameterSpace, parameters_of, ungrouped
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings
from mlasdi.training import fit as fit_trajectories

Range = tuple[float, float] | Sequence[float]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a problem, where there is more to say than its range; its name is the key it is given under.

    Attributes:
        low, high: bounds, inclusive, in physical units; `low < high`. Not with `values`.
        scale: `"log"` places points, and measures distances, in the logarithm.
        unit: for axis labels; empty when dimensionless.
        integer: only whole numbers are solved; bounds are whole too.
        values: the only numbers that are solved, such as `(1, 2, 5)`; or words, such as `("water", "oil")`.
        size: the parameter is a list of this many numbers, each between `low` and `high`.
    """

    low: float | None = None
    high: float | None = None
    scale: Literal["linear", "log"] = "linear"
    unit: str = ""
    integer: bool = False
    values: Sequence[float] | Sequence[str] | None = None
    size: int | None = None


def fit(
    mu: Any,
    t: ArrayLike | None = None,
    u: ArrayLike | Mapping[str, ArrayLike] | None = None,
    parameters: Mapping[str, Parameter | Range] | None = None,
    fields: Sequence[str] = (),
    coordinates: Mapping[str, ArrayLike] | None = None,
    axes: Mapping[str, Sequence[str]] | None = None,
    outputs: Mapping[str, str] | None = None,
    seed: int = 0,
    memory_mb: int = MEMORY_MB,
    **settings: Any,
) -> Surrogate:
    """Fit a surrogate to trajectories, or to steady solutions, that are there already.

    Args:
        mu: parameters of the training runs `[param, n_params]` in the order of `parameters`, or by name
            `{name: [param]}`, as a DataFrame has them. Or, in place of `mu`, `t` and `u`, an xarray Dataset: parameters
            along one dimension, that of the runs, or as dimensions of their own; times along `time` or `t`, without
            which it is steady; all other dimensions are axes of the fields.
        t: times that all runs share `[time]`, increasing; or a list of the times of each run, which may be of different
            lengths (`run_length` in the settings); None for steady solutions.
        u: states `[param, time, state]`: the fields one after the other, each flattened (C order) over the axes of
            `coordinates`; or one field with these axes, `[param, time, *axes]`; or outputs by name, each with axes of
            its own: `{name: [param, time, *axes]}`, `[param, time]` for one number at each time, `[param, *axes]` for a
            steady field, `[param]` for one number. A DataFrame has a column for each output that is one number. Where
            each run has its own times, a list of arrays, one a run, in place of the axis `param`.
        parameters: the box: name -> `(low, high)`, or a `Parameter`.
        fields: names of the fields in `u`, by default `u`; with a mapping `u`, its keys are; of a dataset, by default
            all of its fields.
        coordinates: axis -> coordinates of the grid; by default the values of a field are numbered. Outputs on
            different grids take those that fit their lengths.
        axes: output -> the names of its axes after that of the runs, such as `("time", "x")`, where lengths do not
            tell them.
        outputs: quantities of interest: name -> how it is computed, such as `"max over time and space of u"`, `"u at
            x=0.5, time=1"` or `"package.module:function"` (`mlasdi.solvers.outputs.quantity`).
        seed: of everything random.
        memory_mb: memory for what is as large as `u`, in MB. Where several copies of `u` do not fit in it, the basis is
            computed from blocks.
        **settings: keys of `ModelSettings`, such as `kind="snapshot-gp"` or `effort="quick"`.

    Returns:
        The surrogate; `predict` gives trajectories at other parameters.

    Raises:
        ValueError: arrays do not fit together, hold values that are not finite, a setting is unknown, or runs at equal
            parameters differ by more than white noise while no `noise` is given.

    Examples:
        >>> import numpy as np
        >>> import mlasdi
        >>> x, t, a = np.linspace(0, 1, 50), np.linspace(0, 1, 30), np.linspace(1, 2, 6)
        >>> u = np.exp(-a[:, None, None] * t[:, None]) * np.sin(np.pi * x)
        >>> model = mlasdi.fit(a[:, None], t, u, parameters={"a": (1, 2)}, coordinates={"x": x})
        >>> prediction = model.predict({"a": 1.3})
        >>> prediction.mean.shape, prediction.std.shape
        ((1, 30, 50), (1, 30, 50))

        Outputs of several shapes, in one model:

        >>> outputs = {"u": u, "flux": u[:, :, 0], "energy": (u**2).mean(axis=(1, 2))}
        >>> prediction = mlasdi.fit(a[:, None], t, outputs, {"a": (1, 2)}, coordinates={"x": x}).predict(a=1.3)
        >>> [prediction[name].shape for name in prediction.fields]
        [(1, 30, 50), (1, 30), (1,)]

        Runs that end at different times, here where the solution has fallen to a tenth:

        >>> times = [np.linspace(0, np.log(10) / rate, 30) for rate in a]
        >>> model = mlasdi.fit(a[:, None], times, [np.exp(-r * t)[:, None] for r, t in zip(a, times)], {"a": (1, 2)})
        >>> bool(abs(model.predict(a=1.3).end_time[0] - np.log(10) / 1.3) < 1e-3)
        True

        Runs in an xarray Dataset:

        >>> import xarray as xr
        >>> runs = xr.Dataset({"u": (("a", "time", "x"), u)}, {"a": a, "time": t, "x": x})
        >>> mlasdi.fit(runs, parameters={"a": (1, 2)}).predict(a=1.3)["u"].shape
        (1, 30, 50)
    """
    if not parameters:
        raise ValueError("parameters is missing: give the box, name -> (low, high)")
    space = ParameterSpace(tuple(p for name, given in parameters.items() for p in _named(name, given)))
    model = ModelSettings.model_validate(settings)
    if has_own_times(t):
        points = _points(mu, space)
        check_points(points, space)
        runs, layout = runs_at_own_times(len(points), t, u, fields or ("u",), coordinates, axes or {})
        mus = [space.as_dict(point) for point in points]
        data, facts = common_runs(space, layout, mus, runs, model.run_length, memory_mb)
        return fit_trajectories(data, model, seed=seed, memory_mb=memory_mb, quantities=outputs, info=facts)
    if is_dataset(mu):
        if not (t is None and u is None and coordinates is None and axes is None):
            raise ValueError("mu is a dataset, which has t, u, coordinates and axes itself: leave these out")
        labelled = runs_of_dataset(mu, space.names, (fields,) if isinstance(fields, str) else tuple(fields))
        units = {p.name: p.unit or labelled.units.get(p.name, "") for p in space.parameters}
        space = ParameterSpace(tuple(replace(p, unit=units[p.name]) for p in space.parameters))
        points = _points(labelled.mu, space)
        times, states, layout = labelled.trajectories()
    else:
        points = _points(ungrouped(mu, space.parameters), space)
        times, states, layout = trajectories(len(points), t, u, fields or ("u",), coordinates, axes or {})
    check_trajectories(points, times, states, space)
    data = TrainingData(space, layout, points, times, states)
    return fit_trajectories(data, model, seed=seed, memory_mb=memory_mb, quantities=outputs)


def load(source: Any) -> Surrogate:
    """Load a surrogate from a folder, or from an MLflow URI such as `models:/burgers1d@champion`.

    Raises:
        SurrogateError: there is no surrogate, or it is damaged or of another format.
    """
    return Surrogate.load(source)


def _named(name: str, given: Parameter | Range) -> tuple[NamedParameter, ...]:
    if isinstance(given, NamedParameter):
        raise ValueError(f"parameter '{name}': give mlasdi.Parameter(low, high, ...), which has no name of its own")
    if isinstance(given, Parameter):
        return parameters_of(name, asdict(given))
    bounds = list(given)
    if len(bounds) != 2:
        raise ValueError(f"parameter '{name}': give (low, high) or mlasdi.Parameter(low, high, ...), got {given!r}")
    return (NamedParameter(name, float(bounds[0]), float(bounds[1])),)


def _points(mu: Any, space: ParameterSpace) -> Float[np.ndarray, "param n_params"]:
    if isinstance(mu, Mapping) or hasattr(mu, "columns"):
        columns = {str(name): numbers(f"mu['{name}']", mu[name]) for name in mu}
        if set(columns) != set(space.names):
            raise ValueError(f"mu has parameters {sorted(columns)}; parameters names {list(space.names)}")
        return np.column_stack([columns[name] for name in space.names])
    points = numbers("mu", mu)
    if points.ndim == 1 and space.n_params == 1:
        points = points[:, None]
    return points
