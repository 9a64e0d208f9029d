"""The page on the user's own solver, executed: every file is written and every command given, in their order.

Campaigns run with a small model, but for the slow test, which compares the numbers of the page with those of real runs.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from blank_figures import leave_figures_blank
from executed_page import Page, give, succeeds
from method_page import quoted
from typer.testing import Result

from mlasdi.agent.cli.starters import SOLVER_KINDS
from mlasdi.agent.config import load_config
from mlasdi.agent.execution import TRANSIENT
from mlasdi.agent.records import Ledger
from mlasdi.agent.report import read_report
from mlasdi.solvers.adapters.array_files import READERS
from mlasdi.solvers.contract import FAILURE_KINDS

ROOT = Path(__file__).parents[1]
PAGE = Page(ROOT / "docs/own-solver.md")

# What `run` is given here beside what the page says.
SMALL = (
    "model.latent_dim=2", "model.n_time=11", "model.anchors=2", "model.first_stage.iterations=10", "model.stages=[]",
    "model.clock=common", "model.frame=common",
    "sampling.batch=8", "sampling.acquisition=sobol", "budget.target_error=null", "cluster.executor=serial",
)  # fmt: skip
FEW = "budget.solver_runs=6"

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the files of the page, in which all its commands have been given; figures are blank."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        leave_figures_blank(patch)
        for name, text in PAGE.files(run=True).items():
            (folder / name).write_text(text)
        for line in PAGE.lines:
            succeeds(line, folder, (*SMALL, FEW))
        yield folder


def report(folder: Path, campaign: str) -> dict:
    return read_report(folder / "mlruns/campaigns" / campaign)


def test_every_kind_of_block_is_known() -> None:
    assert PAGE.kinds == {"sh", "console", "python", "yaml", "c", "bash"}
    assert all(line.split()[0] in ("mlasdi", "cc", "python") for line in PAGE.lines)
    assert set(PAGE.files(run=True)) == {
        "front.py",
        "front.yaml",
        "river.c",
        "river.yaml",
        "archive.py",
        "archive.yaml",
    }


def test_each_way_ends_in_a_surrogate(folder: Path) -> None:
    from mlasdi import Surrogate

    for campaign, n_state in (("pulse", 101), ("front", 101), ("river", 100), ("archive", 101)):
        found = report(folder, campaign)
        assert (found["solver_runs"], found["failed_runs"]) == (6, 0)
        surrogate = Surrogate.load(sorted((folder / "mlruns/campaigns" / campaign / "models").iterdir())[-1])
        assert surrogate.layout.n_state == n_state
    with np.load(folder / "pulse.npz") as predicted:
        assert any(predicted[name].shape[-1] == 101 for name in predicted.files if predicted[name].ndim)


def test_the_archive_is_chosen_from_and_judged_by_the_rest(folder: Path) -> None:
    table = np.loadtxt(folder / "runs/parameters.csv", delimiter=",", skiprows=1, usecols=(1, 2))
    points = [(p["rate"], p["diffusivity"]) for p in report(folder, "archive")["points"]]
    assert set(points) <= set(map(tuple, table.tolist()))
    with Ledger(folder / "mlruns/campaigns/archive/ledger.db", read_only=True) as ledger:
        assert len(ledger.points("validate")) == 30 - 4  # all that were no corners, when the first surrogate was judged
    assert len(report(folder, "everything")["points"]) == 30


def test_runs_fail_as_the_page_tells(folder: Path) -> None:
    found = report(folder, "rapids")
    assert found["stop_reason"] == "solver-runs"
    assert found["failed_runs"] == len(found["failures"]) >= 1
    corner = next(f for f in found["failures"] if f["mu"] == {"mixing": 0.0175, "speed": 0.6})
    assert corner["kind"] == "exit-code"
    assert re.search(r"unstable: the step is 1\.0[23] times the largest one", corner["message"])
    kept = [run for run in (folder / "mlruns/runs").iterdir() if "mixing=0.0175" in run.name]
    assert kept
    assert all((run / "stderr.txt").exists() and (run / "stdout.txt").exists() for run in kept)
    status = give(next(line for line in PAGE.lines if "status" in line), folder)
    assert "failed at mixing=0.0175 speed=0.6: exit-code: " in status.stdout


def test_the_shown_dialogue_is_what_happens(folder: Path) -> None:
    assert len(PAGE.exchanges) == 2
    for line, answer in PAGE.exchanges:
        result = give(line, folder)
        assert isinstance(result, Result)
        assert result.exit_code == 1
        assert re.sub(r"\(in [^)]*/mlruns/runs/[^)]*\)", "(in FOLDER)", result.output) == answer


@pytest.mark.parametrize("name", [name for name in PAGE.files(run=False) if name.endswith(".yaml")])
def test_what_is_only_shown_is_a_valid_configuration(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(PAGE.files(run=False)[name])
    settings = load_config(tmp_path / name)
    assert settings.problem.solver == "command"
    assert settings.cluster.cpus or settings.cluster.solve_cpus > 1


def test_the_job_script_is_shell(tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text(PAGE.files(run=False)["job.sh"])
    subprocess.run(["bash", "-n", tmp_path / "job.sh"], check=True)


def test_the_text_names_what_there_is() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \|$", PAGE.text, re.MULTILINE)
    assert dict(rows) == FAILURE_KINDS
    assert re.findall(r"^\| .* \| `([\w-]+)` \| .* \|$", PAGE.text, re.MULTILINE) == list(SOLVER_KINDS)
    (formats,) = re.findall(r"`output` may be (.*?)\. HDF5", PAGE.text, re.DOTALL)
    assert re.findall(r"`(\.\w+)`", formats) == list(READERS)
    (retried,) = re.findall(r"\*\*Tried again\*\*: (.*?)\.\n", PAGE.text, re.DOTALL)
    assert tuple(re.findall(r"`([a-z]+-[a-z-]+)`", retried)) == TRANSIENT


def test_named_settings_exist() -> None:
    from mlasdi.agent.config import Config

    named = re.findall(rf"`({'|'.join(Config.model_fields)})\.([a-z_]+)", PAGE.text)
    assert named
    for section, key in named:
        assert key in Config.model_fields[section].annotation.model_fields, f"{section}.{key}"


@pytest.mark.slow
def test_the_numbers_are_those_of_real_runs(folder: Path) -> None:
    """Within a factor of two: other processors and libraries round differently."""
    quotations = list(quoted(PAGE.text))
    assert {path.partition("/")[0] for _, path, _ in quotations} == {"front", "archive"}
    for number, path, _ in quotations:
        campaign, _, key = path.partition("/")
        done = give(f"mlasdi run {campaign}.yaml name={campaign}-in-full --json", folder)
        assert isinstance(done, Result)
        assert done.exit_code == 0, done.output
        assert 0.5 < float(number) / 100 / json.loads(done.stdout)[key] < 2, path
