"""The command line: answers, errors, exit codes, and what goes to which stream."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from ledger_entries import add_seconds, start_attempt
from rich.console import Console
from typer.testing import CliRunner, Result

from mlasdi.agent.cli.main import app
from mlasdi.agent.execution import SolveResult
from mlasdi.agent.execution.outcomes import TaskFailure
from mlasdi.agent.records import Ledger, Monitor
from mlasdi.agent.terminal import ConsoleMonitor
from mlasdi.formatting import counted, percent, seconds
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import Parameter, ParameterSpace
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings, Progress, fit

SPACE = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))
CONFIG: dict[str, Any] = {
    "problem": {
        "solver": "burgers1d",
        "options": {"n_x": 51, "n_t": 21},
        "parameters": {"a": [0.7, 0.9], "w": [0.9, 1.1]},
    },
    "budget": {"solver_runs": 9},
    "sampling": {"batch": 2},
    "validation": {"grid": [3, 4], "n_time": 11},
}
COMMANDS = ("run", "check", "status", "models", "predict")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a configuration, `pulse.yaml`."""
    monkeypatch.chdir(tmp_path)
    Path("pulse.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small surrogate of the corners of the box and its centre, saved."""
    fom = Burgers1D(n_x=51, n_t=21)
    mu = np.concatenate([SPACE.corners(), SPACE.from_unit(np.array([[0.5, 0.5]]))])
    solved = [fom.solve(SPACE.as_dict(row)) for row in mu]
    data = TrainingData(SPACE, fom.layout, mu, solved[0].t, np.stack([s.u for s in solved]))
    settings = {"latent_dim": 2, "n_time": 11, "anchors": 2, "first_stage": {"iterations": 20}, "stages": []}
    surrogate = fit(data, ModelSettings.model_validate(settings), seed=0)
    return surrogate.save(tmp_path_factory.mktemp("saved") / "model")


def mlasdi(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="mlasdi")


def process(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in its own process after `code`, with real streams."""
    return subprocess.run(
        [sys.executable, "-c", f"{code}\nfrom mlasdi.agent.cli.main import main\nmain()", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


def complaint(result: Result) -> str:
    """The error message of a command that prints nothing else."""
    lines = result.stderr.splitlines()
    assert 1 <= len(lines) <= 2, result.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in result.output
    return lines[0].removeprefix("error: ")


# Help


def test_help_of_every_command_has_an_example() -> None:
    assert all(f"\n  {command} " in mlasdi("--help").stdout for command in COMMANDS)
    for command in COMMANDS:
        result = mlasdi(command, "--help")
        assert (result.exit_code, result.stderr) == (0, "")
        assert f"Example: mlasdi {command} " in result.stdout
    assert mlasdi().stdout == mlasdi("--help").stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import atexit, sys\n"
        "heavy = ('torch', 'ray', 'mlflow', 'numpy', 'scipy', 'pydantic', 'matplotlib')\n"
        "atexit.register(lambda: print('loaded:', [name for name in heavy if name in sys.modules]))"
    )
    done = process(code, "--help")
    assert done.returncode == 0
    assert done.stdout.endswith("loaded: []\n")


def test_version() -> None:
    assert mlasdi("--version").stdout.startswith("mlasdi 0.")


@pytest.mark.parametrize(
    ("arguments", "message", "see"),
    [
        (["rnu"], "No such command 'rnu'. Did you mean 'run'?", "mlasdi --help"),
        (["run"], "Missing argument 'CONFIG'", "mlasdi run --help"),
        (["models", "--max-eror", "1%"], "No such option: --max-eror", "mlasdi models --help"),
    ],
)
def test_usage_errors_take_two_lines(arguments: list[str], message: str, see: str) -> None:
    result = mlasdi(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint(result).startswith(message)
    assert result.stderr.endswith(f"see: {see}\n")


# Bad configurations

BAD_CONFIGS = {
    "unknown key": ({"budget": {"solver_run": 9}}, "budget.solver_run: unknown key; did you mean 'solver_runs'?"),
    "reversed range": ({"problem": {"parameters": {"a": [0.9, 0.7]}}}, "low 0.9 must be less than high 0.7"),
    "empty box": ({"problem": {"parameters": None}}, "problem.parameters: give a mapping of names to [low, high]"),
    "unknown solver": ({"problem": {"solver": "burger1d"}}, "unknown solver 'burger1d'; did you mean 'burgers1d'?"),
    "budget": ({"budget": {"solver_runs": 3}}, "budget.solver_runs: 3 is less than the 4 points of the initial design"),
    "wrong type": ({"budget": {"solver_runs": "many"}}, "budget.solver_runs: input should be a valid integer"),
    "acquisition": ({"sampling": {"acquisition": "x"}}, "sampling.acquisition: input should be 'field-std'"),
    "negative time": ({"budget": {"wall_time_s": -1}}, "budget.wall_time_s: input should be greater than 0, got -1"),
}


def merged(base: Any, change: Any) -> Any:
    if isinstance(base, dict) and isinstance(change, dict):
        return base | {key: merged(base.get(key), value) for key, value in change.items()}
    return change


@pytest.mark.parametrize(("change", "message"), BAD_CONFIGS.values(), ids=BAD_CONFIGS.keys())
@pytest.mark.parametrize("command", [("run",), ("run", "--dry-run"), ("check",), ("status",)], ids=" ".join)
def test_bad_configurations(change: dict[str, Any], message: str, command: tuple[str, ...]) -> None:
    Path("pulse.yaml").write_text(yaml.safe_dump(merged(CONFIG, change)))
    result = mlasdi(*command, "pulse.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "pulse.yaml: " in complaint(result)
    assert message in complaint(result)
    assert not Path("mlruns").exists()


@pytest.mark.parametrize(
    ("text", "message"), [(None, "pulse.yaml: no such file"), ("a: [", "pulse.yaml: not YAML: while parsing a flow")]
)
def test_files_that_are_no_configuration(text: str | None, message: str) -> None:
    Path("pulse.yaml").unlink()
    if text is not None:
        Path("pulse.yaml").write_text(text)
    result = mlasdi("run", "pulse.yaml")
    assert result.exit_code == 2
    assert complaint(result).startswith(message)


def test_errors_are_json_too_and_debug_shows_where() -> None:
    result = mlasdi("run", "pulse.yaml", "budget.solver_runs=x", "--json")
    assert json.loads(result.stdout) == {"error": complaint(result), "exit_code": 2}
    result = mlasdi("run", "pulse.yaml", "budget.solver_runs=x", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "ConfigError" in result.stderr


# Plan and check

TRAJECTORY = 21 * 51 * 8
PLAN = {
    "campaign": "pulse",
    "solver": "burgers1d",
    "initial_points": 4,
    "rounds": 4,  # 4 + 2 + 2 + 1 points
    "solver_runs": 9,
    "solver_runs_done": 0,
    "validation_solves": 12,
    "n_time": 21,
    "n_state": 51,
    "trajectory_bytes": TRAJECTORY,
    "disk_bytes": 9 * TRAJECTORY + 12 * 11 * 51 * 8,
}


@pytest.mark.slow
def test_dry_run_tells_the_plan_and_writes_nothing(folder: Path) -> None:
    result = mlasdi("run", "pulse.yaml", "--dry-run", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    plan = json.loads(result.stdout)
    assert PLAN.items() <= plan.items()
    assert plan["solve_s"] > 0
    assert plan["training_solves_s"] == pytest.approx(9 * plan["solve_s"])
    assert plan["validation_solves_s"] == pytest.approx(12 * plan["solve_s"])
    text = mlasdi("run", "pulse.yaml", "--dry-run", "budget.solver_runs=5").stdout
    assert "5: 4 of the initial design, 1 chosen" in text
    assert [path.name for path in folder.iterdir()] == ["pulse.yaml"]


@pytest.mark.slow
def test_dry_run_counts_what_is_done() -> None:
    record_campaign()
    assert json.loads(mlasdi("run", "pulse.yaml", "--dry-run", "--json").stdout)["solver_runs_done"] == 5
    assert "5 solver runs; none is repeated" in mlasdi("run", "pulse.yaml", "--dry-run").stdout


def test_check_of_a_sound_solver(folder: Path) -> None:
    result = mlasdi("check", "pulse.yaml", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["ok"], found["problems"], found["concerns"]) == (0, True, [], [])
    assert PLAN.items() <= found.items()
    assert found["checked_at"] == pytest.approx({"a": 0.8, "w": 1.0})
    assert "burgers1d satisfies the contract at a=0.8 w=1\n" in mlasdi("check", "pulse.yaml").stdout
    assert [path.name for path in folder.iterdir()] == ["pulse.yaml"]


NOISY = """
from dataclasses import dataclass
import numpy as np
from mlasdi.solvers import Snapshots
from mlasdi.solvers.builtin.burgers1d import Burgers1D

GENERATOR = np.random.default_rng(0)

@dataclass(frozen=True)
class Measured(Burgers1D):
    def solve(self, mu):
        found = super().solve(mu)
        return Snapshots(found.t, found.u + 0.05 * found.u.std() * GENERATOR.standard_normal(found.u.shape))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "exit_code", "said", "concerns"),
    [
        (None, 1, "", []),
        ("none", 1, "", []),
        ("estimate", 0, "model.noise: estimate determines the level from the data", []),
        ("0.05", 0, "model.noise is 5 %", []),
        ("0.5", 0, "model.noise is 50 %", ["noise-level"]),
    ],
)
def test_check_of_a_noisy_solver(
    folder: Path, monkeypatch: pytest.MonkeyPatch, noise: str | None, exit_code: int, said: str, concerns: list[str]
) -> None:
    """If the configuration allows noise, different solves are a fact; else they are a problem."""
    (folder / "noisy.py").write_text(NOISY)
    monkeypatch.syspath_prepend(folder)
    given = ["problem.solver=noisy:Measured", *([f"model.noise={noise}"] if noise else [])]
    result = mlasdi("check", "pulse.yaml", *given, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["ok"]) == (exit_code, exit_code == 0)
    assert [problem["kind"] for problem in found["problems"]] == ["not-repeatable"] * exit_code
    assert [concern["kind"] for concern in found["concerns"]] == concerns
    assert found["noise"] == pytest.approx(0.05, rel=0.1)
    assert said in found["repeatability"]
    assert bool(said) == ("two solves differ by noise of" in mlasdi("check", "pulse.yaml", *given).stdout)


