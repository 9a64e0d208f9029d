"""The numbers in named arrays."""

from collections.abc import Mapping

import numpy as np

from mlasdi.solvers import SolverError


def vector(values: np.ndarray) -> np.ndarray:
    """`[n, 1]` and `[1, n]`, as MATLAB writes vectors, as `[n]`."""
    return values.ravel() if values.ndim == 2 and 1 in values.shape else values


def numbers(name: str, arrays: Mapping[str, object]) -> np.ndarray:
    """The array called `name` as float64, NaN where a masked array has no value.

    Raises:
        SolverError: it is missing, or has no real numbers (`bad-output`).
    """
    if name not in arrays:
        raise SolverError("bad-output", f"there is no array '{name}'; found {', '.join(map(str, arrays)) or 'nothing'}")
    try:
        value = np.asanyarray(arrays[name])  # keeps the mask of a masked array
    except ValueError as error:  # nested lists of unequal lengths
        raise SolverError("bad-output", f"'{name}' is no array: {error}") from error
    if value.dtype.kind not in "fiub":
        remedy = "; give real and imaginary part as two fields" if value.dtype.kind == "c" else ""
        raise SolverError("bad-output", f"'{name}' holds {value.dtype}, not real numbers{remedy}")
    return np.asarray(np.ma.filled(value.astype(np.float64), np.nan))
