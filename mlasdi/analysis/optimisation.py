"""Optimisation of a quantity over the parameters, with constraints.

By differential evolution (Storn and Price, J. Glob. Optim. 11, 1997), then sequential quadratic programming.
"""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import NonlinearConstraint, differential_evolution, minimize

from mlasdi.analysis.edges import at_edges, edge_warning
from mlasdi.analysis.inputs import Inputs
from mlasdi.analysis.quantities import Function, Model, Quantity, drawn, one_quantity, predicted
from mlasdi.prediction import ExtrapolationWarning, html_table, short_number
from mlasdi.solvers import described_point

if TYPE_CHECKING:
    import pandas as pd

OVER_TIME = ("mean", "min", "max", "last")
Limit = str | tuple[str | Function, float | None, float | None]
"""A constraint: text such as `max(u) <= 0.9`, or `(quantity, low, high)`, where None is no limit."""

MAX_GENERATIONS, POPULATION = 60, 12  # of differential evolution; the population for each parameter
STEP = 1e-5  # of finite differences, in the unit cube
FEASIBLE = 1e-6  # violation of a constraint that is rounding
LEVEL = 0.9  # of the interval
SURE = 0.95  # probability below which it is told that a constraint may not hold
_TEXT = re.compile(r"(.+?)(<=|>=)\s*([-+.\deE]+)\s*")


@dataclass(frozen=True)
class ConstraintValue:
    """A constraint at the optimum.

    Attributes:
        name: of the quantity.
        low, high: its limits; None for no limit.
        value: of the mean of the surrogate; the worst over time.
        std: standard deviation by the error of the surrogate.
        probability: that the solver meets the constraint, by the error of the surrogate.
    """

    name: str
    low: float | None
    high: float | None
    value: float
    std: float
    probability: float


