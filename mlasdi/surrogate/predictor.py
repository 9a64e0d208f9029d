"""Predictions of a surrogate: trajectories, probes, samples and latent states, with standard deviations.

They use one thread, or as many as `limited_threads` around them allows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike

from mlasdi.alignment import COMMON_TIMES, CoordinateScaling, TimeScaling
from mlasdi.interpolation import END_TIME, EndTimes
from mlasdi.prediction import ExtrapolationWarning as ExtrapolationWarning
from mlasdi.prediction import Prediction as Prediction
from mlasdi.prediction import Probes as Probes
from mlasdi.prediction import RunTimes, beyond_box, beyond_interval, checked_points, checked_times, given_points
from mlasdi.preprocessing import PodBasis, limited_threads
from mlasdi.solvers import ParameterSpace, Points, StateLayout
from mlasdi.stages import Encoder, StagedModel
from mlasdi.surrogate.reconstruction import Reconstruction
from mlasdi.surrogate.results import ProbePrediction, TrainingRecord
from mlasdi.surrogate.uncertainty import MIN_LOCAL_FACTOR, TimeFactors, student_factor

CHUNK = 64  # points that are predicted at once: bounds the memory


@dataclass(frozen=True)
class Predictor:
    """The part of a surrogate that predicts; see `Surrogate` for its attributes."""

    space: ParameterSpace
    layout: StateLayout
    t: Float[np.ndarray, " time"]
    basis: PodBasis
    model: StagedModel
    encoder: Encoder
    record: TrainingRecord
    info: Mapping[str, Any] = field(default_factory=dict)
    time_scaling: TimeScaling = COMMON_TIMES
    coordinate_scaling: CoordinateScaling | None = None
    end_times: EndTimes | None = None
    holds_end: bool = False

    @property
    def n_stages(self) -> int:
        return len(self.model.stages)

    @limited_threads()
    def predict(
        self,
        mu: Points | None = None,
        t: ArrayLike | None = None,
        *,
        n_stages: int | None = None,
        std: bool = True,
        probes: Probes | None = None,
        **named: ArrayLike,
    ) -> Prediction:
        """Trajectories at parameters `mu`, or at parameters by name: `predict(a=0.8, w=1.0)`.

        Args:
            mu: names to values or to arrays `[n_mu]` of them, as a mapping or a DataFrame; or an array
                `[n_mu, n_params]`; in physical units.
            t: times `[time]`; the training times by default. Where runs end at different times, those of the longest
                run at `mu` by default, and values after the predicted end of a run are NaN.
            n_stages: use the first stages only; the standard deviation is that of all stages.
            std: whether to compute the standard deviation, which costs one decoding per training point.
            probes: values to predict in place of whole states, which are then not decoded.
            **named: the parameters by name, in place of `mu`. Those named as an argument, such as `t`, are given by
                `mu`.

        Raises:
            ValueError: unknown or missing parameters, a wrong shape, values that are not finite, or more stages than
                the model has.

        Warns:
            ExtrapolationWarning: outside the trained box or time interval.
        """
        given = self.space.as_array(given_points(self.space, mu, named))
        x, times = self._query(given, t, n_stages)
        tau = self.unit_times(times)
        mean = np.empty((len(x), len(times), self.layout.n_state if probes is None else len(probes)))
        spread = np.empty_like(mean) if std else None
        for rows in _chunks(len(x), CHUNK):
            c = self._mean(x[rows], tau, n_stages)
            steps = self._deviations(x[rows], tau) if std else None
            for part, basis in self.reconstruction.bases(x[rows], probes):
                basis.lift(c[part], out=mean[rows][part])
                if spread is not None and steps is not None:
                    left_out = self.basis.truncation_rms * basis.unit
                    spread[rows][part] = np.hypot(basis.lift_std(steps[:, part]), left_out)
        layout = self.layout if probes is None else probes.layout
        ends: dict[str, Any] = self.run_times.ends(x)
        if self.end_times is not None:
            durations = self.end_times.durations(x)
            ends |= {"whole_runs": partial(self._whole_runs, given, probes)} if t is None else {}
            for values in (mean,) if spread is None else (mean, spread):
                self.run_times.blank(values, times, durations, layout)

        def samples(n: int, generator: np.random.Generator) -> np.ndarray:
            return self.sample(given, n, generator, times, probes=probes)

        return Prediction(times, mean, spread, given, self.space, layout, samples, self.quantities, **ends)

    @property
    def quantities(self) -> dict[str, str]:
        """Quantities of interest that were asked for when the model was trained: name -> how they are computed.

        Where runs end at different times, the end time is one.
        """
        known = dict(self.info.get("quantities", {}))
        return known if self.end_times is None else known | {END_TIME: "end of the run"}

    def outside(self, mu: Points, t: Float[np.ndarray, " time"] | None = None) -> str:
        """A text that says which of the points or times lie outside the trained ranges; empty if none do."""
        note = beyond_box(self.space, self.space.as_array(mu))
        return note if note or t is None else beyond_interval(self.run_times.accepted(t), t)

    @limited_threads()
    def probe(self, mu: Points, t: ArrayLike, probes: Probes, *, std: bool = True) -> ProbePrediction:
        """Single values in space and time: the k-th probe at the k-th time; arguments as for `predict`.

        Raises:
            ValueError: as `predict`, or there is not one time for each probe.
        """
        x, times = self._query(mu, t)
        if len(times) != len(probes):
            raise ValueError(f"{len(times)} times given for {len(probes)} probes; give one for each")
        tau, mean = self.unit_times(times), np.empty((len(x), len(times)))
        spread = np.empty_like(mean) if std else None
        c = self.basis.scale * self._mean(x, tau)
        steps = self.basis.scale * self._deviations(x, tau) if std else None
        for part, basis in self.reconstruction.bases(x, probes):
            mean[part] = basis.mean + np.einsum("ptr,tr->pt", c[part], basis.modes)
            if spread is not None and steps is not None:
                inside = np.linalg.norm(np.einsum("dptr,tr->dpt", steps[:, part], basis.modes), axis=0)
                spread[part] = np.hypot(inside, self.basis.truncation_rms * basis.unit)
        if self.end_times is not None:
            durations = self.end_times.durations(x)
            for values in (mean,) if spread is None else (mean, spread):
                self.run_times.blank(values[..., None], times, durations, None)
        return ProbePrediction(times, mean, spread)

    @limited_threads()
    def sample(
        self,
        mu: Points,
        n_samples: int,
        generator: np.random.Generator,
        t: ArrayLike | None = None,
        *,
        probes: Probes | None = None,
    ) -> Float[np.ndarray, "param sample time state"]:
        """Trajectories drawn from the normal distribution of the prediction; arguments as for `predict`.

        Each value has the mean and the standard deviation of `predict`. The correlation over space, time and parameters
        is that of the coefficient GPs, propagated to first order. Where runs end at different times, each trajectory
        has an end of its own.

        Raises:
            ValueError: as `predict`, or `n_samples` is less than 1.
        """
        if n_samples < 1:
            raise ValueError(f"n_samples {n_samples} given; at least 1 is needed")
        x, times = self._query(mu, t)
        tau = self.unit_times(times)
        steps = self._deviations(x, tau)
        normal = generator.standard_normal((n_samples, len(steps)))  # the last one is that of the end time, if any
        draws = np.tensordot(normal, steps, axes=1)
        coordinates = self._mean(x, tau)[:, None] + np.moveaxis(draws, 0, 1)
        truncated = self.basis.truncation_rms * generator.standard_normal(n_samples)[:, None, None]
        bases = self.reconstruction.bases(x, probes)
        states = np.concatenate([basis.lift(coordinates[part]) + truncated * basis.unit for part, basis in bases])
        if self.end_times is None:
            return states
        ends = self.end_times.durations(x)[:, None] * np.exp(self.end_times.std(x)[:, None] * normal[:, -1])
        self.run_times.blank(states, times, ends, self.layout if probes is None else probes.layout)
        return states

    def _whole_runs(
        self, mu: Points, probes: Probes | None, n_samples: int, generator: np.random.Generator
    ) -> tuple[Float[np.ndarray, "param sample time"], Float[np.ndarray, "param sample time value"]]:
        """Drawn runs, each at times of its own, from its beginning to its end; the mean if none are to be drawn."""
        assert self.end_times is not None  # only called where runs end at different times
        x, over_run = self.space.to_unit(self.space.as_array(mu)), replace(self, end_times=None)
        normal = generator.standard_normal(n_samples) if n_samples else np.zeros(1)
        ends = self.end_times.durations(x)[:, None] * np.exp(self.end_times.std(x)[:, None] * normal)
        parts = (self.t - self.t[0]) / (self.t[-1] - self.t[0])
        if n_samples:
            states = over_run.sample(mu, n_samples, generator, probes=probes)
        else:
            states = over_run.predict(mu, std=False, probes=probes).mean[:, None]
        return self.t[0] + ends[..., None] * parts, states

    @limited_threads()
    def standard_steps(
        self, mu: Points, t: ArrayLike | None = None, *, probes: Probes | None = None
    ) -> tuple[
        Float[np.ndarray, "param time value"],
        Float[np.ndarray, "direction param time value"],
        Float[np.ndarray, " value"],
    ]:
        """The prediction as one normal distribution: its mean, and its covariance by steps of one standard deviation.

        The covariance of two values is the sum over the directions of the products of their steps. To the variance of
        a value comes the square of the third array, what the basis left out, which is independent of all others.
        Arguments as for `predict`.
        """
        x, times = self._query(mu, t)
        tau = self.unit_times(times)
        mean, steps = self._mean(x, tau), self.basis.scale * self._deviations(x, tau)
        means, values = [], []
        for part, basis in self.reconstruction.bases(x, probes):
            means.append(basis.lift(mean[part]))
            values.append(steps[:, part] @ basis.modes.T)
        unit = np.broadcast_to(self.basis.truncation_rms * basis.unit, values[0].shape[-1:])
        return np.concatenate(means), np.concatenate(values, axis=1), unit

    @cached_property
    def reconstruction(self) -> Reconstruction:
        """From POD coordinates to states."""
        return Reconstruction(self.layout, self.basis, self.coordinate_scaling)

    @limited_threads()
    def coordinates(
        self, mu: Points, t: ArrayLike | None = None, n_stages: int | None = None
    ) -> Float[np.ndarray, "param time rank"]:
        """Predicted POD coordinates: the prediction before it is lifted to the mesh; arguments as for `predict`."""
        x, times = self._query(mu, t, n_stages)
        return self._mean(x, self.unit_times(times), n_stages)

    @limited_threads()
    def project(self, mu: Points, t: ArrayLike, u: Float[np.ndarray, "time state"]) -> Float[np.ndarray, "time rank"]:
        """POD coordinates of the states of one true trajectory.

        With rescaled coordinates, a grid may not cover all of the rescaled domain. There, the prediction takes the
        place of the truth.

        Args:
            mu: its parameters, one point.
            t: its times `[time]`.
            u: its states.
        """
        if self.coordinate_scaling is None:
            return self.basis.project(u)
        x = self.space.to_unit(self.space.as_array(mu))
        rescaled, known = self.coordinate_scaling.rescaled_states(x[0], u)
        predicted = self.basis.lift(self._mean(x, self.unit_times(np.asarray(t, dtype=float)))[0])
        return self.basis.project(np.where(known, rescaled, predicted))

    def _mean(
        self, x: Float[np.ndarray, "param d"], tau: torch.Tensor, n_stages: int | None = None
    ) -> Float[np.ndarray, "param time rank"]:
        return self.run_times.at(lambda x, t: self.model.mean(x, t, n_stages), x, tau).numpy()

    def _deviations(
        self, x: Float[np.ndarray, "param d"], tau: torch.Tensor
    ) -> Float[np.ndarray, "direction param time rank"]:
        """Calibrated steps of one standard deviation; the last one is that of the end time where it is predicted."""
        deviations = partial(self.model.deviations, time_scaling=self.time_scaling)
        steps = self.run_times.at(deviations, x, tau, axis=1).numpy()
        parts = np.minimum(tau.numpy() / self.run_times.unit_ends(x)[:, None], 1.0)
        steps = self._band_factor(x)[:, None, None] * TimeFactors(self.record.std_factors)(parts)[..., None] * steps
        if self.end_times is None:
            return np.asarray(steps)
        later = self.run_times.at(self.model.mean, x, tau, later=np.exp(self.end_times.std(x)))
        return np.concatenate([steps, (later.numpy() - self._mean(x, tau))[None]])

    def _band_factor(self, x: Float[np.ndarray, "param d"]) -> Float[np.ndarray, " param"]:
        """Factor on standard deviations at points of the unit cube.

        It is wider where another model disagrees, and where the errors of folds nearby were wider than their bands.
        """
        if not self.record.bands:
            return np.ones(len(x))
        wider = self.record.disagreement.widened(x, np.ones(len(x)))
        local = student_factor(len(self.record.bands.x)) * self.record.bands.estimate(x, wider)
        return np.maximum(local, MIN_LOCAL_FACTOR)

    def _query(
        self, mu: Points, t: ArrayLike | None, n_stages: int | None = None
    ) -> tuple[Float[np.ndarray, "param d"], Float[np.ndarray, " time"]]:
        """Points of the unit cube, and times, checked."""
        if n_stages is not None and not 1 <= n_stages <= self.n_stages:
            raise ValueError(f"n_stages {n_stages} given; the model has stages 1 to {self.n_stages}")
        points = checked_points(self.space, mu)
        if t is None:
            return points, self.default_times(mu)
        wanted = np.atleast_1d(np.asarray(t, dtype=float))
        return points, checked_times(self.run_times.accepted(wanted), wanted, self.model.latent)

    def default_times(self, mu: Points) -> Float[np.ndarray, " time"]:
        """Times of a prediction at `mu` if none are given: those of the training, or of the longest run at `mu`."""
        return self.run_times.default(self.space.to_unit(self.space.as_array(mu)))

    @cached_property
    def run_times(self) -> RunTimes:
        """From times to rescaled times, in which `model` predicts."""
        return RunTimes(self.t, self.time_scaling, self.end_times, self.holds_end)

    def unit_times(self, t: Float[np.ndarray, " time"]) -> Float[torch.Tensor, " time"]:
        """Times in units of the training interval, from 0 to 1; those of a steady model are 0."""
        return self.run_times.unit(t)


def _chunks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
