"""Publication of a campaign: its figures, MLflow runs and registered versions."""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from mlasdi.agent import figures
from mlasdi.agent.config import Config, dump_config
from mlasdi.agent.records import Point, Span
from mlasdi.agent.registry import RoundFacts, Tracker, TrainingSet, Undelivered, delivering, model_card
from mlasdi.agent.report import NothingToReport, answer, error_over_estimate, feasible_values, write_html_report
from mlasdi.formatting import counted, percent
from mlasdi.solvers import Snapshots, described_point, evenly_spread
from mlasdi.solvers.storage import BLOCK_VALUES, StoredRun
from mlasdi.surrogate import Surrogate
from mlasdi.validation import LEVELS, Assessment, ErrorSplit


class Publisher:
    """Draws the figures of one campaign and records it in MLflow; every call can be repeated after a kill."""

    def __init__(self, config: Config, campaign_id: str) -> None:
        self.config = config
        self.space = config.problem.space
        self.tracker = Tracker(config.tracking, config.root, config.name, campaign_id)
        self.folder = config.folder / "figures"
        self.formats: tuple[str, ...] = ("png",)  # of figures

    def set_damaged_aside(self) -> Path | None:
        """Rename MLflow's database if it is damaged; returns its new path, or None."""
        return self.tracker.set_damaged_aside()

    def is_lost(self) -> bool:
        """Whether MLflow's database has no record of the campaign; False if it cannot be reached."""
        try:
            with delivering():
                return self.tracker.is_lost()
        except Undelivered:
            return False

    def start(self) -> None:
        """Open the campaign's run.

        Raises:
            Undelivered: MLflow cannot be reached; the call can be repeated.
        """
        with delivering():
            self.tracker.start(dump_config(self.config), self.config.model_dump(mode="json"), self._intention())

    def _intention(self) -> str:
        """What the campaign will do, in a sentence."""
        names, n = ", ".join(f"`{p.name}`" for p in self.space.parameters), self.config.budget.solver_runs
        target = self.config.budget.overall_target
        until = "" if target is None else f" or until its estimated error is {percent(target)}"
        return (
            f"Builds a surrogate of `{self.config.problem.solver}` over {names} with at most {counted(n, 'solver run')}"
            f"{until}. Each round has a run below this one, and a version of `{self.tracker.registered_model}`."
        )

    def publish_round(
        self,
        round: int,
        surrogate: Surrogate,
        model_folder: Path,
        assessment: Assessment | None,
        points: Sequence[Point],
        solver_runs: int,
        times: tuple[float, float] | None = None,
    ) -> str:
        """Log a round and register its surrogate; returns the version.

        Args:
            times: unix seconds at which the round began and ended; None if they are not known.

        Raises:
            Undelivered: MLflow cannot be reached; the call can be repeated.
        """
        solved = [p for p in points if p.status == "solved" and p.round <= round]
        metrics = {"solver_runs": solver_runs, "fit_s": surrogate.record.fit_s, "stages": surrogate.n_stages}
        metrics |= _error_metrics(surrogate, assessment)
        tags = {
            "problem": self.config.problem.solver,
            "solver_runs": str(solver_runs),
            "parameter_box": json.dumps({p.name: [p.low, p.high] for p in self.space.parameters}),
            "data_hash": hashlib.sha256("".join(sorted(p.address for p in solved)).encode()).hexdigest(),
            "stages": ", ".join(surrogate.record.stage_names),
            "fields": ", ".join(surrogate.layout.fields),
            "n_state": str(surrogate.layout.n_state),
            "output_estimates": json.dumps(surrogate.error_estimates),
            "solver_identity": json.dumps(self.config.problem.spec.build().identity(), sort_keys=True),
        }
        tags |= _error_tags(surrogate, assessment)
        estimate = float("inf") if surrogate.error_estimate is None else surrogate.error_estimate
        card = model_card(surrogate, tags)
        found = surrogate.record.prequential.newest.errors
        with delivering():
            if found:
                self.tracker.tag_round(round - 1, {"found_error": repr(max(found))})
            self.tracker.log_round(round, metrics, {"stages": tags["stages"]}, self._facts(tags, solved, times))
            return self.tracker.register(round, model_folder, tags, estimate, card=card)

    def _facts(self, tags: Mapping[str, str], solved: Sequence[Point], times: tuple[float, float] | None) -> RoundFacts:
        data = TrainingSet(
            f"{self.config.name}: solutions",
            tags["data_hash"],
            self.config.snapshot_root,
            [p.name for p in self.space.parameters],
            len(solved),
            int(tags["n_state"]),
        )
        began_at, ended_at = times or (None, None)
        return RoundFacts(began_at, ended_at, data)

    def add_assessment(self, version: str, surrogate: Surrogate, assessment: Assessment) -> None:
        """Tag a version with the validated errors of its model.

        Raises:
            Undelivered: MLflow cannot be reached; the call can be repeated.
        """
        with delivering():
            self.tracker.tag_version(version, _error_tags(surrogate, assessment))

    def draw(
        self,
        history: Sequence[tuple[Surrogate, Assessment | None]],
        solved: Sequence[Point],
        worst: Snapshots | StoredRun | None,
        split: ErrorSplit | None = None,
        spans: Sequence[Span] = (),
    ) -> list[Path]:
        """The figures of the whole campaign.

        Args:
            history: surrogate and assessment of each round.
            solved: solved training points in the order in which they were chosen.
            worst: full-order solution at the validation point with the largest error.
            split: parts of the error of the last surrogate, mean over validation points.
            spans: activities of the workers.
        """
        surrogate, assessment = history[-1]
        drawn = box_maps(surrogate, assessment, solved)
        tested = surrogate.record.prequential
        drawn["convergence"] = figures.convergence(
            [len(s.model.latent.x) for s, _ in history],
            [_by_stage(s, a) for s, a in history],
            [s.error_estimate for s, _ in history],
            self.config.budget.overall_target,
            validated=assessment is not None,
            found=list(zip(tested.n_points, tested.errors, strict=True)),
        )
        if assessment is not None and worst is not None:
            mu = assessment.mu[int(np.argmax(assessment.final))]
            # The figure has one state or one line of each; of a large state it looks at a few times.
            shown = evenly_spread(len(worst.t), max(BLOCK_VALUES // surrogate.layout.n_state, 2))
            prediction = surrogate.ending_at(float(worst.t[-1])).predict(mu, worst.t[shown])
            assert prediction.std is not None
            states = worst.u[shown], prediction.mean[0], prediction.std[0]
            unit = surrogate.reconstruction.norm_unit
            compared = figures.Comparison(surrogate.layout, worst.t[shown], *states, unit)
            drawn["worst_point"] = figures.worst_point(compared, self.space, mu)
        drawn |= _validation_figures(surrogate, assessment, split)
        if surrogate.model.latent.has_dynamics:
            drawn["latent_trajectories"] = self._latent_trajectories(surrogate)
        if any(len(losses) > 1 for losses in surrogate.record.loss_history.values()):  # not in closed form alone
            drawn["training_loss"] = figures.training_loss(surrogate.record.loss_history)
        if spans:
            drawn["timeline"] = figures.timeline(spans)
        return [self._save(figure, name, kind) for name, figure in drawn.items() for kind in self.formats]

    def _latent_trajectories(self, surrogate: Surrogate) -> Figure:
        """Latent states at the centre of the box and at two opposite corners, where they differ most."""
        shown = self.space.from_unit(np.tile([[0.0], [0.5], [1.0]], (1, self.space.n_params)))
        latent = surrogate.latent_trajectories(shown)
        labels = [described_point(self.space.as_dict(mu), 3) for mu in shown]
        return figures.latent_trajectories(
            latent.t, latent.mean, latent.std, labels, time_unit=surrogate.layout.time_unit
        )

    def finish(self, report: dict[str, Any], artifacts: Sequence[Path]) -> None:
        """Close the campaign's run with the numbers of the report, and write the HTML report.

        Raises:
            Undelivered: MLflow cannot be reached; the HTML report is written nevertheless.
        """
        texts = ("stop_reason", "version", "model_uri")
        final = {k: v for k, v in report.items() if isinstance(v, int | float) or (k in texts and v is not None)}
        final |= {f"seconds_{activity}": seconds for activity, seconds in report["seconds"].items()}
        files = [*artifacts, *self._page(report)]
        with delivering():
            self.tracker.add_figures(report["rounds"] - 1, [one for one in artifacts if one.stem.endswith("_map")])
            self.tracker.finish(final, files, description=answer(report))

    def abort(self, status: Literal["FAILED", "KILLED"]) -> None:
        """Close the campaign's run early; `start` opens it again."""
        with suppress(Exception):  # must not hide the error that ended the campaign
            self.tracker.finish({}, [], status)

    def identity(self, version: str | None) -> dict[str, str | None]:
        """Version, URIs and ids of the campaign and its last model in MLflow, and the version that is champion now.

        None while it has no version, and for what only MLflow knows while it cannot be reached.
        """
        known: dict[str, str | None] = dict.fromkeys(("version", "champion", "model_uri", "run_id", "browse"))
        if version is None:
            return known
        known |= {"version": version, "model_uri": f"models:/{self.tracker.registered_model}/{version}"}
        with suppress(Undelivered), delivering():
            known |= {"run_id": self.tracker.run_id, "browse": self.tracker.browse_hint}
            known["champion"] = self.tracker.champion()
        return known

    def _page(self, report: dict[str, Any]) -> list[Path]:
        """The HTML report; an error in it is only a warning, so that the campaign can finish."""
        try:
            return [write_html_report(self.config, report=report)]
        except NothingToReport:
            return []
        except Exception as error:
            warnings.warn(f"the HTML report cannot be written: {type(error).__name__}: {error}", stacklevel=2)
            return []

    def _save(self, figure: Figure, name: str, kind: str = "png") -> Path:
        return figures.save(figure, self.folder / f"{name}.{kind}")


def box_maps(surrogate: Surrogate, assessment: Assessment | None, solved: Sequence[Point]) -> dict[str, Figure]:
    """Maps of the surrogate's own error estimate and, if it was validated, of the error and the ratio of both."""
    space = surrogate.space
    mus = space.as_array([p.mu for p in solved])
    n_initial = next((k for k, p in enumerate(solved) if p.score is not None), len(solved))
    grid = space.full_grid({1: 101, 2: 21}[space.n_params]) if space.n_params <= 2 else space.sobol(1024, seed=0)
    estimates, errors = feasible_values(surrogate, grid), np.array([]) if assessment is None else assessment.final
    scale = np.concatenate([estimates, errors])  # the same colours in both maps
    drawn = {"uncertainty_map": figures.uncertainty_map(space, grid, estimates, mus, n_initial, scale=scale)}
    if assessment is not None:
        drawn["error_map"] = figures.error_map(space, assessment.mu, errors, mus, n_initial, scale=scale)
        ratios = error_over_estimate(surrogate, assessment)
        drawn["ratio_map"] = figures.ratio_map(space, assessment.mu, ratios, mus, n_initial)
    return drawn


def _validation_figures(
    surrogate: Surrogate, assessment: Assessment | None, split: ErrorSplit | None
) -> dict[str, Figure]:
    """Reliability of the bands and parts of the error, if the surrogate was validated."""
    drawn = {}
    if assessment is not None and assessment.reliability is not None:
        runs = len(surrogate.model.latent.x)
        drawn["reliability"] = figures.reliability(LEVELS, {f"{runs} solver runs": assessment.reliability})
    if split is not None:
        parts = {
            "projection": np.full(surrogate.n_stages, split.projection),
            "autoencoder": split.autoencoder,
            "latent dynamics": split.latent_dynamics,
            "interpolation": split.interpolation,
        }
        drawn["error_split"] = figures.error_split(surrogate.record.stage_names, parts, split.total)
    return drawn


def _by_stage(surrogate: Surrogate, assessment: Assessment | None) -> dict[str, float]:
    """Stage name -> error with the stages up to it: validated if possible, else leave-one-out."""
    errors = surrogate.record.stage_errors if assessment is None else assessment.errors.max(axis=1).tolist()
    return dict(zip(surrogate.record.stage_names, errors, strict=False))


def _error_tags(surrogate: Surrogate, assessment: Assessment | None) -> dict[str, str]:
    """Validated errors of a version, by which the champion is chosen; none from training points alone."""
    if assessment is None or not assessment.has_new_points(surrogate):
        return {}
    return {
        "max_error": repr(float(assessment.final.max())),
        "mean_error": repr(float(assessment.final.mean())),
        "coverage": repr(float(assessment.coverage)),
        "output_errors": json.dumps({name: float(errors.max()) for name, errors in assessment.fields.items()}),
    }


def _error_metrics(surrogate: Surrogate, assessment: Assessment | None) -> dict[str, float]:
    metrics = {}
    if surrogate.error_estimate is not None:
        metrics["error_estimate"] = surrogate.error_estimate
        metrics["leave_one_out"] = max(surrogate.record.leave_one_out[-1])
    if surrogate.record.prequential.newest.errors:
        metrics["prequential_error"] = max(surrogate.record.prequential.newest.errors)
    if assessment is not None:
        metrics["max_relative_error"] = float(assessment.final.max())
        metrics["mean_relative_error"] = float(assessment.final.mean())
        metrics["coverage"] = assessment.coverage
        for k, errors in enumerate(assessment.errors, start=1):
            metrics[f"max_relative_error_{k}_stages"] = float(errors.max())
    return metrics
