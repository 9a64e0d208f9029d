"""What `mlasdi init` writes: valid configurations, and solvers that satisfy the contract."""

import json

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from mlasdi.agent.cli.main import app
from mlasdi.agent.cli.starters import SOLVER_KINDS, inspected, write_starter
from mlasdi.agent.config import load_config
from mlasdi.solvers import verify


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory, from which Python functions are imported."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", ["callable", "command"])
def test_the_example_solver_keeps_the_contract(kind, folder):
    config, _ = write_starter(f"{kind}_start", kind, folder)
    settings = load_config(config)
    assert settings.name == f"{kind}_start"
    report = verify(settings.problem.spec.build(), {"speed": 1.0, "diffusivity": 0.003})
    assert report.ok, report.problems
    assert (report.n_time, report.n_state) == (51, 101)


def test_both_example_solvers_agree_with_the_exact_mean(folder):
    """The pulse conserves its mass and travels at the given speed."""
    for kind in ("callable", "command"):
        settings = load_config(write_starter(f"{kind}_mass", kind, folder)[0])
        found = settings.problem.spec.build().solve({"speed": 1.0, "diffusivity": 0.003})
        np.testing.assert_allclose(found.u.mean(axis=1), found.u[0].mean(), rtol=1e-12)
        x = found.layout.coordinates["x"]
        assert x[found.u[-1].argmax()] - x[found.u[0].argmax()] == pytest.approx(0.5, abs=0.01)


def test_the_starter_for_numbers_has_an_output_for_each(folder):
    settings = load_config(write_starter("beam", "scalars", folder)[0])
    report = verify(settings.problem.spec.build(), {"length": 1.0, "height": 0.06})
    assert report.ok, report.problems
    assert (report.n_time, report.n_state) == (1, 3)
    found = settings.problem.spec.build().solve({"length": 1.0, "height": 0.06})
    assert set(found.layout.fields) == {"deflection", "stress", "frequency"}
    inertia = 0.05 * 0.06**3 / 12
    assert found.u[0, found.layout.fields.index("deflection")] == pytest.approx(1000 / (3 * 70e9 * inertia))


def test_a_data_set_starter_is_a_valid_configuration_once_there_are_runs(folder):
    (config,) = write_starter("archive", "data-set", folder)
    (folder / "runs").mkdir()
    lines = ["file,speed,diffusivity"]
    for i in range(14):
        np.savez(folder / "runs" / f"{i}.npz", t=np.arange(3.0), u=np.ones((3, 4)))
        lines.append(f"{i}.npz,{0.9 + 0.2 * i / 13},{0.002 + 0.018 * (i * 5 % 14) / 13}")
    (folder / "runs" / "parameters.csv").write_text("\n".join(lines))
    assert load_config(config).problem.solver == "data-set"


@pytest.mark.parametrize("name", ["", "1st", "a-b", "../up", "a b"])
def test_names_that_are_no_module_names_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        write_starter(name, "callable", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", ["pulse.yaml", "pulse_solver.py"])
def test_nothing_is_overwritten(there, tmp_path):
    (tmp_path / there).write_text("mine")
    with pytest.raises(FileExistsError, match=" exists: "):
        write_starter("pulse", "callable", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_the_command_says_what_it_wrote_and_refuses_other_kinds(tmp_path):
    command = ["init", "pulse", "--folder", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, command)
    assert json.loads(done.stdout)["written"] == [str(tmp_path / "pulse.yaml"), str(tmp_path / "pulse_solver.py")]
    refused = CliRunner().invoke(app, [*command, "--solver", "fortran"])
    assert refused.exit_code == 2
    assert all(kind in refused.stderr for kind in SOLVER_KINDS)


def test_the_configuration_of_an_inspected_file_reads_it(tmp_path):
    t, x, rates = np.linspace(0, 1, 5), np.linspace(0, 1, 4), np.linspace(1, 2, 9)
    for i, rate in enumerate(rates):
        with h5py.File(tmp_path / f"{i}.h5", "w") as file:
            file["time"], file["x"], file["u"] = t, x, rate * np.outer(t, x)
            file.attrs["rate"], file.attrs["gravity"] = rate, 9.81
    found = inspected(tmp_path / "0.h5")
    assert found["arrays"]["u"] == {"shape": [5, 4], "dtype": "float64"}
    assert found["attributes"]["gravity"] == "9.81"
    config = tmp_path / "found.yaml"
    config.write_text(found["config"])
    settings = load_config(config)
    (parameter,) = settings.problem.space.parameters
    assert (parameter.name, parameter.low, parameter.high) == ("rate", 1, 2)  # the other one is the same everywhere
    np.testing.assert_allclose(settings.problem.spec.build().solve({"rate": 1.5}).u, 1.5 * np.outer(t, x))


def test_what_an_inspected_file_leaves_open_is_told(tmp_path):
    np.savez(tmp_path / "u.npz", u=np.zeros((3, 4)))
    found = inspected(tmp_path / "u.npz")
    assert found["config"] is None
    assert "no array looks like times" in found["notes"][0]
    np.savez(tmp_path / "u.npz", u=np.zeros((3, 4)), t=np.arange(3.0))
    assert "no parameters were found" in inspected(tmp_path / "u.npz")["config"]
