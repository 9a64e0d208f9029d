"""The tutorial, executed: quickly with a small model, and (slow) as it stands, its answers compared with real ones."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from blank_figures import leave_figures_blank
from executed_page import Page, assert_alike, code_of, give
from typer.testing import Result

ROOT = Path(__file__).parents[1]
PAGE = Page(ROOT / "docs/tutorials/first-campaign.md")
(SERVE,) = (line for line in PAGE.lines if line.startswith("mlasdi serve"))
ADDRESS = "http://127.0.0.1:8000"
REFUSED = "mlasdi predict models:/tour@champion --at a=0.95 w=1.0"

# What `run` is given in the quick test beside what the page says.
SMALL = (
    "model.kind=snapshot-gp", "model.n_time=11", "sampling.acquisition=sobol", "validation.grid=2",
)  # fmt: skip


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The service that the page starts, on a free port; gives its address."""
    words = [word if word != "8000" else "0" for word in shlex.split(SERVE)[1:]]
    command = [sys.executable, "-c", "from mlasdi.agent.cli.main import main; main()", *words, "--json"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, env=environment, text=True) as server:
        try:
            assert server.stdout is not None
            yield json.loads(server.stdout.readline())["address"]
            server.send_signal(signal.SIGINT)  # as Ctrl-C
            assert server.wait(60) == 0
        finally:
            server.kill()


def give_all(folder: Path, extra: tuple[str, ...] = ()) -> dict[str, tuple[int, str]]:
    """Exit code and answer of every command of the dialogues, in their order, in `folder`."""
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        for name, text in PAGE.files(run=True).items():
            (folder / name).write_text(text)
        lines = [line for line, _ in PAGE.exchanges]
        first_curl = next(k for k, line in enumerate(lines) if line.startswith("curl"))
        for line in lines[:first_curl]:
            given[line] = _answer(line, folder, extra)
        with served(folder) as address:
            for line in lines[first_curl:]:
                if line.startswith("curl"):
                    code, text = _answer(line.replace(ADDRESS, address), folder, extra)
                    given[line] = code, f"{text}\n"
        for line in lines[first_curl:]:
            if not line.startswith("curl"):
                given[line] = _answer(line, folder, extra)
    return given


def _answer(line: str, folder: Path, extra: tuple[str, ...]) -> tuple[int, str]:
    done = give(line, folder, extra)
    code = code_of(done)
    shown = done.stdout if code == 0 else done.output if isinstance(done, Result) else done.stdout + done.stderr
    return code, shown


pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


def test_every_kind_of_block_is_known() -> None:
    assert PAGE.kinds == {"yaml", "python", "console", "sh"}
    assert set(PAGE.files(run=True)) == {"tour.yaml", "predict.py"}
    assert not PAGE.files(run=False)
    assert [line.split()[0] for line in PAGE.lines] == ["mlasdi", "mlflow"]
    assert {line.split()[0] for line, _ in PAGE.exchanges} == {"mlasdi", "python", "curl"}


@pytest.mark.slow
def test_all_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small model, whose numbers are others, and blank figures of the campaign."""
    leave_figures_blank(monkeypatch)
    given = give_all(tmp_path, SMALL)
    assert {line: code for line, (code, _) in given.items() if code} == {REFUSED: 2}
    assert set(given) == {line for line, _ in PAGE.exchanges}
    for name in ("u.h5", "u.png", "mlruns/mlflow.db", "mlruns/campaigns/tour/report.html"):
        assert (tmp_path / name).stat().st_size > 0
    assert all(set(json.loads(text)) & {"mean", "error"} for line, (_, text) in given.items() if "curl" in line)


@pytest.mark.slow
def test_the_answers_are_those_of_the_page(tmp_path: Path) -> None:
    given = give_all(tmp_path)
    for line, shown in PAGE.exchanges:
        assert_alike(shown, given[line][1])


def test_answers_that_differ_are_noticed() -> None:
    shown = "error 0.2 %, 8 runs\n...\nmodel  1\n"
    assert_alike(shown, "│ error 0.3 %, 8 runs │\nanything\nelse\nmodel 1\n")
    assert_alike("│ 8 │ now │\n", "│ 8 │ 2 min │\n")
    for found in (
        "error 0.9 %, 8 runs\nmodel 1\n",
        "error 0.2 %, 9 runs\nmodel 1\n",
        "error 0.2 %, 8 runs\nmodel one\n",
        "error 0.2 %, 8 runs\nmodel 1\nmore\n",
        "first\nerror 0.2 %, 8 runs\nmodel 1\n",
    ):
        with pytest.raises(AssertionError, match=r"shown"):
            assert_alike(shown, found)