BROKEN = """
import os
from dataclasses import dataclass
import numpy as np
from mlasdi.solvers import Snapshots
from mlasdi.solvers.builtin.burgers1d import Burgers1D

@dataclass(frozen=True)
class Forgetful(Burgers1D):
    raises: bool = False

    def solve(self, mu):
        os.system("echo noise of a child process")
        print("noise of the solver")
        if self.raises:
            raise ZeroDivisionError("no\\nway")
        found = super().solve(mu)
        return Snapshots(found.t[::-1], found.u)
"""


def test_check_of_a_broken_solver(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "forgetful.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(folder)
    own = "problem.solver=forgetful:Forgetful"
    result = mlasdi("check", "pulse.yaml", own)
    assert result.exit_code == 1
    assert "forgetful:Forgetful breaks the contract" in result.stdout
    assert "times must be finite and strictly increasing" in result.stdout
    done = process("", "check", "pulse.yaml", own, "--json")
    assert done.returncode == 1
    (problem,) = json.loads(done.stdout)["problems"]
    assert (problem["kind"], problem["message"]) == ("bad-times", "times must be finite and strictly increasing")
    assert f"    try {problem['remedy']}\n" in result.stdout
    assert done.stderr.count("noise of the solver") == done.stderr.count("noise of a child process") == 2
    for command in (["check"], ["run", "--dry-run"]):
        result = mlasdi(*command, "pulse.yaml", own, "problem.options.raises=true", "--json")
        assert result.exit_code == 1
        message = json.loads(result.stdout)["error"]
        assert message.startswith("the solver fails at {'a': 0.8")
        assert message.endswith(": ZeroDivisionError: no way; try --debug, which shows where it was raised")
        shown = mlasdi(*command, "pulse.yaml", own, "problem.options.raises=true", "--debug").stderr
        assert ", in solve\n    raise ZeroDivisionError(" in shown


# Status


def solve_result(task_id: int, failure: TaskFailure | None = None) -> SolveResult:
    return SolveResult(task_id, f"address {task_id}", 0.5, 10.0, 11.0, "host:1", False, failure)


def record_campaign() -> Path:
    """Ledger of a campaign in its second round, with 4 points solved and one failed."""
    folder = Path("mlruns/campaigns/pulse")
    folder.mkdir(parents=True)
    with Ledger(folder / "ledger.db") as ledger:
        corners = [SPACE.as_dict(mu) for mu in SPACE.corners()]
        ids = ledger.add_points(0, "train", corners, [f"corner {i}" for i in range(4)])
        for point_id in ids:
            ledger.finish_attempt(start_attempt(ledger, point_id), solve_result(point_id))
        for step in ("propose", "solve", "train"):
            ledger.complete_step(0, step, {})
        ledger.complete_step(0, "assess", {"error_estimate": 0.025})
        ledger.complete_step(0, "publish", {"version": "1"})
        centre, beside = ledger.add_points(
            1, "train", [{"a": 0.8, "w": 1}, {"a": 0.8, "w": 0.9}], ["c", "b"], [0.1, 0.1]
        )
        ledger.finish_attempt(
            start_attempt(ledger, centre), solve_result(centre, TaskFailure("not-finite", "overflow"))
        )
        start_attempt(ledger, beside)
        add_seconds(ledger, "solve", 2.0)
        add_seconds(ledger, "train", 130.0)
    return folder


def test_status_before_the_start(folder: Path) -> None:
    assert "pulse: not started" in mlasdi("status", "pulse.yaml").stdout
    assert json.loads(mlasdi("status", "pulse.yaml", "--json").stdout)["state"] == "not started"
    assert [path.name for path in folder.iterdir()] == ["pulse.yaml"]


def test_status_on_the_way() -> None:
    record_campaign()
    result = mlasdi("status", "pulse.yaml", "--json")
    assert json.loads(result.stdout) == {
        "campaign": "pulse",
        "folder": "mlruns/campaigns/pulse",
        "state": "stopped",
        "stop_reason": None,
        "budget": 9,
        "solver_runs": 5,
        "validation_runs": 0,
        "points": {"train": {"proposed": 1, "solved": 4, "failed": 1}},
        "rounds_begun": 2,
        "rounds_finished": 1,
        "error_estimate": 0.025,
        "seconds": {"solve": 2.0, "train": 130.0},
        "failures": [{"mu": {"a": 0.8, "w": 1}, "kind": "not-finite", "message": "overflow"}],
        "diagnostics": [],
    }
    text = mlasdi("status", "pulse.yaml").stdout
    for line in (
        "solver runs      5 of 9",
        "points to train  1 proposed, 4 solved, 1 failed",
        "rounds           1 finished of 2 begun",
        "error estimate   2.5 %",
        "time             2 min (solve 2 s, train 2 min)",
        "failed at a=0.8 w=1: not-finite: overflow",
    ):
        assert line in text


def test_status_after_the_end_and_when_it_goes_on() -> None:
    campaign = record_campaign()
    (campaign / "report.json").write_text(json.dumps({"stop_reason": "target-error", "solver_runs": 5}))
    assert json.loads(mlasdi("status", "pulse.yaml", "--json").stdout)["state"] == "stopped"
    with Ledger(campaign / "ledger.db") as ledger:
        ledger.set_meta("finished", "digest")
    text = mlasdi("status", "pulse.yaml").stdout
    assert "pulse: finished" in text
    assert "the target error is reached" in text
    with Ledger(campaign / "ledger.db") as ledger:
        (waiting,) = ledger.points("train", status="proposed")
        ledger.finish_attempt(start_attempt(ledger, waiting.id), solve_result(waiting.id))
    assert "pulse: stopped" in mlasdi("status", "pulse.yaml").stdout


def test_status_is_shown_again_after_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = record_campaign()
    with Ledger(campaign / "ledger.db") as ledger:
        run = ledger.activity_log.begin("run")
        (waiting,) = ledger.points("train", status="proposed")

        def go_on(_seconds: float) -> None:
            if ledger.point(waiting.id).status == "proposed":
                ledger.finish_attempt(start_attempt(ledger, waiting.id), solve_result(waiting.id))
            else:
                ledger.activity_log.end(run)

        monkeypatch.setattr("mlasdi.agent.cli.progress_commands.time.sleep", go_on)
        text = mlasdi("status", "pulse.yaml", "--watch").stdout
    assert [line.split()[-3] for line in text.splitlines() if "solver runs" in line] == ["5", "6", "6"]
    assert [line for line in text.splitlines() if line.startswith("pulse")] == [
        *("pulse: running", "pulse: running"),
        "pulse: stopped",
    ]
    assert complaint(mlasdi("status", "pulse.yaml", "--watch", "--json")).startswith("--watch with --json")


def test_status_of_a_damaged_ledger() -> None:
    (record_campaign() / "ledger.db").write_bytes(b"not a database, but long enough to be one" * 100)
    result = mlasdi("status", "pulse.yaml")
    assert result.exit_code == 1
    assert "ledger.db" in complaint(result)


# Models


def test_models_of_an_empty_registry(folder: Path) -> None:
    result = mlasdi("models")
    assert (result.exit_code, result.stdout) == (0, "no registered model in mlruns meets the conditions\n")
    result = mlasdi("models", "--max-error", "1%", "--covers", "a=0.8,w=0.9:1.1", "--root", "elsewhere", "--json")
    assert (result.exit_code, json.loads(result.stdout), result.stderr) == (0, {"models": []}, "")
    assert [path.name for path in folder.iterdir()] == ["pulse.yaml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sort", "size"], "sort 'size' is not known; give one of error, newest, solver_runs, name"),
        (["--max-error", "small"], "'small': 'small' is not a number"),
        (["--covers", "a"], "'a': write name=value, for example a=0.8"),
        (["--covers", "a=2:1"], "'a=2:1': the range is reversed; write a=1:2"),
    ],
)
def test_models_refuses_conditions_it_cannot_read(arguments: list[str], message: str) -> None:
    result = mlasdi("models", *arguments)
    assert (result.exit_code, complaint(result)) == (2, message)


