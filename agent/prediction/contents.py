"""What a file of predictions contains, and the blocks in which it is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import ParameterSpace, StateLayout


@dataclass(frozen=True)
class Contents:
    """What a file contains.

    Attributes:
        space: the parameters.
        layout: fields and grid of the predicted values.
        t: times `[time]`.
        points: parameters `[param, n_params]`.
        has_std: whether there is a standard deviation.
        levels: levels of the quantiles.
        ends: `end_time` and `end_time_std` of each point `[param]`, where runs end at different times; else empty.
    """

    space: ParameterSpace
    layout: StateLayout
    t: Float[np.ndarray, " time"]
    points: Float[np.ndarray, "param n_params"]
    has_std: bool
    levels: tuple[float, ...]
    ends: Mapping[str, Float[np.ndarray, " param"]] = field(default_factory=dict)

    @property
    def bytes_per_time(self) -> int:
        """Bytes of all values of one point at one time."""
        return 8 * self.layout.n_state * (1 + self.has_std + len(self.levels))

    @property
    def n_bytes(self) -> int:
        return self.bytes_per_time * len(self.points) * len(self.t)


@dataclass(frozen=True)
class Block:
    """Predicted values of some points at some times.

    Attributes:
        rows, times: indices of the points and of the times.
        mean, std: `[param, time, state]`.
        quantiles: `[param, level, time, state]`.
    """

    rows: slice
    times: slice
    mean: Float[np.ndarray, "param time state"]
    std: Float[np.ndarray, "param time state"] | None
    quantiles: Float[np.ndarray, "param level time state"] | None


class PredictionFile(Protocol):
    """A file that is being written."""

    def write(self, block: Block) -> None: ...
