"""A slow solver that records its process, in a separate module that worker processes can import."""

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mlasdi.solvers import Json, Snapshots, StateLayout


@dataclass(frozen=True)
class Lingering:
    """A travelling wave of speed `a`; while it is solved, `folder` holds a file `<process id>.solving`."""

    folder: str
    seconds: float = 0.0
    parameter_names = ("a",)

    @property
    def layout(self) -> StateLayout:
        return StateLayout(("u",), {"x": np.linspace(0, 1, 31)})

    def identity(self) -> Json:
        return {"solver": "lingering", **asdict(self)}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        sign = Path(self.folder) / f"{os.getpid()}.solving"
        sign.touch()
        time.sleep(self.seconds)
        sign.unlink(missing_ok=True)
        t, x = np.linspace(0, 1, 21), np.linspace(0, 1, 31)
        return Snapshots(t, np.exp(-(((x - 0.2 - 0.5 * mu["a"] * t[:, None]) / 0.2) ** 2)))
