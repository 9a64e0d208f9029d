"""Solvers that give initial states without a solve: campaigns and predictions start from them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick_campaign import quick_config, run_quick
from typer.testing import CliRunner

from mlasdi.agent.cli.main import app
from mlasdi.agent.config import Config
from mlasdi.agent.execution.training_data import SolvesError, initial_states
from mlasdi.solvers import build_solver, initial_state, verify
from mlasdi.surrogate import Surrogate

CODE = """
import numpy as np

X = np.linspace(0, 1, 40)
MODES = np.stack([np.sin(np.pi * X), np.sin(2 * np.pi * X)])

def coordinates(phase, rate):
    # Few solves say little about how the initial state depends on the phase, but all about the dynamics.
    return np.array([np.cos(phase), np.sin(phase)])

def damped(phase, rate):
    t = np.linspace(0, 1, 41)
    turn = np.stack([[np.cos(2 * t), -np.sin(2 * t)], [np.sin(2 * t), np.cos(2 * t)]])
    z = np.exp(-rate * t)[:, None] * np.einsum("ijt,j->ti", turn, coordinates(phase, rate))
    return t, {"u": z @ MODES, "x": X}

def start(phase, rate):
    return np.zeros(1), {"u": (coordinates(phase, rate) @ MODES)[None], "x": X}

def other(phase, rate):
    return np.zeros(1), {"u": 2 * (coordinates(phase, rate) @ MODES)[None], "x": X}
"""
MU = {"phase": 4.3, "rate": 1.3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("starts")
    (folder / "started.py").write_text(CODE)
    return folder


@pytest.fixture(autouse=True)
def found_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)


def options(initial: str | None = "start") -> dict[str, Any]:
    given = {"function": "started:damped", "coordinates": {"x": "x"}}
    return given if initial is None else {**given, "initial_state": f"started:{initial}"}


def config_of(folder: Path, name: str, initial: str | None) -> Config:
    return quick_config(
        folder,
        name=name,
        problem={
            "solver": "callable",
            "options": options(initial),
            "parameters": {"phase": [0.0, 9.0], "rate": [1.0, 2.0]},
        },
        budget={"solver_runs": 8},
        sampling={"batch": 8},
        model={"kind": "mlasdi", "n_time": "auto", "first_stage": {"kind": "operator-inference"},
               "stages": [], "coordinate_scaling": "off", "time_scaling": "off"},
        cluster={"mode": "synchronous"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str | None, Surrogate]:
    """Models of the same runs, with and without initial states."""
    found: dict[str | None, Surrogate] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for initial in ("start", None):
            config = config_of(folder, f"from-{initial}".lower(), initial)
            run_quick(config, patch)
            found[initial] = Surrogate.load(max((config.folder / "models").glob("round-*")))
    return found


def error_of(u: np.ndarray) -> float:
    truth = build_solver("callable", options()).solve(MU).u
    return float(np.linalg.norm(u - truth) / np.linalg.norm(truth))


@pytest.mark.slow
def test_models_start_from_the_states_that_the_solver_gives(models: dict[str | None, Surrogate]) -> None:
    """At other points the initial state is interpolated between many, not between the few that were solved."""
    knowing, plain = models["start"], models[None]
    assert knowing.model.uses_initial_states
    assert not plain.model.uses_initial_states
    first = build_solver("callable", options()).solve(MU).u[0]
    errors = [np.linalg.norm(one.predict(MU).mean[0, 0] - first) for one in (knowing, plain)]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.slow
def test_a_prediction_starts_from_a_known_state(models: dict[str | None, Surrogate], tmp_path: Path) -> None:
    solver, model = build_solver("callable", options()), models["start"]
    first = initial_state(solver, MU)
    assert first is not None
    found = model.predict(MU, initial=first)
    np.testing.assert_array_equal(found.mean, model.starting_from(MU, first[None]).predict(MU).mean)
    assert error_of(found.mean[0]) <= 1.1 * error_of(model.predict(MU).mean[0])
    with pytest.raises(ValueError, match=r"u0 has shape \(1, 3\); expected \[1, 40\]"):
        model.predict(MU, initial=np.zeros(3))
    with pytest.raises(ValueError, match="initial_state: kriged"):
        models[None].predict(MU, initial=first)
    folder = model.save(tmp_path / "model")
    np.testing.assert_array_equal(Surrogate.load(folder).predict(MU).mean, model.predict(MU).mean)


@pytest.mark.slow
def test_the_command_takes_a_file(models: dict[str | None, Surrogate], tmp_path: Path) -> None:
    model, plain = (models[name].save(tmp_path / f"model-{name}") for name in ("start", None))
    first = build_solver("callable", options()).solve(MU).u[0]
    np.save(tmp_path / "u0.npy", first)
    np.savez(tmp_path / "u0.npz", u=first)
    np.save(tmp_path / "short.npy", first[:3])
    np.savez(tmp_path / "v.npz", v=first)
    np.save(tmp_path / "nan.npy", first * np.nan)

    def run(initial: str, model: Path = model, *more: str) -> Any:
        at = ["--at", *(f"{name}={value}" for name, value in MU.items())]
        return CliRunner().invoke(app, ["predict", str(model), *at, *more, "--initial", str(tmp_path / initial)])

    expected = models["start"].predict(MU, initial=first).mean
    for name in ("u0.npy", "u0.npz"):
        assert run(name, model, "--out", str(tmp_path / "u.npz")).exit_code == 0
        np.testing.assert_allclose(np.load(tmp_path / "u.npz")["mean"], expected, rtol=1e-12)
    for name, message in {
        "short.npy": "has 3 values, expected 40",
        "v.npz": "no array u; found v",
        "nan.npy": "no finite numbers",
        "missing.npy": "cannot be read",
        "u0.csv": "ends in .npy or .npz",
    }.items():
        refused = run(name)
        assert refused.exit_code == 2
        assert message in " ".join(refused.output.split())
    assert "makes no use of initial states" in " ".join(run("u0.npy", plain).output.split())


def test_a_solver_is_checked_with_its_initial_state() -> None:
    assert verify(build_solver("callable", options()), MU).ok
    (problem,) = verify(build_solver("callable", options("other")), MU).problems
    assert problem.kind == "other-initial-state"
    assert initial_state(build_solver("callable", options(None)), MU) is None
    assert build_solver("callable", options()).identity() == build_solver("callable", options(None)).identity()
    with pytest.raises(ValueError, match="cannot be loaded"):
        build_solver("callable", options("missing"))


def test_a_solver_that_gives_no_state_somewhere_is_named(folder: Path) -> None:
    space = config_of(folder, "unused", None).problem.space
    solver = build_solver("callable", options())

    class Failing:
        layout, parameter_names = None, solver.parameter_names
        identity, solve = solver.identity, solver.solve

        def initial(self, mu: Mapping[str, float]) -> np.ndarray | None:
            return None if mu["phase"] > 5 else np.zeros(40)

    with pytest.raises(SolvesError, match="or none at some points"):
        initial_states(Failing(), space, [{"phase": 1.0, "rate": 1.0}])
