"""Campaigns whose solves are run by their user: `ask` and `tell` drive the same campaign as workers do."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from blank_figures import leave_figures_blank

import mlasdi

X, T = np.linspace(0, 1, 30), np.linspace(0, 1, 15)
BOX = {"a": (1.0, 2.0), "w": (0.8, 1.2)}
QUICK = {"model": {"kind": "snapshot-gp"}, "progress": False, "coordinates": {"x": X}}


def wave(a: float, w: float) -> tuple[np.ndarray, np.ndarray]:
    return T, np.exp(-a * T[:, None]) * np.sin(3 * w * X)


def asking(root: Path, **changes) -> mlasdi.Study:
    return mlasdi.build(None, BOX, **({"solver_runs": 6, "root": root, "name": "told", **QUICK} | changes))


def told(study: mlasdi.Study) -> int:
    """Number of solves until the campaign has ended."""
    n = 0
    while len(points := study.ask()):
        for mu in points.to_dict("records"):
            study.tell(mu, *wave(**mu), seconds=0.5)
            n += 1
    return n


def prepared(folder: Path, empty_store: Path) -> Path:
    """The folder with an empty MLflow database, which takes long to create."""
    shutil.copyfile(empty_store, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    return prepared(tmp_path_factory.mktemp("root"), empty_store)


@pytest.fixture(scope="module")
def study(root: Path) -> mlasdi.Study:
    study = asking(root)
    assert repr(study) == "Study('told', not begun)"
    with pytest.MonkeyPatch.context() as patch:
        leave_figures_blank(patch)
        assert told(study) == 6
    return study


@pytest.mark.usefixtures("blank_figures")
def test_it_is_the_campaign_that_runs_the_solver_itself(study, root):
    run = mlasdi.build(wave, BOX, solver_runs=6, root=root, **QUICK)
    pd.testing.assert_frame_equal(run.points, study.points)
    assert run.report["stop_reason"] == study.report["stop_reason"] == "solver-runs"
    np.testing.assert_array_equal(run.model.predict(a=1.4, w=1.1).mean, study.model.predict(a=1.4, w=1.1).mean)


def test_only_runs_that_were_made_are_in_its_records(study):
    assert study.report["workers"].keys() == {"agent", "user"}
    assert study.report["core_seconds"]["solve"] == pytest.approx(3.0, abs=1e-3)
    assert study.report["reused_runs"] == 0


@pytest.mark.usefixtures("blank_figures")
def test_it_continues_in_another_process_and_with_a_larger_budget(study, root):
    again = asking(root)
    assert again.ask().empty
    assert again.report["points"] == study.report["points"]
    assert again.resume(solver_runs=7) is again
    points = again.ask()
    assert list(points.columns) == ["a", "w"]
    assert len(points) == 1
    again.tell(points.iloc[0], *wave(**points.iloc[0]))
    assert again.ask().empty
    assert len(again.points) == 7


@pytest.mark.usefixtures("blank_figures")
def test_runs_that_were_made_anyway_are_used(study, root):
    before = len(study.points)
    study.tell({"w": 1.1, "a": 1.2}, *wave(1.2, 1.1))
    study.tell({"w": 1.1, "a": 1.2}, *wave(1.2, 1.1))  # a cell of a notebook is run twice
    study.ask()
    assert len(study.points) == before + 1
    assert study.points.iloc[-1][["expected", "found"]].notna().all()
    with pytest.raises(ValueError, match="another solution is recorded there"):
        study.tell({"w": 1.1, "a": 1.2}, *wave(1.3, 1.1))


def test_runs_before_the_first_question_join_the_initial_design(tmp_path, empty_store):
    study = asking(prepared(tmp_path, empty_store))
    study.tell({"a": 1.5, "w": 1.0}, *wave(1.5, 1.0))
    with pytest.raises(ValueError, match="no model yet: tell the solutions"):
        study.model  # noqa: B018
    assert "<td>1 of 6</td>" in study._repr_html_()
    assert len(study.points) == 1
    assert len(study.ask()) == 4


@pytest.mark.usefixtures("blank_figures")
def test_failed_solves_are_left_out(tmp_path, empty_store):
    study = asking(prepared(tmp_path, empty_store), solver_runs=4)
    first, *others = study.ask().to_dict("records")
    study.tell(first, failure="it diverged")
    for mu in others:
        study.tell(mu, *wave(**mu))
    study.ask()
    assert first not in study.report["points"]
    assert study.report["failures"][0]["message"] == "it diverged"


@pytest.mark.slow
def test_solves_in_parallel_and_validation(tmp_path):
    study = asking(tmp_path, cluster={"mode": "asynchronous"}, sampling={"batch": 2}, validation={"sobol": 3})
    assert len(study.ask()) == 2
    assert told(study) == 9
    assert study.report["max_relative_error"] < 0.2
    assert study.plot_error_map().axes
    assert study.plot_error_map(estimate=True)._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (({"a": 3.0, "w": 1.0}, T, wave(1, 1)[1]), r"'a': 3.0.*outside the box \(a 1 to 2, w 0.8 to 1.2\)"),
        (({"a": 1.0}, T, wave(1, 1)[1]), "w"),
        (({"a": [1.0, 2.0], "w": [1.0, 1.0]}, T, wave(1, 1)[1]), "2 points; tell takes one at a time"),
        (({"a": 1.0, "w": 1.0}, T[:5], wave(1, 1)[1]), r"tell at .*'a': 1.0.* has shape \(15, 30\)"),
        (({"a": 1.0, "w": 1.0}, T, np.full((15, 30), np.nan)), "not finite from time index 0"),
        (({"a": 1.0, "w": 1.0}, T), "give either u, or failure="),
    ],
)
def test_what_cannot_be_told_is_said(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        asking(tmp_path).tell(*given)


@pytest.mark.slow
def test_a_full_order_model_and_a_tracking_store(tmp_path):
    class Decay:
        parameter_names = ("a",)
        layout = None

        def identity(self) -> dict:
            return {"solver": "decay"}

        def solve(self, mu) -> mlasdi.Snapshots:
            from mlasdi.solvers import StateLayout

            return mlasdi.Snapshots(T, np.exp(-mu["a"] * T[:, None]) * X, StateLayout(("v",), {"x": X}))

    uri = f"sqlite:///{tmp_path}/elsewhere.db"
    options = {key: value for key, value in QUICK.items() if key != "coordinates"}
    study = mlasdi.build(Decay(), {"a": (1, 2)}, solver_runs=3, root=tmp_path, tracking_uri=uri, **options)
    assert study.model.layout.fields == ("v",)
    assert repr(study).startswith("Study('Decay', 3 solver runs")
    assert (tmp_path / "elsewhere.db").exists()
