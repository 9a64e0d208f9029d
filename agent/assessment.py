"""Judging a surrogate against full-order solutions that it has not seen."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mlasdi.errors import covered, relative_error
from mlasdi.leave_one_out import NORMAL_90
from mlasdi.surrogate import Surrogate
from solvers.contract import Snapshots

# The band is checked at this many validation points, evenly spread; a standard deviation costs many decodings.
COVERAGE_POINTS = 50


@dataclass(frozen=True)
class Assessment:
    """Errors on the validation set.

    Attributes:
        mu: validation points `[param, n_params]`, physical.
        errors: largest relative L2 error over time, with the first k stages `[stage, param]`; fractions.
        coverage: part of the values that the 90 % band contains.
    """

    mu: Float[np.ndarray, "param n_params"]
    errors: Float[np.ndarray, "stage param"]
    coverage: float

    def save(self, path: Path) -> None:
        """Write as NPZ, complete or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with open(partial, "wb") as file:
            np.savez(file, mu=self.mu, errors=self.errors, coverage=self.coverage)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> "Assessment":
        with np.load(path, allow_pickle=False) as saved:
            return cls(saved["mu"], saved["errors"], float(saved["coverage"]))

    @property
    def final(self) -> Float[np.ndarray, " param"]:
        """Errors of the whole surrogate."""
        return self.errors[-1]


def assess(surrogate: Surrogate, truths: Iterable[tuple[np.ndarray, Snapshots]], n_truths: int) -> Assessment:
    """Compare with truths `(mu, snapshots)`, one at a time, so that they need not fit in memory together.

    The error is split into the part inside the POD basis, where the stages differ, and the part outside, which no
    prediction reaches: only the coordinates of the predictions are needed, not the states.
    """
    every = max(n_truths // COVERAGE_POINTS, 1)
    points, errors, shares = [], [], []
    for i, (mu, truth) in enumerate(truths):
        points.append(mu)
        errors.append(_stage_errors(surrogate, mu, truth))
        if i % every == 0:
            prediction = surrogate.predict(mu, truth.t)
            assert prediction.std is not None
            shares.append(covered(truth.u, prediction.mean[0], prediction.std[0], NORMAL_90).mean())
    return Assessment(np.array(points), np.array(errors).T, float(np.mean(shares)))


def _stage_errors(surrogate: Surrogate, mu: np.ndarray, truth: Snapshots) -> Float[np.ndarray, " stage"]:
    basis = surrogate.basis
    c = basis.project(truth.u)
    outside = np.sum((truth.u - basis.lift(c)) ** 2, axis=-1)
    inside = [
        basis.scale**2 * np.sum((c - surrogate.coordinates(mu, truth.t, k + 1)[0]) ** 2, axis=-1)
        for k in range(surrogate.n_stages)
    ]
    # The error is a matter of two lengths. As vectors of one entry they get the norm, and the treatment of vanishing
    # states, that all errors have.
    norm = np.linalg.norm(truth.u, axis=-1)[:, None]
    return np.array([relative_error(norm, norm - np.sqrt(part + outside)[:, None]).max() for part in inside])
