"""The surrogate: predicts whole trajectories from the parameters alone, with standard deviations."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike

from mlasdi.alignment import COMMON_TIMES, CoordinateScaling, TimeScaling, scaling_formulas
from mlasdi.interpolation import CoefficientGP
from mlasdi.preprocessing import PodBasis
from mlasdi.solvers import ParameterSpace, Points, StateLayout
from mlasdi.stages import Encoder, StagedModel
from mlasdi.surrogate import files as surrogate_files
from mlasdi.surrogate import serialization
from mlasdi.surrogate.files import SurrogateError as SurrogateError
from mlasdi.surrogate.queries import Probes, checked_points, checked_times
from mlasdi.surrogate.reconstruction import Reconstruction
from mlasdi.surrogate.results import LatentPrediction, Prediction, ProbePrediction, TrainingRecord
from mlasdi.surrogate.uncertainty import UNCALIBRATED, FieldStd, TimeFactors

CHUNK = 64  # points that are predicted at once: bounds the memory


@dataclass(frozen=True)
class Surrogate:
    """A fitted multi-stage latent space dynamics model.

    Attributes:
        space, layout: the parameter box it was trained on, and the fields and grid of its states.
        t: the training times `[time]`, and default times of predictions.
        basis, model, encoder: the parts; see their classes.
        record: how it was trained and how good it is.
        info: JSON that the caller saves with it: problem, campaign, data hash.
        time_scaling: from times to rescaled times, in which `model` predicts.
        coordinate_scaling: from states to rescaled states, which `basis` spans; None where they are the same.
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
        """Rates of time, scales and shifts of coordinates, and amplitudes of fields, as formulas in the parameters."""
        return scaling_formulas(self.space, self.time_scaling, self.coordinate_scaling)

    def predict(
        self,
        mu: Points,
        t: ArrayLike | None = None,
        *,
        n_stages: int | None = None,
        std: bool = True,
        probes: Probes | None = None,
    ) -> Prediction:
        """Trajectories at parameters `mu`.

        Args:
            mu: one point as a mapping of names to values, or an array `[n_mu, n_params]` in physical units.
            t: times `[time]`; the training times by default.
            n_stages: use the first stages only; the standard deviation is that of all stages.
            std: whether to compute the standard deviation, which costs one decoding per training point.
            probes: values to predict in place of whole states, which are then not decoded.

        Raises:
            ValueError: unknown or missing parameters, a wrong shape, values that are not finite, or more stages than
                the model has.

        Warns:
            ExtrapolationWarning: outside the trained box or time interval.
        """
        x, times = self._query(mu, t, n_stages)
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
        return Prediction(times, mean, spread)

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
        is that of the coefficient GPs, propagated to first order.

        Raises:
            ValueError: as `predict`, or `n_samples` is less than 1.
        """
        if n_samples < 1:
            raise ValueError(f"n_samples {n_samples} given; at least 1 is needed")
        x, times = self._query(mu, t)
        tau = self.unit_times(times)
        steps = self._deviations(x, tau)
        draws = np.tensordot(generator.standard_normal((n_samples, len(steps))), steps, axes=1)
        coordinates = self._mean(x, tau)[:, None] + np.moveaxis(draws, 0, 1)
        truncated = self.basis.truncation_rms * generator.standard_normal(n_samples)[:, None, None]
        bases = self.reconstruction.bases(x, probes)
        return np.concatenate([basis.lift(coordinates[part]) + truncated * basis.unit for part, basis in bases])

    @cached_property
    def reconstruction(self) -> Reconstruction:
        """From POD coordinates to states."""
        return Reconstruction(self.layout, self.basis, self.coordinate_scaling)

    def coordinates(
        self, mu: Points, t: ArrayLike | None = None, n_stages: int | None = None
    ) -> Float[np.ndarray, "param time rank"]:
        """Predicted POD coordinates: the prediction before it is lifted to the mesh; arguments as for `predict`."""
        x, times = self._query(mu, t, n_stages)
        return self._mean(x, self.unit_times(times), n_stages)

    def starting_from(self, mu: Points, u0: Float[np.ndarray, "param state"]) -> "Surrogate":
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
        return TimeFactors(self.record.std_factors)(tau.numpy())[:, None] * steps

    def propagate(self, mu: Points, t: ArrayLike | None = None) -> LatentPrediction:
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

    def relative_std(
        self, mu: Points, pending: ArrayLike | None = None, *, n_time: int | None = None
    ) -> Float[np.ndarray, " param"]:
        """Estimated relative error at `mu`.

        It is the calibrated standard deviation of the field in the L2 norm, relative to the norm of the solution,
        maximum over time.

        Args:
            mu: as for `predict`.
            pending: points `[q, n_params]` whose solves are under way; they count as known.
            n_time: evaluate at most `n_time` of the training times, at equal strides; all by default. Equidistant times
                stay equidistant, which is several times cheaper.
        """
        x = self.space.to_unit(self.space.as_array(mu))
        return self.record.calibration.estimate(x, self.uncalibrated_std(mu, pending, n_time=n_time))

    def uncalibrated_std(
        self, mu: Points, pending: ArrayLike | None = None, *, n_time: int | None = None
    ) -> Float[np.ndarray, " param"]:
        """`relative_std` before it is calibrated by errors that are known; with the same arguments."""
        x = self.space.to_unit(self.space.as_array(mu))
        stride = 1 if n_time is None else math.ceil(len(self.t) / n_time)
        tau = self.unit_times(self.t[::-stride][::-1])
        # Models of earlier versions, and those with too few points for folds, have factors over time alone.
        factors = UNCALIBRATED if self.record.calibration else TimeFactors(self.record.error_factors)
        return FieldStd(self.model, self.basis, self._gp(pending), self.time_scaling, factors).maximum(x, tau)

    def acquisition_score(
        self, mu: Points, pending: ArrayLike | None = None, *, n_time: int | None = None
    ) -> Float[np.ndarray, " param"]:
        """Standard deviation of the field at `mu`, larger where errors of folds are larger than it says.

        See `LocalCalibration.score`; arguments as for `relative_std`.
        """
        x = self.space.to_unit(self.space.as_array(mu))
        return self.record.calibration.score(x, self.uncalibrated_std(mu, pending, n_time=n_time))

    def describe(self) -> dict[str, Any]:
        """What was trained, what was kept, and how good it is by its own account, as JSON.

        Returns:
            `chosen` and `candidates` (name -> stages, leave-one-out error, error estimate, seconds), `stages` (name and
            leave-one-out error with all stages up to it), `error_estimate`, `scaling_laws`, `truncation_error`,
            `noise_level`, `seconds`, `findings` (`kind`, `message`, `remedy`), and the numbers of points, times and POD
            coordinates.
        """
        record = self.record
        errors = record.stage_errors or (None,) * len(record.stage_names)
        return {
            "chosen": record.chosen,
            "candidates": {name: {**one, "stages": list(one["stages"])} for name, one in record.candidates.items()},
            "stages": [
                {"name": name, "leave_one_out_error": error}
                for name, error in zip(record.stage_names, errors, strict=True)
            ],
            "error_estimate": record.error_estimate,
            "scaling_laws": dict(self.scaling_laws),
            "truncation_error": record.truncation_error,
            "noise_level": record.noise_level,
            "seconds": record.fit_s,
            "findings": [dict(finding) for finding in record.findings],
            "n_points": len(self.model.latent.x),
            "n_times": len(self.t),
            "rank": self.basis.rank,
        }

    @cached_property
    def parameter_effect(self) -> float:
        """Largest distance of the trajectories at the training points from their mean, relative to it, over all times.

        Where it is no more than rounding errors, no parameter has an effect.
        """
        x, tau = self.model.latent.x, self.unit_times(self.t)
        c = self._mean(x, tau)
        distance = self.basis.scale * np.linalg.norm(c - c.mean(axis=0), axis=-1)
        return float((distance / np.maximum(self.basis.norm(c), np.finfo(float).tiny)).max())

    def coefficient_std(self, mu: Points, pending: ArrayLike | None = None) -> Float[np.ndarray, " param"]:
        """Posterior standard deviation of the latent coefficients at `mu`, relative to the prior one; their mean."""
        return self._gp(pending).process_std(self.space.to_unit(self.space.as_array(mu)))

    def _query(
        self, mu: Points, t: ArrayLike | None, n_stages: int | None = None
    ) -> tuple[Float[np.ndarray, "param d"], Float[np.ndarray, " time"]]:
        """Points of the unit cube, and times, checked."""
        if n_stages is not None and not 1 <= n_stages <= self.n_stages:
            raise ValueError(f"n_stages {n_stages} given; the model has stages 1 to {self.n_stages}")
        return checked_points(self.space, mu), checked_times(self.t, t, self.model.latent)

    def unit_times(self, t: Float[np.ndarray, " time"]) -> Float[torch.Tensor, " time"]:
        """Times in units of the training interval, from 0 to 1."""
        return torch.from_numpy((t - self.t[0]) / (self.t[-1] - self.t[0]))

    def _gp(self, pending: ArrayLike | None) -> CoefficientGP:
        """The Gaussian processes of the latent coefficients, conditioned on pending points."""
        gp = self.model.latent.gp
        if pending is None or not len(np.asarray(pending)):
            return gp
        return gp.with_pending(self.space.to_unit(self.space.as_array(pending)))

    def save(self, folder: str | Path) -> Path:
        """Write `surrogate.json` and `surrogate.safetensors` into `folder`, which appears complete or not at all."""
        tensors, description = serialization.disassembled(self)
        surrogate_files.write(Path(folder), tensors, description)
        return Path(folder)

    @classmethod
    def load(cls, source: str | Path) -> "Surrogate":
        """Load from a folder, or from an MLflow URI such as `models:/burgers1d@champion`.

        An MLflow URI is resolved by MLflow's tracking URI where one is set, else by `mlruns/mlflow.db`.

        Raises:
            SurrogateError: there is no surrogate, or it is damaged or of an unknown format.
        """
        tensors, description = surrogate_files.read(source)
        try:
            loaded = cls(**serialization.assembled(tensors, description))
            serialization.check_consistency(loaded)
        except KeyError as error:
            raise SurrogateError(f"{source}: surrogate.json is damaged (no {error})") from None
        except Exception as error:  # parts that do not fit together fail in many ways
            raise SurrogateError(surrogate_files.unusable(source, error)) from None
        return loaded


def _chunks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
