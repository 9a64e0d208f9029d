"""Campaigns from Python: functions of every kind, what a study holds, and that it goes on where it stopped."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from blank_figures import leave_figures_blank

import mlasdi
from mlasdi.agent.campaign import CampaignError
from mlasdi.surrogate import max_relative_error

X, T = np.linspace(0, 1, 40), np.linspace(0, 1, 21)
BOX = {"a": (1.0, 2.0), "w": mlasdi.Parameter(0.8, 1.2, unit="m")}
QUICK = {"model": {"kind": "snapshot-gp"}, "progress": False, "coordinates": {"x": X}, "sampling": {"batch": 2}}
calls: list[tuple[float, float]] = []


def pulse(a: float, w: float) -> tuple[np.ndarray, np.ndarray]:
    calls.append((a, w))
    return T, np.exp(-(((X - 0.3 - 0.2 * a * T[:, None]) / (0.3 * w)) ** 2))


def prepared(folder: Path, empty_store: Path) -> Path:
    """The folder with an empty MLflow database, which takes long to create."""
    shutil.copyfile(empty_store, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    return prepared(tmp_path_factory.mktemp("root"), empty_store)


@pytest.fixture(scope="module")
def study(root: Path) -> mlasdi.Study:
    calls.clear()
    with pytest.MonkeyPatch.context() as patch:
        leave_figures_blank(patch)
        return mlasdi.build(pulse, BOX, solver_runs=6, root=root, **QUICK)


def test_a_function_becomes_a_model(study):
    assert len(calls) == 6
    _, truth = pulse(1.4, 1.1)
    prediction = study.model.predict({"a": 1.4, "w": 1.1})
    assert max_relative_error(truth[None], prediction.mean)[0] < 0.1
    assert study.model.space.parameters[1].unit == "m"


def test_points_are_a_table_with_expected_and_found_errors(study):
    points = study.points
    assert list(points.columns) == ["a", "w", "expected", "found"]
    assert len(points) == 6
    assert points["found"].isna().tolist() == [True] * 4 + [False] * 2  # the corners came before any model
    assert set(points.loc[:3, "a"]) == {1.0, 2.0}


def test_it_shows_itself_shortly(study):
    assert repr(study).startswith("Study('pulse', 6 solver runs, estimated error ")
    assert "<th>solver runs</th><td>6 of 6</td>" in study._repr_html_()
    assert study.figures["error_map" if "error_map" in study.figures else "convergence"].exists()


@pytest.mark.usefixtures("blank_figures")
def test_the_same_call_solves_nothing_again_and_a_larger_budget_goes_on(study, root):
    calls.clear()
    assert mlasdi.build(pulse, BOX, solver_runs=6, root=root, **QUICK).report == study.report
    before = study.report["points"]
    assert study.resume(solver_runs=7, progress=False) is study
    assert len(calls) == 1
    assert study.report["points"][:6] == before


def test_a_function_of_other_code_needs_another_name(study, root):
    def pulse(a: float, w: float) -> tuple[np.ndarray, np.ndarray]:
        return T, np.ones((21, 40)) * a * w

    with pytest.raises(CampaignError, match="started with other settings"):
        mlasdi.build(pulse, BOX, solver_runs=6, root=root, **QUICK)


@pytest.mark.usefixtures("blank_figures")
def test_a_lambda_needs_no_module(tmp_path, empty_store):
    study = mlasdi.build(
        lambda a: (T, np.exp(-a * T[:, None]) * X), {"a": (1, 2)}, solver_runs=3,
        root=prepared(tmp_path, empty_store), name="decay",
        model={"kind": "snapshot-gp"}, coordinates={"x": X}, progress=False,
    )  # fmt: skip
    assert study.model.predict({"a": 1.5}).mean.shape == (1, 21, 40)


@pytest.mark.parametrize(
    ("solve", "changes", "told"),
    [
        (lambda a: a, {"cluster": {"executor": "ray"}}, "cluster.executor ray: other processes cannot import"),
        (3.0, {}, "solve is float; give a function"),
        (pulse, {"modle": {}}, "unknown argument 'modle'; sections are sampling, model"),
        (pulse, {"target_error": "x%"}, "not a percentage"),
        (pulse, {"model": {"effort": "none"}}, "effort"),
    ],
)
def test_what_cannot_be_built_is_said(tmp_path, solve, changes, told):
    with pytest.raises(ValueError, match=told):
        mlasdi.build(solve, BOX, solver_runs=6, root=tmp_path, **(QUICK | changes))
