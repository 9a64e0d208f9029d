"""The commands about models: what each prints, its JSON, its help, and its refusals."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from mlasdi.agent.cli.main import app
from mlasdi.agent.registry import Tracker, TrackingSettings
from mlasdi.surrogate import Surrogate


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, burgers_surrogate: Surrogate) -> Path:
    return burgers_surrogate.save(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, model: Path, empty_store: Path) -> Path:
    """A registry with two versions of `pulse`; the second is champion."""
    root = tmp_path_factory.mktemp("state")
    shutil.copyfile(empty_store, root / "mlflow.db")
    tracker = Tracker(TrackingSettings(), root, "pulse", "id")
    tracker.start("budget: {solver_runs: 5}", {})
    tags = {"parameter_box": json.dumps({"a": [0.7, 0.9], "w": [0.9, 1.1]}), "solver_runs": "5", "fields": "u"}
    for round, estimate in enumerate((0.02, 0.005)):
        tracker.register(round, model, tags, estimate, card="# pulse")
    return root


def mlasdi(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answer(*arguments: object) -> dict:
    result = mlasdi(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def refusal(*arguments: object) -> str:
    result = mlasdi(*arguments)
    assert result.exit_code == 2
    return " ".join(result.stderr.split()).removeprefix("error: ")


@pytest.mark.parametrize(
    "command", ["models", "models compare", "models promote", "models tag", "models archive", "predict", "serve"]
)
def test_every_command_helps_with_an_example(command: str) -> None:
    result = mlasdi(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"Example: mlasdi {command}" in " ".join(result.stdout.split())
    assert "--json" in result.stdout


def test_models_are_listed_with_all_there_is_to_choose_by(store: Path) -> None:
    (first, second) = answer("models", "--root", store)["models"]
    assert (first["uri"], first["fields"], first["archived"]) == ("models:/pulse@champion", ["u"], False)
    assert first["size_bytes"] == second["size_bytes"] > 10_000
    assert [m["version"] for m in answer("models", "--uri", f"sqlite:///{store}/mlflow.db")["models"]] == ["2", "1"]


def test_lists_import_no_torch(store: Path) -> None:
    """Which would take as long as everything else."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print([name for name in ('torch', 'ray') if name in sys.modules], file=sys.stderr))\n"
        "from mlasdi.agent.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "models", "--root", str(store), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert len(json.loads(done.stdout)["models"]) == 2


def test_versions_are_handled_by_command(store: Path) -> None:
    one = "models:/pulse/1"
    assert answer("models", "tag", one, "reviewed=yes", "--root", store)["tags"] == {"reviewed": "yes"}
    assert "no tags" in mlasdi("models", "tag", one, "--remove", "reviewed", "--root", store).stdout
    moved = answer("models", "promote", one, "--alias", "best", "--root", store)
    assert moved == {"model": one, "alias": "best", "before": None}
    assert "has the alias 'best'" in refusal("models", "archive", one, "--root", store)
    assert (
        "best is models:/pulse/2; it was version 1"
        in mlasdi("models", "promote", "models:/pulse/2", "--alias", "best", "--root", store).stdout
    )
    assert answer("models", "archive", one, "--root", store)["archived"]
    assert "models:/pulse/1" not in mlasdi("models", "--root", store).stdout
    assert "archived" in mlasdi("models", "--archived", "--root", store).stdout
    assert "is listed again" in mlasdi("models", "archive", one, "--undo", "--root", store).stdout


def test_versions_are_compared_in_words(store: Path) -> None:
    text = mlasdi("models", "compare", "models:/pulse/1", "models:/pulse@champion", "--root", store).stdout
    assert all(cell in text for cell in ("models:/pulse/1", "models:/pulse/2", "5 common training points"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models", "--sort", "age", "compare", "a", "b"], "options come after the command 'compare'"),
        (["models", "tag", "models:/pulse/1", "x"], "'x': write name=value"),
        (["models", "tag", "models:/pulse/1", "x=1", "x=2"], "'x' is given twice"),
        (["models", "promote", "models:/none/1"], "no registered model 'none'; there are: pulse"),
        (["models", "--uri", "file:///tmp/x"], "'file:///tmp/x' is not a tracking URI"),
    ],
)
def test_what_cannot_be_done_is_refused(store: Path, arguments: list[str], message: str) -> None:
    is_local = "--uri" in arguments or "--sort" in arguments
    assert message in refusal(*arguments, *([] if is_local else ["--root", store]))


