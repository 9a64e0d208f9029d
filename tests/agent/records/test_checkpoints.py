"""Models and assessments on disk: damage is found, told, set aside and made good; leftovers are swept away."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quick_campaign import SETTINGS, Shuffled, quick_config, run_quick

from mlasdi.agent.config import Config
from mlasdi.agent.records import Checkpoints, Monitor
from mlasdi.surrogate import Surrogate, SurrogateError
from mlasdi.validation import Assessment, DamagedAssessment


class Listener(Monitor):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, message: str) -> None:
        self.warnings.append(message)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    """One bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def reworded(path: Path) -> None:
    """Valid JSON with another number in it."""
    description = json.loads(path.read_text())
    description["basis"]["scale"] *= 2
    path.write_text(json.dumps(description))


def synchronous(root: Path, solver_runs: int, **changes: Any) -> Config:
    budget = {"solver_runs": solver_runs}
    return quick_config(root, cluster={"mode": "synchronous"}, budget=budget, sampling={"batch": 2}, **changes)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        pytest.param("surrogate.safetensors", cut_short, marks=pytest.mark.slow),
        ("surrogate.safetensors", flipped),
        ("surrogate.json", reworded),
    ],
)
def test_a_damaged_model_is_set_aside_and_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: Callable[[Path], None]
) -> None:
    """The campaign resumes with the same model that was damaged."""
    run_quick(synchronous(tmp_path, 6), monkeypatch)
    folder = tmp_path / "mlruns/campaigns/quick/models/round-001"
    before = Surrogate.load(folder).predict([[0.8, 1.0]])
    damage(folder / name)
    with pytest.raises(SurrogateError, match="checksum"):
        Surrogate.load(folder)
    monitor = Listener()
    report = run_quick(synchronous(tmp_path, 8), monkeypatch, monitor=monitor)
    assert (report["solver_runs"], report["rounds"]) == (8, 3)
    (told,) = [warning for warning in monitor.warnings if "damaged" in warning]
    assert "the model of round 1 is damaged and will be trained again" in told
    assert (folder.parent / "round-001.damaged").is_dir()
    np.testing.assert_array_equal(Surrogate.load(folder).predict([[0.8, 1.0]]).mean, before.mean)


@pytest.mark.parametrize("damage", [cut_short, pytest.param(flipped, marks=pytest.mark.slow)])
def test_a_damaged_assessment_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    validation = {"grid": 2, "n_time": 6}
    run_quick(synchronous(tmp_path, 6, validation=validation), monkeypatch)
    path = tmp_path / "mlruns/campaigns/quick/assessments/round-000.npz"
    before = Assessment.load(path)
    damage(path)
    with pytest.raises(DamagedAssessment):
        Assessment.load(path)
    monitor = Listener()
    report = run_quick(synchronous(tmp_path, 8, validation=validation), monkeypatch, monitor=monitor)
    assert report["validation_runs"] == 4
    assert any("the assessment of round 0 is damaged" in warning for warning in monitor.warnings)
    assert path.with_name("round-000.npz.damaged").exists()
    np.testing.assert_array_equal(Assessment.load(path).errors, before.errors)


def test_a_truncated_solution_is_solved_again_and_the_campaign_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For training and for validation; no further solver run is charged."""
    validation = {"grid": 2, "n_time": 6}
    first = run_quick(synchronous(tmp_path, 6, validation=validation), monkeypatch)
    snapshots = tmp_path / "mlruns/campaigns/quick/snapshots"
    files = sorted(snapshots.glob("*.h5"))
    for path in files:
        cut_short(path)
    monitor = Listener()
    report = run_quick(synchronous(tmp_path, 8, validation=validation), monkeypatch, monitor=monitor)
    assert report["points"][:6] == first["points"]
    assert len(report["points"]) == 8
    assert len(list(snapshots.glob("*.damaged"))) == len(files) == 10
    assert sum("is damaged and is solved again" in warning for warning in monitor.warnings) == 10


def test_damage_is_set_aside_under_a_name_of_its_own(tmp_path: Path) -> None:
    warnings: list[str] = []
    checkpoints = Checkpoints(tmp_path, str(tmp_path / "snapshots"), warnings.append)
    for number in range(3):
        folder = checkpoints.model_folder(0)
        folder.mkdir(parents=True)
        (folder / "surrogate.json").write_text(str(number))
        assert checkpoints.surrogate(0) is None
    assert len(warnings) == 3
    kept = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert kept == ["round-000.damaged", "round-000.damaged-2", "round-000.damaged-3"]
    assert checkpoints.surrogate(0) is None  # nothing there is no damage
    assert len(warnings) == 3


def test_leftovers_of_killed_agents_are_swept_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = quick_config(tmp_path)
    run_quick(config, monkeypatch, Shuffled(0))
    kept = sorted(path for path in config.folder.rglob("*") if path.is_file() and "/." not in str(path))
    leftovers = [
        Path(config.snapshot_root) / f".{'a' * 32}.{'b' * 32}.partial",
        Path(config.snapshot_root) / f".{'a' * 32}.time-out",
        Path(config.snapshot_root) / ".model-round-009" / "surrogate.json",
        config.folder / "models" / ".round-009-xyz" / "saved" / "surrogate.json",
        config.folder / "figures" / ".error_map.png.abc.partial",
        config.folder / "report.partial",
    ]
    for path in leftovers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    run_quick(config, monkeypatch, Shuffled(0))
    assert not [path for path in leftovers if path.exists()]
    assert not (config.folder / "models" / ".round-009-xyz").exists()
    assert all(path.exists() for path in kept)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_workers_find_models_where_the_solutions_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    """Solutions and models for workers may lie on a disk of their own; the campaign's folder keeps all models."""
    shared = tmp_path / "shared"
    cluster = {"storage": str(shared)} if elsewhere else {}
    config = quick_config(
        tmp_path, cluster=cluster, sampling={"acquisition": "coefficient-std"}, budget={"solver_runs": 7}
    )
    report = run_quick(config, monkeypatch, Shuffled(0))
    assert len(report["points"]) == 7
    folder = shared / "quick" / "snapshots" if elsewhere else config.folder / "snapshots"
    assert len(list(folder.glob("*.h5"))) == 7
    assert len(list((config.folder / "models").iterdir())) == report["rounds"]
    assert SETTINGS["name"] == config.name
