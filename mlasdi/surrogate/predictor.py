"""Predictions of a surrogate: trajectories, probes, samples and latent states, with standard deviations.

They use one thread, or as many as `limited_threads` around them allows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from mlasdi.interpolation import END_TIME
from mlasdi.prediction import ExtrapolationWarning as ExtrapolationWarning
from mlasdi.prediction import Prediction as Prediction
from mlasdi.prediction import Probes as Probes
from mlasdi.prediction import beyond_box, beyond_interval, given_points
from mlasdi.preprocessing import limited_threads
from mlasdi.solvers import Points
from mlasdi.surrogate.reconstruction import CoordinateModel
from mlasdi.surrogate.results import ProbePrediction

CHUNK = 64  # points that are predicted at once: bounds the memory


@dataclass(frozen=True)
class Predictor(CoordinateModel):
    """The part of a surrogate that predicts; see `Surrogate` for its attributes."""

    @limited_threads()
    def predict(
        self,
        mu: Points | None = None,
        t: ArrayLike | None = None,
        *,
        n_stages: int | None = None,
        std: bool = True,
        probes: Probes | None = None,
        initial: ArrayLike | None = None,
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
            initial: known states at the first training time `[n_mu, state]`, or `[state]` for one point. The model must
                have been trained with `first_stage.initial_state: given`.
            **named: the parameters by name, in place of `mu`. Those named as an argument, such as `t`, are given by
                `mu`.

        Raises:
            ValueError: unknown or missing parameters, a wrong shape, values that are not finite, or more stages than
                the model has.

        Warns:
            ExtrapolationWarning: outside the trained box or time interval.
        """
        given = self.space.as_array(given_points(self.space, mu, named))
        if initial is not None:
            knowing = self.starting_from(given, np.atleast_2d(np.asarray(initial, dtype=float)))
            return knowing.predict(given, t, n_stages=n_stages, std=std, probes=probes)
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
        is that of the coefficient GPs, propagated to first order. Where runs end at different times, each trajectory
        has an end of its own.

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
        mu = given_points(self.space, mu, named)
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


def _chunks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
