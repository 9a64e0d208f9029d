"""Quantities of interest of predicted trajectories, with their uncertainty."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from mlasdi.interpolation import END_TIME
from mlasdi.solvers import StateLayout
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
    if wanted == END_TIME and prediction.end_time is not None and prediction.end_time_std is not None:
        normal = np.random.default_rng(seed).standard_normal(n_samples)
        ends = prediction.end_time[:, None] + prediction.end_time_std[:, None] * normal
        return QuantityPrediction(prediction.end_time, prediction.end_time_std, ends)
    layout, text = prediction.named_layout(), computation(prediction.quantities, wanted)
    if n_samples < 2:
        raise ValueError(f"n_samples {n_samples}: at least 2 are needed for a standard deviation")
    if prediction.std is None or prediction.samples is None:
        raise ValueError(f"the deviation of '{wanted}' needs the standard deviation: predict with std=True")
    generator = np.random.default_rng(seed)
    if prediction.whole_runs is not None:
        mean = _of_runs(text, layout, *prediction.whole_runs(0, generator))[:, 0]
    else:
        mean = np.stack([_of_run(text, layout, prediction.t, u) for u in prediction.mean])
    drawn = []
    for start in range(0, n_samples, BATCH):
        n = min(BATCH, n_samples - start)
        if prediction.whole_runs is not None:
            drawn.append(_of_runs(text, layout, *prediction.whole_runs(n, generator)))
            continue
        states = prediction.samples(n, generator)
        drawn.append(np.stack([[_of_run(text, layout, prediction.t, u) for u in of_point] for of_point in states]))
    samples = np.concatenate(drawn, axis=1)
    return QuantityPrediction(mean, samples.std(axis=1, ddof=1), samples)


def _of_run(text: str, layout: StateLayout, t: Float[np.ndarray, " time"], u: Float[np.ndarray, "time state"]) -> Any:
    """A quantity of a run up to its end, from which on it is NaN."""
    lasts = ~np.isnan(u).any(axis=1)
    return quantity(text, layout, t[lasts], u[lasts])


def _of_runs(
    text: str,
    layout: StateLayout,
    t: Float[np.ndarray, "param sample time"],
    u: Float[np.ndarray, "param sample time state"],
) -> np.ndarray:
    """A quantity of runs at times of their own."""
    points = zip(t, u, strict=True)
    return np.array([[quantity(text, layout, *run) for run in zip(*point, strict=True)] for point in points])
