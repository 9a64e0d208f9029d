"""The Python face: a surrogate from arrays of trajectories, and surrogates found again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from mlasdi.preprocessing import MEMORY_MB, TrainingData
from mlasdi.solvers import MAX_STATE, ParameterSpace, SolverError, StateLayout
from mlasdi.solvers import Parameter as NamedParameter
from mlasdi.solvers.outputs import NamedArrays
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings
from mlasdi.training import fit as fit_trajectories

Range = tuple[float, float] | Sequence[float]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a problem, where there is more to say than its range; its name is the key it is given under.

    Attributes:
        low, high: bounds, inclusive, in physical units; `low < high`.
        scale: `"log"` places points, and measures distances, in the logarithm.
        unit: for axis labels; empty when dimensionless.
        integer: only whole numbers are solved; bounds are whole too.
    """

    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"
    unit: str = ""
    integer: bool = False


def fit(
    mu: ArrayLike | Mapping[str, ArrayLike],
    t: ArrayLike | None,
    u: ArrayLike | Mapping[str, ArrayLike],
    parameters: Mapping[str, Parameter | Range],
    fields: Sequence[str] = ("u",),
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
            `{name: [param]}`, as a DataFrame has them.
        t: times that all runs share `[time]`, increasing; None for steady solutions.
        u: states `[param, time, state]`: the fields one after the other, each flattened (C order) over the axes of
            `coordinates`; or outputs by name, each with axes of its own: `{name: [param, time, *axes]}`,
            `[param, time]` for one number at each time, `[param, *axes]` for a steady field, `[param]` for one number.
        parameters: the box: name -> `(low, high)`, or a `Parameter`.
        fields: names of the fields in `u`; with a mapping `u`, its keys are.
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
    """
    space = ParameterSpace(tuple(_named(name, given) for name, given in parameters.items()))
    points = _points(mu, space)
    if t is None or _has_shapes(u) or axes:
        times, states, layout = _outputs(len(points), t, u, fields, coordinates or {}, axes or {})
    else:
        times = _real("t", t)
        states, names = _states(u, fields)
        layout = _layout(names, coordinates, states.shape[-1])
    _check(points, times, states, space)
    data = TrainingData(space, layout, points, times, states)
    model = ModelSettings.model_validate(settings)
    return fit_trajectories(data, model, seed=seed, memory_mb=memory_mb, quantities=outputs)


def load(source: Any) -> Surrogate:
    """Load a surrogate from a folder, or from an MLflow URI such as `models:/burgers1d@champion`.

    Raises:
        SurrogateError: there is no surrogate, or it is damaged or of another format.
    """
    return Surrogate.load(source)


def _named(name: str, given: Parameter | Range) -> NamedParameter:
    if isinstance(given, NamedParameter):
        raise ValueError(f"parameter '{name}': give mlasdi.Parameter(low, high, ...), which has no name of its own")
    if isinstance(given, Parameter):
        return NamedParameter(name, given.low, given.high, given.unit, given.scale, given.integer)
    bounds = list(given)
    if len(bounds) != 2:
        raise ValueError(f"parameter '{name}': give (low, high) or mlasdi.Parameter(low, high, ...), got {given!r}")
    return NamedParameter(name, float(bounds[0]), float(bounds[1]))


def _points(mu: ArrayLike | Mapping[str, ArrayLike], space: ParameterSpace) -> Float[np.ndarray, "param n_params"]:
    if isinstance(mu, Mapping) or hasattr(mu, "columns"):
        columns = {str(name): _real(f"mu[{name!r}]", mu[name]) for name in mu}  # type: ignore[union-attr, index]
        if set(columns) != set(space.names):
            raise ValueError(f"mu has parameters {sorted(columns)}; parameters names {list(space.names)}")
        return np.column_stack([columns[name] for name in space.names])
    points = _real("mu", mu)
    if points.ndim == 1 and space.n_params == 1:
        points = points[:, None]
    return points


def _real(name: str, given: ArrayLike) -> Float[np.ndarray, "..."]:
    """An array of real numbers, NaN where a masked array has no value."""
    values = np.asanyarray(given)
    if values.dtype.kind == "c":
        raise ValueError(f"{name} holds {values.dtype}, not real numbers; give real and imaginary part as two fields")
    if values.dtype.names is not None:
        raise ValueError(f"{name} is a structured array with {list(values.dtype.names)}; give a mapping of its columns")
    return np.asarray(np.ma.filled(values.astype(float), np.nan))


def _states(
    u: ArrayLike | Mapping[str, ArrayLike], fields: Sequence[str]
) -> tuple[Float[np.ndarray, "param time state"], tuple[str, ...]]:
    """States with the fields one after the other, and their names; fields by name have one shape."""
    if isinstance(u, Mapping):
        parts = [_real(f"u['{name}']", values) for name, values in u.items()]
        return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=-1), tuple(map(str, u))
    states = _real("u", u)
    if states.ndim != 3:
        raise ValueError(f"u has shape {states.shape}; expected [param, time, state], or a mapping of fields")
    names = (fields,) if isinstance(fields, str) else tuple(fields)
    if not names or states.shape[-1] % len(names):
        raise ValueError(f"u has {states.shape[-1]} values a state, which do not divide into the fields {list(names)}")
    return states, names


def _has_shapes(u: ArrayLike | Mapping[str, ArrayLike]) -> bool:
    """Whether these are outputs of different shapes."""
    if not isinstance(u, Mapping):
        return False
    shapes = {np.shape(values) for values in u.values()}
    return len(shapes) > 1 or any(len(shape) < 3 for shape in shapes)


def _outputs(
    n_runs: int,
    t: ArrayLike | None,
    u: ArrayLike | Mapping[str, ArrayLike],
    fields: Sequence[str],
    coordinates: Mapping[str, ArrayLike],
    axes: Mapping[str, Sequence[str]],
) -> tuple[Float[np.ndarray, " time"], Float[np.ndarray, "param time state"], StateLayout]:
    """Times, states and layout of outputs that have axes of their own."""
    named = u if isinstance(u, Mapping) else {fields if isinstance(fields, str) else fields[0]: u}
    outputs = {str(name): _real(f"u['{name}']", values) for name, values in named.items()}
    for name, values in outputs.items():
        if values.shape[:1] != (n_runs,):
            raise ValueError(f"u['{name}'] has shape {values.shape}; expected [{n_runs}, ...], as mu has rows")
    known = {f"axis {axis}": np.asarray(values, dtype=float).ravel() for axis, values in coordinates.items()}
    naming = NamedArrays(
        time="time",
        fields=tuple(outputs),
        coordinates={axis: f"axis {axis}" for axis in coordinates},
        times="steady" if t is None else None,
        axes={name: tuple(of_field) for name, of_field in axes.items()},
    )
    known |= {} if t is None else {"time": _real("t", t)}
    try:
        runs = [naming.snapshots({name: one[k] for name, one in outputs.items()} | known) for k in range(n_runs)]
    except SolverError as error:
        raise ValueError(f"u: {error}") from error
    if not runs or runs[0].layout is None:
        raise ValueError("there are no runs")
    return runs[0].t, np.stack([run.u for run in runs]), runs[0].layout


def _layout(fields: tuple[str, ...], coordinates: Mapping[str, ArrayLike] | None, n_state: int) -> StateLayout:
    n_values = n_state // len(fields)
    axes = {"index": np.arange(n_values)} if coordinates is None else coordinates
    layout = StateLayout(fields, {name: np.asarray(values, dtype=float).ravel() for name, values in axes.items()})
    if layout.n_state != n_state:
        grid = " x ".join(str(n) for n in layout.shape)
        raise ValueError(
            f"u has {n_values} values for each of the {len(fields)} fields; coordinates span a grid of {grid}"
        )
    return layout


def _check(
    mu: Float[np.ndarray, "..."], t: Float[np.ndarray, "..."], u: Float[np.ndarray, "..."], space: ParameterSpace
) -> None:
    if mu.ndim != 2 or mu.shape[1] != space.n_params:
        raise ValueError(f"mu has shape {mu.shape}; expected [param, {space.n_params}] for {list(space.names)}")
    if t.ndim != 1:
        raise ValueError(f"t has shape {t.shape}; expected [time]")
    if u.shape[:2] != (len(mu), len(t)):
        raise ValueError(
            f"u has shape {u.shape}; expected [{len(mu)}, {len(t)}, state], as mu and t have rows and times"
        )
    for name, values in (("mu", mu), ("t", t), ("u", u)):
        if not np.isfinite(values).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise ValueError(f"{name} is not finite at {name}{list(where)}")
    if u.size and (largest := float(max(u.max(), -u.min()))) > MAX_STATE:
        raise ValueError(f"u reaches {largest:.2g}; give it in units in which it is at most {MAX_STATE:g}")
    if (np.diff(t) <= 0).any():
        k = int(np.argmax(np.diff(t) <= 0))
        raise ValueError(f"t must increase; t[{k}] = {t[k]:g} is followed by {t[k + 1]:g}")
    outside = ~space.contains(mu)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(f"mu[{row}] = {space.as_dict(mu[row])} lies outside of the box that parameters gives")