@dataclass(frozen=True, repr=False)
class Optimum:
    """The best point of the box, and what the error of the surrogate means for it.

    Attributes:
        mu: parameter -> value.
        objective: name of the quantity.
        value: of the mean of the surrogate.
        std: standard deviation by the error of the surrogate.
        low, high: 90 % interval of the value.
        constraints: each at this point.
        is_feasible: whether all constraints hold, by the mean of the surrogate.
        edges: parameter -> edge of the box at which the point lies: `low` or `high`.
        evaluations: number of points that were predicted.
        warnings: what limits the answer.
    """

    mu: Mapping[str, float]
    objective: str
    value: float
    std: float
    low: float
    high: float
    constraints: tuple[ConstraintValue, ...]
    is_feasible: bool
    edges: Mapping[str, str]
    evaluations: int
    warnings: tuple[str, ...] = ()

    def to_dataframe(self) -> "pd.DataFrame":
        """One row: the parameters, `value`, `std`, `low`, `high`, and value and probability of each constraint."""
        import pandas as pd

        row: dict[str, Any] = {**self.mu, "value": self.value, "std": self.std, "low": self.low, "high": self.high}
        for one in self.constraints:
            row |= {one.name: one.value, f"{one.name} probability": one.probability}
        return pd.DataFrame([row])

    def _facts(self) -> dict[str, str]:
        point = described_point(self.mu)
        interval = f"90 %: {short_number(self.low)} to {short_number(self.high)}"
        facts = {"point": point, self.objective: f"{short_number(self.value)} ({interval})"}
        for one in self.constraints:
            facts[one.name] = f"{short_number(one.value)}, allowed with probability {one.probability:.2f}"
        return facts | ({"warnings": " ".join(self.warnings)} if self.warnings else {})

    def __repr__(self) -> str:
        return "Optimum(" + "; ".join(f"{name}: {fact}" for name, fact in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return html_table("Optimum", self._facts())


@dataclass(frozen=True)
class _Limit:
    """A constraint, and how its values at all times become the worst one: `max` below a limit, `min` above one."""

    quantity: Quantity
    low: float | None
    high: float | None

    @property
    def parts(self) -> list[tuple[Callable[..., Any], float, float]]:
        """For each limit: the worst over time, and its range."""
        above = [] if self.low is None else [(np.min, float(self.low), np.inf)]
        return above + ([] if self.high is None else [(np.max, -np.inf, float(self.high))])

    def at(self, values: Float[np.ndarray, "1 column"], drawn: Float[np.ndarray, "draw 1 column"]) -> ConstraintValue:
        """The constraint at one point."""
        holds, worst = np.ones(len(drawn), dtype=bool), self.parts[0][0]
        for over_time, low, high in self.parts:
            part = over_time(drawn[:, 0], axis=-1)
            holds &= (low <= part) & (part <= high)
        return ConstraintValue(
            self.quantity.name,
            self.low,
            self.high,
            value=float(worst(values)),
            std=float(worst(drawn[:, 0], axis=-1).std(ddof=1)),
            probability=float(holds.mean()),
        )


class _Problem:
    """Objective and constraints over the unit cube; each point is predicted once."""

    def __init__(
        self, model: Model, inputs: Inputs, t: np.ndarray, goal: Quantity, limits: Sequence[_Limit],
        reduce: Callable[[np.ndarray], np.ndarray],
    ) -> None:  # fmt: skip
        self.model, self.inputs, self.t, self.limits, self.reduce = model, inputs, t, limits, reduce
        self.quantities = (goal, *(limit.quantity for limit in limits))
        self.known: dict[bytes, np.ndarray] = {}

    def values(self, v: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n value"]:
        """Objective, then the worst over time of each limit, then sums of linear constraints of the trained region."""
        missing = np.array([row for row in v if row.tobytes() not in self.known])
        if len(missing):
            mu = self.inputs.at(missing)
            with warnings.catch_warnings():  # the search meets points that violate constraints of the trained region
                warnings.simplefilter("ignore", ExtrapolationWarning)
                goal, *others = predicted(self.model, self.quantities, mu, self.t)
            columns = [self.reduce(goal)]
            for limit, found in zip(self.limits, others, strict=True):
                columns += [over_time(found, axis=-1) for over_time, _, _ in limit.parts]
            columns += [mu @ weights for weights, _, _ in self.region]
            self.known |= {row.tobytes(): found for row, found in zip(missing, np.column_stack(columns), strict=True)}
        return np.stack([self.known[row.tobytes()] for row in v]) if len(v) else np.empty((0, 1))

    @property
    def region(self) -> list[tuple[np.ndarray, float, float]]:
        """Weights and limits of the linear constraints of the trained region."""
        space = self.inputs.space
        return [
            (
                np.array([dict(one.weights).get(name, 0.0) for name in space.names]),
                -np.inf if one.low is None else one.low,
                np.inf if one.high is None else one.high,
            )
            for one in space.linear_constraints
        ]

    def constraints(self) -> list[NonlinearConstraint]:
        limits = [(low, high) for limit in self.limits for _, low, high in limit.parts]
        limits += [(low, high) for _, low, high in self.region]
        if not limits:
            return []
        low, high = np.array(limits).T

        def function(v: np.ndarray) -> np.ndarray:
            return self.values(np.atleast_2d(v.T))[:, 1:].T if v.ndim == 2 else self.values(v[None])[0, 1:]

        return [NonlinearConstraint(function, low, high)]


def optimised(
    model: Model,
    objective: str | Function,
    inputs: Inputs,
    t: Float[np.ndarray, " time"],
    *,
    constraints: Sequence[Limit] | str,
    over_time: str | None,
    maximise: bool,
    draws: int,
    seed: int,
) -> Optimum:
    """See `Surrogate.optimise`."""
    inputs.check_free("optimisation")
    if draws < 2:
        raise ValueError(f"draws {draws}: at least 2 are needed")
    goal, reduce = one_quantity(model, objective), _reduction(over_time)
    limits = [_limit(model, one) for one in ([constraints] if isinstance(constraints, str) else constraints)]
    problem = _Problem(model, inputs, t, goal, limits, reduce)
    # An error of a quantity is raised here: scipy would hide it.
    problem.values(np.full((1, len(inputs.free)), 0.5))
    v = _search(problem, -1.0 if maximise else 1.0, seed)
    mu = inputs.at(v[None])
    values = predicted(model, problem.quantities, mu, t)
    functions = drawn(model, problem.quantities, mu, t, draws, seed)
    value, of_draws = float(reduce(values[0])[0]), reduce(functions[0][:, 0])
    low, high = np.quantile(of_draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    at_optimum = tuple(one.at(*found) for one, *found in zip(limits, values[1:], functions[1:], strict=True))
    edges, is_feasible = at_edges(inputs.space, mu, inputs.names), _violation(problem, v) <= FEASIBLE
    return Optimum(
        mu=inputs.space.as_dict(mu[0]), objective=goal.name, value=value, std=float(of_draws.std(ddof=1)),
        low=float(min(low, value)), high=float(max(high, value)), constraints=at_optimum, is_feasible=is_feasible,
        edges=edges, evaluations=len(problem.known), warnings=_warnings(is_feasible, edges, at_optimum),
    )  # fmt: skip


def _search(problem: _Problem, sign: float, seed: int) -> Float[np.ndarray, " d"]:
    """The best point of the unit cube: the best of a population, then improved locally."""

    def score(v: np.ndarray) -> Any:
        return sign * (problem.values(np.atleast_2d(v.T))[:, 0] if v.ndim == 2 else problem.values(v[None])[0, 0])

    bounds, constraints = [(0.0, 1.0)] * len(problem.inputs.free), problem.constraints()
    best = differential_evolution(
        score, bounds, constraints=tuple(constraints), vectorized=True, updating="deferred", init="sobol",
        popsize=POPULATION, maxiter=MAX_GENERATIONS, tol=1e-4, polish=False, rng=np.random.default_rng(seed),
    ).x  # fmt: skip
    if _violation(problem, best) > FEASIBLE:
        return best
    scale = np.ptp([values[0] for values in problem.known.values()]) or 1.0
    local = minimize(
        lambda v: score(v) / scale, best, method="SLSQP", bounds=bounds, constraints=constraints,
        options={"eps": STEP, "ftol": 1e-12},
    ).x  # fmt: skip
    local = np.clip(local, 0, 1)
    is_better = np.isfinite(local).all() and score(local) < score(best)
    return local if is_better and _violation(problem, local) <= FEASIBLE else best


def _violation(problem: _Problem, v: Float[np.ndarray, " d"]) -> float:
    """By how much constraints are broken at most, relative to their limits; absolute where a limit is zero."""
    worst = 0.0
    for one in problem.constraints():
        values = one.fun(v)
        for limits, excess in ((one.lb, one.lb - values), (one.ub, values - one.ub)):
            scale = np.where(np.isfinite(limits) & (limits != 0), np.abs(limits), 1.0)
            worst = max(worst, float(np.max(excess / scale)))
    return worst


def _warnings(is_feasible: bool, edges: Mapping[str, str], constraints: Sequence[ConstraintValue]) -> tuple[str, ...]:
    if not is_feasible:
        return ("no point of the box meets all constraints; this one breaks them least",)
    unsure = [one for one in constraints if one.probability < SURE]
    found = [edge_warning("the optimum", edges)] if edges else []
    return (*found, *(
        f"{one.name} is within its limits with a probability of {one.probability:.2f}, by the surrogate's error; a "
        f"tighter limit is safer" for one in unsure
    ))  # fmt: skip


def _reduction(over_time: str | None) -> Callable[[np.ndarray], np.ndarray]:
    if over_time is not None and over_time not in OVER_TIME:
        raise ValueError(f"over_time '{over_time}': give {', '.join(OVER_TIME)}")

    def reduced(values: np.ndarray) -> np.ndarray:
        if over_time is None and values.shape[-1] > 1:
            raise ValueError(
                f"the objective has {values.shape[-1]} values, one for each time; give one time, or over_time "
                f"({', '.join(OVER_TIME)})"
            )
        return values[..., -1] if over_time in (None, "last") else getattr(np, over_time)(values, axis=-1)

    return reduced


def _limit(model: Model, given: Limit) -> _Limit:
    if not isinstance(given, str):
        if len(given) != 3 or (given[1] is None and given[2] is None):
            raise ValueError(f"constraint {given!r}: give (quantity, low, high), None for no limit, not both None")
        return _Limit(one_quantity(model, given[0]), given[1], given[2])
    match = _TEXT.fullmatch(given)
    try:
        if match is None:
            raise ValueError
        limit = float(match[3])
    except ValueError:
        raise ValueError(f"constraint '{given}': write a quantity, <= or >=, and a number: max(u) <= 0.9") from None
    quantity = one_quantity(model, match[1].strip())
    return _Limit(quantity, None, limit) if match[2] == "<=" else _Limit(quantity, limit, None)
