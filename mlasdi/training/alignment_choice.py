"""Which rescaled variables to use: those in which kriging of the trajectories has the smallest error estimate.

The estimate is the relative standard deviation over the box of parameters, with its corners and faces, calibrated by
leave-one-out errors. Errors at training points alone would not do: they leave out what is between the points, and how
uncertain the continuation of trajectories beyond their ends is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, product

import numpy as np
import torch
from jaxtyping import Float

from mlasdi.alignment import Aligned, ScalingExponents, alignment_candidates, in_rescaled_variables
from mlasdi.interpolation import Kernels, Kriging, select_kernels
from mlasdi.preprocessing import BasisSettings, TrainingData
from mlasdi.solvers import ParameterSpace, evenly_spread
from mlasdi.stages import Extrapolation, TrainingSet
from mlasdi.surrogate import relative, time_parts

N_SOBOL = 256  # points of the box at which the deviation is evaluated, beside corners and centres of faces
MAX_CORNERS = 64
# Exponent of the variance from trajectories that cover a time alone, in a weighted geometric mean with that from all:
# with 0 a continuation counts as data, with 1 as unknown. Chosen on burgers1d, fisher and kdv, where 0 to 0.5 do.
WEIGHT = 0.25
N_LEADING = 3  # candidates that are also continued by regression, and carried over to the next fit

MAX_FOLDS = 16  # of those that calibrate a candidate: each continues all trajectories again
SMALLEST_DEVIATION = 1e-10  # relative; smaller ones are rounding errors


@dataclass(frozen=True)
class AlignmentChoice:
    """The chosen variables, and what was tried.

    Attributes:
        aligned: the trajectories in the chosen variables.
        kernels: of the kriging in these.
        estimates: name of each candidate -> its error estimate, relative.
        best: exponents of the best candidates, for `carried_over` of the next fit.
    """

    aligned: Aligned
    kernels: Kernels
    estimates: dict[str, float]
    best: tuple[ScalingExponents, ...]


def choose_alignment(
    data: TrainingData,
    settings: BasisSettings,
    *,
    time_scaling: bool,
    coordinate_scaling: bool,
    noise: Float[np.ndarray, " state"] | None = None,
    carried_over: Sequence[ScalingExponents] = (),
    unscaled: Aligned | None = None,
    few: bool = False,
) -> AlignmentChoice:
    """Krige the trajectories in each candidate for rescaled variables; take the one with the smallest error estimate.

    States that are not in memory are compared on a coarse grid, and rescaled once.

    Args:
        data: the trajectories, each point once.
        settings: of the basis.
        time_scaling: whether the rate of time may depend on the parameters.
        coordinate_scaling: whether coordinates and amplitudes may.
        noise: standard deviation of what is left of the noise in each value of a state.
        carried_over: exponents that were good in an earlier fit.
        unscaled: the trajectories in the variables of the states, where they are known already.
        few: whether to try few combinations of scalings.
    """
    if data.is_streamed and (time_scaling or coordinate_scaling):
        coarse, kept = data.on_coarse_grid()
        found = choose_alignment(
            coarse,
            settings,
            time_scaling=time_scaling,
            coordinate_scaling=coordinate_scaling,
            noise=None if noise is None else noise[kept],
            carried_over=carried_over,
            few=few,
        )
        return _on_full_grid(found, data, settings, noise, unscaled or Aligned(*data.pod(settings)))
    candidates = alignment_candidates(
        data,
        settings,
        time_scaling=time_scaling,
        coordinate_scaling=coordinate_scaling,
        carried_over=carried_over,
        unscaled=unscaled,
        few=few,
    )
    points = feasible_points(data.space, N_SOBOL, 0)
    estimates: dict[str, float] = {}
    leading: list[KrigedAlignment] = []

    def enter(aligned: Aligned) -> None:
        kriged = KrigedAlignment.of(aligned, data, noise)
        estimates[aligned.name] = kriged.error_estimate(points)
        leading.append(kriged)
        leading.sort(key=lambda entry: estimates[entry.aligned.name])
        del leading[N_LEADING:]

    for aligned in candidates:
        enter(aligned)
    exponents = [entry.aligned.exponents for entry in leading if entry.aligned.exponents is not None]
    for aligned in [entry.aligned for entry in leading if entry.aligned.trajectory_splines is not None]:
        regression = aligned.continued_by("regression", leading[0].data.t.numpy())
        enter(replace(regression, name=f"{aligned.name}, regression"))
    return AlignmentChoice(leading[0].aligned, leading[0].data.kernels, estimates, tuple(exponents))


def _on_full_grid(
    found: AlignmentChoice,
    data: TrainingData,
    settings: BasisSettings,
    noise: Float[np.ndarray, " state"] | None,
    unscaled: Aligned,
) -> AlignmentChoice:
    """The choice on a coarse grid, for the trajectories themselves; their own variables where it loses too much."""
    aligned, coarse = unscaled, found.aligned
    if coarse.exponents is not None:
        rescaled = in_rescaled_variables(data, settings, coarse.exponents, unscaled)
        if rescaled is not None and coarse.trajectory_splines is not None:
            t = (data.t - data.t[0]) / (data.t[-1] - data.t[0])
            rescaled = rescaled.continued_by(coarse.trajectory_splines.continuation, t)
        aligned = unscaled if rescaled is None else replace(rescaled, name=coarse.name)
    return replace(found, aligned=aligned, kernels=KrigedAlignment.of(aligned, data, noise).data.kernels)


def feasible_points(space: ParameterSpace, n_sobol: int, seed: int) -> Float[np.ndarray, "m d"]:
    """`box_points` of so many Sobol points, as far as they may be solved."""
    points = box_points(space.n_params, space.unit_sobol(n_sobol, seed))
    return points[space.feasible(space.from_unit(points))] if space.is_restricted else points


def box_points(d: int, sobol: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "m d"]:
    """Points of the unit cube: the given ones, its corners (the first `MAX_CORNERS`) and the centres of its faces."""
    corners = np.array(list(islice(product((0.0, 1.0), repeat=d), MAX_CORNERS)))
    faces = np.full((2 * d, d), 0.5)
    for i in range(d):
        faces[2 * i : 2 * i + 2, i] = 0, 1
    return np.concatenate([sobol, corners, faces])


@dataclass(frozen=True)
class KrigedAlignment:
    """Kriging of the trajectories in given variables: the model by which these are compared.

    Attributes:
        aligned: the trajectories.
        data: the same, with kernels and folds.
    """

    aligned: Aligned
    data: TrainingSet

    @classmethod
    def of(cls, aligned: Aligned, data: TrainingData, noise: Float[np.ndarray, " state"] | None) -> "KrigedAlignment":
        """Choose the kernels for the trajectories of `data` in these variables."""
        x, basis = data.space.to_unit(data.mu), aligned.basis
        left = 0.0 if noise is None else float(np.sum((noise / basis.norm_unit / basis.scale) ** 2))
        kernels = select_kernels(x, aligned.c.reshape(len(x), -1), left / basis.rank)
        t = torch.from_numpy((data.t - data.t[0]) / (data.t[-1] - data.t[0]))
        extrapolation = Extrapolation(aligned.time_scaling, aligned.trajectory_splines, aligned.missing)
        no_anchors = np.empty((0, x.shape[1]))
        return cls(aligned, TrainingSet(x, torch.from_numpy(aligned.c), t, kernels, no_anchors, left, extrapolation))

    def error_estimate(self, points: Float[np.ndarray, "param d"]) -> float:
        """Estimated relative error: geometric mean of the largest and the root mean square over points of the box.

        At each point it is the largest calibrated relative standard deviation over its times. The largest one alone
        would let a single corner decide. It is infinite with fewer than three training points, which leave nothing to
        calibrate.
        """
        if self.data.n_points < 3:
            return np.inf
        t, time_scaling = self.data.t.numpy(), self.aligned.time_scaling
        rates = time_scaling.rate(points)[:, None]
        inside = time_scaling.covers(points, t)
        first_after = np.minimum(inside.sum(axis=1), len(t) - 1)
        inside[np.arange(len(points)), first_after] = True
        calibrated = self._factors(t / rates) * self._relative_deviation(self.data, points)
        largest = np.where(inside, calibrated, 0.0).max(axis=1)
        estimate = float(np.sqrt(largest.max() * np.sqrt(np.mean(largest**2))))
        return estimate if np.isfinite(estimate) else np.inf

    def _factors(self, share: Float[np.ndarray, "param time"]) -> Float[np.ndarray, "param time"]:
        """Root mean square over folds of error over deviation, by parts of each point's interval of time.

        Args:
            share: of the interval that has passed.
        """
        folds = evenly_spread(self.data.n_points, MAX_FOLDS)
        ratios = np.array([self._fold_ratios(i) for i in folds.tolist()])
        known = ~np.isnan(ratios)
        squares = np.where(known, ratios, 0.0) ** 2
        factors = np.sqrt(squares.sum(axis=0) / np.maximum(known.sum(axis=0), 1))
        middles = (np.arange(len(factors)) + 0.5) / len(factors)
        scored = known.any(axis=0)
        return np.interp(share, middles[scored], factors[scored])

    def _fold_ratios(self, i: int) -> Float[np.ndarray, " part"]:
        """Largest error over largest deviation in each part of the interval at point `i`, predicted without it."""
        fold, x, is_scored = self.data.without(i), self.data.x[i : i + 1], self.data.is_scored[i]
        covered = is_scored[: len(fold.t)]
        truth, basis = self.aligned.c[i, is_scored], self.aligned.basis
        error = self._kriged(fold, x)[0, covered] - truth
        errors = relative(basis.scale * np.linalg.norm(error, axis=-1), basis.norm(truth))
        deviations = np.maximum(self._relative_deviation(fold, x)[0, covered], SMALLEST_DEVIATION)
        parts = time_parts(self.data.t.numpy()[is_scored] / self.aligned.time_scaling.rate(x)[0])
        return np.array([errors[part].max() / deviations[part].max() if part.any() else np.nan for part in parts])

    @staticmethod
    def _kriged(data: TrainingSet, x: Float[np.ndarray, "param d"]) -> Float[np.ndarray, "param time rank"]:
        return np.tensordot(Kriging(data.x, data.kernel).weights(x), data.c.numpy(), axes=1)

    def _relative_deviation(
        self, data: TrainingSet, x: Float[np.ndarray, "param d"]
    ) -> Float[np.ndarray, "param time"]:
        """Standard deviation of kriging in the L2 norm, relative to its mean.

        The variance of the process at a rescaled time is that of all trajectories, also of those that are continued
        there.
        """
        kriging = Kriging(data.x, data.kernels.uncertainty)
        process = np.sum(kriging.whiten(data.c.numpy()) ** 2, axis=(0, -1)) / max(len(data.x) - 1, 1)
        variance = kriging.variance(x)[:, None]
        if not self.aligned.time_scaling.is_common:
            variance = variance ** (1 - WEIGHT) * self._variance_from_covering(data, x) ** WEIGHT
        norms = self.aligned.basis.norm_of_sums(Kriging(data.x, data.kernel).weights(x), data.c.numpy())
        return relative(self.aligned.basis.scale * np.sqrt(process * variance), norms)

    def _variance_from_covering(
        self, data: TrainingSet, x: Float[np.ndarray, "param d"]
    ) -> Float[np.ndarray, "param time"]:
        """Kriging variance at each rescaled time from those trajectories alone that cover it.

        It is linear between the ends of two trajectories.
        """
        rates = self.aligned.time_scaling.rate(data.x)
        order = np.argsort(-rates, kind="stable")
        nested = Kriging(data.x[order], data.kernels.uncertainty).nested_variance(x)
        last_covering = np.interp(data.t.numpy(), rates[order][::-1], np.arange(len(rates))[::-1])
        before = np.minimum(last_covering.astype(int), len(rates) - 2)
        share = (last_covering - before)[:, None]
        return ((1 - share) * nested[before] + share * nested[before + 1]).T
