"""Results: predictions at probes and of latent states, and the record of a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import ParameterSpace
from mlasdi.surrogate.local_calibration import PREDICTED, Disagreement, LocalCalibration

N_RECENT = 5  # newest prequential errors that calibrate the error estimate: older ones are those of poorer models
# Weight of the newest of them in the estimate of the largest error, and how far they may pull it. Chosen on 66 rounds
# of bar, kdv, fisher, chain, bore: estimates within a factor of two of the truth rose from 70 to 79 %. On 26 earlier
# rounds, some of ignition and heat4, they rose from 69 to 77 %.
FOUND_WEIGHT, MOST_APART = 0.3, 4.0
JOINED = "; "  # between the model and the one that it was compared with, in `TrainingRecord.kind`


@dataclass(frozen=True)
class ProbePrediction:
    """Values at probes, each at its own time.

    Attributes:
        t: time of each probe `[probe]`.
        mean: values `[param, probe]`.
        std: calibrated standard deviation, of the same shape; None when it was not asked for.
    """

    t: Float[np.ndarray, " probe"]
    mean: Float[np.ndarray, "param probe"]
    std: Float[np.ndarray, "param probe"] | None


@dataclass(frozen=True)
class LatentPrediction:
    """Latent trajectories `[param, time, latent]` with the standard deviation from the coefficient GPs.

    Attributes:
        blew_up_at: time at which the states of a trajectory overflow `[param]`; they are constant from then on.
            Infinite where they do not overflow.
    """

    t: Float[np.ndarray, " time"]
    mean: Float[np.ndarray, "param time latent"]
    std: Float[np.ndarray, "param time latent"]
    blew_up_at: Float[np.ndarray, " param"]


@dataclass(frozen=True)
class PrequentialErrors:
    """Prequential errors: those of models at points that were solved after the model was trained, oldest first.

    Each new solve tests the model that was there before it (Dawid, J. R. Stat. Soc. A 147, 1984). Unlike leave-one-out
    errors, these have taken part in no choice of the model.

    Attributes:
        x: the points, in the unit cube `[point, d]`.
        errors: relative error found at each, its maximum over time.
        expected: estimate of that error by the model that was tested.
        deviations: its relative standard deviation without calibration, the maximum over time.
        n_points: number of training points of the model that was tested.
        kinds: of that model, and of the one by whose distance its deviation was widened (`TrainingRecord.kind`).
        fields: relative error found in each field, by name; those of earlier versions have none.
    """

    x: tuple[tuple[float, ...], ...] = ()
    errors: tuple[float, ...] = ()
    expected: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()
    n_points: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    fields: tuple[Mapping[str, float], ...] = ()

    def __post_init__(self) -> None:
        if len(self.kinds) < len(self.errors):  # of earlier versions, which kept none
            object.__setattr__(self, "kinds", ("",) * len(self.errors))
        if len(self.fields) < len(self.errors):
            object.__setattr__(self, "fields", ({},) * len(self.errors))

    def __len__(self) -> int:
        return len(self.errors)

    def __add__(self, later: "PrequentialErrors") -> "PrequentialErrors":
        return PrequentialErrors(
            (*self.x, *later.x),
            (*self.errors, *later.errors),
            (*self.expected, *later.expected),
            (*self.deviations, *later.deviations),
            (*self.n_points, *later.n_points),
            (*self.kinds, *later.kinds),
            (*self.fields, *later.fields),
        )

    def of_field(self, name: str) -> tuple[float, ...]:
        """Errors found in one field, where they are known, oldest first."""
        return tuple(errors[name] for errors in self.fields if name in errors)

    @property
    def newest(self) -> "PrequentialErrors":
        """Those of the last model that was tested."""
        return self._rows([k for k, n in enumerate(self.n_points) if n == self.n_points[-1]])

    def calibrating(self, calibration: LocalCalibration, kind: str) -> LocalCalibration:
        """A calibration by leave-one-out errors, with the newest of these errors too.

        Args:
            kind: of the model to calibrate; errors of other kinds of model do not count.
        """
        recent = self._rows([k for k, one in enumerate(self.kinds) if one == kind][-N_RECENT:])
        return calibration.with_pairs(recent.x, recent.errors, recent.deviations, (PREDICTED,) * len(recent))

    def factor(self, estimate: float, kind: str) -> float:
        """Factor on the estimate of a model's largest error, by the largest error found at the newest solves.

        It is `(found / estimate)^FOUND_WEIGHT`, so a geometric mean of both, as far as they differ by `MOST_APART` at
        most. It is 1 if a model of another kind was tested; with which one that model was compared does not matter.
        """
        newest = self.newest if self.errors else self
        if not newest.errors or not estimate > 0 or newest.kinds[-1].split(JOINED)[0] != kind.split(JOINED)[0]:
            return 1.0
        return float(np.clip(max(newest.errors) / estimate, 1 / MOST_APART, MOST_APART) ** FOUND_WEIGHT)

    def described(self, space: ParameterSpace) -> list[dict[str, Any]]:
        """Each point with the error that was expected and the one that was found, as JSON."""
        points = space.from_unit(np.array(self.x).reshape(-1, space.n_params))
        columns = zip(points, self.expected, self.errors, self.n_points, self.fields, strict=True)
        return [
            {"mu": space.as_dict(mu), "expected": expected, "found": found, "n_points": n}
            | ({"fields": dict(fields)} if fields else {})
            for mu, expected, found, n, fields in columns
        ]

    def _rows(self, rows: Sequence[int]) -> "PrequentialErrors":
        return PrequentialErrors(
            tuple(self.x[k] for k in rows),
            tuple(self.errors[k] for k in rows),
            tuple(self.expected[k] for k in rows),
            tuple(self.deviations[k] for k in rows),
            tuple(self.n_points[k] for k in rows),
            tuple(self.kinds[k] for k in rows),
            tuple(self.fields[k] for k in rows),
        )


@dataclass(frozen=True)
class FieldErrors:
    """Errors of one field or quantity of interest by the model's own account, relative to its norm.

    Attributes:
        estimate: of the largest error over the parameter box, as a fraction; None where it is unknown.
        calibration: errors and standard deviations of the folds, by which the standard deviation is calibrated. That of
            a quantity of interest has the standard deviations of the state.
        scale: root mean square of a quantity of interest over the training points.
        values: of a quantity that is one number, at the training points.
    """

    estimate: float | None
    calibration: LocalCalibration = field(default_factory=LocalCalibration)
    scale: float = 0.0
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class TrainingRecord:
    """How the surrogate was trained, and its errors as estimated without test data.

    Attributes:
        stage_names: names of the stages that were kept, in order.
        stage_errors: leave-one-out error with the first k stages: root mean square over the folds, weighted by
            `TrainingSet.fold_weights`.
        leave_one_out: errors of all folds `[stage][fold]`; empty below three training points.
        error_estimate: estimate of the largest relative error over the parameter box, as a fraction; None where nothing
            supports one (`mlasdi.training.scoring.supports_estimate`).
        std_factors, error_factors: see `LeaveOneOut`; in equal parts of the time interval.
        loss_history: stage name -> (step, loss) pairs.
        dropped: stages that were tried and not kept -> leave-one-out error with the stage; None where it is unknown.
        truncation_error: relative L2 error of the training snapshots by the truncation of the POD basis.
        fit_s: seconds of training.
        training_errors: training error with the first k stages: root mean square over the training points.
        latent_correlations: correlation ratio of the latent states with the training residual of the first k stages
            (see `correlation_ratio`); None where there is no residual, or no latent state.
        distance_correlations: the same for the distance correlation.
        dropped_ratios: stages that were tried and not kept -> training error and leave-one-out error with the stage,
            relative to those without it; only where both are known.
        candidates: name of each model that was tried -> its stages, leave-one-out error, error estimate and seconds,
            and `failure`, the reason, if it could not be trained.
        chosen: the name of this one among them.
        findings: what is doubtful about the model, each with `kind`, `message` and `remedy`.
        calibration: errors and standard deviations of the folds and the newest prequential errors, by which
            `Surrogate.relative_std` is calibrated; empty where they are not known.
        prequential: errors of earlier models at points that were solved later.
        disagreement: distance of the second best model, which widens the standard deviation; empty without one.
        bands: widths of the bands that hold 90 % of the errors of each fold, in units of those by `std_factors`, and
            how much the disagreement widens them; empty where they are not known.
        noise_level: standard deviation of the noise in the snapshots, relative to that of the values.
        fields: errors of each field, where there are several.
        quantities: errors of each quantity of interest.
    """

    stage_names: tuple[str, ...]
    stage_errors: tuple[float, ...]
    leave_one_out: tuple[tuple[float, ...], ...]
    error_estimate: float | None
    std_factors: tuple[float, ...]
    error_factors: tuple[float, ...]
    loss_history: Mapping[str, tuple[tuple[int, float], ...]]
    dropped: Mapping[str, float | None]
    truncation_error: float
    fit_s: float
    # Defaults: surrogates that were saved by earlier versions do not have these.
    training_errors: tuple[float, ...] = ()
    latent_correlations: tuple[float | None, ...] = ()
    distance_correlations: tuple[float | None, ...] = ()
    dropped_ratios: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    noise_level: float = 0.0
    candidates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    chosen: str = ""
    findings: tuple[Mapping[str, str], ...] = ()
    calibration: LocalCalibration = field(default_factory=LocalCalibration)
    prequential: PrequentialErrors = field(default_factory=PrequentialErrors)
    disagreement: Disagreement = field(default_factory=Disagreement)
    bands: LocalCalibration = field(default_factory=LocalCalibration)
    fields: Mapping[str, FieldErrors] = field(default_factory=dict)
    quantities: Mapping[str, FieldErrors] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Kind of the model, and of the one that it was compared with: deviations of other kinds are not alike."""
        return f"{self.chosen}{JOINED}{self.disagreement.other}"