@pytest.mark.slow
def test_models_passes_conditions_on_and_shows_what_is_found(model: Path, folder: Path) -> None:
    from mlasdi.agent.registry import Tracker, TrackingSettings

    root = folder / "state"
    tracker = Tracker(TrackingSettings(), root, "pulse", "id")
    tracker.start("", {})
    tags = {"parameter_box": json.dumps({"a": [0.7, 0.9]}), "solver_runs": "4"}
    for round, estimate in enumerate((0.02, 0.005, float("inf"))):
        tracker.register(round, model, tags, estimate)
    found = json.loads(mlasdi("models", "--root", root, "--json").stdout)["models"]
    assert [(m["uri"], m["error_estimate"]) for m in found] == [
        ("models:/pulse@champion", 0.005),
        ("models:/pulse/1", 0.02),
        ("models:/pulse/3", None),
    ]
    text = mlasdi("models", "--root", root, "--max-error", "1%", "--covers", "a=0.75:0.9").stdout
    assert all(cell in text for cell in ("models:/pulse@champion", "0.5 %", "a 0.7 to 0.9"))
    assert "models:/pulse/1" not in text
    assert "meets the conditions" in mlasdi("models", "--root", root, "--covers", "a=1").stdout
    summary = json.loads(
        mlasdi("predict", "models:/pulse@champion", "--at", "a=0.8,w=1", "--root", root, "--json").stdout
    )
    assert summary["shape"] == {"param": 1, "time": 11, "state": 51}


