"""From training trajectories to a surrogate: compress, align, calibrate dynamics, add stages, estimate the error."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from mlasdi.alignment import Aligned
from mlasdi.curves import CurveKriging
from mlasdi.interpolation import EndTimes, select_kernels
from mlasdi.preprocessing import MEMORY_MB, Denoised, PodBasis, TrainingData, limited_threads
from mlasdi.solvers.storage import StackedRuns
from mlasdi.stages import Extrapolation, TrainingSet
from mlasdi.surrogate import (
    Disagreement,
    LocalCalibration,
    PrequentialErrors,
    Surrogate,
    TrainingRecord,
    relative,
    student_factor,
)
from mlasdi.training.alignment_choice import AlignmentChoice, choose_alignment
from mlasdi.training.context import Progress, TrainingContext
from mlasdi.training.disagreement import with_disagreement
from mlasdi.training.race import RESCALED, STATES, Contender, Failure, run_race, second_best
from mlasdi.training.scoring import supports_estimate
from mlasdi.training.settings import ChosenSettings, ModelSettings
from mlasdi.validation import (
    MIN_FOLDS,
    diagnose,
    distance_correlations,
    known_quantities,
    latent_correlations,
    mean_errors,
    prequential_errors,
    training_errors,
)

__all__ = ["ModelSettings", "Progress", "TrainingData", "fit"]

# Numbers of nodes of a grid, and of training points, for which curves are tried; more cost too much memory. The basis
# holds their predictions at so many points between those of the training, too, and is no more exact than they are.
MIN_NODES, MAX_NODES, MAX_POINTS = 16, 4096, 64
N_BETWEEN, CURVES_TOLERANCE = 16, 1e-4
NOISY_TIMES = 101  # of noisy trajectories, where the error of interpolation in time cannot be measured


@limited_threads()
def fit(
    data: TrainingData,
    settings: ModelSettings,
    *,
    seed: int,
    report: Callable[[Progress], None] = lambda progress: None,
    info: Mapping[str, Any] | None = None,
    device: str = "cpu",
    before: Surrogate | None = None,
    memory_mb: int = MEMORY_MB,
    quantities: Mapping[str, str] | None = None,
) -> Surrogate:
    """Fit a surrogate to training trajectories, in one thread or as many as `limited_threads` around it allows.

    Args:
        data: trajectories at two or more training points; several runs at one point are averaged.
        settings: the model.
        seed: of all random numbers; the same seed gives the same surrogate on the same machine.
        report: called with the progress of the training.
        info: JSON that is saved with the surrogate.
        device: on which networks are trained, as torch names it. All else is small or in double precision, and computed
            on the CPU.
        before: a surrogate of fewer of these trajectories. Its errors at the others are kept, and calibrate the error
            estimate together with leave-one-out errors.
        memory_mb: memory for arrays of the size of the states, in MB. Where several copies of the states do not fit in
            it, they are read in blocks, and coordinates are not rescaled.
        quantities: quantities of interest, name -> how it is computed (`mlasdi.solvers.outputs.quantity`): the
            surrogate knows them by name, with their errors.

    Raises:
        ValueError: a quantity cannot be computed, there are fewer than two different training points, or `before` is a
            surrogate of another problem.
    """
    start = time.perf_counter()
    data, prequential = data.limited_to(memory_mb), PrequentialErrors()
    if before is not None and (before.end_times is None) == (data.durations is None):  # else times mean something else
        prequential = before.record.prequential + prequential_errors(before, data)
    given, data = data, data.lasting()
    if len(given.t) == 1 and settings.first_stage.kind not in ("chosen", "none"):
        raise ValueError(
            f"model.first_stage.kind {settings.first_stage.kind}: steady solutions have no dynamics; "
            "model.kind must be mlasdi or snapshot-gp"
        )
    data, noise = _prepared(data, settings)
    thinning_error = 0.0 if noise else given.time_error(len(data.t))  # of noisy data it cannot be measured
    common = {
        "space": data.space,
        "interval": float(given.t[-1] - given.t[0]),
        "report": report,
        "device": device,
        "data_error": noise.modes_error if noise else thinning_error,
        "carried_over": () if before is None else before.model.inferred_dynamics,
    }
    contexts = _contexts(data, settings, noise, seed, common)
    winner, tried = run_race(contexts, partial(_curve_context, data, contexts[STATES], noise is not None))
    disagreement, errors = with_disagreement(winner, second_best(winner, tried), data.layout)
    winner = replace(winner, errors=errors)
    record = _record(winner, disagreement, tried, noise, prequential)
    context = winner.selection.context
    surrogate = Surrogate(
        space=data.space,
        layout=data.layout,
        t=given.t if len(given.t) == 1 else data.t,
        basis=context.basis,
        model=winner.model,
        encoder=winner.encoder,
        record=replace(record, fit_s=time.perf_counter() - start),
        info={**(info or {}), "thinning_error": thinning_error, "quantities": dict(quantities or {})},
        time_scaling=context.aligned.time_scaling,
        coordinate_scaling=context.aligned.coordinate_scaling,
    )
    if data.durations is not None:
        end_times = EndTimes.fit(context.data.x, data.durations, data.space.spans)
        surrogate = replace(surrogate, end_times=end_times)
    box = None if errors.points is None or errors.deviations is None else (errors.points, errors.deviations[0])
    known = box if surrogate.error_estimate is not None else None
    of_quantities = known_quantities(surrogate, data, context.data, quantities or {}, known)
    surrogate = replace(surrogate, record=replace(surrogate.record, quantities=of_quantities))
    findings = tuple(asdict(finding) for finding in diagnose(surrogate))
    for stage in surrogate.model.stages:
        stage.forget()
    return replace(surrogate, record=replace(surrogate.record, findings=findings))


def _prepared(data: TrainingData, settings: ModelSettings) -> tuple[TrainingData, Denoised | None]:
    """The trajectories at few times, denoised and averaged over repeated runs; and what was found of the noise, if any.

    Raises:
        ValueError: fewer than two different points, or repeated runs that differ by more than white noise, and no
            level of noise was given.
    """
    if isinstance(settings.noise, str):
        data.check_repeated_runs()
    std = data.noise_std(settings.noise)
    if std.any():
        thinned, noise = data.denoised(std, NOISY_TIMES if settings.n_time == "auto" else settings.n_time)
    else:
        thinned, noise = data.thinned(settings.n_time), None
    averaged, n_runs = thinned.averaged()
    averaged = averaged.limited_to(data.memory_mb)  # at fewer times, memory may hold the states
    if len(averaged.mu) < 2:
        raise ValueError(f"a surrogate needs at least 2 different training points, got {len(averaged.mu)}")
    return averaged, noise and replace(noise, left=noise.left * np.sqrt(np.mean(1 / n_runs)))


def _contexts(
    data: TrainingData, settings: ModelSettings, noise: Denoised | None, seed: int, common: Mapping[str, Any]
) -> dict[str, TrainingContext]:
    """The trajectories in the variables of the states and, if they are better, in rescaled ones, with what stages need.

    Args:
        common: fields of the contexts that do not depend on the variables.
    """
    left = None if noise is None else noise.left
    choose = partial(choose_alignment, data, settings.basis, noise=left, unscaled=Aligned(*data.pod(settings.basis)))
    choices = {STATES: choose(time_scaling=False, coordinate_scaling=False)}
    time_scaling = settings.time_scaling == "learned" and common["interval"] > 0
    # Fields on different grids have no coordinates in common. Amplitudes of single numbers are told by their values
    # alone, which few points fit exactly, whatever lies between these.
    is_number = data.layout.is_steady and not data.layout.shape
    few = is_number and len(data.mu) < 2 * (data.space.n_params + 1)
    cannot = data.layout.others or few or data.is_streamed
    coordinate_scaling = settings.coordinate_scaling == "learned" and not cannot
    if time_scaling or coordinate_scaling:
        few = settings.effort == "quick"
        best = choose(time_scaling=time_scaling, coordinate_scaling=coordinate_scaling, few=few)
        if not best.aligned.is_common:
            choices[RESCALED] = best
    contexts = {}
    for name, choice in choices.items():
        basis = choice.aligned.basis
        contexts[name] = TrainingContext(
            settings=_within_rank(settings, basis.rank),
            data=_training_set(data, choice, settings, left, seed),
            aligned=choice.aligned,
            layout=data.layout,
            generator=torch.Generator().manual_seed(seed),
            seed=seed,
            **common,
        )
    return contexts


def _curve_context(data: TrainingData, states: TrainingContext, noisy: bool, to_beat: float) -> TrainingContext | None:
    """The trajectories with their curves, in a basis that holds what these predict between the points, too.

    None where there are no curves: the states must lie on one one-dimensional grid, be in memory and without noise; or
    where their error is far from the one `to_beat`.
    """
    layout, own, u = data.layout, states.data, data.u
    is_line = len(layout.coordinates) == 1 and not (layout.others or layout.scattered or layout.steady)
    is_chosen = isinstance(states.settings.first_stage, ChosenSettings)
    if noisy or isinstance(u, StackedRuns) or not (is_line and is_chosen):
        return None
    (grid,) = layout.coordinates.values()
    is_long = MIN_NODES <= len(grid) <= MAX_NODES and layout.mask is None and bool((np.diff(grid) > 0).all())
    if not is_long or len(data.t) < 2 or not MIN_FOLDS <= own.n_points <= MAX_POINTS:
        return None
    by_field = u.reshape(*u.shape[:2], len(layout.fields), len(grid))
    is_quick = states.settings.effort == "quick"
    model = CurveKriging.fit(
        own.x, own.t.numpy(), by_field, grid, own.kernels, relative, is_quick=is_quick, to_beat=to_beat
    )
    if model is None:
        return None
    between = model.predict(data.space.unit_sobol(N_BETWEEN, states.seed)).reshape(-1, u.shape[2])
    settings = states.settings.basis
    coarse = settings.model_copy(update={"tolerance": max(settings.tolerance, CURVES_TOLERANCE)})
    basis = PodBasis.fit(np.concatenate([u.reshape(-1, u.shape[2]), between]), coarse, layout.sizes)
    c = basis.project(u)
    data_in_basis = replace(own, c=torch.from_numpy(c), kernels=select_kernels(own.x, c.reshape(len(c), -1)))
    return replace(states, data=data_in_basis, aligned=Aligned(basis, c), curves=model, names=[])


def _training_set(
    data: TrainingData,
    choice: AlignmentChoice,
    settings: ModelSettings,
    noise: Float[np.ndarray, " state"] | None,
    seed: int,
) -> TrainingSet:
    """The trajectories in some variables with kernels and anchors.

    Args:
        noise: standard deviation of what is left of the noise in each value of a state.
        seed: of the anchors.
    """
    found, basis = choice.aligned, choice.aligned.basis
    return TrainingSet(
        x=data.space.to_unit(data.mu),
        c=torch.from_numpy(found.c),
        t=torch.from_numpy((data.t - data.t[0]) / (data.t[-1] - data.t[0])),
        kernels=choice.kernels,
        anchors=data.space.unit_sobol(settings.anchors, seed),
        noise=0.0 if noise is None else float(np.sum((noise / basis.norm_unit / basis.scale) ** 2)),
        extrapolation=Extrapolation(found.time_scaling, found.trajectory_splines, found.missing),
    )


def _within_rank(settings: ModelSettings, rank: int) -> ModelSettings:
    """The settings with latent dimensions of at most the POD rank."""
    clamped = tuple(sorted({min(n, rank) for n in settings.latent_dims}))
    if clamped == settings.latent_dims:
        return settings
    return settings.model_copy(update={"latent_dim": clamped if len(clamped) > 1 else clamped[0]})


def _record(
    winner: Contender,
    disagreement: Disagreement,
    tried: Mapping[str, Contender | Failure],
    noise: Denoised | None,
    prequential: PrequentialErrors,
) -> TrainingRecord:
    """The record of the training, but for the time that it took."""
    selection, model, loo = winner.selection, winner.model, winner.errors.loo
    data, basis = selection.context.data, selection.context.basis
    record = TrainingRecord(
        stage_names=tuple(selection.names),
        stage_errors=tuple(mean_errors(loo.errors, data).tolist()) if loo else (),
        leave_one_out=tuple(map(tuple, loo.errors.tolist())) if loo else (),
        error_estimate=None,
        std_factors=loo.std_factors.values if loo else (student_factor(data.n_points),),
        error_factors=loo.error_factors.values if loo else (1.0,),
        loss_history={name: tuple(selection.losses[name]) for name in selection.names},
        dropped=selection.dropped,
        truncation_error=basis.truncation_error,
        training_errors=tuple(np.sqrt(np.mean(training_errors(model, data, basis) ** 2, axis=1)).tolist()),
        latent_correlations=latent_correlations(model, data),
        distance_correlations=distance_correlations(model, data),
        dropped_ratios=selection.dropped_ratios,
        noise_level=noise.level if noise else 0.0,
        candidates={name: one.described() for name, one in tried.items()},
        chosen=winner.name,
        disagreement=disagreement,
        bands=loo.bands if loo else LocalCalibration(),
        prequential=prequential,
        fit_s=0.0,
    )
    calibration, estimate = winner.errors.calibrated_by(prequential, record.kind)
    known = supports_estimate(data.x, prequential)
    if not known:
        return replace(record, calibration=calibration)
    fields = winner.errors.of_fields(selection.context.layout, calibration.factor)
    return replace(record, calibration=calibration, error_estimate=estimate, fields=fields)
