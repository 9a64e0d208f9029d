"""Errors of a surrogate against full-order solutions that it was not trained on, and the coverage of its bands."""

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import norm

from mlasdi.preprocessing import limited_threads
from mlasdi.solvers import Snapshots
from mlasdi.solvers.storage import atomic_write
from mlasdi.surrogate import Surrogate, covered, relative

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # probabilities of the central bands
HALF_WIDTHS = tuple(float(z) for z in norm.ppf(0.5 + 0.5 * np.array(LEVELS)))  # in standard deviations
COVERAGE_POINTS = 50  # validation points at which coverage is measured: bounds the cost of the standard deviations
BLOCK_BYTES = 1 << 26  # of the states of one trajectory that are compared at once: bounds the memory


class DamagedAssessment(Exception):
    """A saved assessment cannot be read back as it was written."""


@dataclass(frozen=True)
class Assessment:
    """Errors on the validation set.

    Attributes:
        mu: validation points `[param, n_params]`, in physical units.
        errors: largest relative L2 error over time, with the first k stages `[stage, param]`; fractions.
        coverage: part of the values that the 90 % band contains.
        reliability: part of the values that the central band of each probability in `LEVELS` contains `[level]`; None
            in assessments of versions that did not measure it.
    """

    mu: Float[np.ndarray, "param n_params"]
    errors: Float[np.ndarray, "stage param"]
    coverage: float
    reliability: Float[np.ndarray, " level"] | None = None

    def save(self, path: Path) -> None:
        """Write as NPZ, complete or not at all."""
        arrays: dict[str, Any] = {"mu": self.mu, "errors": self.errors, "coverage": self.coverage}
        if self.reliability is not None:
            arrays["reliability"] = self.reliability
        with atomic_write(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)

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


@limited_threads()
def assess(surrogate: Surrogate, truths: Iterable[tuple[np.ndarray, Snapshots]], n_truths: int) -> Assessment:
    """Compare a surrogate with true solutions at all of their times.

    One solution is held in memory, and predictions for a block of its times.

    Args:
        truths: pairs of parameters `[n_params]` and snapshots.
        n_truths: how many there are.
    """
    every = max(n_truths // COVERAGE_POINTS, 1)
    points, errors, shares = [], [], []
    for i, (mu, truth) in enumerate(truths):
        points.append(mu)
        errors.append(_stage_errors(surrogate, mu, truth))
        if i % every == 0:
            shares.append(_covered_shares(surrogate, mu, truth))
    reliability = np.mean(shares, axis=0)
    return Assessment(np.array(points), np.array(errors).T, float(reliability[LEVELS.index(0.9)]), reliability)


def _blocks(truth: Snapshots) -> Iterator[slice]:
    """Blocks of the times of a solution."""
    size = max(BLOCK_BYTES // truth.u[0].nbytes, 1)
    return (slice(start, start + size) for start in range(0, len(truth.t), size))


def _covered_shares(surrogate: Surrogate, mu: np.ndarray, truth: Snapshots) -> Float[np.ndarray, " level"]:
    """Part of the values that each central band contains."""
    inside = np.zeros(len(HALF_WIDTHS))
    for times in _blocks(truth):
        prediction = surrogate.predict(mu, truth.t[times])
        assert prediction.std is not None
        # One band at a time, which saves memory: each takes arrays of the size of the block.
        inside += [covered(truth.u[times], prediction.mean[0], prediction.std[0], z).sum() for z in HALF_WIDTHS]
    return inside / truth.u.size


def _stage_errors(surrogate: Surrogate, mu: np.ndarray, truth: Snapshots) -> Float[np.ndarray, " stage"]:
    """Largest relative L2 error over time, with the first k stages.

    The error has a part inside the POD basis, where the stages differ, and an orthogonal part, which is the same for
    all. So the coordinates of the predictions are enough, without their states.
    """
    predicted = np.concatenate([surrogate.coordinates(mu, truth.t, k + 1) for k in range(surrogate.n_stages)])
    norm, distance = np.empty(len(truth.t)), np.empty(predicted.shape[:2])
    scaled = surrogate.coordinate_scaling is not None
    x = surrogate.space.to_unit(surrogate.space.as_array(mu))[0]
    basis = surrogate.reconstruction.at(x) if scaled else surrogate.basis
    for times in _blocks(truth):
        u, c = truth.u[times], predicted[:, times]
        norm[times] = surrogate.reconstruction.state_norm(u)
        if scaled:
            # With rescaled coordinates the modes at a point are not orthonormal, so the states themselves are needed.
            distance[:, times] = [surrogate.reconstruction.state_norm(basis.lift(one) - u) for one in c]
            continue
        projected = basis.project(u)
        outside = basis.state_norm(u - basis.lift(projected)) ** 2
        distance[:, times] = np.sqrt(basis.scale**2 * np.sum((projected - c) ** 2, axis=-1) + outside)
    return np.asarray(relative(distance, np.broadcast_to(norm, distance.shape)).max(axis=-1))
