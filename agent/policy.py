"""How much to solve before the model is built anew: the greedy choice of the largest fall of the error per second.

A round is q solves and one training. Errors of interpolation fall as a power of the number of points n, so a round
takes a multiple of log((n + q) / n) off the logarithm of the error, whatever the power is. It costs the solves, side by
side as far as there are places for them, and a training, whose time grows in proportion to the points. The quotient has
one maximum: a point at a time, or one for each place, where a solve is dear, so that each is chosen by all that can be
known; and up to 1.7 n points (e n in all) where solves cost nothing beside a training.

What happens inside a training is decided there, by leave-one-out errors: how long the first stage is trained, which
stages are added, and when another one would only fit noise (`mlasdi.staging`).
"""

from dataclasses import dataclass, replace
from math import ceil, log


@dataclass(frozen=True)
class Costs:
    """What solves and trainings take, as measured so far.

    Attributes:
        n_points: solved points that the last training knew; at least one.
        train_s: seconds of that training, with all that follows it in a round.
        solve_s: mean seconds of a solve.
        places: solves side by side.
    """

    n_points: int
    train_s: float
    solve_s: float
    places: int

    def training_s(self, n: int) -> float:
        """Seconds of a training with `n` new points."""
        return self.train_s * (self.n_points + n) / self.n_points

    def round_s(self, n: int) -> float:
        """Seconds of a round with `n` new points."""
        return ceil(n / self.places) * self.solve_s + self.training_s(n)

    def rate(self, n: int) -> float:
        """Fall of the logarithm of the error per second, up to a factor, in a round with `n` new points."""
        return log((self.n_points + n) / self.n_points) / max(self.round_s(n), 1e-9)


def points_of_round(costs: Costs, most: int, seconds_left: float | None = None) -> int:
    """How many points to solve before the next training, at least one and at most `most`.

    Args:
        seconds_left: until the campaign has to end. The round fits into them, if any does; and where no time would be
            left for another one, it is as large as fits.
    """
    sizes = range(1, max(most, 1) + 1)
    if seconds_left is None:
        return max(sizes, key=costs.rate)
    fitting = [n for n in sizes if costs.round_s(n) <= seconds_left]
    best = max(fitting, key=costs.rate, default=1)
    then = replace(costs, n_points=costs.n_points + best, train_s=costs.training_s(best))
    is_last = costs.round_s(best) + then.round_s(1) > seconds_left
    return max(fitting, default=1) if is_last else best
