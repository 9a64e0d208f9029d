"""The report: what it says, that it is strict JSON, and that it is complete or not there."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledger_entries import add_seconds, start_attempt
from small_campaign import write_config

from mlasdi.agent.config import Config, StopReason, load_config
from mlasdi.agent.execution import SolveResult
from mlasdi.agent.execution.outcomes import TaskFailure
from mlasdi.agent.records import Ledger
from mlasdi.agent.registry import model_card
from mlasdi.agent.report import AssessedModel, build_report, read_report, write_report
from mlasdi.alignment import TimeScaling
from mlasdi.surrogate import Surrogate
from mlasdi.validation import LEVELS, Assessment

ASSESSMENT = Assessment(np.zeros((3, 2)), np.array([[0.3, 0.1, 0.2], [0.01, 0.03, 0.02]]), 0.9)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(write_config(tmp_path))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Three points for training, of which one failed, one for validation, and an attempt cut short."""
    with Ledger(tmp_path / "ledger.db") as opened:
        mus = [{"a": 0.7, "w": 0.9}, {"a": 0.7, "w": 1.1}, {"a": 0.9, "w": 0.9}]
        ids = opened.add_points(0, "train", mus, ["p", "q", "r"])
        ids += opened.add_points(0, "validate", [{"a": 0.8, "w": 1.0}], ["s"])
        start_attempt(opened, ids[0])
        opened.recover()
        for point_id in ids:
            failure = TaskFailure("not-converged", "too steep") if point_id == ids[1] else None
            result = SolveResult(point_id, "", 0.5, 1.0, 2.0, "here:1", False, failure)
            opened.finish_attempt(start_attempt(opened, point_id), result)
        add_seconds(opened, "solve", 1.5)
        add_seconds(opened, "solve", 0.5)
        yield opened


def build(config: Config, ledger: Ledger, surrogate: Surrogate, assessment: Assessment | None) -> dict[str, Any]:
    return build_report(config, ledger, StopReason.SOLVER_RUNS, AssessedModel(1, surrogate, assessment))


def test_costs_and_points_are_those_of_the_ledger(config: Config, ledger: Ledger, burgers_surrogate: Surrogate) -> None:
    report = build(config, ledger, burgers_surrogate, ASSESSMENT)
    assert (report["solver_runs"], report["failed_runs"], report["validation_runs"]) == (3, 1, 1)
    assert report["points"] == [{"a": 0.7, "w": 0.9}, {"a": 0.9, "w": 0.9}]
    assert report["seconds"] == {"solve": 2.0}
    assert (report["stop_reason"], report["rounds"]) == ("solver-runs", 2)
    assert (report["campaign"], report["problem"], report["folder"]) == ("small", "burgers1d", str(config.folder))


def test_errors_with_a_validation_set(config: Config, ledger: Ledger, burgers_surrogate: Surrogate) -> None:
    report = build(config, ledger, burgers_surrogate, ASSESSMENT)
    assert (report["max_relative_error"], report["coverage"]) == (0.03, 0.9)
    assert report["mean_relative_error"] == pytest.approx(0.02)
    assert [stage["name"] for stage in report["stages"]] == list(burgers_surrogate.record.stage_names)
    assert [stage["max_error"] for stage in report["stages"]] == [0.3, 0.03]
    assert [stage["mean_error"] for stage in report["stages"]] == pytest.approx([0.2, 0.02])
    assert [stage["leave_one_out"] for stage in report["stages"]] == list(burgers_surrogate.record.stage_errors)
    assert report["leave_one_out"] == max(burgers_surrogate.record.leave_one_out[-1])
    assert report["error_estimate"] == burgers_surrogate.error_estimate


