"""The page on analyses: its Python and its commands, on a model of the pulse."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from executed_page import Page, give, succeeds

import mlasdi
from mlasdi.analysis import AnalysisWarning

PAGE = Page(Path(__file__).parents[1] / "docs/how-to/analyse.md")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of the README on a coarser grid, without the search for rescaled variables."""
    x, t = np.linspace(0, 1, 51), np.linspace(0, 1, 21)
    mu = np.array([(a, w) for a in (0.7, 0.8, 0.9) for w in (0.9, 1.0, 1.1)])
    u = np.stack([a * np.exp(-(((x - 0.3 - 0.3 * a * t[:, None]) / (0.1 * w)) ** 2)) for a, w in mu])
    settings = {"kind": "snapshot-gp", "time_scaling": "off", "coordinate_scaling": "off"}
    fitted = mlasdi.fit(mu, t, u, {"a": (0.7, 0.9), "w": (0.9, 1.1)}, coordinates={"x": x}, **settings)
    return fitted.save(tmp_path_factory.mktemp("saved") / "pulse")


@pytest.fixture
def folder(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the model and the table of the page."""
    (tmp_path / "pulse").symlink_to(model)
    (table,) = [text for kind, text in PAGE.blocks if kind == "text"]
    (tmp_path / "probes.csv").write_text(table)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_python(folder: Path) -> None:
    names: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AnalysisWarning)
        for kind, text in PAGE.blocks:
            if kind == "python":
                exec(text, names)
    mean, std = names["posterior"].mean, names["posterior"].std
    assert abs(mean["a"] - 0.83) < 4 * std["a"] < 0.1
    assert abs(mean["w"] - 1.05) < 4 * std["w"] < 0.2
    assert names["best"].constraints[0].value == pytest.approx(0.135, rel=1e-3)
    assert names["peak"].inputs_std[-1] == pytest.approx(0.02, rel=0.1)


@pytest.mark.slow
def test_commands(folder: Path) -> None:
    *others, last = PAGE.lines
    for line in others:
        succeeds(line, folder)
    assert {path.name for path in folder.glob("*.csv")} == {"indices.csv", "fields.csv", "samples.csv", "probes.csv"}
    done = give(f"{last} --json", folder)
    assert json.loads(done.stdout)["rows"][0]["w"] <= 1.1
