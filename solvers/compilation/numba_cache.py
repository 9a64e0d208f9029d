"""Compilation of loops by numba, cached on disk."""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function on its first call, and keep the result on disk where there is a folder that can be written."""
    try:
        return njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # neither the package nor the user's folder of caches can be written
        return njit(error_model="numpy")(function)
