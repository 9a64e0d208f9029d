"""A solver that starts from earlier solutions, in a separate module that worker processes can import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlasdi.solvers import Snapshots, Start, StateLayout


@dataclass(frozen=True)
class Relay:
    """u(t, x; a) = the number of solves since one without a start; starts from the nearest `a`."""

    parameter_names = ("a",)

    @property
    def layout(self) -> StateLayout:
        return StateLayout(fields=("u",), coordinates={"x": np.linspace(0, 1, 3)})

    def identity(self) -> dict[str, Any]:
        return {"solver": "relay"}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        return self.solve_from(mu, ())

    def solve_from(self, mu: Mapping[str, float], starts: Sequence[Start]) -> Snapshots:
        n_before = 0.0
        for start in sorted(starts, key=lambda start: abs(start.mu["a"] - mu["a"])):
            state = start.load()
            if state is not None:
                n_before = state[0] + 1
                break
        return Snapshots(np.linspace(0, 1, 5), np.full((5, 3), n_before), restart=np.array([n_before]))
