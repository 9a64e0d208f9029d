"""What a test problem of the methods is: a solver, a box of parameters, training and test points, their solves."""

import hashlib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal
from uuid import uuid4

import numpy as np
from scipy.stats import qmc

from mlasdi.solvers import Parameter, ParameterSpace

CACHE = Path(__file__).parents[3] / "mlruns" / "benchmarks" / "problems"
COMMON = Path(__file__).with_name("numerics.py")  # what the solvers share


@dataclass(frozen=True, eq=False)
class Problem:
    """A time-dependent problem with parameters mu in a box.

    Attributes:
        name: by which the catalogue finds it.
        use: methods and their constants may be chosen by looking at problems for development; those held out only
            judge.
        parameters: the box, by name.
        fields: the state holds one after the other, each flattened over the axes of `coordinates` in C order.
        coordinates: the points of each axis.
        t: the times [time] of a trajectory.
        solve: the trajectory [time, state] at one point.
        sizes: numbers of training points, a small and a large one.
    """

    name: str
    use: Literal["development", "held out"]
    parameters: dict[str, Parameter]
    fields: tuple[str, ...]
    coordinates: dict[str, np.ndarray]
    t: np.ndarray
    solve: Callable[[Mapping[str, float]], np.ndarray]
    sizes: tuple[int, int]

    @cached_property
    def space(self) -> ParameterSpace:
        """The box, and the maps between it and the unit cube."""
        return ParameterSpace(tuple(self.parameters.values()))

    @property
    def n_state(self) -> int:
        """Number of values of the state at one time."""
        return len(self.fields) * int(np.prod([len(axis) for axis in self.coordinates.values()]))

    def design(self, n: int, seed: int | None = None) -> np.ndarray:
        """The first `n` training points [n, parameter]: the corners of the box, then a Sobol sequence.

        The sequence is unscrambled, or scrambled with `seed`, and runs in the logarithm of log-scaled parameters; its
        points that are corners are left out.
        """
        corners = self.space.corners()
        sequence = qmc.Sobol(self.space.n_params, scramble=seed is not None, rng=np.random.default_rng(seed))
        points = sequence.random_base2(max(n, 1).bit_length() + 1)
        inner = points[~np.all(np.isin(points, (0.0, 1.0)), axis=1)]
        return np.concatenate([corners, self.space.from_unit(inner)])[:n]

    def test_points(self, seed: int = 0, n: int = 40) -> np.ndarray:
        """Independent points [n, parameter], uniform in the box, or in the logarithm of log-scaled parameters."""
        return self.space.from_unit(np.random.default_rng(seed).random((n, self.space.n_params)))

    def data(self, mu: np.ndarray) -> np.ndarray:
        """Trajectories u [param, time, state] at the points `mu` [param, parameter].

        They are kept on disk under a key of the points and of the source code that solves, so that a benchmark solves
        each set of points once.
        """
        mu = np.ascontiguousarray(mu, dtype=float)
        path = CACHE / f"{self.name}-{self._key(mu)}.npz"
        if path.exists():
            with np.load(path) as stored:
                return stored["u"]
        u = np.stack([self.solve(self.space.as_dict(point)) for point in mu])
        if u.shape[1:] != (len(self.t), self.n_state) or not np.isfinite(u).all():
            raise ValueError(f"{self.name}: {u.shape[1:]} values, not all of them finite or not in the stated layout")
        CACHE.mkdir(parents=True, exist_ok=True)
        # The final name appears only with the whole file, whatever else writes the same one.
        unfinished = path.with_suffix(f".{uuid4().hex}.tmp")
        with unfinished.open("wb") as file:
            np.savez(file, u=u, mu=mu)
        os.replace(unfinished, path)
        return u

    def _key(self, mu: np.ndarray) -> str:
        """Hash of the points, the layout and the source files."""
        key = hashlib.sha256(Path(inspect.getfile(self.solve)).read_bytes())
        key.update(COMMON.read_bytes())
        for values in (mu, self.t, *self.coordinates.values()):
            key.update(np.ascontiguousarray(values, dtype=float).tobytes())
        key.update(repr((self.space.names, self.fields, mu.shape)).encode())
        return key.hexdigest()[:16]


def box(*parameters: Parameter) -> dict[str, Parameter]:
    """Parameters by their names."""
    return {parameter.name: parameter for parameter in parameters}