# Predict


@pytest.mark.parametrize("suffix", [".h5", ".npz"])
def test_predict_writes_what_the_surrogate_says(model: Path, suffix: str) -> None:
    out = Path(f"u{suffix}")
    result = mlasdi("predict", model, "--at", "a=0.8", "w=1.0", "--times", "0:1:5", "--out", out, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    surrogate = Surrogate.load(model)
    truth = surrogate.predict({"a": 0.8, "w": 1.0}, np.linspace(0, 1, 5))
    assert truth.std is not None
    summary = json.loads(result.stdout)
    assert summary == {
        "model": str(model),
        "mu": {"a": 0.8, "w": 1.0},
        "shape": {"param": 1, "time": 5, "state": 51},
        "times": [0.0, 1.0],
        "range": [truth.mean.min(), truth.mean.max()],
        "max_std": truth.std.max(),
        "fields": {
            "u": {
                "axes": ["time", "x"],
                "range": [truth.mean.min(), truth.mean.max()],
                "max_std": truth.std.max(),
            }
        },
        "estimated_relative_error": pytest.approx(surrogate.relative_std({"a": 0.8, "w": 1.0})[0]),
        "inside_box": True,
        "warnings": [],
        "file": str(out),
        "plot": None,
    }
    with h5py.File(out) if suffix == ".h5" else np.load(out) as file:
        assert all(
            np.array_equal(file[name], wanted)
            for name, wanted in [("t", truth.t), ("mean", truth.mean), ("std", truth.std), ("mu", [[0.8, 1.0]])]
        )
        assert np.array_equal(file["x_x"], surrogate.layout.coordinates["x"])
        names = file.attrs["parameter_names"] if isinstance(file, h5py.File) else file["parameter_names"]
        assert list(names) == ["a", "w"]
    assert sorted(path.name for path in Path().iterdir()) == sorted(["pulse.yaml", out.name])


def test_predict_in_words(model: Path) -> None:
    result = mlasdi("predict", model, "--at", "a=0.8", "w=1.0", "--no-std", "--times", "0,0.25,1")
    assert "at a=0.8 w=1\n" in result.stdout
    assert "3 times from 0 to 1, 51 state values" in result.stdout
    assert "estimated error" in result.stdout
    assert "std" not in result.stdout


def test_predict_warns_outside_the_box(model: Path) -> None:
    refused = mlasdi("predict", model, "--at", "a=0.95", "w=1.0")
    assert refused.exit_code == 2
    assert complaint(refused).endswith("; use --extrapolate to predict there")
    result = mlasdi("predict", model, "--at", "a=0.95", "w=1.0", "--extrapolate", "--json")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: {'a': 0.95, 'w': 1.0} lies outside the trained box")
    summary = json.loads(result.stdout)
    assert not summary["inside_box"]
    assert len(summary["warnings"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at", "a=0.8"], "parameters ['a'] given; the model has ['a', 'w']"),
        (["--at", "a=0.8", "b=1"], "parameters ['a', 'b'] given; the model has ['a', 'w']"),
        (["--at", "a=0.8", "a=0.9"], "'a' is given twice"),
        (["--at", "a=x", "w=1"], "'a=x': 'x' is not a number"),
        (["--at", "a=nan", "w=1"], "'a=nan': 'nan' must be finite"),
        (["--at", "a", "w=1"], "'a': write name=value, for example a=0.8"),
        (["--at", "a=0.8", "w=1", "--times", "0:1"], "times '0:1': write start:stop:count, for example 0:1:101"),
        (
            ["--at", "a=0.8", "w=1", "--times", "0:1:20000000"],
            "times '0:1:20000000': 20000000 times are more than the 10000000 allowed",
        ),
        (
            ["--at", "a=0.8", "w=1", "--out", "u.csv"],
            "--out u.csv: give a file that ends in .h5, .nc, .npz, .vtu, .pvd or .xdmf",
        ),
        (["--at", "a=0.8", "w=1", "--out", "no/u.h5"], "--out no/u.h5: there is no folder no"),
    ],
)
def test_predict_refuses(model: Path, arguments: list[str], message: str) -> None:
    result = mlasdi("predict", model, *arguments)
    assert result.exit_code == 2
    assert complaint(result).startswith(message)


def test_predict_without_a_model() -> None:
    for arguments, message in (
        (["--at", "a=0.8", "w=1"], "MODEL is missing: mlasdi predict MODEL --at a=0.8 w=1"),
        (["nowhere", "--at", "a=0.8"], "nowhere: no surrogate there"),
        (["models:/x@champion", "--at", "a=0.8"], "models:/x@champion: there is no model registry at sqlite:///"),
    ):
        result = mlasdi("predict", *arguments)
        assert result.exit_code == 2
        assert complaint(result).startswith(message)


# Run, with a campaign that only pretends

REPORT: dict[str, Any] = {
    "campaign": "pulse",
    "problem": "burgers1d",
    "folder": "mlruns/campaigns/pulse",
    "stop_reason": "solver-runs",
    "solver_runs": 9,
    "failed_runs": 1,
    "validation_runs": 12,
    "rounds": 4,
    "points": [{"a": 0.7, "w": 0.9}],
    "seconds": {"solve": 1.0, "train": 30.0, "total": 31.5},
    "stages": [
        {"name": "variable-projection", "leave_one_out": 0.05, "max_error": 0.01234, "mean_error": 0.004},
        {"name": "kriging", "leave_one_out": 0.02, "max_error": 0.0025, "mean_error": 0.001},
    ],
    "error_estimate": 0.0075,
    "max_relative_error": 0.0025,
    "mean_relative_error": 0.001,
    "coverage": 0.93,
    "model_uri": "models:/pulse/4",
    "version": "4",
    "champion": "3",
    "run_id": "abc",
    "browse": "mlflow ui --backend-store-uri sqlite:////somewhere/mlflow.db",
    "figures": ["mlruns/campaigns/pulse/figures/error_map.png"],
}


def pretend(config: Any, monitor: Monitor) -> dict[str, Any]:
    """The events of a campaign of one round, with a cached solve, a failure and a warning."""
    mu = {"a": 0.7, "w": 0.9}
    monitor.started("pulse", Path("mlruns/campaigns/pulse"), 9, 3)
    monitor.round_started(0, 3)
    monitor.solving("train", 3)
    monitor.solved("train", mu, solve_result(1))
    monitor.solved("train", mu, SolveResult(2, "", 0, 0, 1, "", True, None))
    monitor.solved("train", mu, solve_result(3, TaskFailure("worker-lost", "died [9]")))
    for step in range(1, 4):
        monitor.training(Progress("variable-projection", step, 3, 10.0**-step))
    monitor.solving("validate", 1)
    monitor.solved("validate", mu, solve_result(4))
    monitor.assessed(0, 6, 0.0075, 0.0025, {"variable-projection": 0.01234, "kriging": 0.0025})
    monitor.published(0, "4")
    monitor.warning("the disk is nearly full")
    monitor.finished(REPORT)
    return REPORT


PROGRESS = """\
campaign pulse: 9 solver runs, resumed after 3; all files are in mlruns/campaigns/pulse
round 0: 3 of 9 solver runs used
  a=0.7 w=0.9: solved in 0.5 s
  a=0.7 w=0.9: already solved
  failed at a=0.7 w=0.9: worker-lost: died [9]
  training variable-projection
  solving 1 validation point, which is not part of the budget
  estimated error 0.75 %, validated 0.25 % (by stage: variable-projection 1.23 %, kriging 0.25 %)
  registered as version 4
warning: the disk is nearly full
"""


@pytest.fixture
def campaign(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces the campaign by a function."""
    return lambda function: monkeypatch.setattr("mlasdi.agent.campaign.run_campaign", function)


def test_run_shows_progress_and_the_report_in_plain_lines(campaign: Callable[..., None]) -> None:
    seen = []
    campaign(lambda config, monitor: [seen.append(config), pretend(config, monitor)][1])
    result = mlasdi("run", "pulse.yaml", "seed=7")
    assert (result.exit_code, result.stderr, seen[0].seed) == (0, PROGRESS, 7)
    assert "\x1b" not in result.output
    rows = [" ".join(line.replace("│", " ").split()) for line in result.stdout.splitlines()]
    for row in (
        "variable-projection 5 % 1.23 % 0.4 %",
        "kriging 2 % 0.25 % 0.1 %",
        "error estimate 0.75 %",
        "validated error max 0.25 %, mean 0.1 %, at 12 points",
        "coverage of 90 % band 93 %",
        "solver runs 9, 1 of them failed, in 4 rounds",
        "stopped because the solver runs are used up",
        "time 32 s (solve 1 s, train 30 s)",
        "model models:/pulse/4",
        "champion version 3",
        "browse mlflow ui --backend-store-uri sqlite:////somewhere/mlflow.db",
        "predict mlasdi predict models:/pulse/4 --at a=0.8 w=1",
        "figures mlruns/campaigns/pulse/figures",
    ):
        assert row in rows


def test_run_without_validation_does_not_mention_it(campaign: Callable[..., None]) -> None:
    unknown = {"max_relative_error": None, "mean_relative_error": None, "coverage": None, "validation_runs": 0}
    stages = [{"name": "kriging", "leave_one_out": None, "max_error": None, "mean_error": None}]
    report = REPORT | unknown | {"stages": stages, "error_estimate": None, "figures": [], "folder": "my state/c/pulse"}
    campaign(lambda config, monitor: report)
    text = mlasdi("run", "pulse.yaml").stdout
    assert "validated" not in text
    assert "coverage" not in text
    assert "error estimate   unknown" in text
    assert "--at a=0.8 w=1 --root 'my state'" in text


def test_run_as_json_keeps_standard_output_pure() -> None:
    code = (
        "import os, sys\n"
        f"sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]\n"
        "import mlasdi.agent.campaign, test_main\n"
        "def noisy(config, monitor):\n"
        "    print('noise'); os.system('echo noise'); os.write(1, b'noise')\n"
        "    return test_main.pretend(config, monitor)\n"
        "mlasdi.agent.campaign.run_campaign = noisy"
    )
    done = process(code, "run", "pulse.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == REPORT
    assert done.stderr.count("noise") == 3
    assert PROGRESS in done.stderr
    assert "\x1b" not in done.stderr


def raising(error: BaseException) -> Callable[..., Any]:
    def run_campaign(config: Any, monitor: Monitor) -> dict[str, Any]:
        raise error

    return run_campaign


def test_run_that_fails(campaign: Callable[..., None]) -> None:
    from mlasdi.agent.campaign import CampaignError
    from mlasdi.agent.records import LedgerError

    for error in (CampaignError("only 1 solves\nsucceeded"), LedgerError("only 1 solves succeeded")):
        campaign(raising(error))
        result = mlasdi("run", "pulse.yaml")
        assert (result.exit_code, result.stdout, complaint(result)) == (1, "", "only 1 solves succeeded")
    campaign(raising(RuntimeError("no space")))
    result = mlasdi("run", "pulse.yaml")
    assert (result.exit_code, complaint(result)) == (1, "RuntimeError: no space; --debug shows where")
    result = mlasdi("run", "pulse.yaml", "--debug")
    assert result.exit_code == 1
    assert "in run_campaign" in result.stderr


def test_run_that_is_interrupted_says_how_to_resume(campaign: Callable[..., None]) -> None:
    campaign(raising(KeyboardInterrupt()))
    result = mlasdi("run", "pulse.yaml")
    assert result.exit_code == 130
    assert complaint(result) == "interrupted; run the same command again to resume"


def test_run_that_is_stopped_gracefully_reports_and_says_how_to_resume(campaign: Callable[..., None]) -> None:
    campaign(lambda *args: REPORT | {"stop_reason": "interrupted"})
    result = mlasdi("run", "pulse.yaml")
    assert result.exit_code == 130
    assert "it was interrupted; run the same command again to resume" in result.stdout
    result = mlasdi("run", "pulse.yaml", "--json")
    assert (result.exit_code, json.loads(result.stdout)["stop_reason"]) == (130, "interrupted")


# The live display


def test_terminal_shows_where_the_campaign_stands() -> None:
    screen, now = io.StringIO(), [0.0]
    console = Console(file=screen, force_terminal=True, width=100, markup=False, highlight=False)
    with ConsoleMonitor(console, now=lambda: now[0]) as monitor:
        assert drawn(monitor) == "starting\n"
        monitor.started("pulse", Path("folder"), 9, 0)
        monitor.round_started(0, 0)
        monitor.solving("train", 4)
        monitor.solved("train", {"a": 0.7}, solve_result(1))
        assert "1 of 9 solver runs" in drawn(monitor)
        assert "solving points, 1 of 4 done" in drawn(monitor)
        now[0] = 10.0
        monitor.assessed(0, 4, 0.0075, None, {})
        monitor.published(0, "1")
        monitor.round_started(1, 4)
        monitor.training(Progress("decoder-2", 30, 200, 1.5e-3))
        for part in ("round 1", "4 of 9", "estimated error 0.75 %", "left"):
            assert part in drawn(monitor).splitlines()[0]
        assert "training decoder-2 step 30 of 200, loss 0.0015" in drawn(monitor)
        monitor.solving("validate", 441)
        assert "solving validation points, 0 of 441 done" in drawn(monitor)
    shown = screen.getvalue()
    assert "\x1b[?25l" in shown  # the cursor is hidden while the display lives
    assert "\x1b[?25h" in shown[-40:]  # and is back at the end
    assert "registered as version 1" in shown


def drawn(monitor: ConsoleMonitor) -> str:
    plain = Console(file=io.StringIO(), width=120)
    plain.print(monitor.display())
    assert isinstance(plain.file, io.StringIO)
    return plain.file.getvalue()


def test_time_left_is_that_of_the_remaining_rounds_without_validation() -> None:
    now = [0.0]
    monitor = ConsoleMonitor(Console(file=io.StringIO()), batch=2, now=lambda: now[0])
    monitor.started("pulse", Path("folder"), 9, 0)
    monitor.round_started(0, 0)
    assert monitor.time_left_s() is None
    now[0] = 8.0
    monitor.solving("validate", 441)
    now[0] = 108.0
    monitor.assessed(0, 4, 0.1, 0.1, {})
    now[0] = 110.0
    monitor.published(0, "1")
    monitor.round_started(1, 4)
    assert monitor.time_left_s() == pytest.approx(3 * 10)  # 5 runs, 2 a round
    now[0] = 114.0
    assert monitor.time_left_s() == pytest.approx(3 * 10 - 4)
    now[0] = 116.0
    monitor.published(1, "2")
    monitor.round_started(2, 6)
    assert monitor.time_left_s() == pytest.approx(2 * (10 + 6) / 2)
    now[0] = 1000.0
    assert monitor.time_left_s() == 0


def test_numbers_are_written_as_people_would_write_them() -> None:
    assert [percent(x) for x in (None, 0.001234, 0.5, 24.3)] == ["unknown", "0.123 %", "50 %", "2430 %"]
    assert [percent(x) for x in (0.0, 1e-4, 7.891e-5, 8.2e-8)] == ["0 %", "0.01 %", "7.89e-5", "8.2e-8"]
    assert [seconds(s) for s in (0.0123, 3.14, 42.3, 600, 7200)] == ["0.012 s", "3.1 s", "42 s", "10 min", "2.0 h"]
    assert [seconds(s) for s in (0.0, 8.8e-5, 0.00088, 0.0078)] == ["0 s", "88 µs", "0.88 ms", "7.8 ms"]
    assert [counted(n, "point") for n in (0, 1, 2800)] == ["0 points", "1 point", "2,800 points"]
