"""The pages on the user's own solver, executed: every file is written and every command given, in their order.

Campaigns are slow tests. They use the fastest model, except in the test that compares the pages' numbers with those of
real runs.
"""

import json
import os
import re
import shutil
import subprocess
import sys
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
# In the order in which their commands are given.
NAMES = ("tutorials/own-solver", "how-to/own-solver", "how-to/data-sets")
PAGES = [Page(ROOT / f"docs/{name}.md") for name in NAMES]
GUIDE = PAGES[1]
TEXT = "\n".join(page.text for page in PAGES)
LINES = [line for page in PAGES for line in page.lines]
EXCHANGES = [exchange for page in PAGES for exchange in page.exchanges]

# What `run` is given here beside what the pages say.
SMALL = (
    "model.kind=snapshot-gp", "model.n_time=11", "sampling.acquisition=sobol", "validation.grid=null",
    "budget.target_error=null", "cluster.executor=serial", "budget.solver_runs=5",
)  # fmt: skip


def files(*, run: bool) -> dict[str, str]:
    return {name: text for page in PAGES for name, text in page.files(run=run).items()}


pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the files of the pages, in which all its commands have been given; figures are blank."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        # `python` is the one with the libraries, as in an active environment.
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        leave_figures_blank(patch)
        for name, text in files(run=True).items():
            (folder / name).write_text(text)
        for line in LINES:
            succeeds(line, folder, SMALL)
        yield folder


def report(folder: Path, campaign: str) -> dict:
    return read_report(folder / "mlruns/campaigns" / campaign)


def test_every_kind_of_block_is_known() -> None:
    assert {kind for page in PAGES for kind in page.kinds} == {"sh", "console", "python", "yaml", "c", "bash", "text"}
    assert all(line.split()[0] in ("mlasdi", "cc", "python") for line in LINES)
    names = ("front", "plate", "rod", "archive", "wells", "cell", "peaks", "discharge")
    written = {f"{name}.{suffix}" for name in names for suffix in ("py", "yaml")}
    assert set(files(run=True)) | {"peaks.py"} == written | {"river.c", "river.yaml"}


@pytest.mark.slow
def test_each_way_ends_in_a_surrogate(folder: Path) -> None:
    from mlasdi import Surrogate

    n_states = {
        "pulse": 101,
        "front": 101,
        "river": 100,
        "plate": 231,
        "rod": 81,
        "archive": 101,
        "cell": 123,
        "peaks": 123,
        "discharge": 2,
    }
    for campaign, n_state in n_states.items():
        found = report(folder, campaign)
        assert (found["solver_runs"], found["failed_runs"]) == (5, 0)
        surrogate = Surrogate.load(sorted((folder / "mlruns/campaigns" / campaign / "models").iterdir())[-1])
        assert surrogate.layout.n_state == n_state
    with np.load(folder / "pulse.npz") as predicted:
        assert any(predicted[name].shape[-1] == 101 for name in predicted.files if predicted[name].ndim)


@pytest.mark.slow
def test_the_archive_is_chosen_from_and_validated_by_the_rest(folder: Path) -> None:
    table = np.loadtxt(folder / "runs/parameters.csv", delimiter=",", skiprows=1, usecols=(1, 2))
    points = [(p["rate"], p["diffusivity"]) for p in report(folder, "archive")["points"]]
    assert set(points) <= set(map(tuple, table.tolist()))
    with Ledger(folder / "mlruns/campaigns/archive/ledger.db", read_only=True) as ledger:
        assert len(ledger.points("validate")) == 30 - 4  # those that were no corners
    assert len(report(folder, "everything")["points"]) == 30


@pytest.mark.slow
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
    status = give(next(line for line in LINES if "status" in line), folder)
    assert "failed at mixing=0.0175 speed=0.6: exit-code: " in status.stdout


@pytest.mark.slow
def test_the_shown_dialogue_is_what_happens(folder: Path) -> None:
    assert len(EXCHANGES) == 2
    for line, answer in EXCHANGES:
        result = give(line, folder)
        assert isinstance(result, Result)
        assert result.exit_code == 1
        assert re.sub(r"\(in [^)]*/mlruns/runs/[^)]*\)", "(in FOLDER)", result.output) == answer


@pytest.mark.parametrize("name", [name for name in files(run=False) if name.endswith(".yaml")])
def test_what_is_only_shown_is_a_valid_configuration(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(files(run=False)[name])
    settings = load_config(tmp_path / name)
    assert settings.problem.solver == "command"
    assert settings.cluster.cpus or settings.cluster.solve_cpus > 1


def test_the_job_script_is_shell(tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text(files(run=False)["job.sh"])
    subprocess.run(["bash", "-n", tmp_path / "job.sh"], check=True)


def test_the_text_names_what_there_is() -> None:
    kinds = GUIDE.text.partition("## When runs fail")[2]
    assert dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", kinds, re.MULTILINE)) == FAILURE_KINDS
    assert re.findall(r"^\| .* \| `([\w-]+)` \| .* \|$", GUIDE.text, re.MULTILINE) == [
        kind
        for kind in SOLVER_KINDS
        if kind != "scalars"  # a starter, whose solver is a callable
    ]
    table = GUIDE.text.partition("## Formats")[2].partition("*One file")[0]
    first_cells = " ".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))
    assert sorted(re.findall(r"`(\.\w+)`", first_cells)) == sorted(READERS)
    (retried,) = re.findall(r"\*\*Tried again\*\*: (.*?)\.\n", GUIDE.text, re.DOTALL)
    assert tuple(re.findall(r"`([a-z]+-[a-z-]+)`", retried)) == TRANSIENT


@pytest.mark.slow
def test_the_numbers_are_those_of_real_runs(folder: Path) -> None:
    """Within a factor of two: other processors and libraries round differently."""
    quotations = list(quoted(TEXT))
    assert {path.partition("/")[0] for _, path, _ in quotations} == {"front", "archive"}
    for number, path, _ in quotations:
        campaign, _, key = path.partition("/")
        done = give(f"mlasdi run {campaign}.yaml name={campaign}-in-full --json", folder)
        assert isinstance(done, Result)
        assert done.exit_code == 0, done.output
        assert 0.5 < float(number) / 100 / json.loads(done.stdout)[key] < 2, path
