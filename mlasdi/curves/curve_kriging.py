"""Kriging of registered curves: a surrogate of solutions whose shocks and fronts move along a 1-D grid.

Sums of states with a shock at different places have several small ones. Sums of the graphs of these states as curves,
in parameters by which their shocks correspond to each other, have one, at the mean place. Which parameters are best
differs between problems: several candidates are tried, and averaged by their leave-one-out errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mlasdi.curves.candidates import FEW, REGISTERED, UNREGISTERED, Folds, Relative, fitted_member
from mlasdi.curves.members import Member, weighted_mean
from mlasdi.interpolation import Kernel, Kernels, Kriging

Json = dict[str, Any]

# Members count by their leave-one-out errors to this power, and those that count for less than MIN_WEIGHT are left out.
# Chosen, as the candidates are, on sod, traffic (the Riemann problem of the LWR model) and fisher.
POWER, MIN_WEIGHT = 4, 0.05
MAX_VALUES = 1 << 20  # of curves that are combined at once: a block that stays in the cache of a core
# Error of states and unregistered curves, over that to beat, beyond which registration is given up. On sod, fisher, kdv
# and bar with 9 and 20 points, registration alone lowers it to .97 at best; the mean of all ways is better than each.
FAR = 4.0
EXACT = 1e-12  # a mean leave-one-out error that is rounding


@dataclass(frozen=True)
class CurveKriging:
    """The weighted mean of members, each the kriging of states or of registered curves.

    Attributes:
        x: training points of the unit cube.
        t: increasing times.
        grid: increasing positions of the nodes.
        members: with weights of the sum 1.
        fold_errors: largest relative error over time at the point that each fold leaves out, with registrations and
            weights of members that know all points; none after `subset` and `from_state`.
    """

    x: Float[np.ndarray, "point d"]
    t: Float[np.ndarray, " time"]
    grid: Float[np.ndarray, " node"]
    members: tuple[Member, ...]
    fold_errors: Float[np.ndarray, " fold"] = field(default_factory=lambda: np.empty(0), compare=False)

    @classmethod
    def fit(
        cls,
        x: Float[np.ndarray, "point d"],
        t: Float[np.ndarray, " time"],
        u: Float[np.ndarray, "..."],
        grid: Float[np.ndarray, "..."],
        kernels: Kernels,
        relative: Relative,
        folds: Int[np.ndarray, " fold"] | None = None,
        *,
        is_quick: bool = False,
        to_beat: float = np.inf,
    ) -> "CurveKriging | None":
        """Register the curves of the runs to those of the run nearest to the centre of the box, and weigh the members.

        Args:
            x: training points of the unit cube, two at least.
            t: increasing times.
            u: states `[point, time, field, node]`.
            grid: increasing positions of the nodes.
            kernels: of the states; curves select their own. A fold leaves out all points in its `held_out`.
            relative: distances `[time]` over norms `[time]` of a trajectory, as errors are defined.
            folds: points that leave-one-out errors leave out in turn; by default all.
            is_quick: whether to try few ways to choose the parameters of the curves.
            to_beat: leave-one-out error of another model.

        Returns:
            None where the error of states and of curves that are not registered is `FAR` times the one to beat.

        Raises:
            ValueError: of shapes that do not fit, a grid or times that do not increase, states that are not finite, or
                fewer than two points.
        """
        _check(x, t, u, grid)
        points = np.arange(len(x)) if folds is None else folds
        left_out = tuple(kernels.held_out[i] if kernels.held_out else np.array([i]) for i in points.tolist())
        runs = Folds(x, u, grid, left_out, relative)
        fitted = [fitted_member(candidate, runs, kernels) for candidate in UNREGISTERED]
        if min(float(runs.errors([member]).mean()) for member in fitted) > FAR * to_beat:
            return None
        ways = FEW if is_quick else UNREGISTERED + REGISTERED
        fitted += [fitted_member(candidate, runs, kernels) for candidate in ways[len(UNREGISTERED) :]]
        errors = np.array([max(float(runs.errors([member]).mean()), EXACT) for member in fitted])
        shares = (errors.min() / errors) ** POWER
        shares[shares < MIN_WEIGHT * shares.sum()] = 0.0
        weights = (shares / shares.sum()).tolist()
        members = tuple(replace(one, weight=w) for one, w in zip(fitted, weights, strict=True) if w)
        return cls(x, t, grid, members, runs.errors(members))

    def predict(
        self, x_new: Float[np.ndarray, "m d"], t_new: Float[np.ndarray, " n"] | None = None
    ) -> Float[np.ndarray, "m n field node"]:
        """States at points of the unit cube.

        Args:
            x_new: points of the unit cube.
            t_new: times, by default those of the training runs. Between these, curves are interpolated linearly; before
                the first and after the last one they are those at these times.
        """
        at = None if t_new is None else np.interp(t_new, self.t, np.arange(len(self.t)))
        weights = np.stack([Kriging(self.x, member.kernel).weights(x_new) for member in self.members])
        n_times, shape = len(self.t if at is None else at), self.members[0].state_shape(self.grid)
        found = np.empty((len(x_new), n_times, *shape))
        size = max(MAX_VALUES // max(member.values[0].size for member in self.members), 1)
        for first in range(0, len(x_new), size):
            rows = slice(first, first + size)
            found[rows] = weighted_mean(self.members, weights[:, rows], self.grid, at)
        return found

    def subset(self, points: Int[np.ndarray, " kept"] | Sequence[int]) -> "CurveKriging":
        """The same members with the curves of some of the points: what a fold knows."""
        keep = np.asarray(points)
        members = tuple(replace(member, values=member.values[keep]) for member in self.members)
        return CurveKriging(self.x[keep], self.t, self.grid, members)

    def state(self) -> tuple[Json, dict[str, Float[np.ndarray, "..."]]]:
        """Settings for JSON, and arrays by name."""
        settings = [member.settings() for member in self.members]
        of_members = {f"values_{k}": member.values for k, member in enumerate(self.members)}
        return {"members": settings}, {"x": self.x, "t": self.t, "grid": self.grid, **of_members}

    @classmethod
    def from_state(cls, settings: Json, arrays: dict[str, Float[np.ndarray, "..."]]) -> "CurveKriging":
        """The inverse of `state`.

        Raises:
            ValueError: arrays whose shapes do not fit each other.
        """
        x, t, grid = arrays["x"], arrays["t"], arrays["grid"]
        members = []
        for k, of_member in enumerate(settings["members"]):
            values = arrays[f"values_{k}"]
            if values.ndim != 4 or values.shape[:2] != (len(x), len(t)):
                raise ValueError(f"member {k} has values {values.shape} for {len(x)} points and {len(t)} times")
            kernel = Kernel.model_validate(of_member["kernel"])
            members.append(Member(**{**of_member, "kernel": kernel}, values=values))
        return cls(x, t, grid, tuple(members))


def _check(
    x: Float[np.ndarray, "point d"],
    t: Float[np.ndarray, " time"],
    u: Float[np.ndarray, "..."],
    grid: Float[np.ndarray, "..."],
) -> None:
    if len(x) < 2:
        raise ValueError(f"x has {len(x)} points; registration needs at least 2")
    for name, values in (("grid", grid), ("t", t)):
        if values.ndim != 1 or (np.diff(values) <= 0).any() or not np.isfinite(values).all():
            raise ValueError(f"{name} must be a list of increasing finite numbers, got {values.tolist()}")
    if len(grid) < 2:
        raise ValueError(f"grid has {len(grid)} nodes; a curve needs at least 2")
    if u.ndim != 4 or (*u.shape[:2], u.shape[3]) != (len(x), len(t), len(grid)):
        raise ValueError(f"u has shape {u.shape}; expected [{len(x)} points, {len(t)} times, field, {len(grid)} nodes]")
    if not np.isfinite(u).all():
        point, time = np.argwhere(~np.isfinite(u))[0, :2].tolist()
        raise ValueError(f"u is not finite at point {point}, time {time}")
