"""From parameters to POD coordinates, and from these to states or probes, in the variables of each parameter point."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike

from mlasdi.alignment import COMMON_TIMES, CoordinateScaling, TimeScaling
from mlasdi.interpolation import EndTimes
from mlasdi.prediction import Probes, RunTimes, checked_points, checked_times
from mlasdi.preprocessing import PodBasis, limited_threads
from mlasdi.solvers import ParameterSpace, Points, StateLayout
from mlasdi.stages import Encoder, StagedModel
from mlasdi.surrogate.results import TrainingRecord
from mlasdi.surrogate.uncertainty import MIN_LOCAL_FACTOR, TimeFactors, student_factor


@dataclass(frozen=True)
class Reconstruction:
    """The map from POD coordinates to states.

    Attributes:
        layout: fields and grid of the states.
        basis: of the rescaled states.
        coordinate_scaling: from states to rescaled states; None where they are the same.
    """

    layout: StateLayout
    basis: PodBasis
    coordinate_scaling: CoordinateScaling | None

    def bases(self, x: Float[np.ndarray, "param d"], probes: Probes | None) -> Iterator[tuple[slice, PodBasis]]:
        """Bases that lift to the values that are asked for, with the rows of `x` at which they do.

        Without coordinate scaling there is one basis for all points, otherwise one for each.

        Args:
            x: points of the unit cube.
            probes: the values; None for whole states.
        """
        if self.coordinate_scaling is None:
            basis = self.basis if probes is None else self.basis.linear_functionals(probes.entries, probes.weights)
            yield slice(None), basis
            return
        readout = None if probes is None else probes.matrix(self.layout.n_state)
        for i, point in enumerate(x):
            to_states = self.coordinate_scaling.reconstruction_matrix(point)
            matrix = to_states if readout is None else readout @ to_states
            yield slice(i, i + 1), self.basis.transformed(matrix, self._basis_coefficients)

    @cached_property
    def _basis_coefficients(self) -> Float[np.ndarray, "state column"]:
        """Spline coefficients of the mean state and the modes, to which a reconstruction matrix is applied."""
        assert self.coordinate_scaling is not None  # only called where there is one
        return self.coordinate_scaling.coefficients(np.column_stack([self.basis.mean, self.basis.modes]))

    def at(self, x: Float[np.ndarray, " d"]) -> PodBasis:
        """The basis that lifts to states at a point of the unit cube; its modes need not be orthonormal."""
        return next(basis for _, basis in self.bases(x[None], None))

    def state_norm(self, u: Float[np.ndarray, "*batch state"]) -> Float[np.ndarray, "*batch"]:
        """L2 norm of states, or of differences of states, each field in the unit of its variation."""
        return np.asarray(np.linalg.norm(u / self.norm_unit, axis=-1))

    @property
    def norm_unit(self) -> Float[np.ndarray, " unit"]:
        """The unit of each value of a state in norms, by the standard deviation of its field over the training; `[1]`
        for one field.
        """
        if self.coordinate_scaling is None or self.basis.unit.size == 1:
            return self.basis.norm_unit
        fields = self.basis.unit.reshape(len(self.layout.fields), -1)[:, 0]
        return np.repeat(fields, self.layout.n_points)


# A surrogate that knows more is of the same class; checkers of shapes read no `Self` in methods.
Own = TypeVar("Own", bound="CoordinateModel")


@dataclass(frozen=True)
class CoordinateModel:
    """The part of a surrogate that predicts POD coordinates of its trajectories; see `Surrogate` for its attributes."""

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

    @limited_threads()
    def starting_from(self: Own, mu: Points, u0: Float[np.ndarray, "param state"], *, between: bool = False) -> Own:
        """This surrogate, which now knows the initial states at parameters `mu`; ask it for predictions there.

        Kriging and dynamics with a closed-form decoder make no use of them.

        Args:
            mu: as for `predict`.
            u0: the states at the first training time.
            between: whether initial states at other parameters are interpolated between these, which then must lie
                closer together than the training points.

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
        return replace(self, model=self.model.starting_from(self.space.to_unit(points), c, self.encoder, between))

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
