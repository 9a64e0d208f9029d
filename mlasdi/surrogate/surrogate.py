"""The surrogate: predicts whole trajectories from the parameters alone, with uncertainty; saved without pickle."""

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike

from mlasdi.alignment import COMMON_TIMES, CoordinateScaling, TimeScaling, scaling_laws
from mlasdi.preprocessing import PodBasis
from mlasdi.solvers import ParameterSpace, StateLayout
from mlasdi.stages import Encoder, StagedModel
from mlasdi.surrogate import files as surrogate_files
from mlasdi.surrogate import serialization as surrogate_state
from mlasdi.surrogate.files import SurrogateError as SurrogateError
from mlasdi.surrogate.probes import Probes
from mlasdi.surrogate.reconstruction import Reconstruction
from mlasdi.surrogate.results import LatentPrediction, Prediction, ProbePrediction, TrainingRecord
from mlasdi.surrogate.uncertainty import TimeFactors, relative_std


class ExtrapolationWarning(UserWarning):
    """A prediction outside the trained parameter box or time interval."""


@dataclass(frozen=True)
class Surrogate:
    """A fitted multi-stage latent space dynamics model.

    Attributes:
        space, layout: the parameter box it was trained on, and the fields and grid of its states.
        t: the training times `[time]`, and default times of predictions.
        basis, model, encoder: the parts; see their classes.
        record: how it was trained and how good it is.
        info: whatever the caller wants to travel along, as JSON: problem, campaign, data hash.
        clock: from times to own times, which those of `model` are.
        frame: from states to own states, which those of `basis` are; None where they are the same.
    """

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

    @property
    def error_estimate(self) -> float | None:
        """Estimate of the largest relative error over the parameter box, as a fraction; None when unknown."""
        return self.record.error_estimate

    @property
    def scaling_laws(self) -> dict[str, str]:
        """What of times, coordinates and units is a point's own, and how it depends on the parameters, in words."""
        return scaling_laws(self.space, self.time_scaling, self.coordinate_scaling)

    def predict(
        self,
        mu: Mapping[str, float] | ArrayLike,
        t: ArrayLike | None = None,
        *,
        n_stages: int | None = None,
        std: bool = True,
        probes: Probes | None = None,
    ) -> Prediction:
        """Trajectories at parameters `mu`, from nothing but `mu`.

        Args:
            mu: one point as a mapping of names to values, or an array `[n_mu, n_params]` in physical units.
            t: times `[time]`; the training times by default.
            n_stages: use the first stages only; the standard deviation is that of all stages.
            std: whether to compute the standard deviation, which costs one decoding a training point.
            probes: the values to predict in place of the whole state, which is then not decoded.

        Raises:
            ValueError: unknown or missing parameters, wrong shape, values that are not finite, or a number of stages
                that there are not.

        Warns:
            ExtrapolationWarning: outside the trained box or time interval.
        """
        x, times = self._inputs(mu, t, n_stages)
        tau = self._tau(times)
        mean = np.empty((len(x), len(times), self.layout.n_state if probes is None else len(probes)))
        spread = np.empty_like(mean) if std else None
        for rows in _chunks(len(x), 64):
            c = self._mean(x[rows], tau, n_stages)
            steps = self._deviations(x[rows], tau) if std else None
            for part, basis in self.view.bases(x[rows], probes):
                basis.lift(c[part], out=mean[rows][part])
                if spread is not None and steps is not None:
                    left_out = self.basis.truncation_rms * basis.unit
                    spread[rows][part] = np.hypot(basis.lift_std(steps[:, part]), left_out)
        return Prediction(times, mean, spread)

    def probe(
        self, mu: Mapping[str, float] | ArrayLike, t: ArrayLike, probes: Probes, *, std: bool = True
    ) -> ProbePrediction:
        """Single values in space and time: the k-th probe at the k-th time; arguments as for `predict`.

        Raises:
            ValueError: as `predict`, or there is not one time for each probe.
        """
        x, times = self._inputs(mu, t)
        if len(times) != len(probes):
            raise ValueError(f"{len(times)} times given for {len(probes)} probes; give one for each")
        tau, mean = self._tau(times), np.empty((len(x), len(times)))
        spread = np.empty_like(mean) if std else None
        c = self.basis.scale * self._mean(x, tau)
        steps = self.basis.scale * self._deviations(x, tau) if std else None
        for part, basis in self.view.bases(x, probes):
            mean[part] = basis.mean + np.einsum("ptr,tr->pt", c[part], basis.modes)
            if spread is not None and steps is not None:
                along = np.linalg.norm(np.einsum("dptr,tr->dpt", steps[:, part], basis.modes), axis=0)
                spread[part] = np.hypot(along, self.basis.truncation_rms * basis.unit)
        return ProbePrediction(times, mean, spread)

    def sample(
        self,
        mu: Mapping[str, float] | ArrayLike,
        n_samples: int,
        generator: np.random.Generator,
        t: ArrayLike | None = None,
        *,
        probes: Probes | None = None,
    ) -> Float[np.ndarray, "param sample time state"]:
        """Trajectories drawn from the normal distribution of the prediction; arguments as for `predict`.

        The mean and the standard deviation at each value are those of `predict`; over space, time and parameters the
        samples vary together as the directions of the coefficient GPs make them.

        Raises:
            ValueError: as `predict`, or `n_samples` is less than 1.
        """
        if n_samples < 1:
            raise ValueError(f"n_samples {n_samples} given; at least 1 is needed")
        x, times = self._inputs(mu, t)
        tau = self._tau(times)
        steps = self._deviations(x, tau)
        draws = np.tensordot(generator.standard_normal((n_samples, len(steps))), steps, axes=1)
        coordinates = self._mean(x, tau)[:, None] + np.moveaxis(draws, 0, 1)
        moved = self.basis.truncation_rms * generator.standard_normal(n_samples)[:, None, None]
        lifted = [basis.lift(coordinates[part]) + moved * basis.unit for part, basis in self.view.bases(x, probes)]
        return np.concatenate(lifted)

    @cached_property
    def view(self) -> Reconstruction:
        """From the coordinates of the model to values of states."""
        return Reconstruction(self.layout, self.basis, self.coordinate_scaling)

    def coordinates(
        self, mu: Mapping[str, float] | ArrayLike, t: ArrayLike | None = None, n_stages: int | None = None
    ) -> Float[np.ndarray, "param time rank"]:
        """Predicted POD coordinates: the prediction before it is lifted to the mesh; arguments as for `predict`."""
        x, times = self._inputs(mu, t, n_stages)
        return self._mean(x, self._tau(times), n_stages)

    def project(
        self, mu: Mapping[str, float] | ArrayLike, t: ArrayLike, u: Float[np.ndarray, "time state"]
    ) -> Float[np.ndarray, "time rank"]:
        """POD coordinates of the states of one true trajectory.

        Where its own coordinates end before those of the box do, the states are continued by the prediction.

        Args:
            mu: its parameters, one point.
            t: its times `[time]`.
        """
        if self.coordinate_scaling is None:
            return self.basis.project(u)
        x = self.space.to_unit(self.space.as_array(mu))
        own, known = self.coordinate_scaling.own(x[0], u)
        predicted = self.basis.lift(self._mean(x, self._tau(np.asarray(t, dtype=float)))[0])
        return self.basis.project(np.where(known, own, predicted))

    def _mean(
        self, x: Float[np.ndarray, "param d"], tau: torch.Tensor, n_stages: int | None = None
    ) -> Float[np.ndarray, "param time rank"]:
        return self.time_scaling.at_rescaled_times(lambda x, own: self.model.mean(x, own, n_stages), x, tau).numpy()

    def _deviations(
        self, x: Float[np.ndarray, "param d"], tau: torch.Tensor
    ) -> Float[np.ndarray, "direction param time rank"]:
        """Calibrated steps of one standard deviation."""
        deviations = partial(self.model.deviations, time_scaling=self.time_scaling)
        steps = self.time_scaling.at_rescaled_times(deviations, x, tau, axis=1).numpy()
        return TimeFactors(self.record.std_factors)(tau.numpy())[:, None] * steps

    def propagate(self, mu: Mapping[str, float] | ArrayLike, t: ArrayLike | None = None) -> LatentPrediction:
        """Latent trajectories at parameters `mu`, with the standard deviation that the coefficient GPs give them."""
        x, times = self._inputs(mu, t)
        latent, tau = self.model.latent, self._tau(times)
        mean = self.time_scaling.at_rescaled_times(lambda x, own: latent.outcome(x, own).z, x, tau).numpy()
        ended = self.time_scaling.at_rescaled_times(lambda x, own: latent.outcome(x, own).blew_up_at, x, tau).numpy()
        deviated = self.time_scaling.at_rescaled_times(
            lambda x, own: latent.deviated(x, own)[0].z.unflatten(0, (-1, len(x))), x, tau, axis=1
        )
        steps = deviated.numpy() - mean
        blew_up_at = self.t[0] + ended / self.time_scaling.rate(x) * (self.t[-1] - self.t[0])
        return LatentPrediction(times, mean, np.sqrt(np.square(steps).sum(axis=0)), blew_up_at)

    def relative_std(
        self, mu: Mapping[str, float] | ArrayLike, pending: ArrayLike | None = None, *, n_time: int | None = None
    ) -> Float[np.ndarray, " param"]:
        """Estimated relative error at `mu`: the field's standard deviation in the L2 norm, through all stages,
        relative to the solution, maximum over time, calibrated by leave-one-out errors.

        Args:
            pending: points `[q, n_params]` whose solves are under way; they count as known.
            n_time: at most so many of the training times are looked at, each so many-th back from the last; all by
                default. Equidistant times stay equidistant, which is several times cheaper.
        """
        x = self.space.to_unit(self.space.as_array(mu))
        gp = self.model.latent.gp
        if pending is not None and len(np.asarray(pending)):
            gp = gp.with_pending(self.space.to_unit(self.space.as_array(pending)))
        stride = 1 if n_time is None else math.ceil(len(self.t) / n_time)
        tau = self._tau(self.t[::-stride][::-1])
        return relative_std(
            self.model, self.basis, x, tau, gp, self.time_scaling, TimeFactors(self.record.error_factors)
        )

    def coefficient_std(
        self, mu: Mapping[str, float] | ArrayLike, pending: ArrayLike | None = None
    ) -> Float[np.ndarray, " param"]:
        """GP standard deviation of the latent coefficients at `mu`, each as a fraction of its own, averaged."""
        gp = self.model.latent.gp
        if pending is not None and len(np.asarray(pending)):
            gp = gp.with_pending(self.space.to_unit(self.space.as_array(pending)))
        return gp.process_std(self.space.to_unit(self.space.as_array(mu)))

    def _inputs(
        self, mu: Mapping[str, float] | ArrayLike, t: ArrayLike | None, n_stages: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points of the unit cube and times, checked."""
        if n_stages is not None and not 1 <= n_stages <= self.n_stages:
            raise ValueError(f"n_stages {n_stages} given; the model has stages 1 to {self.n_stages}")
        rows = self.space.as_array(mu)
        outside = rows[~self.space.contains(rows)]
        if len(outside):
            box = {p.name: [p.low, p.high] for p in self.space.parameters}
            message = f"{self.space.as_dict(outside[0])} lies outside the trained box {box}"
            warnings.warn(message, ExtrapolationWarning, stacklevel=3)
        x = self.space.to_unit(rows)
        if not np.isfinite(x).all():
            at = self.space.as_dict(rows[~np.isfinite(x).all(axis=1)][0])
            raise ValueError(f"{at}: parameters with a log scale must be positive")
        times = self.t if t is None else np.atleast_1d(np.asarray(t, dtype=float))
        if times.ndim != 1 or times.size == 0 or not np.isfinite(times).all():
            raise ValueError(f"times must be a finite array [time] of at least one, got shape {times.shape}")
        slack = 1e-9 * (self.t[-1] - self.t[0])
        if self.model.latent.dynamics and times.min() < self.t[0] - slack:
            raise ValueError(
                f"time {times.min():g} is before the first of the training, {self.t[0]:g}: the latent dynamics are "
                "integrated forward only"
            )
        if times.min() < self.t[0] - slack or times.max() > self.t[-1] + slack:
            message = f"times reach outside the trained interval [{self.t[0]:g}, {self.t[-1]:g}]"
            if not self.model.latent.has_dynamics:
                message += "; without latent dynamics the prediction there is the mean state"
            warnings.warn(message, ExtrapolationWarning, stacklevel=3)
        return x, times

    def _tau(self, t: Float[np.ndarray, " time"]) -> torch.Tensor:
        return torch.from_numpy((t - self.t[0]) / (self.t[-1] - self.t[0]))

    def save(self, folder: str | Path) -> Path:
        """Write `surrogate.json` and `surrogate.safetensors` into `folder`, which appears complete or not at all."""
        state = surrogate_state.disassembled(
            self.space,
            self.layout,
            self.t,
            self.basis,
            self.model,
            self.encoder,
            self.record,
            self.info,
            self.time_scaling,
            self.coordinate_scaling,
        )
        surrogate_files.write(Path(folder), *state)
        return Path(folder)

    @classmethod
    def load(cls, source: str | Path) -> "Surrogate":
        """Load from a folder, or from an MLflow URI such as `models:/burgers1d@champion`.

        An MLflow URI is looked up on MLflow's tracking URI where one is set, else in `mlruns/mlflow.db`.

        Raises:
            SurrogateError: there is no surrogate, or it is damaged or of another format.
        """
        tensors, description = surrogate_files.read(source)
        try:
            return cls(*surrogate_state.assembled(tensors, description))
        except KeyError as error:
            raise SurrogateError(f"{source}: surrogate.json is damaged (no {error})") from None


def _chunks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
