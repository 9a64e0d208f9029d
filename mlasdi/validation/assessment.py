"""Judging a surrogate against full-order solutions that it has not seen."""

import os
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

from mlasdi.solvers import Snapshots
from mlasdi.surrogate import Surrogate, covered, relative_error

# Probabilities of the central bands that are checked, and half the width of each in standard deviations.
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
HALF_WIDTHS = tuple(float(z) for z in norm.ppf(0.5 + 0.5 * np.array(LEVELS)))
# The bands are checked at this many validation points, evenly spread; a standard deviation costs many decodings.
COVERAGE_POINTS = 50


class DamagedAssessment(Exception):
    """A saved assessment cannot be read back as it was written."""


@dataclass(frozen=True)
class Assessment:
    """Errors on the validation set.

    Attributes:
        mu: validation points `[param, n_params]`, physical.
        errors: largest relative L2 error over time, with the first k stages `[stage, param]`; fractions.
        coverage: part of the values that the 90 % band contains.
        reliability: part of the values that the central band of each probability in `LEVELS` contains `[level]`; None
            in an assessment that was saved before it was recorded.
    """

    mu: Float[np.ndarray, "param n_params"]
    errors: Float[np.ndarray, "stage param"]
    coverage: float
    reliability: Float[np.ndarray, " level"] | None = None

    def save(self, path: Path) -> None:
        """Write as NPZ, complete or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        arrays: dict[str, Any] = {"mu": self.mu, "errors": self.errors, "coverage": self.coverage}
        if self.reliability is not None:
            arrays["reliability"] = self.reliability
        with open(partial, "wb") as file:
            np.savez(file, **arrays)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> "Assessment":
        """Read what `save` wrote; the archive carries a check sum for each array.

        Raises:
            DamagedAssessment: the file is damaged.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                reliability = saved.get("reliability")
                return cls(saved["mu"], saved["errors"], float(saved["coverage"]), reliability)
        except (
            zipfile.BadZipFile,
            KeyError,
            ValueError,
            TypeError,
            EOFError,
            zlib.error,
            NotImplementedError,
        ) as error:
            raise DamagedAssessment(f"{path}: {' '.join(str(error).split())}") from error

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
            # One band at a time: all together would take as many arrays of the size of a trajectory.
            shares.append([covered(truth.u, prediction.mean[0], prediction.std[0], z).mean() for z in HALF_WIDTHS])
    reliability = np.mean(shares, axis=0)
    return Assessment(np.array(points), np.array(errors).T, float(reliability[LEVELS.index(0.9)]), reliability)


def _stage_errors(surrogate: Surrogate, mu: np.ndarray, truth: Snapshots) -> Float[np.ndarray, " stage"]:
    norm = surrogate.view.length(truth.u)[:, None]
    if surrogate.coordinate_scaling is not None:
        # The modes at one point are not orthonormal, so the states themselves are needed.
        at_point = surrogate.view.at(surrogate.space.to_unit(surrogate.space.as_array(mu))[0])
        predicted = (at_point.lift(surrogate.coordinates(mu, truth.t, k + 1)[0]) for k in range(surrogate.n_stages))
        distances = (surrogate.view.length(one - truth.u)[:, None] for one in predicted)
        return np.array([relative_error(norm, norm - distance).max() for distance in distances])
    basis = surrogate.basis
    c = basis.project(truth.u)
    outside = basis.length(truth.u - basis.lift(c)) ** 2
    inside = [
        basis.scale**2 * np.sum((c - surrogate.coordinates(mu, truth.t, k + 1)[0]) ** 2, axis=-1)
        for k in range(surrogate.n_stages)
    ]
    # The error is a matter of two lengths. As vectors of one entry they get the norm, and the treatment of vanishing
    # states, that all errors have.
    return np.array([relative_error(norm, norm - np.sqrt(part + outside)[:, None]).max() for part in inside])
