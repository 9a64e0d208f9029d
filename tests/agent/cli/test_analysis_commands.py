"""The commands that analyse a model: what each prints, its JSON, its files, and its refusals."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import mlasdi as library
from mlasdi.agent.cli.main import app

X, T = np.linspace(0, 1, 11), np.linspace(0, 1, 6)
COMMANDS = ("sensitivity", "propagate", "calibrate", "optimise")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A surrogate of `u = a (1 + b t) sin(pi x)`."""
    mu = np.array([(a, b) for a in (0, 0.5, 1) for b in (0, 0.5, 1)], dtype=float)
    u = np.stack([a * (1 + b * T[:, None]) * np.sin(np.pi * X) for a, b in mu])
    settings = {"kind": "snapshot-gp", "time_scaling": "off", "coordinate_scaling": "off", "noise": "none"}
    fitted = library.fit(mu, T, u, {"a": (0, 1), "b": (0, 1)}, coordinates={"x": X}, **settings)
    return fitted.save(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mlasdi(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answer(*arguments: object) -> dict:
    result = mlasdi(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps_with_an_example(command: str) -> None:
    result = mlasdi(command, "--help")
    assert f"Example: mlasdi {command} models:/" in " ".join(result.stdout.split())


def test_sensitivity(model: Path) -> None:
    given = (model, "--quantity", "max(u)", "--times", "0:1:3", "--n", 64, "--out", "s.csv")
    found = answer("sensitivity", *given)
    assert [(row["parameter"], round(row["total"])) for row in found["rows"]] == [("a", 1), ("b", 0)]
    assert len(pd.read_csv("s.csv")) == 3 * 2
    text = mlasdi("sensitivity", *given).stdout
    assert "total high" in text
    assert max(map(len, text.splitlines())) <= 120


def test_propagate(model: Path) -> None:
    where = ("--where", "a=normal(0.5,0.05)", "b=0.5")
    found = answer("propagate", model, *where, "--quantity", "u(x=0.5)", "--times", "1", "--quantiles", "5%")
    (row,) = found["rows"]
    assert (row["mean"], row["inputs_std"]) == (pytest.approx(0.75, rel=1e-2), pytest.approx(0.075, rel=0.05))
    assert row["q5"] == pytest.approx(0.75 - 1.645 * row["std"], rel=0.03)
    assert found["distributions"] == {"a": "normal(0.5,0.05)", "b": "0.5"}
    assert found["rows"] != answer("propagate", model, *where, "--quantity", "u(x=0.5)", "--times", "0.8")["rows"]


def test_propagated_fields_go_to_a_file(model: Path) -> None:
    result = mlasdi("propagate", model, "--where", "a=normal(0.95,0.05)", "--n", 64, "--out", "f.parquet")
    assert result.exit_code == 0
    assert "warning: 16 % of normal(0.95,0.05) lies outside" in result.stderr
    assert len(pd.read_parquet("f.parquet")) == len(T) * len(X)


def test_calibrate(model: Path) -> None:
    t = np.repeat([0.2, 0.6, 1.0], 2)
    x = np.tile([0.3, 0.5], 3)
    table = pd.DataFrame({"t": t, "x": x, "u": 0.4 * (1 + 0.7 * t) * np.sin(np.pi * x), "sensor": "p"})
    table.loc[0, "u"] = np.nan
    table.to_csv("data.csv", index=False)
    found = answer(
        "calibrate", model, "--data", "data.csv", "--noise", "u=0.01", "--where", "b=0.7", "--max-steps", 100,
        "--out", "samples.csv",
    )  # fmt: skip
    a, b = found["rows"]
    assert (a["parameter"], a["mean"]) == ("a", pytest.approx(0.4, abs=0.02))
    assert (b["mean"], b["rhat"], found["measurements"]) == (pytest.approx(0.7), None, 5)
    assert pd.read_csv("samples.csv")["a"].mean() == pytest.approx(a["mean"])


def test_optimise(model: Path) -> None:
    found = answer("optimise", model, "--minimise", "max(u)", "--over-time", "last", "--subject-to", "max(u) >= 0.3")
    (row,) = found["rows"]
    assert (row["value"], row["a"]) == (pytest.approx(0.3, abs=0.01), pytest.approx(0.3, abs=0.01))
    assert any("edge of the trained box in b (low edge)" in warning for warning in found["warnings"])
    failed = mlasdi("optimise", model, "--maximise", "max(u)", "--over-time", "last", "--subject-to", "min(u) >= 9")
    assert failed.exit_code == 1
    assert "no point of the box meets all constraints" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sensitivity", "--where", "a=exec(1)"), "'exec(1)' is no distribution; write normal"),
        (("sensitivity", "--where", "c=1"), "parameter 'c' is not known"),
        (("sensitivity", "--where", "a"), "'a': write name=value"),
        (("sensitivity", "--quantity", "u"), "quantity 'u': write mean(u)"),
        (("sensitivity", "--out", "s.txt"), "--out s.txt: give a file that ends in .csv or .parquet"),
        (("propagate", "--out", "no/f.csv"), "there is no folder no"),
        (("propagate", "--times", "7"), "give times [time] from 0 to 1"),
        (("calibrate", "--data", "no.csv", "--noise", "1"), "no.csv: there is no such file"),
        (("optimise",), "give --minimise QUANTITY or --maximise QUANTITY"),
        (("optimise", "--minimise", "max(u)"), "the objective has 6 values"),
    ],
)
def test_bad_input_is_refused_in_a_line(model: Path, arguments: tuple, message: str) -> None:
    command, *options = arguments
    result = mlasdi(command, model, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
