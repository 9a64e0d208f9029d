"""The relative standard deviation over the box: calibrated by known errors, and by how far two models disagree.

A standard deviation s(x) of a model is right up to a factor that varies over the box. At points where the model, or one
fitted without the point, has been compared with a solution, error e_i and deviation s_i are both known. The estimate is

    e(x) = s(x) (sum_i w_i(x) sqrt(e_i / s_i) / sum_i w_i(x))^2,     w_i(x) = v_i (exp(-|x - x_i|^2 / 2 L^2) + FLOOR)

in the unit cube. A mean of roots is not decided by a few large errors, as the mean is, and does not ignore them, as the
median does. The weights prefer points nearby. The factor v_i says how much a pair is like a prediction inside of the
box: little for a left-out point outside of the convex hull of the others (`EXTRAPOLATED`), much for a point that was
predicted before it was solved (`PREDICTED`).

The largest error over the box moves slowly from one model to the next of its kind. So the errors found at the newest
solves, which the agent places where it expects the largest ones, are estimates of it, too: `PrequentialErrors.factor`.

The constants were chosen on campaigns with effort quick on bar, fisher, kdv, heat4 and wave2d, with those on bore,
chain and ignition in view: these three are no longer held out for the estimate. Neighbouring values do about as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

LENGTH = 0.2  # L = LENGTH sqrt(d / 2): as far, in comparison with the cube's diagonal, in any dimension
FLOOR = 0.01
INTERPOLATED, EXTRAPOLATED, PREDICTED = 1.0, 0.1, 2.0  # weights v_i
# How far a distance between two models counts around the point where it is known, in spacings of these points. A guess:
# small, since the distance is known at hundreds of points.
REACH = 0.3
# Relative deviations are cut to this range: smaller ones are rounding errors, and a direction in which latent dynamics
# blow up says no more than "far off".
SMALLEST, LARGEST = 1e-10, 10.0


@dataclass(frozen=True)
class LocalCalibration:
    """Errors and deviations at points where both are known.

    Attributes:
        x: points of the unit cube `[pair, d]`.
        errors: relative error at each, its maximum over time.
        deviations: relative standard deviation that was predicted there, its maximum over time.
        weights: v_i of each; 1 in models of versions that had none.
        factor: on all estimates.
    """

    x: tuple[tuple[float, ...], ...] = ()
    errors: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    factor: float = 1.0

    def __post_init__(self) -> None:
        if len(self.weights) < len(self.errors):
            object.__setattr__(self, "weights", (INTERPOLATED,) * len(self.errors))

    def __bool__(self) -> bool:
        return bool(self.errors)

    def with_pairs(
        self,
        x: Sequence[Sequence[float]],
        errors: Sequence[float],
        deviations: Sequence[float],
        weights: Sequence[float],
    ) -> "LocalCalibration":
        """With more points."""
        more = tuple(tuple(map(float, row)) for row in x)
        return LocalCalibration(
            (*self.x, *more),
            (*self.errors, *map(float, errors)),
            (*self.deviations, *map(float, deviations)),
            (*self.weights, *map(float, weights)),
            self.factor,
        )

    def estimate(self, x: Float[np.ndarray, "n d"], deviation: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Estimated relative error at points `x`, where the model's relative standard deviation is `deviation`.

        Without any pair, the deviation itself.
        """
        return deviation if not self else self.factor * cut(deviation) * self._local_ratio(x)

    def score(self, x: Float[np.ndarray, "n d"], deviation: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """What to maximise when a next solve is chosen: the deviation times the root of the local ratio e / s.

        With candidates from the Sobol sequence, the largest error at equal solves was that with Sobol points, on eight
        problems (TRUST.md), and 0.8 times that with kriging alone, on eight others.
        """
        return deviation if not self else cut(deviation) * np.sqrt(self._local_ratio(x))

    def _local_ratio(self, x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Errors over deviations around `x`."""
        known = np.array(self.x)
        length = LENGTH * np.sqrt(known.shape[1] / 2)
        distance = np.sum((x[:, None] - known) ** 2, axis=-1)
        weights = np.array(self.weights) * (np.exp(-0.5 * distance / length**2) + FLOOR)
        roots = np.sqrt(np.minimum(self.errors, LARGEST) / cut(np.array(self.deviations)))
        return np.asarray((weights @ roots / weights.sum(axis=1)) ** 2)


@dataclass(frozen=True)
class Disagreement:
    """How far another model of the same trajectories is from the chosen one, over the box.

    Models of different kinds agree where the trajectories decide, and differ where they do not. With the standard
    deviation s(x) of the chosen model and the relative distance d(x) of the other one from it,

        s'(x) = sqrt(s(x)^2 + (k d(x))^2)

    takes the place of s. The weight k gives both the same geometric mean over the folds. They are known at some points
    of the box; elsewhere d / s is the ratio of their weighted means over points close by. So d falls with s where
    solves are under way.

    Attributes:
        x: points of the unit cube `[point, d]`.
        distances: d at each of them, its maximum over time.
        deviations: s at each of them, its maximum over time.
        weight: k.
        other: kind of the other model; empty without one.
    """

    x: tuple[tuple[float, ...], ...] = ()
    distances: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()
    weight: float = 0.0
    other: str = ""

    def widened(self, x: Float[np.ndarray, "n d"], deviation: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The deviation s' at points `x`, where the model's relative standard deviation is `deviation`."""
        if not self.distances:
            return deviation
        known = np.array(self.x)
        length = REACH * len(known) ** (-1 / known.shape[1])
        exponents = -0.5 * np.sum((x[:, None] - known) ** 2, axis=-1) / length**2
        weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))  # of the closest one far from all: 1
        ratio = weights @ np.array(self.distances) / (weights @ cut(np.array(self.deviations)))
        return np.asarray(deviation * np.hypot(1.0, self.weight * ratio))


def cut(deviation: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Relative deviations, errors or distances, cut to the range in which they say something."""
    return np.clip(np.nan_to_num(deviation, nan=LARGEST, posinf=LARGEST), SMALLEST, LARGEST)
