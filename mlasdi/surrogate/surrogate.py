"""The surrogate: predicts whole trajectories from the parameters alone, with standard deviations."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from mlasdi.alignment import scaling_formulas
from mlasdi.analysis import Analyses
from mlasdi.interpolation import END_TIME, CoefficientGP
from mlasdi.prediction import html_table
from mlasdi.preprocessing import limited_threads
from mlasdi.solvers import Points
from mlasdi.surrogate import files as surrogate_files
from mlasdi.surrogate import serialization
from mlasdi.surrogate.files import SurrogateError as SurrogateError
from mlasdi.surrogate.local_calibration import LocalCalibration
from mlasdi.surrogate.predictor import Predictor
from mlasdi.surrogate.results import LatentPrediction
from mlasdi.surrogate.uncertainty import UNCALIBRATED, FieldNorms, FieldStd, TimeFactors


@dataclass(frozen=True, repr=False)
class Surrogate(Predictor, Analyses):
    """A fitted multi-stage latent space dynamics model.

    Attributes:
        space, layout: the parameter box it was trained on, and the fields and grid of its states.
        t: the training times `[time]`, and default times of predictions.
        basis, model, encoder: the parts; see their classes.
        record: how it was trained and how good it is.
        info: JSON that the caller saves with it: problem, campaign, data hash.
        time_scaling: from times to rescaled times, in which `model` predicts.
        coordinate_scaling: from states to rescaled states, which `basis` spans; None where they are the same.
        end_times: when the runs end, where they end at different times; then `t` are those of the longest training run,
            and `model` predicts over each run's own length. None if all end together.
        holds_end: whether a run that has ended keeps its last state, in place of NaN.
    """

    @limited_threads()
    def latent_trajectories(self, mu: Points, t: ArrayLike | None = None) -> LatentPrediction:
        """Latent trajectories at parameters `mu`, with standard deviations by the coefficient GPs; see `predict`."""
        x, times = self._query(mu, t)
        latent, tau, at_times = self.model.latent, self.unit_times(times), self.run_times.at
        mean = at_times(lambda x, t: latent.outcome(x, t).z, x, tau).numpy()
        end = at_times(lambda x, t: latent.outcome(x, t).blew_up_at, x, tau).numpy()
        deviated = at_times(lambda x, t: latent.deviated(x, t).z.unflatten(0, (-1, len(x))), x, tau, axis=1)
        steps = deviated.numpy() - mean
        blew_up_at = self.t[0] + end / self.run_times.rates(x)
        return LatentPrediction(times, mean, np.sqrt(np.square(steps).sum(axis=0)), blew_up_at)

    def ending_at(self, end: float) -> "Surrogate":
        """This surrogate, which now knows that the runs end at this time; unchanged if all runs end together.

        Raises:
            ValueError: the end is not after the first time.
        """
        if self.end_times is None:
            return self
        if not end > self.t[0]:
            raise ValueError(f"end {end:g}: a run ends after its first time, {self.t[0]:g}")
        return replace(self, end_times=replace(self.end_times, fixed=float(end - self.t[0])))

    def holding_end(self) -> "Surrogate":
        """This surrogate, in whose predictions a run that has ended keeps its last state, in place of NaN."""
        return replace(self, holds_end=True)

    @property
    def error_estimate(self) -> float | None:
        """Estimate of the largest relative error over the parameter box, as a fraction; None when unknown."""
        return self.record.error_estimate

    @property
    def largest_estimate(self) -> float | None:
        """The larger one of the estimates of the state's error and of the end time's; None if one is unknown."""
        if self.end_times is None:
            return self.error_estimate
        both = self.error_estimate, self.record.quantities[END_TIME].estimate
        return None if both[0] is None or both[1] is None else max(both[0], both[1])

    @property
    def error_estimates(self) -> dict[str, float | None]:
        """`error_estimate` of each field and quantity of interest, relative to its own norm."""
        known: dict[str, float | None] = dict.fromkeys(self.layout.fields)
        if len(known) == 1:
            known = {self.layout.fields[0]: self.error_estimate}
        return known | {name: one.estimate for name, one in {**self.record.fields, **self.record.quantities}.items()}

    @property
    def scaling_laws(self) -> dict[str, str]:
        """Rates of time, scales and shifts of coordinates, and amplitudes of fields, as formulas in the parameters."""
        return scaling_formulas(self.space, self.time_scaling, self.coordinate_scaling)

    @limited_threads()
    def relative_std(
        self, mu: Points, pending: ArrayLike | None = None, *, n_time: int | None = None, field: str | None = None
    ) -> Float[np.ndarray, " param"]:
        """Estimated relative error at `mu`.

        It is the calibrated standard deviation of the state in the L2 norm, relative to the norm of the solution,
        maximum over time.

        Args:
            mu: as for `predict`.
            pending: points `[q, n_params]` whose solves are under way; they count as known.
            n_time: evaluate at most `n_time` of the training times, at equal strides; all by default. Equidistant times
                stay equidistant, which is several times cheaper.
            field: name of a field or quantity of interest: its own error, relative to its own norm.

        Raises:
            ValueError: there is no such field.
        """
        x = self.space.to_unit(self.space.as_array(mu))
        if field == END_TIME and self.end_times is not None:
            return self.end_times.with_pending(self._pending(pending)).std(x)
        std = self._std(mu, pending, n_time, None if field in self.record.quantities else field)
        return self._calibration(field).estimate(x, std)

    @limited_threads()
    def uncalibrated_std(
        self, mu: Points, pending: ArrayLike | None = None, *, n_time: int | None = None
    ) -> Float[np.ndarray, " param"]:
        """`relative_std` before it is calibrated by errors that are known; with the same arguments.

        Wider where another model disagrees (`Disagreement`).
        """
        return self._std(mu, pending, n_time)

    def _calibration(self, field: str | None) -> LocalCalibration:
        if field is not None and field in self.record.quantities:
            return self.record.quantities[field].calibration
        if field is None or len(self.layout.fields) == 1:
            return self.record.calibration
        return self.record.fields[field].calibration if field in self.record.fields else LocalCalibration()

    def _std(
        self, mu: Points, pending: ArrayLike | None, n_time: int | None, field: str | None = None
    ) -> Float[np.ndarray, " param"]:
        """Uncalibrated standard deviation of the state, or of a field.

        Solves under way lower it by as much as that of the latent coefficients. Propagated anew through several stages,
        it could rise: their steps add with their signs, and decoders are not linear.
        """
        x = self.space.to_unit(self.space.as_array(mu))
        stride = 1 if n_time is None else math.ceil(len(self.t) / n_time)
        tau = self.unit_times(self.t[::-stride][::-1])
        # Models of earlier versions, and those with too few points for folds, have factors over time alone.
        factors = UNCALIBRATED if self.record.calibration else TimeFactors(self.record.error_factors)
        std = FieldStd(self.model, self.basis, self.time_scaling, factors)
        if field is None:
            values = std.maximum(x, tau)
        else:
            self.layout.of(field)
            norm = self._field_norms[self.layout.fields.index(field)]
            values = std.maxima(x, tau, (norm,))[1]
        return self.record.disagreement.widened(x, values) * self._share_left(x, pending)

    def _share_left(self, x: Float[np.ndarray, "param d"], pending: ArrayLike | None) -> Float[np.ndarray, " param"]:
        """Standard deviation of the latent coefficients with solves under way, over that without them."""
        points, gp = self._pending(pending), self.model.latent.gp
        if not len(points):
            return np.ones(len(x))
        before = np.maximum(gp.process_std(x), np.finfo(float).tiny)
        return np.minimum(gp.with_pending(points).process_std(x) / before, 1.0)

    @cached_property
    def _field_norms(self) -> FieldNorms:
        return self.basis.field_norms(self.layout.sizes)

    @limited_threads()
    def acquisition_score(
        self, mu: Points, pending: ArrayLike | None = None, *, n_time: int | None = None
    ) -> Float[np.ndarray, " param"]:
        """Standard deviation of the field at `mu`, larger where errors of folds are larger than it says.

        See `LocalCalibration.score`; arguments as for `relative_std`. That of the end time where it is larger.
        """
        x = self.space.to_unit(self.space.as_array(mu))
        score = self.record.calibration.score(x, self.uncalibrated_std(mu, pending, n_time=n_time))
        if self.end_times is None:
            return score
        return np.maximum(score, self.end_times.with_pending(self._pending(pending)).std(x))

    def describe(self) -> dict[str, Any]:
        """What was trained, what was kept, and how good it is by its own account, as JSON.

        Returns:
            `chosen` and `candidates` (name -> stages, leave-one-out error, error estimate, seconds), `stages` (name and
            leave-one-out error with all stages up to it), `error_estimate`, `error_estimates`, `scaling_laws`,
            `truncation_error`, `noise_level`, `seconds`, `findings` (`kind`, `message`, `remedy`), and the numbers of
            points, times and POD coordinates.
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
            "error_estimates": self.error_estimates,
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
    @limited_threads()
    def parameter_effect(self) -> float:
        """Largest distance of the trajectories at the training points from their mean, relative to it, over all times.

        Where it is no more than rounding errors, no parameter has an effect.
        """
        x, tau = self.model.latent.x, self.unit_times(self.t)
        c = replace(self, end_times=None)._mean(x, tau)
        distance = self.basis.scale * np.linalg.norm(c - c.mean(axis=0), axis=-1)
        return float((distance / np.maximum(self.basis.norm(c), np.finfo(float).tiny)).max())

    @limited_threads()
    def coefficient_std(self, mu: Points, pending: ArrayLike | None = None) -> Float[np.ndarray, " param"]:
        """Posterior standard deviation of the latent coefficients at `mu`, relative to the prior one; their mean."""
        return self._gp(pending).process_std(self.space.to_unit(self.space.as_array(mu)))

    def _gp(self, pending: ArrayLike | None) -> CoefficientGP:
        """The Gaussian processes of the latent coefficients, conditioned on pending points."""
        points = self._pending(pending)
        return self.model.latent.gp.with_pending(points) if len(points) else self.model.latent.gp

    def _pending(self, pending: ArrayLike | None) -> Float[np.ndarray, "q d"]:
        """Points whose solves are under way, in the unit cube."""
        if pending is None or not len(np.asarray(pending)):
            return np.empty((0, self.space.n_params))
        return self.space.to_unit(self.space.as_array(pending))

    def save(self, folder: str | Path) -> Path:
        """Write `surrogate.json` and `surrogate.safetensors` into `folder`, which appears complete or not at all."""
        arrays, description = serialization.disassembled(self)
        surrogate_files.write(Path(folder), arrays, description)
        return Path(folder)

    @classmethod
    @limited_threads()
    def load(cls, source: str | Path) -> "Surrogate":
        """Load from a folder, or from an MLflow URI such as `models:/burgers1d@champion`.

        An MLflow URI is resolved by MLflow's tracking URI where one is set, else by `mlruns/mlflow.db`.

        Raises:
            SurrogateError: there is no surrogate, or it is damaged or of an unknown format.
        """
        arrays, description = surrogate_files.read(source)
        try:
            loaded = cls(**serialization.assembled(arrays, description))
            serialization.check_consistency(loaded)
        except KeyError as error:
            raise SurrogateError(f"{source}: surrogate.json is damaged (no {error})") from None
        except Exception as error:  # parts that do not fit together fail in many ways
            raise SurrogateError(surrogate_files.unusable(source, error)) from None
        return loaded

    def _facts(self) -> dict[str, str]:
        box = ", ".join(f"{p.name} {p.low:.4g} to {p.high:.4g} {p.unit}".rstrip() for p in self.space.parameters)
        estimate = "unknown" if self.error_estimate is None else f"{100 * self.error_estimate:.2g} %"
        return {
            "parameters": box,
            "fields": self.layout.summary(),
            "times": f"{len(self.t)} from {self.t[0]:.4g} to {self.t[-1]:.4g} {self.layout.time_unit}".rstrip(),
            "training runs": str(len(self.model.latent.x)),
            "stages": " + ".join(self.record.stage_names),
            "estimated largest error": estimate,
        }

    def __repr__(self) -> str:
        return "Surrogate(" + "; ".join(f"{name}: {fact}" for name, fact in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return html_table("Surrogate", self._facts())
