"""How much to solve before the model is built anew: the greedy choice of the largest fall of the error per second.

A round is q solves and one training. Errors of interpolation fall as a power of the number of points n, so a round
takes a multiple of log((n + q) / n) off the logarithm of the error, whatever the power is. It costs the solves, side by
side as far as there are places for them, and a training, whose time grows in proportion to the points. The quotient has
one maximum: a point at a time, or one for each place, where a solve is dear, so that each is chosen by all that can be
known; and up to 1.7 n points (e n in all) where solves cost nothing beside a training.

Where the campaign has to end at a given time, what counts is the error then, and with it how many points the last model
knows. That would be most with one round alone, chosen by a model that knows little: no round multiplies the points by
more than that e. Among the sizes after which as many points can be reached as by any, the greedy one is taken.

What happens inside a training is decided there, by leave-one-out errors: how long the first stage is trained, which
stages are added, and when another one would only fit noise (`mlasdi.training.stage_selection`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, e, floor, log

# What trainings are expected to take beyond their mean: they differ, and a model that is late is worth nothing.
MARGIN = 1.15


@dataclass(frozen=True)
class Costs:
    """What solves and trainings take, as measured so far.

    Attributes:
        n_points: solved points that the last training knew; at least one.
        train_s: seconds of that training, with all that comes with it in a round but the solves.
        solve_s: mean seconds of a solve.
        places: solves side by side.
    """

    n_points: int
    train_s: float
    solve_s: float
    places: int

    @classmethod
    def measured(cls, trained: Sequence[int], beside_s: float, solve_s: float, places: int) -> "Costs":
        """Costs from those of the rounds until now, with a margin.

        Args:
            trained: how many points each training knew.
            beside_s: seconds of these trainings, and of all else in the rounds but the solves.
        """
        return cls(trained[-1], MARGIN * beside_s * trained[-1] / sum(trained), solve_s, places)

    def training_s(self, n: int) -> float:
        """Seconds of a training with `n` new points."""
        return self.train_s * (self.n_points + n) / self.n_points

    def round_s(self, n: int) -> float:
        """Seconds of a round with `n` new points."""
        return ceil(n / self.places) * self.solve_s + self.training_s(n)

    def rate(self, n: int) -> float:
        """Fall of the logarithm of the error per second, up to a factor, in a round with `n` new points."""
        return log((self.n_points + n) / self.n_points) / max(self.round_s(n), 1e-9)

    def after(self, n: int) -> "Costs":
        """What they are expected to be after a round with `n` new points."""
        return replace(self, n_points=self.n_points + n, train_s=self.training_s(n))

    def plan_s(self, n: int) -> float:
        """Seconds of the fewest rounds that lead to `n` new points, none of which multiplies the points by more than e.

        Of several such plans it is the one whose rounds before the last are small.
        """
        return sum(costs.round_s(size) for costs, size in self._plan(n))

    def _plan(self, n: int) -> Iterator[tuple["Costs", int]]:
        known = self.n_points + n
        while known > self.n_points:
            before = max(self.n_points, ceil(known / e))
            yield self.after(before - self.n_points), known - before
            known = before


def points_of_round(costs: Costs, most: int, seconds_left: float | None = None) -> int:
    """How many points to solve before the next training, at least one and at most `most`.

    Args:
        most: solves that the budget still allows.
        seconds_left: until the campaign has to end; None where it need not.
    """
    sizes = range(1, max(most, 1) + 1)
    if seconds_left is None:
        return max(sizes, key=costs.rate)
    reached = max((n for n in sizes if costs.plan_s(n) <= seconds_left), default=1)
    most_at_once = min(reached, floor((e - 1) * costs.n_points))
    as_good = [
        n for n in range(1, most_at_once + 1) if costs.round_s(n) + costs.after(n).plan_s(reached - n) <= seconds_left
    ]
    return max(as_good, key=costs.rate, default=1)
