"""Errors of a surrogate against full-order solutions that it was not trained on, and the coverage of its bands."""

import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from mlasdi.preprocessing import limited_threads, places_among
from mlasdi.solvers import Snapshots, field_parts
from mlasdi.solvers.storage import StoredRun, atomic_write, block_ranges
from mlasdi.surrogate import Surrogate, covered, relative
from mlasdi.validation.trajectory_errors import trajectory_errors

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # probabilities of the central bands
HALF_WIDTHS = tuple(float(z) for z in ndtri(0.5 + 0.5 * np.array(LEVELS)))  # in standard deviations
COVERAGE_POINTS = 50  # validation points at which coverage is measured: bounds the cost of the standard deviations

_ERRORS, _COVERAGE = "errors of ", "coverage of "  # prefixes of the arrays of fields


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
        fields: field -> its largest error over time, of the whole surrogate, relative to its own norm `[param]`; and
            quantity of interest -> its error.
        field_coverage: field -> part of its values that the 90 % band contains.
    """

    mu: Float[np.ndarray, "param n_params"]
    errors: Float[np.ndarray, "stage param"]
    coverage: float
    reliability: Float[np.ndarray, " level"] | None = None
    fields: Mapping[str, Float[np.ndarray, " param"]] = field(default_factory=dict)
    field_coverage: Mapping[str, float] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write as NPZ, complete or not at all."""
        arrays: dict[str, Any] = {"mu": self.mu, "errors": self.errors, "coverage": self.coverage}
        if self.reliability is not None:
            arrays["reliability"] = self.reliability
        arrays |= {f"{_ERRORS}{name}": errors for name, errors in self.fields.items()}
        arrays |= {f"{_COVERAGE}{name}": share for name, share in self.field_coverage.items()}
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
                known = saved["mu"], saved["errors"], float(saved["coverage"]), reliability
                errors = {k.removeprefix(_ERRORS): saved[k] for k in saved.files if k.startswith(_ERRORS)}
                shares = {k.removeprefix(_COVERAGE): float(saved[k]) for k in saved.files if k.startswith(_COVERAGE)}
                return cls(*known, errors, shares)
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

    def has_new_points(self, surrogate: Surrogate) -> bool:
        """Whether any of the points is new to the surrogate: where it was trained, errors are smaller."""
        x = surrogate.space.to_unit(self.mu)
        return bool((places_among(x, surrogate.model.latent.x) < 0).any())


@limited_threads()
def assess(
    surrogate: Surrogate, truths: Iterable[tuple[np.ndarray, Snapshots | StoredRun]], n_truths: int
) -> Assessment:
    """Compare a surrogate with true solutions at all of their times.

    Where runs end at different times, states are compared at equal parts of the runs, and the end time by itself.
    Predictions, and solutions that are stored, are held for a block of times.

    Args:
        truths: pairs of parameters `[n_params]` and snapshots, in memory or stored.
        n_truths: how many there are.
    """
    every = max(n_truths // COVERAGE_POINTS, 1)
    fields, several = surrogate.layout.fields, len(surrogate.layout.fields) > 1
    by_name: dict[str, list[float]] = defaultdict(list)
    points, errors, shares = [], [], []
    for i, (mu, truth) in enumerate(truths):
        points.append(mu)
        errors.append(_stage_errors(surrogate, mu, truth))
        if several or surrogate.record.quantities:
            _, found = trajectory_errors(surrogate, mu, truth.t, truth.u.__getitem__)
            for name, error in found.items():
                by_name[name].append(error)
        if i % every == 0:
            shares.append(_covered_shares(surrogate, mu, truth))
    by_field = np.mean(shares, axis=0)
    reliability, at_90 = by_field.mean(axis=1), LEVELS.index(0.9)  # all fields count alike
    by_stage = np.array(errors).T
    return Assessment(
        np.array(points),
        by_stage,
        float(reliability[at_90]),
        reliability,
        {fields[0]: by_stage[-1]} | {name: np.array(found) for name, found in by_name.items()},
        dict(zip(fields, by_field[at_90].tolist(), strict=True)),
    )


def _covered_shares(
    surrogate: Surrogate, mu: np.ndarray, truth: Snapshots | StoredRun
) -> Float[np.ndarray, "level field"]:
    """Part of the values of each field that each central band contains."""
    sizes = surrogate.layout.sizes
    inside = np.zeros((len(HALF_WIDTHS), len(sizes)))
    for times in block_ranges(*truth.u.shape):
        u, prediction = truth.u[times], surrogate.ending_at(float(truth.t[-1])).predict(mu, truth.t[times])
        assert prediction.std is not None
        # One band at a time, which saves memory: each takes arrays of the size of the block.
        bands = (covered(u, prediction.mean[0], prediction.std[0], z) for z in HALF_WIDTHS)
        inside += [[part.sum() for part in field_parts(band, sizes)] for band in bands]
    return inside / (len(truth.t) * np.array(sizes))


def _stage_errors(surrogate: Surrogate, mu: np.ndarray, truth: Snapshots | StoredRun) -> Float[np.ndarray, " stage"]:
    """Largest relative L2 error over time, with the first k stages.

    The error has a part inside the POD basis, where the stages differ, and an orthogonal part, which is the same for
    all. So the coordinates of the predictions are enough, without their states. With rescaled coordinates the modes at
    a point are not orthonormal, so the states themselves are needed.
    """
    over_run = surrogate.ending_at(float(truth.t[-1]))
    predicted = [over_run.coordinates(mu, truth.t, k + 1)[0] for k in range(surrogate.n_stages)]
    at_point = surrogate.reconstruction.at(surrogate.space.to_unit(surrogate.space.as_array(mu))[0])
    norms, distances = np.empty(len(truth.t)), np.empty((len(predicted), len(truth.t)))
    for rows in block_ranges(*truth.u.shape):
        u = truth.u[rows]
        norms[rows] = surrogate.reconstruction.state_norm(u)
        if surrogate.coordinate_scaling is not None:
            for distance, c in zip(distances, predicted, strict=True):
                distance[rows] = surrogate.reconstruction.state_norm(at_point.lift(c[rows]) - u)
            continue
        projected = at_point.project(u)
        outside = at_point.state_norm(u - at_point.lift(projected))
        for distance, c in zip(distances, predicted, strict=True):
            inside = at_point.scale * np.linalg.norm(projected - c[rows], axis=-1)
            distance[rows] = np.hypot(inside, outside)
    return np.asarray(relative(distances, norms).max(axis=-1))