def test_a_server_that_does_not_answer_is_a_failure() -> None:
    result = mlasdi("models", "--uri", "http://127.0.0.1:9", "--json")
    assert result.exit_code == 1
    assert "no MLflow store answers at http://127.0.0.1:9" in json.loads(result.stdout)["error"]


def test_predictions_at_the_points_of_a_table(model: Path, burgers_surrogate: Surrogate) -> None:
    Path("p.csv").write_text("w,a\n1.0,0.8\n0.95,0.75\n")
    Path("s.csv").write_text("x\n-1\n0.5\n2\n")
    found = answer("predict", model, "--points", "p.csv", "--sensors", "s.csv", "--times", "0,1", "--out", "u.h5")
    assert found["shape"] == {"param": 2, "time": 2, "state": 3}
    with h5py.File("u.h5") as file:
        np.testing.assert_array_equal(file["mu"], [[0.8, 1.0], [0.75, 0.95]])
        np.testing.assert_array_equal(file["x_x"], [-1, 0.5, 2])
    text = mlasdi("predict", model, "--points", "p.csv", "--quantiles", "5%,95%", "--out", "q.npz").stdout
    assert "at 2 points" in text
    with np.load("q.npz") as file:
        assert file["quantiles"].shape == (2, 2, 26, 101)


def test_a_prediction_is_drawn(model: Path) -> None:
    found = answer("predict", model, "--at", "a=0.8", "w=1", "--sensor", "x=0.5", "--sensor", "x=1", "--plot", "u.png")
    assert found["plot"] == "u.png"
    assert Path("u.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the parameters as --at NAME=VALUE ..., or a table"),
        (["--at", "a=0.8", "w=1", "--points", "p.csv"], "give the parameters as --at NAME=VALUE ..., or a table"),
        (["--points", "none.csv"], "none.csv: there is no such file"),
        (["--at", "a=0.8", "w=1", "--fields", "v"], "field 'v' is not known; the state has u"),
        (["--at", "a=0.8", "w=1", "--sensor", "x=4"], "x=4 lies outside the grid; give x from -3 to 3"),
        (["--at", "a=0.8", "w=1", "--sensor", "x=1", "--sensor", "y=1"], "sensor 'y=1': give x, as for the first"),
        (["--at", "a=0.8", "w=1", "--sensor", "x=1", "--sensors", "s.csv"], "--sensor and --sensors are both given"),
        (["--at", "a=0.8", "w=1", "--quantiles", "5"], "quantiles '5': give levels between 0 and 1"),
        (["--at", "a=0.8", "w=1", "--plot", "u.gif"], "--plot u.gif: give a file that ends in .png"),
        (
            ["--at", "a=0.8", "w=1", "--times", "0,2"],
            "times reach outside the trained interval [0, 1]; use --extrapolate",
        ),
    ],
)
def test_predictions_that_cannot_be_made_are_refused(model: Path, arguments: list[str], message: str) -> None:
    assert refusal("predict", model, *arguments).startswith(message)


def test_a_damaged_model_is_bad_input(model: Path, folder: Path) -> None:
    damaged = Path(shutil.copytree(model, folder / "damaged"))
    (damaged / "surrogate.safetensors").write_bytes(b"\0" * 100)
    for arguments in (["predict", damaged, "--at", "a=0.8", "w=1"], ["serve", damaged]):
        assert "surrogate.safetensors does not match its checksum" in refusal(*arguments)


def test_serving_needs_a_free_address(model: Path) -> None:
    result = mlasdi("serve", model, "--host", "192.0.2.1", "--port", "8000")
    assert result.exit_code == 1
    assert "cannot listen at 192.0.2.1:8000 (Cannot assign requested address)" in result.stderr


@pytest.mark.slow
def test_a_served_model_answers_until_it_is_interrupted(model: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from mlasdi.agent.cli.main import main; main()",
        "serve",
        str(model),
        "--port",
        "0",
        "--json",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as server:
        assert server.stdout is not None
        try:
            address = json.loads(server.stdout.readline())["address"]
            body = json.dumps({"point": {"a": 0.8, "w": 1}, "time": 0.5, "place": {"x": 0}}).encode()
            request = urllib.request.Request(f"{address}/probe", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=120) as reply:
                assert set(json.load(reply)) == {"mean", "std", "warnings"}
            server.send_signal(signal.SIGINT)
            assert server.wait(60) == 0
        finally:
            server.kill()
