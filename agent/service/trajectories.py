"""Trajectories for a request: what they cost, known before anything is computed, and the work in small steps."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mlasdi.agent.prediction import Selection
from mlasdi.agent.service.batching import tolerate_extrapolation
from mlasdi.agent.service.bodies import TrajectoryRequest
from mlasdi.prediction import normal_scores
from mlasdi.surrogate import Probes, Surrogate

# Seconds on one core of 2025, measured on models of burgers1d: for one coordinate of one state, which is integrated,
# interpolated or deviated by one standard deviation; for one value of a state lifted from them; for one number of the
# answer as text; and for one entry of a mode that is moved to the coordinates of one point.
COORDINATE_S, VALUE_S, NUMBER_S, MODE_ENTRY_S = 1e-7, 1e-8, 5e-7, 8e-8
INTEGRATION_S = 5e-5  # for one step of latent dynamics from one training time to the next, of all points together
STEP_S = 0.05  # aimed at for one step, between which others have their turn


class NotFinite(ValueError):
    """The prediction is not a number."""

    def __init__(self) -> None:
        super().__init__("the prediction is not finite so far outside the trained ranges")


@dataclass(frozen=True)
class Trajectories:
    """The trajectories that a request asks for.

    Attributes:
        points: parameters `[param, n_params]`.
        times: `[time]`.
        probes: the values; None for the whole state.
        levels: of quantiles.
        std: whether the answer contains the standard deviation.
        warnings: about extrapolation.
    """

    surrogate: Surrogate
    points: Float[np.ndarray, "param n_params"]
    times: Float[np.ndarray, " time"]
    probes: Probes | None
    levels: tuple[float, ...]
    std: bool
    warnings: tuple[str, ...]

    @classmethod
    @tolerate_extrapolation()
    def of(cls, surrogate: Surrogate, body: TrajectoryRequest) -> "Trajectories":
        """Those of a request.

        Raises:
            ValueError: it does not suit the model, or asks for an extrapolation that it does not allow.
        """
        points = surrogate.space.as_array(body.points)
        times = surrogate.default_times(points) if body.times is None else np.array(body.times)
        note = allowed(surrogate, points, times, body.extrapolate)
        probes = Selection(tuple(body.fields) if body.fields else None, _sensors(body.sensors)).probes(surrogate.layout)
        return cls(surrogate, points, times, probes, tuple(body.quantiles), body.std, tuple(note))

    @property
    def n_values(self) -> int:
        """Values of one state."""
        return self.surrogate.layout.n_state if self.probes is None else len(self.probes)

    @property
    def n_numbers(self) -> int:
        """Numbers in the answer."""
        return len(self.points) * len(self.times) * self.n_values * (1 + self.std + len(self.levels))

    def seconds(self, n_points: int | None = None, n_times: int | None = None) -> float:
        """Estimated seconds of the whole answer, or of so many of its points and times."""
        n_points = len(self.points) if n_points is None else n_points
        n_times = len(self.times) if n_times is None else n_times
        found, rank = self.surrogate, self.surrogate.basis.rank
        steps = 1 + len(found.model.latent.x)  # a standard deviation takes a prediction for each training point
        each = steps if self.needs_std else 1
        # A time far beyond the training costs as much as all times before it.
        n_before = float((self.times.max() - found.t[0]) / (found.t[-1] - found.t[0])) * len(found.t)
        of_point = MODE_ENTRY_S * rank * found.layout.n_state if found.coordinate_scaling is not None else 0.0
        of_point += COORDINATE_S * rank * steps * len(found.t)  # the estimate of its error
        of_value = VALUE_S * each + NUMBER_S * (1 + self.std + len(self.levels))
        of_point += COORDINATE_S * rank * each * max(n_times, n_before) + n_times * of_value * self.n_values
        return INTEGRATION_S * max(n_before, 0.0) + n_points * of_point

    @property
    def needs_std(self) -> bool:
        return self.std or bool(self.levels)

    def steps(self) -> Iterator[str]:
        """The answer as pieces of JSON, each made in one step; steps without a piece give an empty text.

        Raises:
            NotFinite: a value is not a number.
            ValueError: the surrogate cannot be evaluated there.
        """
        shape = (len(self.points), len(self.times), self.n_values)
        mean, std = np.empty(shape), np.empty(shape) if self.needs_std else None
        for rows, times in self._blocks():
            with tolerate_extrapolation():
                found = self.surrogate.predict(
                    self.points[rows], self.times[times], std=self.needs_std, probes=self.probes
                )
            mean[rows, times] = found.mean
            if std is not None:
                std[rows, times] = found.std
            yield ""
        is_wrong = np.isinf if self.surrogate.end_times is not None else _is_not_finite  # a run may have ended
        if is_wrong(mean).any() or (std is not None and is_wrong(std).any()):
            raise NotFinite
        errors: list[float] = []
        for rows in self._estimated():
            with tolerate_extrapolation():
                errors.append(float(self.surrogate.relative_std(self.points[rows]).max()))
            yield ""
        error = max(errors) if errors and np.isfinite(errors).all() else None
        yield f'{{"times": {json.dumps(self.times.tolist())}, "mean": '
        yield from _pieces(mean)
        yield ', "std": '
        yield from ["null"] if std is None or not self.std else _pieces(std)
        yield ', "quantiles": '
        yield from ["null"] if std is None or not self.levels else self._quantiles(mean, std)
        for name, ends in self.surrogate.run_times.ends(self.surrogate.space.to_unit(self.points)).items():
            yield f', "{name}": {_json(ends)}'
        yield f', "estimated_relative_error": {json.dumps(error)}, "warnings": {json.dumps(self.warnings)}}}'

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """Blocks of points and times of about `STEP_S` each."""
        n_times = len(self.times)
        n_rows = max(int(STEP_S / self.seconds(1, n_times)), 1)
        if n_rows == 1:
            n_times = max(int(n_times * STEP_S / self.seconds(1, n_times)), 1)
        for row in range(0, len(self.points), n_rows):
            for time in range(0, len(self.times), n_times):
                yield slice(row, row + n_rows), slice(time, time + n_times)

    def _estimated(self) -> Iterator[slice]:
        """Blocks of points whose errors are estimated at once; none where that is not possible."""
        if self.surrogate.error_estimate is None:
            return
        n = max(int(STEP_S / self.seconds(1, 0)), 1)
        yield from (slice(row, row + n) for row in range(0, len(self.points), n))

    def _quantiles(self, mean: np.ndarray, std: np.ndarray) -> Iterator[str]:
        scores = normal_scores(self.levels)
        for i, (one, deviation) in enumerate(zip(mean, std, strict=True)):
            for k, score in enumerate(scores):
                yield ("[[" if not i else ", [") if not k else ", "
                yield from _pieces(one + score * deviation)
            yield "]"
        yield "]"


def allowed(surrogate: Surrogate, points: np.ndarray, t: np.ndarray, extrapolate: bool) -> list[str]:
    """Warnings about extrapolation.

    Raises:
        ValueError: extrapolation is needed and not allowed.
    """
    note = surrogate.outside(points, t)
    if note and not extrapolate:
        raise ValueError(f'{note}; send "extrapolate": true to predict there')
    return [note] if note else []


def _sensors(sensors: list[dict[str, float]] | None) -> dict[str, np.ndarray] | None:
    if sensors is None:
        return None
    if any(set(one) != set(sensors[0]) for one in sensors):
        raise ValueError("sensors have different coordinates")
    return {name: np.array([one[name] for one in sensors]) for name in sensors[0]}


def _is_not_finite(array: Float[np.ndarray, "..."]) -> np.ndarray:
    return ~np.isfinite(array)


def _json(array: Float[np.ndarray, "..."]) -> str:
    """As JSON, with null for values after the end of a run."""
    return json.dumps(array.tolist()).replace("NaN", "null")


def _pieces(array: Float[np.ndarray, "..."]) -> Iterator[str]:
    """An array as JSON, in pieces of about `STEP_S` each."""
    size = max(int(STEP_S / NUMBER_S), 1)
    if array.size <= size:
        yield _json(array)
        return
    n = max(size // array[0].size, 1)
    for start in range(0, len(array), n):
        yield "[" if not start else ", "
        if n == 1 and array[start].ndim:
            yield from _pieces(array[start])
        else:
            yield _json(array[start : start + n])[1:-1]
    yield "]"
