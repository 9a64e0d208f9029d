"""The README, executed in a small form: its Python, its configuration and its commands; its table and its links."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from blank_figures import leave_figures_blank
from executed_page import Page, give, succeeds
from results_table import UNSEEN, with_table
from typer.testing import Result

from mlasdi.agent.report import read_report

ROOT = Path(__file__).parents[1]
PAGE = Page(ROOT / "README.md")
# What `run` is given here beside what the README says.
SMALL = (
    "model.kind=snapshot-gp", "model.n_time=11", "sampling.batch=8", "sampling.acquisition=sobol",
    "budget.target_error=null", "budget.solver_runs=4", "cluster.executor=serial", "validation.sobol=4",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory in which the commands of the README have been given; figures are blank."""
    folder = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        leave_figures_blank(patch)
        for line in PAGE.lines:
            if line.startswith("mlasdi "):
                succeeds(line, folder, SMALL)
            if line.startswith("mlasdi init"):  # writes files of the same names
                (folder / "pulse.yaml").write_text(PAGE.files(run=True, kinds=("yaml",))["pulse.yaml"])
        yield folder


def test_it_is_short() -> None:
    assert len(PAGE.text.splitlines()) <= 150
    assert len(PAGE.text.split()) <= 1500


def test_the_commands_work(folder: Path) -> None:
    assert (folder / "mlruns/campaigns/pulse/report.html").exists()
    assert (folder / "u.npz").stat().st_size > 0
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z-]+)", PAGE.text)) <= set(targets)


def test_the_python_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the fastest model, and the campaign of this test in place of the demo's."""
    text = "".join(text for kind, text in PAGE.blocks if kind == "python")
    for shown, small in (("seed=0)", 'seed=0, kind="snapshot-gp")'), ("burgers1d", "pulse"), ("=0.01)", "=100)")):
        assert shown in text
        text = text.replace(shown, small)
    names: dict[str, object] = {}
    exec(compile(text, "README.md", "exec"), names)
    shape, estimate, best = capsys.readouterr().out.splitlines()
    assert shape.startswith("(1, 51, 101) ")
    assert 0 < float(estimate) < 1
    assert best.startswith("models:/pulse")
    assert (folder / "pulse").is_dir()


def test_the_table_is_that_of_the_benchmark() -> None:
    unseen = json.loads(UNSEEN.read_text())
    assert with_table(PAGE.text, unseen) == PAGE.text
    assert sum(entry["use"] == "held out" for entry in unseen.values()) >= 12


def test_the_reference_explains_every_key_of_the_report(folder: Path) -> None:
    page = (ROOT / "docs/reference/report.md").read_text()
    rows = re.findall(r"^\| (`.*?`) \| .* \|$", page, re.MULTILINE)
    explained = re.findall(r"`(\w+)`", " ".join(rows))
    assert len(explained) == len(set(explained))
    assert set(explained) == set(read_report(folder / "mlruns/campaigns/pulse"))


def test_the_folder_of_a_campaign_holds_what_the_guide_says(folder: Path) -> None:
    page = (ROOT / "docs/how-to/read-the-report.md").read_text()
    campaign = folder / "mlruns/campaigns/pulse"
    rows = re.findall(r"^\| (`.*?`) \| .* \|$", page.partition("## Files")[2], re.MULTILINE)
    for name in re.findall(r"`([^`]+)`", " ".join(rows)):
        assert (campaign / name).exists(), name
    for figure in (campaign / "figures").glob("*.png"):
        assert f"`{figure.stem.partition('-')[0]}`" in page


def test_bad_input_takes_one_line(folder: Path) -> None:
    """As the reference of the command line says."""
    done = give("mlasdi run pulse.yaml budget.solver_run=12", folder)
    assert isinstance(done, Result)
    assert done.exit_code == 2
    assert done.output.startswith("error: pulse.yaml: budget.solver_run: unknown key; did you mean 'solver_runs'?")
    assert len(done.output.splitlines()) == 1
