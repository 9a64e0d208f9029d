"""Checks of the range of a solver's options."""

import math


def require_at_least(solver: object, **least: int) -> None:
    """Check that options are at least their given minimum.

    Raises:
        ValueError: an option is less; the message names it, its value and the minimum.
    """
    for name, limit in least.items():
        if getattr(solver, name) < limit:
            raise ValueError(f"{name} {getattr(solver, name)} must be at least {limit}")


def require_positive(solver: object, *names: str) -> None:
    """Check that the named options are positive and finite.

    Raises:
        ValueError: an option is not; the message names it and its value.
    """
    for name in names:
        value = getattr(solver, name)
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} {value} must be positive and finite")
