"""Quantities of interest of predicted trajectories, with their uncertainty."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from mlasdi.solvers.outputs import is_function, quantity

if TYPE_CHECKING:
    from mlasdi.prediction.trajectories import Prediction

BATCH = 16  # trajectories that are drawn at once: bounds the memory


@dataclass(frozen=True)
class QuantityPrediction:
    """A quantity of interest at parameter points.

    Attributes:
        mean: that of the mean trajectory `[param, *axes]`; a number for each point where no axes are left.
        std: standard deviation of the samples, of the same shape.
        samples: that of each drawn trajectory `[param, sample, *axes]`.
    """

    mean: Float[np.ndarray, "*param_and_axes"]
    std: Float[np.ndarray, "*param_and_axes"]
    samples: Float[np.ndarray, "*param_sample_and_axes"]

    def quantile(self, level: float) -> Float[np.ndarray, "*param_and_axes"]:
        """Quantile of the samples.

        Args:
            level: probability of a smaller value, such as 0.95.

        Raises:
            ValueError: the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"quantile {level}: give a level between 0 and 1, without both ends")
        return np.quantile(self.samples, level, axis=1)


def computation(known: Mapping[str, str], wanted: str) -> str:
    """How a quantity is computed that is given by its name, or by its computation itself.

    Args:
        known: names -> computations.
        wanted: one of the names, or a computation.

    Raises:
        ValueError: it is a function, and only its name is given: code is run only if its module is named.
    """
    text = known.get(wanted, wanted)
    if is_function(text) and text != wanted:
        raise ValueError(
            f"quantity '{wanted}' is the function {text}: ask for '{text}' itself, so that no code is run unasked"
        )
    return text


def quantity_of(prediction: "Prediction", wanted: str, n_samples: int, seed: int) -> QuantityPrediction:
    """See `Prediction.quantity`."""
    layout, text = prediction.named_layout(), computation(prediction.quantities, wanted)
    if n_samples < 2:
        raise ValueError(f"n_samples {n_samples}: at least 2 are needed for a standard deviation")
    if prediction.std is None or prediction.samples is None:
        raise ValueError(f"the deviation of '{wanted}' needs the standard deviation: predict with std=True")
    generator, t = np.random.default_rng(seed), prediction.t
    mean = np.stack([quantity(text, layout, t, u) for u in prediction.mean])
    drawn = []
    for start in range(0, n_samples, BATCH):
        states = prediction.samples(min(BATCH, n_samples - start), generator)
        drawn.append(np.stack([np.stack([quantity(text, layout, t, u) for u in of_point]) for of_point in states]))
    samples = np.concatenate(drawn, axis=1)
    return QuantityPrediction(mean, samples.std(axis=1, ddof=1), samples)
