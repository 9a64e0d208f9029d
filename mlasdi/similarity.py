"""The search for similarity variables: own times, coordinates and units in which the training trajectories are alike.

Dimensional analysis finds them with pencil and paper, where characteristic scales are products of powers of the
parameters. Here the exponents are those with which kriging predicts left-out trajectories best. They come in *groups*
(the clock, the units of the fields, the scales along an axis, the shifts along it), are found by least squares on a
sample of times and places, and a group stays only if that lowers an error on the states themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import CubicSpline
from scipy.sparse import eye_array

from mlasdi.basis import PodBasis
from mlasdi.clock import Clock
from mlasdi.frame import (
    AxisMap,
    Frame,
    along_axis,
    between_and_back,
    grid_of,
    held,
    spline_coefficients,
    tensor_product,
)
from mlasdi.gaps import patterns, prior_kernel
from mlasdi.kriging import Kernel, Kriging
from solvers.contract import StateLayout

# The search looks at so many leading modes, times, and places, so many of these along one axis.
N_MODES, N_TIMES, N_PLACES, N_NODES = 80, 12, 784, 256
# Of the logarithms of ratios of rates, scales and gains; of shifts, in widths of the axis; of the centre of scales.
LARGEST_LOG, LARGEST_SHIFT, CENTRES = 3.0, 0.5, (-0.5, 1.5)
# Of the least squares, after Levenberg and Marquardt: step of the differences, larger than rounding asks for since
# places enter and leave what is known; number of steps, few where a group is taken out; damping; and the relative
# decrease of the squares from which on it is worth to go on.
STEP, STEPS, FEW_STEPS, FIRST_DAMPING, LARGEST_DAMPING, ENOUGH = 1e-4, 25, 5, 1e-3, 1e4, 1e-2
ROUGH = 0.3  # length scale from which the search for several groups starts
# A further group has to lower the error to this fraction, and one with a clock to the other of what it is without any:
# what it costs to continue trajectories is not seen by the criterion. At a fourth, on the wake, there was nothing to
# gain at viscosities by which nothing had been chosen.
GAIN, CLOCK_GAIN = 0.7, 0.2
RESOLVED = 0.01  # of the variation of the states: what half a cell there and back may lose along an axis
EXACT = 1e-6  # of the error without similarity variables: what counts as none
_SLACK = 1e-3  # of an axis or the interval: how far outside a place counts as its end


@dataclass(frozen=True)
class Similarity:
    """Exponents of all groups over the logarithms of the parameters.

    Attributes:
        rates: of the clock `[d]`.
        gains: of the units `[field, d]`.
        scales, shifts, centres: of the coordinates `[axis, d]`, and `[axis]`.
    """

    rates: Float[np.ndarray, " d"]
    gains: Float[np.ndarray, "field d"]
    scales: Float[np.ndarray, "axis d"]
    shifts: Float[np.ndarray, "axis d"]
    centres: Float[np.ndarray, " axis"]

    @classmethod
    def none(cls, d: int, n_fields: int, n_axes: int) -> "Similarity":
        return cls(
            np.zeros(d), np.zeros((n_fields, d)), np.zeros((n_axes, d)), np.zeros((n_axes, d)), np.full(n_axes, 0.5)
        )

    def none_like(self) -> "Similarity":
        """No similarity variables, for as many parameters, fields and axes."""
        return Similarity.none(len(self.rates), len(self.gains), len(self.centres))

    @property
    def flat(self) -> Float[np.ndarray, " exponent"]:
        return np.concatenate([part.ravel() for part in self._parts()])

    def _parts(self) -> tuple[np.ndarray, ...]:
        return self.rates, self.gains, self.scales, self.shifts, self.centres

    def with_flat(self, flat: Float[np.ndarray, " exponent"]) -> "Similarity":
        ends = np.cumsum([part.size for part in self._parts()])[:-1]
        parts = zip(np.split(flat, ends), self._parts(), strict=True)
        return Similarity(*(values.reshape(part.shape) for values, part in parts))

    def bounds(self) -> tuple[Float[np.ndarray, " exponent"], Float[np.ndarray, " exponent"]]:
        """Lower and upper bounds of `flat`."""
        logs = [np.full(part.size, LARGEST_LOG) for part in (self.rates, self.gains, self.scales)]
        widths = np.concatenate([*logs, np.full(self.shifts.size, LARGEST_SHIFT)])
        low, high = (np.full(self.centres.size, end) for end in CENTRES)
        return np.concatenate([-widths, low]), np.concatenate([widths, high])

    def clock(self, spans: tuple[float, ...]) -> Clock:
        return Clock(tuple(self.rates.tolist()) if self.rates.any() else (), spans)

    def frame(self, layout: StateLayout, spans: tuple[float, ...]) -> Frame:
        axes = tuple(
            AxisMap(tuple(scale.tolist()), tuple(shift.tolist()), float(centre)) if scale.any() or shift.any() else None
            for scale, shift, centre in zip(self.scales, self.shifts, self.centres, strict=True)
        )
        gains = tuple(tuple(gain.tolist()) for gain in self.gains) if self.gains.any() else ()
        return Frame(layout, axes, gains, spans)


@dataclass(frozen=True)
class Sampler:
    """Training trajectories that can be looked at at any time and place, in their leading modes.

    Attributes:
        x: points of the unit cube `[point, d]`.
        layout: of the states.
        t: times from 0 to 1.
        c: leading POD coordinates, scaled to states `[point, time, mode]`.
        states: mean state and modes of the basis, in its units `[state, 1 + mode]`.
        spans: see `mlasdi.clock.log_parameters`.
    """

    x: Float[np.ndarray, "point d"]
    layout: StateLayout
    t: Float[np.ndarray, " time"]
    c: Float[np.ndarray, "point time mode"]
    states: Float[np.ndarray, "state column"]
    spans: tuple[float, ...]

    @classmethod
    def of(
        cls,
        x: Float[np.ndarray, "point d"],
        layout: StateLayout,
        t: Float[np.ndarray, " time"],
        c: Float[np.ndarray, "point time rank"],
        basis: PodBasis,
        spans: tuple[float, ...],
    ) -> "Sampler":
        columns = np.column_stack([basis.mean, basis.modes[:, :N_MODES]])
        states = columns / np.broadcast_to(basis.unit, basis.mean.shape)[:, None]
        return cls(x, layout, t, basis.scale * c[..., :N_MODES], states, spans)

    @property
    def n_fields(self) -> int:
        return len(self.layout.fields)

    @property
    def nodes(self) -> list[Float[np.ndarray, " n"] | None]:
        """Of each axis, None where it cannot be scaled."""
        return self.grid[0]

    @cached_property
    def grid(self) -> tuple[list[Float[np.ndarray, " n"] | None], tuple[int, ...]]:
        """Nodes of each axis, None where it cannot be scaled: also where the solutions are not resolved along it.

        A front that a scheme captures within one or two cells has a shape that depends on where between two nodes it
        stands. Scaled, it is off by that, and where training points are as many cells apart as fronts are, nothing
        but the front itself tells.
        """
        nodes, shape = grid_of(self.layout)
        fields = self.states.reshape(self.n_fields, *shape, -1)
        factors = np.concatenate([np.ones((*self.c.shape[:2], 1)), self.c], axis=-1).reshape(-1, 1 + self.c.shape[-1])
        varies = np.mean(np.sum(self.c**2, axis=-1))
        for k, own in enumerate(nodes):
            if own is not None:
                along = np.moveaxis(fields, 1 + k, 0)
                lost = (between_and_back(own, along) - along).reshape(-1, factors.shape[1])
                if np.mean(np.sum(factors @ (lost.T @ lost) * factors, axis=-1)) > RESOLVED**2 * varies:
                    nodes[k] = None
        return nodes, shape

    @cached_property
    def _in_time(self) -> list[CubicSpline]:
        return [CubicSpline(self.t, one, axis=0) for one in self.c]

    @cached_property
    def _in_space(self) -> Float[np.ndarray, "field place column"]:
        """Spline coefficients of mean state and modes."""
        found = spline_coefficients(self.states, *self.grid)
        return found.reshape(self.n_fields, -1, found.shape[-1])

    @cached_property
    def rows(self) -> list[Int[np.ndarray, " m"]]:
        """Nodes of each axis that are looked at, the ends among them."""
        most = min(max(round(N_PLACES ** (1 / len(self.nodes))), 4), N_NODES)
        return [np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int)) for n in self.grid[1]]

    @cached_property
    def _weights(self) -> Float[np.ndarray, " place"]:
        """Share of all nodes that each place stands for; the ends of an axis stand for themselves."""
        found: Float[np.ndarray, " place"] = np.ones(1)
        for rows, n in zip(self.rows, self.grid[1], strict=True):
            inner = (n - 2) / max(len(rows) - 2, 1)
            found = np.kron(found, np.where((rows == 0) | (rows == n - 1), 1.0, inner) / n)
        return found

    @property
    def places(self) -> list[Float[np.ndarray, " m"] | None]:
        """Those nodes, from 0 to 1; None of an axis that cannot be scaled."""
        return [None if own is None else own[rows] for own, rows in zip(self.nodes, self.rows, strict=True)]

    def values(
        self, i: int, times: Float[np.ndarray, " time"], places: Sequence[Float[np.ndarray, " m"] | None]
    ) -> tuple[Float[np.ndarray, "time field place"], Bool[np.ndarray, "time place"]]:
        """States of trajectory `i`, and where they are known; they are continued as constants.

        Args:
            places: along each axis, from 0 to 1; None for `rows` of an axis that cannot be scaled.
        """
        along, known = [], np.ones(1, dtype=bool)
        for own, rows, n, place in zip(self.nodes, self.rows, self.grid[1], places, strict=True):
            if own is None or place is None:
                along.append(eye_array(n, format="csr")[rows])
                known = np.kron(known, np.ones(len(rows), dtype=bool))
            else:
                along.append(along_axis(own, place, rows))
                known = np.kron(known, held(own, place, rows, _SLACK))
        matrix = tensor_product(along)
        factors = self._in_time[i](np.minimum(times, 1.0))
        factors = np.column_stack([np.ones(len(times)), factors])
        found = np.stack([factors @ (matrix @ one).T for one in self._in_space], axis=1)
        return found, (times <= 1 + _SLACK)[:, None] & known

    @property
    def _kernel(self) -> Kernel:
        return prior_kernel(self.x.shape[1])

    def misfit(self, similarity: Similarity, kernel: Kernel) -> Float[np.ndarray, " residual"]:
        """Leave-one-out errors of kriging at equal own times and coordinates, in the units of the states.

        Their norm is the root mean square over all that is known of both a trajectory and another one.
        """
        clock, frame = similarity.clock(self.spans), similarity.frame(self.layout, self.spans)
        rates, gains = clock.rate(self.x), frame.gains(self.x)
        values, known = [], []
        for i, x in enumerate(self.x):
            pairs = zip(self.places, frame.own_coordinates(x), strict=True)
            places = [None if own is None else (own - offset) / scale for own, (offset, scale) in pairs]
            one, where = self.values(i, np.linspace(0, 1, N_TIMES) / rates[i], places)
            values.append(one / gains[i][:, None])
            known.append(where.ravel())
        flat = np.stack(values).swapaxes(1, 2).reshape(len(self.x), self.n_fields, -1)
        errors, count = np.zeros_like(flat), 0
        for has, columns in patterns(np.stack(known)):
            if has.sum() > 1:
                at = np.ix_(has, np.arange(self.n_fields), np.flatnonzero(columns))
                errors[at] = Kriging(self.x[has], kernel).leave_one_out(flat[at]) * gains[has][:, :, None]
                count += int(has.sum() * columns.sum())
        return errors.ravel() / np.sqrt(max(count, 1))

    def error(self, similarity: Similarity) -> float:
        """Root mean square error at each point as predicted from the others, at its own nodes and common times.

        Unlike `misfit` it sees what happens at the very ends of the grid, which boundary conditions hold in place.
        """
        clock, frame = similarity.clock(self.spans), similarity.frame(self.layout, self.spans)
        rates, gains, times = clock.rate(self.x), frame.gains(self.x), np.linspace(0, 1, N_TIMES)
        maps = [frame.own_coordinates(x) for x in self.x]
        total, weight = 0.0, np.finfo(float).tiny
        for i, x in enumerate(self.x):
            truth, _ = self.values(i, times, self.places)
            others, values, known = [j for j in range(len(self.x)) if j != i], [], []
            for j in others:
                places = [
                    None if own is None else (b + s * own - offset) / scale
                    for own, (b, s), (offset, scale) in zip(self.places, maps[i], maps[j], strict=True)
                ]
                one, where = self.values(j, times * rates[i] / rates[j], places)
                values.append(one * (gains[i] / gains[j])[:, None])
                known.append(where.ravel())
            flat = np.stack(values).swapaxes(1, 2).reshape(len(others), self.n_fields, -1)
            goal = truth.swapaxes(0, 1).reshape(self.n_fields, -1)
            weights = np.tile(self._weights, len(times))
            for has, columns in patterns(np.stack(known)):
                if has.any():
                    kriging = Kriging(self.x[others][has], self._kernel).weights(x[None])[0]
                    at = np.flatnonzero(columns)
                    missed = np.tensordot(kriging, flat[has][:, :, at], axes=1) - goal[:, at]
                    total += float(np.sum(missed**2, axis=0) @ weights[at])
                    weight += float(weights[at].sum())
        return float(np.sqrt(total / weight))


def refined(
    sampler: Sampler, start: Similarity, free: Bool[np.ndarray, " exponent"], kernel: Kernel, steps: int = STEPS
) -> Similarity:
    """Least squares over some of the exponents, from a start, by damped Gauss-Newton steps."""
    at, (low, high) = np.flatnonzero(free), start.bounds()

    def with_free(q: np.ndarray) -> Similarity:
        flat = start.flat
        flat[at] = q
        return start.with_flat(flat)

    def residual(q: np.ndarray) -> np.ndarray:
        return sampler.misfit(with_free(q), kernel)

    def jacobian(q: np.ndarray, r: np.ndarray) -> np.ndarray:
        moves = np.where(q + STEP < high[at], STEP, -STEP)
        return np.stack([(residual(q + move) - r) / move.sum() for move in np.diag(moves)], axis=1)

    q, damping = start.flat[at], FIRST_DAMPING
    r = residual(q)
    for _ in range(steps):
        along, before = jacobian(q, r), r @ r
        gram, slope = along.T @ along, along.T @ r
        level = np.diag(np.diag(gram) + EXACT * np.diag(gram).max() + np.finfo(float).tiny)
        while damping < LARGEST_DAMPING:
            trial = np.clip(q - np.linalg.solve(gram + damping * level, slope), low[at], high[at])
            there = residual(trial)
            if there @ there < before:
                q, r, damping = trial, there, damping / 5
                break
            damping *= 5
        if not r @ r < (1 - ENOUGH) * before:
            break
    return with_free(q)


@dataclass
class Search:
    """The groups of exponents, one after the other or all together.

    Attributes:
        sampler: the trajectories.
        clock: whether points may have a clock of their own.
        frame: whether they may have coordinates and units of their own.
    """

    sampler: Sampler
    clock: bool
    frame: bool

    @cached_property
    def none(self) -> Similarity:
        return Similarity.none(self.sampler.x.shape[1], self.sampler.n_fields, len(self.sampler.nodes))

    @cached_property
    def groups(self) -> dict[str, Bool[np.ndarray, " exponent"]]:
        """Name of each group -> which exponents are its own."""
        blank = self.none.with_flat(np.zeros_like(self.none.flat))

        def own(**parts: Float[np.ndarray, "..."]) -> Bool[np.ndarray, " exponent"]:
            filled = {name: np.zeros_like(getattr(blank, name)) + part for name, part in parts.items()}
            return replace(blank, **filled).flat > 0

        found = {"clock": own(rates=np.ones(()))} if self.clock else {}
        if self.frame:
            found["units"] = own(gains=np.ones(()))
            for k, nodes in enumerate(self.sampler.nodes):
                if nodes is not None:
                    axis = (np.arange(len(self.sampler.nodes)) == k).astype(float)
                    found[f"scale {k}"] = own(scales=axis[:, None], centres=axis)
                    found[f"shift {k}"] = own(shifts=axis[:, None])
        return found

    def run(self) -> Similarity:
        """The similarity variables; none where they are not worthwhile.

        A group, or all that are left, is added while that lowers the error enough. Where all have been added, those
        that are not needed are taken out again.
        """
        before = error = self.sampler.error(self.none)
        found, added = self.none, list[str]()
        while rest := [name for name in self.groups if name not in added]:
            best = min((self._tried(found, [*added, name], before) for name in rest), key=lambda one: one[0])
            if len(rest) > 1:
                joint = self._tried(found, [*added, *rest], before, rough=not added)
                best = joint if joint[0] <= GAIN * max(best[0], EXACT * before) else best
            if best[0] > GAIN * error:
                break
            error, found, added = best
        for name in list(added):
            rest = [other for other in added if other != name]
            if not rest:
                break
            without = self.none.with_flat(np.where(self.groups[name], self.none.flat, found.flat))
            fewer = self._tried(without, rest, before, steps=FEW_STEPS)
            if error > GAIN * fewer[0]:
                error, found, added = fewer
        return found

    def _tried(
        self, start: Similarity, names: list[str], before: float, *, rough: bool = False, steps: int = STEPS
    ) -> tuple[float, Similarity, list[str]]:
        """Error with some groups, their exponents, and again the groups.

        Args:
            before: error without any.
            rough: whether to begin with the criterion of a rough kernel: far from the end, that of a smooth one leads
                many exponents astray.
        """
        free = np.any([self.groups[name] for name in names], axis=0)
        smooth = prior_kernel(len(self.none.rates))
        uneven = smooth.model_copy(update={"lengthscale": (ROUGH,) * len(self.none.rates)})
        found = [start]
        for kernel in (uneven, smooth) if rough else (smooth,):
            found.append(refined(self.sampler, found[-1], free, kernel, steps))
        error, best = min(((self.sampler.error(one), one) for one in found[1:]), key=lambda one: one[0])
        admitted = "clock" not in names or error <= CLOCK_GAIN * before
        return (error if admitted else np.inf), best, names
