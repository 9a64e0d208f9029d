"""Quantities of interest: functions of predicted trajectories, with the surrogate's own error in them."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from mlasdi.interpolation import END_TIME, EndTimes
from mlasdi.prediction import Prediction, Probes, computation
from mlasdi.solvers import ParameterSpace, Points, StateLayout
from mlasdi.solvers.outputs import is_function
from mlasdi.solvers.outputs import quantity as evaluated

# Largest size of the states in memory, and largest number of points that are predicted at once.
BLOCK_BYTES, BLOCK_POINTS = 1 << 26, 64
_TEXT = re.compile(r"\s*([^()\s]+)\s*\(([^()]*)\)\s*")
_SENTENCE = re.compile(r"\s(over|at)\s")
_REDUCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rms": lambda u: np.sqrt(np.mean(u**2, axis=-1)),
    "min": lambda u: u.min(axis=-1),
    "max": lambda u: u.max(axis=-1),
}
Function = Callable[[Prediction], ArrayLike]
"""From predicted trajectories to one value each, `[param]`, or to one at each time, `[param, time]`."""
Quantities = str | Function | Mapping[str, str | Function] | Sequence[str]
"""One quantity or several, as text such as `mean(u)` or as functions."""


class AnalysisWarning(UserWarning):
    """An analysis is less certain than its numbers say, or the trained box limits its answer."""


@runtime_checkable
class Model(Protocol):
    """What an analysis needs of a surrogate; see `mlasdi.Surrogate`."""

    @property
    def space(self) -> ParameterSpace: ...

    @property
    def layout(self) -> StateLayout: ...

    @property
    def t(self) -> np.ndarray: ...

    @property
    def quantities(self) -> Mapping[str, str]: ...

    def predict(self, mu: Points, t: Any = None, *, std: bool = True, probes: Any = None) -> Prediction: ...

    def sample(self, mu: Points, n: int, seed: Any, t: Any = None, *, probes: Any = None) -> np.ndarray: ...

    def standard_steps(self, mu: Points, t: Any = None, *, probes: Any = None) -> tuple[np.ndarray, ...]: ...

    @property
    def end_times(self) -> EndTimes | None: ...

    def holding_end(self) -> "Model": ...


@dataclass(frozen=True)
class Quantity:
    """A quantity of interest.

    Attributes:
        name: for tables.
        function: of the predicted trajectories.
        probes: the values of a state that the function needs, the only ones that are then decoded; None for all.
    """

    name: str
    function: Function
    probes: Probes | None = None

    def of(
        self,
        model: Model,
        mu: Float[np.ndarray, "param n_params"],
        t: Float[np.ndarray, " time"],
        u: Float[np.ndarray, "param time value"],
        ends: Float[np.ndarray, " param"] | None,
    ) -> Float[np.ndarray, "param column"]:
        """Its values for given trajectories: a column for each time, or one.

        Raises:
            ValueError: the function returns another shape, or values that are not finite.
        """
        layout = model.layout if self.probes is None else self.probes.layout
        found = np.asarray(self.function(Prediction(t, u, None, mu, model.space, layout, end_time=ends)), dtype=float)
        if found.shape not in ((len(mu),), (len(mu), len(t))):
            raise ValueError(
                f"quantity '{self.name}' has shape {found.shape} for {len(mu)} trajectories at {len(t)} times; return "
                f"[param] or [param, time]"
            )
        if not np.isfinite(found).all():
            raise ValueError(f"quantity '{self.name}' is not finite; points outside of a mask are NaN")
        return found.reshape(len(mu), -1)


def predicted(
    model: Model,
    quantities: Sequence[Quantity],
    mu: Float[np.ndarray, "param n_params"],
    t: Float[np.ndarray, " time"],
) -> list[Float[np.ndarray, "param _"]]:
    """Each quantity for the mean of the surrogate, `[param, column]`; predictions are shared."""
    probes, parts = _shared_probes(model, quantities), []
    for rows in _blocks(model, probes, mu, len(t)):
        found = model.predict(rows, t, std=False, probes=probes)
        parts.append(_each(model, quantities, rows, t, found.mean, probes, found.end_time))
    return [np.concatenate(values) for values in zip(*parts, strict=True)]


def drawn(
    model: Model,
    quantities: Sequence[Quantity],
    mu: Float[np.ndarray, "param n_params"],
    t: Float[np.ndarray, " time"],
    n_draws: int,
    seed: int,
) -> list[Float[np.ndarray, "draw param _"]]:
    """Each quantity for functions drawn from the distribution of the surrogate, `[draw, param, column]`.

    The same seed draws the same functions, whatever the points: the random numbers belong to the directions in which
    the surrogate varies.
    """
    probes, parts = _shared_probes(model, quantities), []
    for rows in _blocks(model, probes, mu, len(t) * n_draws):
        u = model.sample(rows, n_draws, np.random.default_rng(seed), t, probes=probes)
        repeated, ends = np.repeat(rows, n_draws, axis=0), _drawn_ends(model, rows, n_draws, seed)
        flat = _each(model, quantities, repeated, t, u.reshape(-1, *u.shape[2:]), probes, ends)
        parts.append([values.reshape(len(rows), n_draws, -1) for values in flat])
    return [np.concatenate(values).transpose(1, 0, 2) for values in zip(*parts, strict=True)]


def _drawn_ends(
    model: Model, mu: Float[np.ndarray, "param n_params"], n_draws: int, seed: int
) -> Float[np.ndarray, " draw"] | None:
    """End times of drawn runs, all draws of a point after each other; None if all runs end together."""
    if model.end_times is None:
        return None
    x, normal = model.space.to_unit(mu), np.random.default_rng(seed).standard_normal(n_draws)
    factors = np.exp(model.end_times.std(x)[:, None] * normal)
    return (model.t[0] + model.end_times.durations(x)[:, None] * factors).ravel()


def _shared_probes(model: Model, quantities: Sequence[Quantity]) -> Probes | None:
    """The values of a state that all quantities need together; None for all, or where that is less work."""
    parts = [quantity.probes for quantity in quantities]
    known = [part for part in parts if part is not None]
    width = max((part.entries.shape[1] for part in known), default=0)
    if len(known) < len(parts) or width * sum(map(len, known)) > 2 * model.layout.n_state:
        return None
    return known[0] if len(known) == 1 else Probes.joined(known)


def _each(
    model: Model,
    quantities: Sequence[Quantity],
    mu: Float[np.ndarray, "param n_params"],
    t: Float[np.ndarray, " time"],
    u: Float[np.ndarray, "param time value"],
    probes: Probes | None,
    ends: Float[np.ndarray, " param"] | None,
) -> list[Float[np.ndarray, "param _"]]:
    """Each quantity, for the values of `_shared_probes`."""
    found, start = [], 0
    for quantity in quantities:
        if quantity.probes is None:
            own = u
        elif probes is None:
            own = quantity.probes.of(u)
        else:
            own = u[..., start : start + len(quantity.probes)]
            start += len(quantity.probes)
        found.append(quantity.of(model, mu, t, own, ends))
    return found


def _blocks(
    model: Model, probes: Probes | None, mu: Float[np.ndarray, "param n_params"], n_states: int
) -> list[Float[np.ndarray, "_ n_params"]]:
    n_values = model.layout.n_state if probes is None else len(probes)
    size = int(np.clip(BLOCK_BYTES // (8 * n_states * n_values), 1, BLOCK_POINTS))
    return np.split(mu, range(size, len(mu), size))


def quantities_of(model: Model, given: Quantities | None) -> tuple[Quantity, ...]:
    """The quantities that are given; by default the root mean square of each field.

    Text is `mean(u)`, `rms(u)`, `min(u)` or `max(u)` of a field over all places, or `u(x=0.5, y=1)` at one place, each
    at every time; or what `Prediction.quantity` takes: the name of a quantity of the model, or a sentence such as `max
    over time and space of u` (`mlasdi.solvers.outputs.quantity`).

    Raises:
        ValueError: a text cannot be read, or names an unknown field or place.
    """
    if given is None:
        given = [f"rms({name})" for name in model.layout.fields]
    if isinstance(given, str) or callable(given):
        given = {given if isinstance(given, str) else getattr(given, "__name__", "quantity"): given}
    pairs = given.items() if isinstance(given, Mapping) else [(text, text) for text in given]
    found = tuple(_quantity(model, str(name), one) for name, one in pairs)
    if not found:
        raise ValueError("no quantity is given; give for example mean(u), or a function of the prediction")
    return found


def one_quantity(model: Model, given: str | Function) -> Quantity:
    """As `quantities_of`, for one."""
    (found,) = quantities_of(model, given)
    return found


def _quantity(model: Model, name: str, given: str | Function) -> Quantity:
    if callable(given):
        return Quantity(name, given)
    layout, match = model.layout, _TEXT.fullmatch(given)
    if match is None:
        return _by_sentence(model, name, given)
    outer, inner = match[1], match[2].strip()
    try:
        if "=" in inner:
            return Quantity(name, _only_value, Probes.at_points(layout, _place(inner), [outer]))
        probes = Probes.of_fields(layout, [inner])
    except ValueError as error:
        raise ValueError(f"quantity '{given}': {error}") from None
    if outer == "mean":
        entries = probes.entries.T
        return Quantity(name, _only_value, Probes(entries, np.full(entries.shape, 1 / entries.size)))
    if outer not in _REDUCTIONS:
        raise ValueError(f"quantity '{given}': '{outer}' is none of mean, {', '.join(_REDUCTIONS)}")
    reduce = _REDUCTIONS[outer]
    return Quantity(name, lambda p: reduce(p.mean), probes if len(layout.fields) > 1 else None)


def _by_sentence(model: Model, name: str, given: str) -> Quantity:
    if given == END_TIME and model.end_times is not None:
        return Quantity(name, lambda p: np.asarray(p.end_time), Probes(np.zeros((1, 1), dtype=int), np.zeros((1, 1))))
    text = computation(model.quantities, given)
    if not (is_function(text) or _SENTENCE.search(text)):
        raise ValueError(
            f"quantity '{given}': write mean(u), rms(u), min(u), max(u), u(x=0.5) at a place, a sentence such as "
            "'max over time and space of u', or the name of a quantity of the model"
        )
    return Quantity(name, lambda p: np.stack([evaluated(text, p.named_layout(), *run) for run in _runs(p)]))


def _runs(p: Prediction) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Times and states of each run up to its end, after which states are those at the end."""
    for i, u in enumerate(p.mean):
        end = np.inf if p.end_time is None else p.end_time[i]
        n = int(np.searchsorted(p.t, end, side="right"))
        yield (p.t, u) if n == len(p.t) else (np.append(p.t[:n], end), u[: n + 1])


def _only_value(prediction: Prediction) -> np.ndarray:
    return prediction.mean[..., 0]


def _place(text: str) -> dict[str, float]:
    found = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        try:
            found[name] = float(value)
        except ValueError:
            raise ValueError(f"'{part.strip()}': write a coordinate and a number, such as x=0.5") from None
    return found


def times_of(model: Model, t: ArrayLike | None) -> Float[np.ndarray, " time"]:
    """Times of an analysis; those of training by default.

    Raises:
        ValueError: outside of the trained interval, where the surrogate's error is not known.
    """
    times = model.t if t is None else np.atleast_1d(np.asarray(t, dtype=float))
    slack = 1e-9 * (model.t[-1] - model.t[0])
    if times.ndim != 1 or not times.size or not ((times >= model.t[0] - slack) & (times <= model.t[-1] + slack)).all():
        raise ValueError(f"times {times.tolist()}: give times [time] from {model.t[0]:g} to {model.t[-1]:g}")
    return times


def warn(messages: Sequence[str]) -> None:
    """Issue the warnings of an analysis, for its caller."""
    for message in messages:
        warnings.warn(message, AnalysisWarning, stacklevel=4)
