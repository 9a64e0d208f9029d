"""Scalar quantities of predicted trajectories, with the deviation of the surrogate, in blocks of bounded memory."""

import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from mlasdi.prediction import Prediction
from mlasdi.surrogate import Surrogate

# "max of u", or a function of a prediction that returns a value for each of its trajectories.
Quantity: TypeAlias = str | Callable[[Prediction], ArrayLike]

BLOCK_BYTES = 1 << 26  # largest size of the predicted values in memory
REDUCTIONS: dict[str, Callable[..., np.ndarray]] = {"max": np.nanmax, "min": np.nanmin, "mean": np.nanmean}
_NAMED = re.compile(r"(max|min|mean)(?: over time)? of (.+?)( at the end)?")


def as_function(quantity: Quantity, surrogate: Surrogate) -> Callable[[Prediction], Float[np.ndarray, " param"]]:
    """A quantity as a function of predictions, whose values are checked.

    Raises:
        ValueError: its name cannot be read, or there is no such field.
    """
    function = _named(quantity, surrogate) if isinstance(quantity, str) else quantity

    def checked(prediction: Prediction) -> Float[np.ndarray, " param"]:
        values = np.asarray(function(prediction), dtype=float)
        if values.shape != (len(prediction),):
            raise ValueError(
                f"the quantity has shape {values.shape} for {len(prediction)} trajectories; return one value for each"
            )
        if not np.isfinite(values).all():
            raise ValueError("the quantity is not finite at some parameters")
        return values

    return checked


def _named(name: str, surrogate: Surrogate) -> Callable[[Prediction], np.ndarray]:
    found = _NAMED.fullmatch(name.strip())
    if found is None:
        raise ValueError(
            f"quantity '{name}': write 'max of FIELD', 'min of FIELD' or 'mean of FIELD', with ' at the end' for the "
            "last time alone; or give a function of a prediction"
        )
    reduce, field, at_end = REDUCTIONS[found[1]], found[2], found[3] is not None
    if field not in surrogate.layout.fields:
        raise ValueError(f"quantity '{name}': no field '{field}'; the fields are {', '.join(surrogate.layout.fields)}")

    def value(prediction: Prediction) -> np.ndarray:
        values = prediction[field][:, -1:] if at_end else prediction[field]
        return np.asarray(reduce(values.reshape(len(values), -1), axis=1))

    return value


def values(surrogate: Surrogate, quantity: Quantity, mu: Float[np.ndarray, "param d"]) -> Float[np.ndarray, " param"]:
    """The quantity of the predicted mean at each of the parameters."""
    function = as_function(quantity, surrogate)
    parts = [function(surrogate.predict(mu[rows], std=False)) for rows in _blocks(surrogate, len(mu), 1)]
    return np.concatenate(parts)


def drawn_values(
    surrogate: Surrogate, quantity: Quantity, mu: Float[np.ndarray, "param d"], n_draws: int, seed: int
) -> Float[np.ndarray, "draw param"]:
    """The quantity of trajectories drawn from the prediction: its spread over the draws is the surrogate's deviation.

    A draw is one function of the parameters: errors at neighbouring parameters are correlated as the model has them.
    """
    function = as_function(quantity, surrogate)
    found = np.empty((n_draws, len(mu)))
    for rows in _blocks(surrogate, len(mu), n_draws):
        # The same random numbers in each block: the blocks belong to the same draws.
        drawn = surrogate.sample(mu[rows], n_draws, np.random.default_rng(seed))
        for k in range(n_draws):
            one = Prediction(surrogate.t, drawn[:, k], None, mu[rows], surrogate.space, surrogate.layout)
            found[k, rows] = function(one)
    return found


def _blocks(surrogate: Surrogate, n_points: int, n_draws: int) -> Iterator[slice]:
    size = max(BLOCK_BYTES // (8 * n_draws * len(surrogate.t) * surrogate.layout.n_state), 1)
    return (slice(start, min(start + size, n_points)) for start in range(0, n_points, size))
