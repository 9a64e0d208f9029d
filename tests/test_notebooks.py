"""The notebooks: executed in their smallest form, and readable as they are stored."""

import base64
import json
from pathlib import Path

import notebook_pages
import psutil
import pytest

# What is executed in place of what a notebook says: few solves, and models that train at once.
SMALLEST = {
    "seed=0, progress=False\n": 'seed=0, progress=False, model={"kind": "snapshot-gp"}\n',
    '{"effort": "quick"}': '{"kind": "snapshot-gp"}',
    "effort: quick": "kind: snapshot-gp",
    'effort="quick"': 'kind="snapshot-gp"',
    "solver_runs=8": "solver_runs=5",
    "solver_runs=6": "solver_runs=5",
    "solver_runs=10": "solver_runs=6",
    "solver_runs: 10": "solver_runs: 6",
    "}, 9, ": "}, 5, ",
    "}, 8, ": "}, 5, ",
    "max_error=0.05": "max_error=9",
    "grid(8)": "grid(3)",
    "(8, 8)": "(3, 3)",
    "n_x=9600": "n_x=240",
    "n=200": "n=20",
    "n=256": "n=16",
}
QUICK = ("tour",)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.slow)
        for path in notebook_pages.NOTEBOOKS
    ],
)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(psutil.Process().children(recursive=True))
    stored = notebook_pages.read(path)
    done = notebook_pages.executed(stored, SMALLEST)
    for cell, other in zip(done["cells"], stored["cells"], strict=True):
        kinds = [[output.get("data", {}).keys() for output in one.get("outputs", ())] for one in (cell, other)]
        assert kinds[0] == kinds[1], "".join(cell["source"])
    assert set(psutil.Process().children(recursive=True)) <= before  # workers have ended with their campaign


@pytest.mark.parametrize("path", notebook_pages.NOTEBOOKS, ids=lambda path: path.stem)
def test_it_can_be_read_without_being_run(path: Path) -> None:
    notebook = notebook_pages.read(path)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert sum(bool(cell["outputs"]) for cell in code) >= 0.8 * len(code)
    assert path.stat().st_size < 400_000
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    page = notebook_pages.page(path)
    assert page.startswith("# ")
    assert page.count("data:image/png;base64,") == json.dumps(notebook).count('"image/png"') > 1


def test_figures_of_pyplot_are_shown_and_a_semicolon_hides_the_value() -> None:
    source = "from matplotlib import pyplot\n_, axes = pyplot.subplots()\naxes.plot([0, 1])"
    cell = {"cell_type": "code", "id": "a", "metadata": {}}
    for end, kinds in (("", ["execute_result", "display_data"]), (";", ["display_data"])):
        notebook = notebook_pages.executed({"cells": [cell | {"source": [source + end]}]})
        outputs = notebook["cells"][0]["outputs"]
        assert [output["output_type"] for output in outputs] == kinds
        assert base64.b64decode(outputs[-1]["data"]["image/png"]).startswith(b"\x89PNG")


def test_errors_in_a_cell_are_raised() -> None:
    cell = {"cell_type": "code", "source": ["x = 1\n", "x / 0"], "id": "a", "metadata": {}}
    with pytest.raises(ZeroDivisionError):
        notebook_pages.executed({"cells": [cell]})
