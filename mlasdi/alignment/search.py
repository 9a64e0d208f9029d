"""Scaling exponents by least squares: those with which kriging predicts left-out trajectories best.

Dimensional analysis finds such exponents with pencil and paper, where characteristic scales are products of powers of
the parameters. Here, groups of them are fitted by damped Gauss-Newton steps, from several starts, to a sample of times
and places. Which of the results to use is not decided here: the sum of squares leaves out the error of continuing
trajectories beyond their ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from mlasdi.alignment.misalignment import AlignmentObjective
from mlasdi.alignment.missing_values import prior_kernel
from mlasdi.alignment.scaling_exponents import ScalingExponents
from mlasdi.interpolation import Kernel


@dataclass(frozen=True)
class SearchSettings:
    """Constants of the least squares, after Levenberg and Marquardt.

    The number of steps and the decrease were chosen on fisher, kdv and burgers1d, where more steps lead to no better
    candidates; the others on the first benchmark problems (see `mlasdi.alignment.grid_splines`).

    Attributes:
        step: of the finite differences. Larger than rounding asks for, since places enter and leave the range in which
            a trajectory is known.
        n_steps: at most.
        first_damping, largest_damping: relative to the diagonal of the Gauss-Newton matrix; beyond the largest one the
            search stops.
        damping_factor: by which the damping falls after a successful step, and rises after another.
        min_decrease: the search stops after a step that lowers the sum of squares by a smaller fraction.
        rough_length: kernel length scale of the first of two fits, in widths of the box. So short, kriging is little
            more than the mean of neighbouring trajectories, and the sum of squares has fewer local minima. With 0.05,
            twenty points of burgers1d in a wide box end in one of these.
        as_good: root of the sum of squares without shifts, relative to that with them, up to which they are not needed.
        curvature_floor: of a diagonal entry of the Gauss-Newton matrix, relative to the largest one.
    """

    step: float = 1e-4
    n_steps: int = 8
    first_damping: float = 1e-3
    largest_damping: float = 1e4
    damping_factor: float = 5.0
    min_decrease: float = 1e-2
    rough_length: float = 0.2
    as_good: float = 1.05
    curvature_floor: float = 1e-6


@dataclass(frozen=True)
class ExponentGroup:
    """Exponents that are fitted together, all others being zero.

    Attributes:
        name: in words, such as `time`.
        free: which entries of `ScalingExponents.flat` these are.
        rough_first: whether to start with a rough kernel; see `SearchSettings`.
    """

    name: str
    free: Bool[np.ndarray, " exponent"]
    rough_first: bool


def exponent_groups(
    objective: AlignmentObjective, *, time: bool, coordinates: bool, few: bool = False
) -> list[ExponentGroup]:
    """Each kind of scaling alone, and combinations of them.

    Args:
        objective: the trajectories.
        time: whether rates may depend on the parameters.
        coordinates: whether coordinates and amplitudes may.
        few: whether to leave out single axes, and amplitudes with one of time and place. On fisher and kdv with 9 and
            20 points, models in the variables that are left have the same errors.
    """
    none = objective.no_scaling
    rates = _which(none, rates=np.ones(1))
    amplitudes = _which(none, amplitudes=np.ones((1, 1)))
    places = {}
    for k, (name, nodes) in enumerate(zip(objective.layout.coordinates, objective.nodes, strict=False)):
        if nodes is not None:
            axis = (np.arange(len(none.centres)) == k).astype(float)
            places[name] = _which(none, scales=axis[:, None], centres=axis, shifts=axis[:, None])
    everywhere = np.any(list(places.values()), axis=0) if places else np.zeros_like(rates)
    groups = []
    if time:
        groups.append(ExponentGroup("time", rates, True))
    if coordinates:
        groups.append(ExponentGroup("amplitudes", amplitudes, False))
        if len(places) > 1:
            groups += [ExponentGroup(f"place along {name}", free, False) for name, free in places.items()]
        if places:
            groups.append(ExponentGroup("place", everywhere, True))
            groups.append(ExponentGroup("place and amplitudes", everywhere | amplitudes, True))
    if time and coordinates:
        groups.append(ExponentGroup("time and amplitudes", rates | amplitudes, True))
        if places:
            groups.append(ExponentGroup("time and place", rates | everywhere, True))
            groups.append(ExponentGroup("all", rates | amplitudes | everywhere, True))
    if few:
        left_out = [
            one.name for one in groups[:-1] if one.name.startswith("place along") or " and amplitudes" in one.name
        ]
        return [one for one in groups if one.name not in left_out]
    return groups


def _which(none: ScalingExponents, **parts: Float[np.ndarray, "..."]) -> Bool[np.ndarray, " exponent"]:
    """Which exponents are marked with ones in the given parts, which are broadcast to their shapes."""
    blank = none.with_flat(np.zeros_like(none.flat))
    marked = {name: np.broadcast_to(part, getattr(blank, name).shape) for name, part in parts.items()}
    return replace(blank, **marked).flat > 0


def fit_group(
    objective: AlignmentObjective, group: ExponentGroup, settings: SearchSettings | None = None
) -> Iterator[ScalingExponents]:
    """Exponents of a group, fitted from none with the smooth kernel of the prior.

    Where the group asks for it, they are first fitted with a rough kernel, and both results are given: the smooth one
    starts from the rough one. Exponents without shifts are given too, where these are not needed.
    """
    settings = settings or SearchSettings()
    d = objective.x.shape[1]
    smooth, start = prior_kernel(d), objective.no_scaling
    if group.rough_first:
        rough = smooth.model_copy(update={"lengthscale": (settings.rough_length,) * d})
        start = fit_exponents(objective, start, group.free, rough, settings)
        yield start
    found = fit_exponents(objective, start, group.free, smooth, settings)
    yield found
    yield from _without_shifts(objective, found, group, smooth, settings)


def _without_shifts(
    objective: AlignmentObjective,
    found: ScalingExponents,
    group: ExponentGroup,
    kernel: Kernel,
    settings: SearchSettings,
) -> Iterator[ScalingExponents]:
    """Exponents without shifts, where scales about some centre do as well as those that were found.

    To first order, a shift is the same as a scale about another centre, and with two levels of a parameter it is
    exactly the same at the training points. Between them it is not.
    """
    if not (found.shifts.any() and found.scales.any()):
        return
    start = replace(found, shifts=np.zeros_like(found.shifts))
    free = group.free & ~_which(found, shifts=np.ones((1, 1)))
    simpler = fit_exponents(objective, start, free, kernel, settings)
    limit = settings.as_good * np.linalg.norm(objective.fit_residuals(found, kernel))
    if np.linalg.norm(objective.fit_residuals(simpler, kernel)) <= limit:
        yield simpler


def fit_exponents(
    objective: AlignmentObjective,
    start: ScalingExponents,
    free: Bool[np.ndarray, " exponent"],
    kernel: Kernel,
    settings: SearchSettings,
) -> ScalingExponents:
    """Least squares over some of the exponents, by damped Gauss-Newton steps.

    Args:
        objective: whose `fit_residuals` are the residuals.
        start: all exponents, of which those that are not free stay.
        free: which ones are fitted.
        kernel: of the residuals.
        settings: of the steps.
    """
    at, (low, high) = np.flatnonzero(free), start.bounds()

    def with_free(q: Float[np.ndarray, " free"]) -> ScalingExponents:
        flat = start.flat
        flat[at] = q
        return start.with_flat(flat)

    def residual(q: Float[np.ndarray, " free"]) -> Float[np.ndarray, " residual"]:
        return objective.fit_residuals(with_free(q), kernel)

    def jacobian(q: Float[np.ndarray, " free"], r: Float[np.ndarray, " residual"]) -> np.ndarray:
        steps = np.where(q + settings.step < high[at], settings.step, -settings.step)
        return np.stack([(residual(q + step) - r) / step.sum() for step in np.diag(steps)])

    q, damping = start.flat[at], settings.first_damping
    r = residual(q)
    for _ in range(settings.n_steps):
        slopes, before = jacobian(q, r), r @ r
        gram, gradient = slopes @ slopes.T, slopes @ r
        floor = settings.curvature_floor * np.diag(gram).max() + np.finfo(float).tiny
        diagonal = np.diag(np.diag(gram) + floor)
        while damping < settings.largest_damping:
            trial = np.clip(q - np.linalg.solve(gram + damping * diagonal, gradient), low[at], high[at])
            trial_residual = residual(trial)
            if trial_residual @ trial_residual < before:
                q, r, damping = trial, trial_residual, damping / settings.damping_factor
                break
            damping *= settings.damping_factor
        if not r @ r < (1 - settings.min_decrease) * before:
            break
    return with_free(q)
