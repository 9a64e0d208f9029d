"""Several runs at equal parameters: whether they differ by white noise alone, so that their mean may replace them.

White noise is independent between all values, so that neighbours in time and in the state are not correlated and no
singular value is above those of noise (I. M. Johnstone, Annals of Statistics 29, 2001). Other initial conditions, other
settings and correlated noise are not white.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mlasdi.solvers.contract import evenly_spread
from mlasdi.solvers.layout import field_parts

MIN_LEVEL = 1e-6  # smaller differences, relative to the standard deviation of a field, do not change a model
ROUNDING = 1e-12  # relative to the values
MIN_PAIRS = 20  # neighbours; with fewer a correlation cannot be told from chance
# Of the correlation of neighbours: in units of its standard deviation for noise, and at most.
MAX_DEVIATIONS, MAX_CORRELATION = 5.0, 0.5
MAX_ROWS, MAX_COLUMNS = 400, 2000  # of the matrix whose largest singular value is tested: bounds the cost
MAX_NAMED = 5  # runs in a message

REMEDY = (
    "give what distinguishes them as a parameter, or leave all but one out; if they differ by noise, give its level as "
    "model.noise, relative to the standard deviation of the values, and their mean is used"
)


def differ_by_white_noise(runs: Float[np.ndarray, "run time state"], sizes: Sequence[int]) -> bool:
    """Whether trajectories are equal, or differ by white noise with one level for each field.

    Args:
        runs: finite trajectories at equal parameters on common times.
        sizes: number of values of each field in a state.
    """
    return all(_is_white(field) for field in field_parts(runs, sizes))


def not_averaged(
    rows: Sequence[object], where: str, reason: str = "their trajectories differ by more than white noise"
) -> str:
    """Message for runs that are not averaged: which, where, why, and what helps.

    Args:
        rows: how the runs are called.
        where: their parameters.
    """
    more = f" and {len(rows) - MAX_NAMED} more" if len(rows) > MAX_NAMED else ""
    named = "; ".join(map(str, rows[:MAX_NAMED]))
    return f"runs at equal parameters {where} are not averaged, because {reason}: {named}{more}; {REMEDY}"


def _is_white(field: Float[np.ndarray, "run time value"]) -> bool:
    differences = _contrasts(field)
    level = np.sqrt(np.mean(differences**2))
    if level <= max(MIN_LEVEL * field.std(), ROUNDING * np.sqrt(np.mean(field**2))):
        return True
    white = differences / level
    pairs = [(white[:, 1:], white[:, :-1]), (white[..., 1:], white[..., :-1])]
    if max(one.size for one, _ in pairs) < MIN_PAIRS:
        return False
    for one, other in pairs:
        if one.size and abs(np.mean(one * other)) > min(MAX_DEVIATIONS / np.sqrt(one.size), MAX_CORRELATION):
            return False
    return _largest_singular_value_is_noise(white.reshape(-1, field.shape[-1]))


def _contrasts(field: Float[np.ndarray, "run time value"]) -> Float[np.ndarray, "contrast time value"]:
    """Differences of runs with the variance of a single one, and independent where the noise of the runs is."""
    n = len(field)
    helmert = np.tril(np.ones((n - 1, n)), 0) - np.diag(np.arange(1.0, n), 1)[: n - 1]
    return np.tensordot(helmert / np.linalg.norm(helmert, axis=1, keepdims=True), field, axes=1)


def _largest_singular_value_is_noise(white: Float[np.ndarray, "sample value"]) -> bool:
    """Whether the largest singular value of differences of unit variance has the size that it has for noise.

    Its square has mean `(sqrt(n - 1) + sqrt(m))^2` for an `n x m` matrix, and the law of Tracy and Widom.
    """
    varying = white[:, white.any(axis=0)][white.any(axis=1)]  # without boundary values and initial states
    rows, columns = (evenly_spread(n, most) for n, most in zip(varying.shape, (MAX_ROWS, MAX_COLUMNS), strict=True))
    part = varying[np.ix_(rows, columns)]
    part = part / np.sqrt(np.mean(part**2))
    n, m = sorted(part.shape)
    if n < 2:
        return True  # a single row has no singular value beside its norm
    centre = (np.sqrt(n - 1) + np.sqrt(m)) ** 2
    width = (np.sqrt(n - 1) + np.sqrt(m)) * (1 / np.sqrt(n - 1) + 1 / np.sqrt(m)) ** (1 / 3)
    return bool(np.linalg.norm(part, 2) ** 2 <= centre + MAX_DEVIATIONS * width)
