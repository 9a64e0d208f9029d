"""The search for similarity variables: own times, coordinates and units in which the training trajectories are alike.

Dimensional analysis finds them with pencil and paper, where characteristic scales are products of powers of the
parameters. Here the exponents are those with which kriging predicts left-out trajectories best. They come in *groups*
(the clock, the units of the fields, the scales along an axis, the shifts along it), are found by least squares on a
sample of times and places, and a group stays only if that lowers an error on the states themselves.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from mlasdi.alignment.misalignment import AlignmentObjective
from mlasdi.alignment.missing_values import prior_kernel
from mlasdi.alignment.scaling_exponents import ScalingExponents
from mlasdi.interpolation import Kernel

# Of the least squares, after Levenberg and Marquardt: step of the differences, larger than rounding asks for since
# places enter and leave what is known; number of steps, few where a group is taken out; damping; and the relative
# decrease of the squares from which on it is worth to go on.
STEP, STEPS, FEW_STEPS, FIRST_DAMPING, LARGEST_DAMPING, ENOUGH = 1e-4, 25, 5, 1e-3, 1e4, 1e-3
# Length scale with which the search for several groups starts. So short, kriging is the mean of the others, and how
# alike the trajectories are is all that counts.
ROUGH = 0.05
# A further group has to lower the error to this fraction, and one with a clock to the other of what it is without any:
# what it costs to continue trajectories is not seen by the criterion. At a fourth, on the wake, there was nothing to
# gain at viscosities by which nothing had been chosen.
GAIN, TIME_GAIN = 0.7, 0.2
EXACT = 1e-6  # of the error without similarity variables: what counts as none


def refined(
    objective: AlignmentObjective,
    start: ScalingExponents,
    free: Bool[np.ndarray, " exponent"],
    kernel: Kernel,
    steps: int = STEPS,
) -> ScalingExponents:
    """Least squares over some of the exponents, from a start, by damped Gauss-Newton steps."""
    at, (low, high) = np.flatnonzero(free), start.bounds()

    def with_free(q: np.ndarray) -> ScalingExponents:
        flat = start.flat
        flat[at] = q
        return start.with_flat(flat)

    def residual(q: np.ndarray) -> np.ndarray:
        return objective.fit_residuals(with_free(q), kernel)

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

    objective: AlignmentObjective
    time_scaling: bool
    coordinate_scaling: bool

    @cached_property
    def none(self) -> ScalingExponents:
        return ScalingExponents.none(self.objective.x.shape[1], self.objective.n_fields, len(self.objective.nodes))

    @cached_property
    def groups(self) -> dict[str, Bool[np.ndarray, " exponent"]]:
        """Name of each group -> which exponents are its own."""
        blank = self.none.with_flat(np.zeros_like(self.none.flat))

        def own(**parts: Float[np.ndarray, "..."]) -> Bool[np.ndarray, " exponent"]:
            filled = {name: np.zeros_like(getattr(blank, name)) + part for name, part in parts.items()}
            return replace(blank, **filled).flat > 0

        found = {"time": own(rates=np.ones(()))} if self.time_scaling else {}
        if self.coordinate_scaling:
            found["amplitudes"] = own(amplitudes=np.ones(()))
            for k, nodes in enumerate(self.objective.nodes):
                if nodes is not None:
                    axis = (np.arange(len(self.objective.nodes)) == k).astype(float)
                    found[f"scale {k}"] = own(scales=axis[:, None], centres=axis)
                    found[f"shift {k}"] = own(shifts=axis[:, None])
        return found

    def run(self) -> ScalingExponents:
        """The similarity variables; none where they are not worthwhile.

        A group, or all that are left, is added while that lowers the error enough. Where all have been added, those
        that are not needed are taken out again.
        """
        before = error = self.objective.selection_rmse(self.none)
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
            fewer = self._tried(self._without(found, name), rest, before, steps=FEW_STEPS)
            if error > GAIN * fewer[0]:
                error, found, added = fewer
        return found

    def _without(self, found: ScalingExponents, name: str) -> ScalingExponents:
        """Without a group. Without shifts, scales are about the middle again: another centre is a shift, too."""
        fewer = self.none.with_flat(np.where(self.groups[name], self.none.flat, found.flat))
        if not name.startswith("shift"):
            return fewer
        of_axis = np.arange(len(fewer.centres)) == int(name.removeprefix("shift "))
        return replace(fewer, centres=np.where(of_axis, self.none.centres, fewer.centres))

    def _tried(
        self, start: ScalingExponents, names: list[str], before: float, *, rough: bool = False, steps: int = STEPS
    ) -> tuple[float, ScalingExponents, list[str]]:
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
            found.append(refined(self.objective, found[-1], free, kernel, steps))
        error, best = min(((self.objective.selection_rmse(one), one) for one in found[1:]), key=lambda one: one[0])
        admitted = "time" not in names or error <= TIME_GAIN * before
        return (error if admitted else np.inf), best, names
