"""Checks of a solver's options that every solver needs."""

import math


def require_at_least(solver: object, **least: int) -> None:
    """Counts among the options, and the least that each may be.

    Raises:
        ValueError: an option is less; names it, its value and the limit.
    """
    for name, limit in least.items():
        if getattr(solver, name) < limit:
            raise ValueError(f"{name} {getattr(solver, name)} must be at least {limit}")


def require_positive(solver: object, *names: str) -> None:
    """Numbers among the options that must be positive and finite.

    Raises:
        ValueError: an option is not; names it and its value.
    """
    for name in names:
        value = getattr(solver, name)
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} {value} must be positive and finite")
