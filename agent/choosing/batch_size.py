"""How many points to solve before the next training: the greedy choice of the largest error reduction per second.

A round consists of q solves and one training. Interpolation errors fall as a power of the number of points n, so a
round reduces the logarithm of the error by a multiple of log((n + q) / n). Its cost is that of the solves, of which as
many run in parallel as there are slots, plus that of a training, which is proportional to the number of points. The
quotient has one maximum. If solves are expensive, it is one point (or one for each slot) at a time, so that each point
is chosen with all information; if solves cost nothing compared with a training, it is (e - 1) n, about 1.7 n points.

If the wall time is limited, the error at the end counts, and therefore the number of points that the last model is
trained on. That number would be largest with a single round, whose points a poor model would choose: so no round
multiplies the number of points by more than e. Of the round sizes after which the largest number of points can still be
reached, the one with the largest error reduction per second is taken.

How long to train and which stages to add is decided in the training by leave-one-out errors
(`mlasdi.training.stage_selection`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, e, floor, log

# Safety factor on the expected duration of trainings: it varies, and a model that is late is useless.
MARGIN = 1.15


@dataclass(frozen=True)
class Costs:
    """Durations of solves and trainings, as measured so far.

    Attributes:
        n_points: number of points that the last training used; at least one.
        train_s: seconds of that training, with everything else in its round except solves.
        solve_s: mean seconds of a solve.
        n_slots: number of solves that run in parallel.
    """

    n_points: int
    train_s: float
    solve_s: float
    n_slots: int

    @classmethod
    def measured(cls, trained: Sequence[int], training_s: float, solve_s: float, n_slots: int) -> "Costs":
        """Costs estimated from the rounds until now, with the safety factor `MARGIN`.

        Args:
            trained: number of points that each training used.
            training_s: seconds of these trainings, with everything else in the rounds except solves.
        """
        return cls(trained[-1], MARGIN * training_s * trained[-1] / sum(trained), solve_s, n_slots)

    def training_s(self, n: int) -> float:
        """Seconds of a training with `n` new points."""
        return self.train_s * (self.n_points + n) / self.n_points

    def round_s(self, n: int) -> float:
        """Seconds of a round with `n` new points."""
        return ceil(n / self.n_slots) * self.solve_s + self.training_s(n)

    def rate(self, n: int) -> float:
        """Reduction of the logarithm of the error per second in a round with `n` new points, up to a factor."""
        return log((self.n_points + n) / self.n_points) / max(self.round_s(n), 1e-9)

    def after(self, n: int) -> "Costs":
        """The expected costs after a round with `n` new points."""
        return replace(self, n_points=self.n_points + n, train_s=self.training_s(n))

    def plan_s(self, n: int) -> float:
        """Seconds of the fewest rounds to `n` new points, none of which multiplies the number of points by more than e.

        Of several such plans, the one with the smallest rounds before the last is taken.
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
        most: number of solves that the budget still allows.
        seconds_left: until the wall time is used up; None for no limit.
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
