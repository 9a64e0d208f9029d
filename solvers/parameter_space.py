"""The parameter space: a box of named parameters with units, scales and constraints, and its map to the unit cube."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from mlasdi.solvers.constraints import Constraint, LinearConstraint, parse_constraint
from mlasdi.solvers.parameters import Parameter, Points, point_of, rows_of, ungrouped

# The search for feasible points ends after this many points of a Sobol sequence: a feasible region that contains none
# of them is too small to be sampled.
MAX_DRAWN = 2**16
# Number of Sobol points by which the feasible share of a box is measured.
SHARE_POINTS = 2**12
# Infeasible corners are moved into the feasible region; those that end closer than this to another corner, in every
# parameter of the unit cube, are left out.
MIN_CORNER_DISTANCE = 0.05
# Bisection steps between a feasible and an infeasible point: the boundary is found to 1e-6 of their distance.
BISECTIONS = 20


@dataclass(frozen=True)
class ParameterSpace:
    """A box of named parameters, mu in D.

    Arrays of parameters are `[..., n_params]` in the order of `parameters`. Designs, Gaussian processes and acquisition
    functions work in the unit cube, to which each parameter is mapped on its own scale. A point is feasible if it lies
    in the box, is whole in every integer parameter, and satisfies all constraints. Only feasible points are solved, and
    designs consist of them; a surrogate may be evaluated at other points.
    """

    parameters: tuple[Parameter, ...]
    constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        if not self.parameters:
            raise ValueError("a parameter space needs at least one parameter")
        if len(set(self.names)) != len(self.parameters):
            raise ValueError(f"parameter names must differ, got {list(self.names)}")

    @classmethod
    def from_json(cls, parameters: Sequence[Mapping[str, Any]], constraints: Sequence[Any] = ()) -> "ParameterSpace":
        """The inverse of `to_json`."""
        described = [{**p, "values": tuple(p.get("values", ()))} for p in parameters]
        return cls(tuple(Parameter(**p) for p in described), tuple(parse_constraint(c) for c in constraints))

    def to_json(self) -> dict[str, list[Any]]:
        """Parameters and constraints as JSON."""
        return {
            "parameters": [asdict(p) for p in self.parameters],
            "constraints": [c.to_json() for c in self.constraints],
        }

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names under which the solver receives values: of numbers, of categories, and of lists."""
        return tuple(dict.fromkeys(p.input for p in self.parameters))

    @property
    def n_params(self) -> int:
        return len(self.parameters)

    @property
    def axes(self) -> list[list[int]]:
        """The columns that vary together, those of a category; all others vary alone."""
        found: dict[str, list[int]] = {}
        for i, p in enumerate(self.parameters):
            found.setdefault(f"{p.category}=" if p.category else p.name, []).append(i)
        return list(found.values())

    @property
    def words(self) -> dict[str, list[str]]:
        """The words of each category."""
        members = {self.parameters[columns[0]].category: columns for columns in self._categories}
        return {name: [self.parameters[i].word for i in columns] for name, columns in members.items()}

    @property
    def _categories(self) -> list[list[int]]:
        return [columns for columns in self.axes if self.parameters[columns[0]].category]

    @property
    def n_corners(self) -> int:
        """Number of vertices of the box; of a category, each word is one."""
        return prod(max(len(columns), 2) for columns in self.axes)

    @property
    def bounds(self) -> Float[np.ndarray, "2 n_params"]:
        """Lower bounds, then upper bounds, in physical units."""
        return np.array([[p.low for p in self.parameters], [p.high for p in self.parameters]], dtype=float)

    @property
    def spans(self) -> tuple[float, ...]:
        """high / low of each parameter; 1 if its scale is logarithmic or its lower bound is not positive."""
        return tuple(p.high / p.low if p.scale == "linear" and p.low > 0 else 1.0 for p in self.parameters)

    @property
    def is_restricted(self) -> bool:
        """Whether some points of the box are not feasible."""
        return bool(self.constraints) or self._is_discrete

    @property
    def _is_discrete(self) -> bool:
        return any(p.is_discrete for p in self.parameters)

    @property
    def _is_integer(self) -> list[bool]:
        return [p.integer for p in self.parameters]

    def _scaled(self, mu: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):  # log 0 = -inf: below every log-scaled box
            return np.stack(
                [
                    np.log(np.maximum(mu[..., i], 0)) if p.scale == "log" else mu[..., i]
                    for i, p in enumerate(self.parameters)
                ],
                axis=-1,
            )

    def to_unit(self, mu: ArrayLike) -> Float[np.ndarray, "*batch n_params"]:
        """Map physical parameters to the unit cube; points outside the box map outside the cube."""
        low, high = self._scaled(self.bounds)
        return (self._scaled(np.asarray(mu, dtype=float)) - low) / (high - low)

    def from_unit(self, x: ArrayLike) -> Float[np.ndarray, "*batch n_params"]:
        """Map points of the unit cube to physical parameters; 0 and 1 map exactly to the bounds, integers are whole."""
        x = np.asarray(x, dtype=float)
        low, high = self._scaled(self.bounds)
        scaled = low + x * (high - low)
        mu = np.stack(
            [np.exp(scaled[..., i]) if p.scale == "log" else scaled[..., i] for i, p in enumerate(self.parameters)],
            axis=-1,
        )
        # Rounding must not move a point out of the box, nor 0 and 1 away from the bounds.
        lower, upper = self.bounds
        mu = np.stack([p.nearest(mu[..., i]) for i, p in enumerate(self.parameters)], axis=-1)
        mu = np.where((x >= 0) & (x <= 1), np.clip(mu, lower, upper), mu)
        mu = np.where(x == 0, lower, np.where(x == 1, upper, mu))
        for columns in self._categories:  # the word whose coordinate is the largest
            mu[..., columns] = np.eye(len(columns))[np.argmax(x[..., columns], axis=-1)]
        return mu

    def contains(self, mu: ArrayLike, tolerance: float = 1e-9) -> Bool[np.ndarray, "*batch"]:
        """Whether points `[*batch, n_params]` lie in the box, up to `tolerance` of its width; ignores constraints."""
        x = self.to_unit(mu)
        return np.asarray(np.all((x >= -tolerance) & (x <= 1 + tolerance), axis=-1))

    @property
    def linear_constraints(self) -> tuple[LinearConstraint, ...]:
        """The constraints that can be checked without the user's code."""
        return tuple(c for c in self.constraints if isinstance(c, LinearConstraint))

    def feasible(self, mu: ArrayLike) -> Bool[np.ndarray, "*batch"]:
        """Whether points `[*batch, n_params]` may be solved.

        Raises:
            ValueError: a predicate raises or returns no truth value.
        """
        values = np.asarray(mu, dtype=float)
        found = np.array(self.contains(values))
        allowed = np.stack([p.nearest(values[..., i]) for i, p in enumerate(self.parameters)], axis=-1)
        for columns in self._categories:
            allowed[..., columns] = np.eye(len(columns))[np.argmax(values[..., columns], axis=-1)]
        found &= np.all(np.abs(values - allowed) <= 1e-9 * np.maximum(np.abs(values), 1), axis=-1)
        for constraint in self.constraints:  # predicates may be slow: they are called at remaining points only
            found[found] = constraint.holds(self.columns(values[found]))
        return found

    def columns(self, mu: Float[np.ndarray, "n n_params"]) -> dict[str, Float[np.ndarray, " n"]]:
        """The values of each parameter, by name."""
        return dict(zip(self.names, mu.T, strict=True))

    def as_array(self, mu: Points) -> Float[np.ndarray, "n_mu n_params"]:
        """Parameters from one or many mappings of names to values, from columns by name, or from one or many rows.

        Args:
            mu: names to values or to arrays of them, as a mapping or a DataFrame; a list of mappings; or rows in the
                order of the parameters. By name, categories are words, and lists of numbers are lists.

        Raises:
            ValueError: a name is unknown or missing, a row has the wrong length, or a value is not finite.
        """
        return rows_of(ungrouped(mu, self.parameters), self.names)

    def as_dict(self, mu: Sequence[float] | np.ndarray) -> dict[str, Any]:
        """One point as the solver receives it: names to plain numbers, words of categories, and lists of numbers."""
        return point_of(self.parameters, mu)

    def centre(self) -> Float[np.ndarray, " n_params"]:
        """The centre of the unit cube in physical units or, if it is infeasible, the nearest of 256 Sobol points.

        Raises:
            ValueError: the box has no feasible point.
        """
        middle = self.from_unit(np.full(self.n_params, 0.5))
        if self.feasible(middle):
            return middle
        points = self.sobol(256, seed=0)
        return points[np.argmin(np.linalg.norm(self.to_unit(points) - 0.5, axis=1))]

    def corners(self) -> Float[np.ndarray, "n_corners n_params"]:
        """The vertices of the box: all combinations of bounds and of words.

        An infeasible vertex is moved straight towards the nearest of 256 feasible Sobol points until it is feasible. It
        is left out if it ends next to another corner.

        Raises:
            ValueError: the box has no feasible point.
        """
        vertices = self._combined([np.eye(max(len(c), 2))[:, -len(c) :] for c in self.axes])
        inside = self.feasible(self.from_unit(vertices))
        if inside.all():
            return self.from_unit(vertices)
        interior, outside = self.unit_sobol(256, seed=0), vertices[~inside]
        nearest = np.argmin(np.linalg.norm(interior - outside[:, None], axis=-1), axis=1)
        kept = list(vertices[inside])
        for moved in self.last_feasible(interior[nearest], outside):
            if not kept or np.abs(np.array(kept) - moved).max(axis=1).min() >= MIN_CORNER_DISTANCE:
                kept.append(moved)
        return self.from_unit(np.array(kept))

    def last_feasible(
        self, inner: Float[np.ndarray, "n n_params"], outer: Float[np.ndarray, "n n_params"]
    ) -> Float[np.ndarray, "n n_params"]:
        """The last feasible point of each segment from a feasible point `inner` to `outer`, by bisection.

        All points are in the unit cube.
        """
        low = self.feasible(self.from_unit(outer)).astype(float)
        high = np.ones(len(outer))
        for _ in range(BISECTIONS if not low.all() else 0):
            middle = 0.5 * (low + high)
            is_feasible = self.feasible(self.from_unit(inner + middle[:, None] * (outer - inner)))
            low, high = np.where(is_feasible, middle, low), np.where(is_feasible, high, middle)
        return self.to_unit(self.from_unit(inner + low[:, None] * (outer - inner)))

    def grid(self, n_per_axis: int | Sequence[int]) -> Float[np.ndarray, "n_mu n_params"]:
        """Tensor grid, bounds included, equidistant on each parameter's scale; the last parameter varies fastest.

        Infeasible points are left out. A discrete parameter has at most as many points as values, and a category all
        of its words.
        """
        points = self.full_grid(n_per_axis)
        return points[self.feasible(points)] if self.constraints else points

    def full_grid(self, n_per_axis: int | Sequence[int]) -> Float[np.ndarray, "n_mu n_params"]:
        """The same grid, with the points that break constraints."""
        axes = self.axes
        counts = [n_per_axis] * len(axes) if isinstance(n_per_axis, int) else list(n_per_axis)
        if len(counts) != len(axes) or min(counts) < 1:
            names = tuple(self.parameters[c[0]].category or self.parameters[c[0]].name for c in axes)
            raise ValueError(f"grid {n_per_axis}: give one count of at least 1, or one for each of {names}")
        lines = [np.linspace(0, 1, n) if n > 1 else np.array([0.5]) for n in counts]
        parts = [np.eye(len(c)) if len(c) > 1 else line[:, None] for c, line in zip(axes, lines, strict=True)]
        points = self.from_unit(self._combined(parts))
        return _distinct(points) if self._is_discrete else points

    def _combined(self, parts: Sequence[np.ndarray]) -> Float[np.ndarray, "n n_params"]:
        """All combinations of rows, of which each part has some for the columns of one axis."""
        order = np.argsort([column for columns in self.axes for column in columns])
        return np.array([np.concatenate(rows) for rows in product(*parts)])[:, order]

    def sobol(self, n: int, seed: int) -> Float[np.ndarray, "n_found n_params"]:
        """The first `n` different feasible points of a scrambled Sobol sequence.

        The same seed gives the same sequence, so that fewer points are the first ones of more. There are fewer than `n`
        points if the integer parameters have no more values, or the feasible share of the box is too small.

        Raises:
            ValueError: none of the first `MAX_DRAWN` points is feasible.
        """
        return self.from_unit(self.unit_sobol(n, seed))

    def unit_sobol(self, n: int, seed: int) -> Float[np.ndarray, "n_found n_params"]:
        """The points of `sobol` in the unit cube."""
        sampler = self._sequence(seed)
        found = self._feasible_of(sampler.random_base2(max(n - 1, 0).bit_length()))
        while len(found) < n and sampler.num_generated < MAX_DRAWN:
            more = self._feasible_of(sampler.random_base2(sampler.num_generated.bit_length() - 1))
            found = _distinct(np.concatenate([found, more]))
        if n and not len(found):
            limits = "; ".join(map(str, self.constraints))
            raise ValueError(f"none of {MAX_DRAWN:,} points of the box meets the constraints: {limits}")
        return found[:n]

    def _sequence(self, seed: int) -> Any:
        """A scrambled Sobol sequence in the unit cube."""
        from scipy.stats import qmc  # slow to import, and not needed to read a configuration

        return qmc.Sobol(self.n_params, scramble=True, rng=np.random.default_rng(seed))

    def _feasible_of(self, x: Float[np.ndarray, "n n_params"]) -> Float[np.ndarray, "k n_params"]:
        """The different feasible ones of points of the unit cube.

        The range of an integer parameter is widened by 0.5 at both ends before rounding, so that the bounds are as
        likely as the values between them.
        """
        if not self.is_restricted:
            return x
        low, high = self._scaled(self.bounds)
        wide_low, wide_high = self._scaled(self.bounds + np.array([[-0.5], [0.5]]) * self._is_integer)
        wide = (wide_low + x * (wide_high - wide_low) - low) / (high - low)
        mu = self.from_unit(np.clip(wide, 0, 1))
        for i, p in enumerate(self.parameters):  # listed values are equally likely, too
            if p.values:
                mu[:, i] = np.array(p.values)[np.minimum(x[:, i] * len(p.values), len(p.values) - 1).astype(int)]
        return _distinct(self.to_unit(mu[self.feasible(mu)]))

    def feasible_share(self) -> float:
        """Share of the box that satisfies the constraints, estimated from `SHARE_POINTS` points of a Sobol sequence."""
        if not self.constraints:
            return 1.0
        whole = ParameterSpace(self.parameters)
        points = whole.from_unit(self._sequence(0).random(SHARE_POINTS))
        return float(self.feasible(points).mean())


def _distinct(mu: Float[np.ndarray, "n n_params"]) -> Float[np.ndarray, "k n_params"]:
    """The points without repetitions, in their order."""
    return mu[np.sort(np.unique(mu, axis=0, return_index=True)[1])]
