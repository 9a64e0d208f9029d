"""Where work runs: the settings, their defaults, and what they refuse."""

import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError
from quick_campaign import quick_config, run_quick

from mlasdi.agent.execution import ClusterSettings
from mlasdi.surrogate import Surrogate


@pytest.mark.parametrize("address", ["local", "auto", "ray://head:10001"])
def test_addresses(address: str) -> None:
    assert ClusterSettings(address=address).address == address


def test_one_machine_is_synchronous_and_reproducible_unless_asked_otherwise() -> None:
    assert ClusterSettings().mode == "synchronous"
    assert ClusterSettings(mode="asynchronous").mode == "asynchronous"


def test_needs_of_a_solve_are_named_as_ray_names_them() -> None:
    assert ClusterSettings().solve_needs == {"CPU": 1.0}
    settings = ClusterSettings(solve_cpus=4, solve_gpus=0.5, solve_memory_mb=3, solve_resources={"licence": 1})
    assert settings.solve_needs == {"CPU": 4.0, "GPU": 0.5, "memory": 3 * 2**20, "licence": 1.0}


def test_solutions_lie_in_the_campaign_unless_there_is_a_storage(tmp_path: Path) -> None:
    config = quick_config(tmp_path)
    assert Path(config.snapshot_root) == config.folder / "snapshots"
    shared = quick_config(tmp_path, cluster={"storage": str(tmp_path / "disk")})
    assert Path(shared.snapshot_root) == tmp_path / "disk" / "quick" / "snapshots"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["synchronous", "asynchronous"])
def test_solutions_may_lie_in_object_storage(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Solved by workers, and read again when the local cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    storage = (tmp_path / "bucket").as_uri()
    cluster = {"storage": storage, "mode": mode, "executor": "ray", "cpus": 2}
    config = quick_config(tmp_path, cluster=cluster, budget={"solver_runs": 5})
    assert run_quick(config, monkeypatch)["solver_runs"] == 5
    stored = list((tmp_path / "bucket" / "quick" / "snapshots").glob("*.h5"))
    assert len(stored) == 5
    assert not (config.folder / "snapshots").exists()
    assert Surrogate.load(config.folder / "models" / "round-000").space == config.problem.space
    shutil.rmtree(tmp_path / "cache")
    longer = quick_config(tmp_path, cluster={**cluster, "executor": "serial", "cpus": None}, budget={"solver_runs": 8})
    report = run_quick(longer, monkeypatch)
    assert (report["solver_runs"], report["failed_runs"]) == (8, 0)
    assert len(list((tmp_path / "bucket" / "quick" / "snapshots").glob("*.h5"))) == 8


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"executor": "dask"}, "'ray', 'serial' or 'slurm'"),
        ({"mode": "sometimes"}, "'synchronous' or 'asynchronous'"),
        ({"address": "somewhere"}, "pattern"),
        ({"cpus": 0}, "greater than or equal to 1"),
        ({"cpus": 4, "address": "auto"}, "remove cpus"),
        ({"solve_cpus": 0}, "greater than 0"),
        ({"solve_cpus": 1.5}, "solve_cpus 1.5 must be a whole number"),
        ({"solve_gpus": 2.5}, "solve_gpus 2.5 must be a whole number"),
        ({"solve_gpus": -1}, "greater than or equal to 0"),
        ({"solve_cpus": 4, "cpus": 2}, "no solve could start"),
        ({"train_cpus": 4, "cpus": 2, "mode": "asynchronous"}, "no training could start"),
        ({"train_cpus": 0}, "greater than or equal to 1"),
        ({"train_gpus": 2}, "less than or equal to 1"),
        ({"solve_memory_mb": -1}, "greater than or equal to 1"),
        ({"solve_resources": {"GPU": 1}}, "'GPU' has a key of its own"),
        ({"solve_resources": {"licence": 0}}, "licence must be above 0, got 0"),
        ({"solve_time_limit_s": 0}, "greater than 0"),
        ({"solve_time_limit_s": 9, "executor": "serial"}, "use ray"),
        ({"runtime_env": {"pip": ["scipy"]}}, "remove it"),
        ({"storage": "s4://bucket"}, "s4://bucket: Protocol not known: s4"),
        ({"storage": "memory://a", "solve_time_limit_s": 9}, "storage memory://a: with solve_time_limit_s 9 it"),
        ({"workers": 4}, "Extra inputs"),
    ],
)
def test_bad_settings_are_refused(settings: dict, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ClusterSettings(**settings)
