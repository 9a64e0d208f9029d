"""Predictions of a surrogate: trajectories, probes, samples and latent states, with standard deviations.

They use one thread, or as many as `limited_threads` around them allows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike

from mlasdi.alignment import COMMON_TIMES, CoordinateScaling, TimeScaling
from mlasdi.prediction import ExtrapolationWarning as ExtrapolationWarning
from mlasdi.prediction import Prediction as Prediction
from mlasdi.prediction import Probes as Probes
from mlasdi.prediction import beyond_box, beyond_interval, checked_points, checked_times
from mlasdi.preprocessing import PodBasis, limited_threads
from mlasdi.solvers import ParameterSpace, Points, StateLayout
from mlasdi.stages import Encoder, StagedModel
from mlasdi.surrogate.reconstruction import Reconstruction
from mlasdi.surrogate.results import LatentPrediction, ProbePrediction, TrainingRecord
from mlasdi.surrogate.uncertainty import MIN_LOCAL_FACTOR, TimeFactors, student_factor

# A surrogate that knows more is of the same class; checkers of shapes read no `Self` in methods.
Own = TypeVar("Own", bound="Predictor")
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
            t: times `[time]`; the training times by default.
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
        given = self.space.as_array(self._given(mu, named))
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

        def samples(n: int, generator: np.random.Generator) -> np.ndarray:
            return self.sample(given, n, generator, times, probes=probes)

        return Prediction(times, mean, spread, given, self.space, layout, samples, self.quantities)

    @property
    def quantities(self) -> dict[str, str]:
        """Quantities of interest that were asked for when the model was trained: name -> how they are computed."""
        return dict(self.info.get("quantities", {}))

    def outside(self, mu: Points, t: Float[np.ndarray, " time"] | None = None) -> str:
        """A text that says which of the points or times lie outside the trained ranges; empty if none do."""
        note = beyond_box(self.space, self.space.as_array(mu))
        return note if note or t is None else beyond_interval(self.t, t)

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
        return ProbePrediction(times, mean, spread)

    @limited_threads()
    def sample(
        self,
        mu: Points | None = None,
        n: int = 100,
        seed: int | np.random.Generator = 0,
        t: ArrayLike | None = None,
        *,
        probes: Probes | None = None,
        **named: ArrayLike,
    ) -> Float[np.ndarray, "param sample time state"]:
        """Trajectories drawn from the normal distribution of the prediction: `sample(n=100, a=0.8, w=1.0)`.

        Each value has the mean and the standard deviation of `predict`. The correlation over space, time and parameters
        is that of the coefficient GPs, propagated to first order.

        Args:
            mu: parameters, as for `predict`; so are `t`, `probes` and `named`.
            n: number of trajectories for each point.
            seed: of the draws, or a generator.

        Raises:
            ValueError: as `predict`, or `n` is less than 1.
        """
        if n < 1:
            raise ValueError(f"n {n} given; at least 1 sample is needed")
        generator, n_samples = np.random.default_rng(seed), n
        mu = self._given(mu, named)
        x, times = self._query(mu, t)
        tau = self.unit_times(times)
        steps = self._deviations(x, tau)
        draws = np.tensordot(generator.standard_normal((n_samples, len(steps))), steps, axes=1)
        coordinates = self._mean(x, tau)[:, None] + np.moveaxis(draws, 0, 1)
        truncated = self.basis.truncation_rms * generator.standard_normal(n_samples)[:, None, None]
        bases = self.reconstruction.bases(x, probes)
        return np.concatenate([basis.lift(coordinates[part]) + truncated * basis.unit for part, basis in bases])

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
    def starting_from(self: Own, mu: Points, u0: Float[np.ndarray, "param state"]) -> Own:
        """This surrogate, which now knows the initial states at parameters `mu`; ask it for predictions there.

        Kriging and dynamics with a closed-form decoder make no use of them.

        Args:
            mu: as for `predict`.
            u0: the states at the first training time.

        Raises:
            ValueError: shapes do not fit, or the model was trained to krige initial states
                (`first_stage.initial_state`).
        """
        points, states = self.space.as_array(mu), np.atleast_2d(u0)
        if states.shape != (len(points), self.layout.n_state):
            raise ValueError(
                f"u0 has shape {states.shape}; expected [{len(points)}, {self.layout.n_state}]: a state at each point"
            )
        c = np.concatenate([self.project(point, self.t[:1], u[None]) for point, u in zip(points, states, strict=True)])
        return replace(self, model=self.model.starting_from(self.space.to_unit(points), c, self.encoder))

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
        return self.time_scaling.at_rescaled_times(lambda x, t: self.model.mean(x, t, n_stages), x, tau).numpy()

    def _deviations(
        self, x: Float[np.ndarray, "param d"], tau: torch.Tensor
    ) -> Float[np.ndarray, "direction param time rank"]:
        """Calibrated steps of one standard deviation."""
        deviations = partial(self.model.deviations, time_scaling=self.time_scaling)
        steps = self.time_scaling.at_rescaled_times(deviations, x, tau, axis=1).numpy()
        over_time = TimeFactors(self.record.std_factors)(tau.numpy())[:, None]
        return np.asarray(self._band_factor(x)[:, None, None] * over_time * steps)

    def _band_factor(self, x: Float[np.ndarray, "param d"]) -> Float[np.ndarray, " param"]:
        """Factor on standard deviations at points of the unit cube.

        It is wider where another model disagrees, and where the errors of folds nearby were wider than their bands.
        """
        if not self.record.bands:
            return np.ones(len(x))
        wider = self.record.disagreement.widened(x, np.ones(len(x)))
        local = student_factor(len(self.record.bands.x)) * self.record.bands.estimate(x, wider)
        return np.maximum(local, MIN_LOCAL_FACTOR)

    @limited_threads()
    def latent_trajectories(self, mu: Points, t: ArrayLike | None = None) -> LatentPrediction:
        """Latent trajectories at parameters `mu`, with standard deviations by the coefficient GPs; see `predict`."""
        x, times = self._query(mu, t)
        latent, tau = self.model.latent, self.unit_times(times)
        at_times = self.time_scaling.at_rescaled_times
        mean = at_times(lambda x, t: latent.outcome(x, t).z, x, tau).numpy()
        end = at_times(lambda x, t: latent.outcome(x, t).blew_up_at, x, tau).numpy()
        deviated = at_times(lambda x, t: latent.deviated(x, t).z.unflatten(0, (-1, len(x))), x, tau, axis=1)
        steps = deviated.numpy() - mean
        blew_up_at = self.t[0] + end / self.time_scaling.rate(x) * (self.t[-1] - self.t[0])
        return LatentPrediction(times, mean, np.sqrt(np.square(steps).sum(axis=0)), blew_up_at)

    def _given(self, mu: Points | None, parameters: Mapping[str, ArrayLike]) -> Points:
        """Points that are given as one argument or by name.

        Raises:
            ValueError: both are given, or none.
        """
        if mu is not None and "mu" in self.space.names and parameters:
            return {"mu": mu, **parameters}
        if mu is not None and parameters:
            raise ValueError(f"parameters are given twice: as mu, and by the names {sorted(parameters)}")
        if mu is None and not parameters:
            raise ValueError(f"no parameters are given; the model has {list(self.space.names)}")
        return parameters if mu is None else mu

    def _query(
        self, mu: Points, t: ArrayLike | None, n_stages: int | None = None
    ) -> tuple[Float[np.ndarray, "param d"], Float[np.ndarray, " time"]]:
        """Points of the unit cube, and times, checked."""
        if n_stages is not None and not 1 <= n_stages <= self.n_stages:
            raise ValueError(f"n_stages {n_stages} given; the model has stages 1 to {self.n_stages}")
        return checked_points(self.space, mu), checked_times(self.t, t, self.model.latent)

    def unit_times(self, t: Float[np.ndarray, " time"]) -> Float[torch.Tensor, " time"]:
        """Times in units of the training interval, from 0 to 1; those of a steady model are 0."""
        return torch.from_numpy((t - self.t[0]) / ((self.t[-1] - self.t[0]) or 1.0))


def _chunks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
