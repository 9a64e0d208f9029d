"""Trajectories and their layout from arrays that users give, checked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from mlasdi.labelled_runs import LabelledRuns, numbers
from mlasdi.solvers import MAX_STATE, ParameterSpace, Snapshots, StateLayout


def trajectories(
    n_runs: int,
    t: ArrayLike | None,
    u: Any,
    fields: Sequence[str],
    coordinates: Mapping[str, ArrayLike] | None,
    axes: Mapping[str, Sequence[str]],
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."], StateLayout]:
    """Times, states and layout of arrays, not yet checked."""
    if u is None:
        raise ValueError("u is missing: give states [param, time, state], outputs by name, or a dataset in place of mu")
    if hasattr(u, "columns"):
        u = {str(name): numbers(f"u['{name}']", u[name]) for name in u.columns}
    times = None if t is None else numbers("t", t)
    if times is None or _has_shapes(u) or axes:
        named = u if isinstance(u, Mapping) else {fields if isinstance(fields, str) else fields[0]: u}
        outputs = {str(name): numbers(f"u['{name}']", values) for name, values in named.items()}
        return LabelledRuns(n_runs, times, outputs, coordinates or {}, axes).trajectories()
    states, names = _states(u, fields, coordinates)
    return times, states, _layout(names, coordinates, states.shape[-1])


def _states(
    u: ArrayLike | Mapping[str, ArrayLike], fields: Sequence[str], coordinates: Mapping[str, ArrayLike] | None
) -> tuple[Float[np.ndarray, "param time state"], tuple[str, ...]]:
    """States with the fields one after the other, and their names; fields by name have one shape."""
    if isinstance(u, Mapping):
        parts = {str(name): numbers(f"u['{name}']", values) for name, values in u.items()}
        flat = [_flattened(f"u['{name}']", part, coordinates) for name, part in parts.items()]
        return np.concatenate(flat, axis=-1), tuple(parts)
    states = numbers("u", u)
    names = (fields,) if isinstance(fields, str) else tuple(fields)
    if states.ndim > 3 and len(names) == 1:
        states = _flattened("u", states, coordinates)
    if states.ndim != 3:
        raise ValueError(
            f"u has shape {states.shape}; expected [param, time, state], [param, time, *axes] of one field, "
            "or a mapping of fields"
        )
    if not names or states.shape[-1] % len(names):
        raise ValueError(f"u has {states.shape[-1]} values a state, which do not divide into the fields {list(names)}")
    return states, names


def _flattened(
    name: str, field: Float[np.ndarray, "param time *axes"], coordinates: Mapping[str, ArrayLike] | None
) -> Float[np.ndarray, "param time state"]:
    """A field with its axes as one, which are those of `coordinates`, in their order."""
    grid = tuple(np.size(values) for values in (coordinates or {}).values())
    if coordinates and field.ndim > 3 and field.shape[2:] != grid:
        raise ValueError(
            f"{name} has shape {field.shape}; with coordinates {', '.join(coordinates)} it must be "
            f"[param, time, {', '.join(map(str, grid))}]"
        )
    return field.reshape(*field.shape[:2], -1)


def _has_shapes(u: ArrayLike | Mapping[str, ArrayLike]) -> bool:
    """Whether these are outputs of different shapes."""
    if not isinstance(u, Mapping):
        return False
    shapes = {np.shape(values) for values in u.values()}
    return len(shapes) > 1 or any(len(shape) < 3 for shape in shapes)


def has_own_times(t: Any) -> bool:
    """Whether each run has times of its own."""
    return np.ndim(t[0]) == 1 if isinstance(t, list | tuple) and t else t is not None and np.ndim(t) == 2


def runs_at_own_times(
    n_runs: int,
    t: Any,
    u: Any,
    fields: Sequence[str],
    coordinates: Mapping[str, ArrayLike] | None,
    axes: Mapping[str, Sequence[str]],
) -> tuple[list[Snapshots], StateLayout]:
    """Runs at times of their own, each checked, and their layout."""
    found = list[Snapshots]()
    for name, given in u.items() if isinstance(u, Mapping) else [("", u)]:
        if len(given) != n_runs:
            raise ValueError(f"u{[name] if name else ''} has {len(given)} runs, and mu has {n_runs} rows")
    if len(t) != n_runs:
        raise ValueError(f"t has the times of {len(t)} runs, and mu has {n_runs} rows")
    for k in range(n_runs):
        times = numbers(f"t[{k}]", t[k])
        _check_times(times, f"t[{k}]")
        if isinstance(u, Mapping):
            named = {name: numbers(f"u['{name}'][{k}]", of_runs[k])[None] for name, of_runs in u.items()}
            _, states, layout = LabelledRuns(1, times, named, coordinates or {}, axes).trajectories()
        else:
            state = numbers(f"u[{k}]", u[k])
            states, names = _states((state[:, None] if state.ndim == 1 else state)[None], fields, coordinates)
            layout = _layout(names, coordinates, states.shape[-1])
        if states.shape[1] != len(times) or not np.isfinite(states).all():
            wrong = f"{states.shape[1]} times" if states.shape[1] != len(times) else "values that are not finite"
            raise ValueError(f"u[{k}] has {wrong}; expected finite values at the {len(times)} times of t[{k}]")
        found.append(Snapshots(times, states[0], layout))
        if found[-1].layout != found[0].layout:
            raise ValueError(f"run {k} has other fields or axes than run 0; axes says which are meant")
    return found, layout


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


def check_trajectories(
    mu: Float[np.ndarray, "..."], t: Float[np.ndarray, "..."], u: Float[np.ndarray, "..."], space: ParameterSpace
) -> None:
    """Refuse points, times and states that do not fit each other, or are no finite numbers of a usable size.

    Raises:
        ValueError: what is wrong, and where.
    """
    if u.shape[:2] != (len(mu), t.size):
        expected = f"[{len(mu)}, {t.size}, state], as mu and t have rows and times"
        raise ValueError(f"u has shape {u.shape}; expected {expected}")
    _check_finite("u", u)
    if u.size and (largest := float(max(u.max(), -u.min()))) > MAX_STATE:
        raise ValueError(f"u reaches {largest:.2g}; give it in units in which it is at most {MAX_STATE:g}")
    _check_times(t, "t", 1)
    check_points(mu, space)


def _check_times(t: Float[np.ndarray, "..."], name: str, least: int = 2) -> None:
    if t.ndim != 1:
        raise ValueError(f"{name} has shape {t.shape}; expected [time]")
    if len(t) < least:
        raise ValueError(f"{name} has {len(t)} times; a run needs at least {least}")
    _check_finite(name, t)
    if (np.diff(t) <= 0).any():
        k = int(np.argmax(np.diff(t) <= 0))
        raise ValueError(f"{name} must increase; {name}[{k}] = {t[k]:g} is followed by {t[k + 1]:g}")


def check_points(mu: Float[np.ndarray, "..."], space: ParameterSpace) -> None:
    """Refuse points that are not points of the box.

    Raises:
        ValueError: another shape, or a point outside of the box.
    """
    if mu.ndim != 2 or mu.shape[1] != space.n_params:
        raise ValueError(f"mu has shape {mu.shape}; expected [param, {space.n_params}] for {list(space.names)}")
    _check_finite("mu", mu)
    outside = ~space.contains(mu)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(f"mu[{row}] = {space.as_dict(mu[row])} lies outside of the box that parameters gives")


def _check_finite(name: str, values: Float[np.ndarray, "..."]) -> None:
    if not np.isfinite(values).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ValueError(f"{name} is not finite at {name}{list(where)}")