def test_validation_at_training_points_alone_is_told(
    config: Config, ledger: Ledger, burgers_surrogate: Surrogate
) -> None:
    """A grid with two points for each parameter consists of the corners, where models are trained."""
    corners, kind = burgers_surrogate.space.corners(), "validated-where-trained"
    assessed = Assessment(corners, np.full((len(burgers_surrogate.model.stages), 4), 1e-6), 1.0)
    (told,) = (one for one in build(config, ledger, burgers_surrogate, assessed)["diagnostics"] if one["kind"] == kind)
    assert "all 4 validation points are training points" in told["message"]
    assert "validation.grid" in told["remedy"]
    other = corners[3] - 0.01 * (corners[3] - corners[0])
    elsewhere = replace(assessed, mu=np.vstack([corners[:3], other]))
    assert kind not in [one["kind"] for one in build(config, ledger, burgers_surrogate, elsewhere)["diagnostics"]]


def test_reliability_by_probability(config: Config, ledger: Ledger, burgers_surrogate: Surrogate) -> None:
    assessed = replace(ASSESSMENT, reliability=np.linspace(0, 1, len(LEVELS)))
    report = build(config, ledger, burgers_surrogate, assessed)
    assert list(report["reliability"]) == [f"{level:g}" for level in LEVELS]
    assert (report["reliability"]["0.1"], report["reliability"]["0.6"], report["reliability"]["0.99"]) == (0, 0.5, 1)
    assert build(config, ledger, burgers_surrogate, ASSESSMENT)["reliability"] is None


def test_what_is_not_known_is_null(config: Config, ledger: Ledger, burgers_surrogate: Surrogate) -> None:
    """Without a validation set, and with too few points for leave-one-out."""
    record = replace(burgers_surrogate.record, stage_errors=(), leave_one_out=(), error_estimate=None)
    report = build(config, ledger, replace(burgers_surrogate, record=record), None)
    unknown = ("max_relative_error", "mean_relative_error", "coverage", "leave_one_out", "error_estimate")
    assert [report[key] for key in unknown] == [None] * 5
    assert all(stage[key] is None for stage in report["stages"] for key in ("leave_one_out", "max_error", "mean_error"))


def test_it_is_strict_json_even_where_predictions_diverged(
    config: Config, ledger: Ledger, burgers_surrogate: Surrogate, tmp_path: Path
) -> None:
    diverged = replace(ASSESSMENT, errors=np.array([[0.3, math.inf, 0.2], [math.nan, 0.03, 0.02]]))
    report = build(config, ledger, burgers_surrogate, diverged)

    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = write_report(tmp_path, report).read_text()
    assert json.loads(text, parse_constant=refused) == report
    assert [stage["max_error"] for stage in report["stages"]] == [None, None]
    assert report["max_relative_error"] is None


@pytest.mark.parametrize("step", ["dumps", "replace"])
def test_an_interrupted_write_leaves_the_report_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_report(tmp_path, {"rounds": 1})

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr({"dumps": json, "replace": os}[step], step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path, {"rounds": 2})
    assert read_report(tmp_path) == {"rounds": 1}


def test_scaling_laws_are_named(config: Config, ledger: Ledger, burgers_surrogate: Surrogate) -> None:
    scaling = TimeScaling((math.log(9 / 7), 0.0), burgers_surrogate.space.spans)
    scaled = replace(burgers_surrogate, time_scaling=scaling)
    assert build(config, ledger, scaled, None)["scaling_laws"] == {"rate of time": "a^1"}
    assert build(config, ledger, burgers_surrogate, None)["scaling_laws"] == {}
    assert "- scaling laws: rate of time `a^1`" in model_card(scaled, {})
    assert "similarity" not in model_card(burgers_surrogate, {})


def test_the_paths_of_a_report_follow_its_folder(tmp_path: Path) -> None:
    was, now = tmp_path / "runs" / "small", tmp_path / "elsewhere"
    was.mkdir(parents=True)
    report = {"folder": str(was), "figures": [f"{was}/figures/a.png", "/other/b.png"], "solver_runs": 5}
    write_report(was, report | {"model_uri": f"{was}/models/round-001"})
    was.rename(now)
    found = read_report(now)
    assert found["figures"] == [f"{now}/figures/a.png", "/other/b.png"]
    assert (found["folder"], found["model_uri"], found["solver_runs"]) == (str(now), f"{now}/models/round-001", 5)
    write_report(now, report | {"model_uri": "models:/small/2"})
    assert read_report(now)["model_uri"] == "models:/small/2"
