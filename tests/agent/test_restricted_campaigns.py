"""Campaigns in boxes that are restricted (constraints, whole numbers, candidate sets) or have many parameters."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unpublished import Unpublished

import mlasdi.agent.campaign.campaign
from mlasdi.agent.campaign import run_campaign
from mlasdi.agent.config import Config
from mlasdi.agent.records import Ledger
from mlasdi.agent.report import feasible_values
from mlasdi.surrogate import Surrogate

SOLVER = """
import numpy as np

def beats(n, s):
    assert type(n) is int  # as in range(n)
    x, t = np.linspace(0, 1, 24), np.linspace(0, 1, 9)
    return t, {"u": 1 + sum(np.cos(x * k + s * t[:, None]) for k in range(n)) / 10}

def slow(n, s):
    return n * s < 6
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "beating.py").write_text(SOLVER)
    monkeypatch.syspath_prepend(tmp_path)
    return "beating"


@pytest.fixture
def unpublished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlasdi.agent.campaign.campaign, "Publisher", Unpublished)


def campaign(root: Path, problem: dict[str, Any], runs: int, **sections: Any) -> Config:
    return Config.model_validate(
        {
            "name": "restricted",
            "root": root / "mlruns",
            "problem": problem,
            "budget": {"solver_runs": runs},
            "model": {"kind": "snapshot-gp", "n_time": 9},
            "cluster": {"executor": "serial"},
            **sections,
        }
    )


def waves(names: tuple[str, ...], **problem: Any) -> dict[str, Any]:
    box = {name: [1.0, 2.0] for name in names}
    return {"solver": "waves:Waves", "options": {"names": names}, "parameters": box, **problem}


def points_of(config: Config, purpose: str) -> np.ndarray:
    with Ledger(config.folder / "ledger.db", read_only=True) as ledger:
        return np.array([list(point.mu.values()) for point in ledger.points(purpose)])


def model_of(config: Config) -> Surrogate:
    return Surrogate.load(sorted((config.folder / "models").iterdir())[-1])


@pytest.mark.usefixtures("unpublished")
@pytest.mark.parametrize(
    "acquisition",
    ["sobol", *(pytest.param(one, marks=pytest.mark.slow) for one in ("field-std", "integrated-variance"))],
)
def test_constraints_hold_for_all_points(tmp_path: Path, acquisition: str) -> None:
    problem = waves(("p", "q"), constraints=[{"p": 1, "q": 1, "max": 3}])
    sampling = {"acquisition": acquisition, "candidates": 32, "batch": 2}
    config = campaign(tmp_path, problem, 8, sampling=sampling, validation={"grid": 5})
    report = run_campaign(config)
    chosen, validated = points_of(config, "train"), points_of(config, "validate")
    assert len(chosen) == report["solver_runs"] == 8
    assert (np.concatenate([chosen, validated]).sum(axis=1) <= 3 + 1e-8).all()
    assert len(validated) == 5 * 6 / 2
    # Three corners, and the fourth on the limit.
    np.testing.assert_array_equal(chosen[:3], [[1, 1], [1, 2], [2, 1]])
    assert chosen[3].sum() == pytest.approx(3, abs=1e-5)
    assert report["error_estimate"] < 0.1
    # Where nothing may be solved, the model is less sure than the estimate says: that corner does not count.
    assert 0 < report["error_estimate"] < model_of(config).relative_std([[2.0, 2.0]])[0]


@pytest.mark.slow
def test_a_model_keeps_its_constraints(root: Path) -> None:
    constraints = [{"p": 1, "q": 1, "max": 3}]
    config = campaign(root, waves(("p", "q"), constraints=constraints), 4, validation={"grid": 3})
    report = run_campaign(config)
    assert {Path(figure).stem for figure in report["figures"]} >= {"error_map", "uncertainty_map"}
    surrogate = model_of(config)
    assert surrogate.space == config.problem.space
    assert surrogate.outside(np.array([[1.2, 1.2], [1.8, 1.7]]), surrogate.t).endswith("trained region 1 p + 1 q <= 3")
    assert surrogate.outside(np.array([[1.2, 1.2]]), surrogate.t) == ""
    mu = np.array([[1.2, 1.2], [1.8, 1.7]])
    np.testing.assert_array_equal(np.isfinite(feasible_values(surrogate, mu)), [True, False])
    # A predicate need not be installed where a model is used.
    description = config.folder / "models/round-000/surrogate.json"
    written = json.loads(description.read_text())
    assert written["constraints"] == constraints
    del written["description_sha256"]
    description.write_text(json.dumps(written | {"constraints": ["gone:away"]}))
    np.testing.assert_array_equal(model_of(config).predict(mu[:1]).mean, surrogate.predict(mu[:1]).mean)


@pytest.mark.slow
@pytest.mark.usefixtures("unpublished")
def test_whole_numbers_and_a_predicate(tmp_path: Path, module: str) -> None:
    problem = {
        "solver": "callable",
        "options": {"function": f"{module}:beats"},
        "parameters": {"n": {"low": 1, "high": 6, "integer": True}, "s": [0.5, 2.0]},
        "constraints": [f"{module}:slow"],
    }
    config = campaign(tmp_path, problem, 9, sampling={"candidates": 32}, validation={"grid": 6})
    report = run_campaign(config)
    for points in (points_of(config, "train"), points_of(config, "validate")):
        n, s = points.T
        np.testing.assert_array_equal(n, np.round(n))
        assert (n * s < 6).all()
    assert report["solver_runs"] == 9


@pytest.mark.usefixtures("unpublished")
def test_only_candidates_are_chosen_and_every_one_may_be(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = tmp_path / "candidates.csv"
    candidates = 1 + rng.random((10, 2)).round(3)
    table.write_text("p,q\n" + "\n".join(f"{p},{q}" for p, q in candidates))
    sampling = {"candidate_set": str(table), "batch": 3}
    config = campaign(tmp_path, waves(("p", "q")), 12, sampling=sampling, validation={"grid": 3})
    report = run_campaign(config)
    assert sorted(map(tuple, points_of(config, "train"))) == sorted(map(tuple, candidates))
    assert report["stop_reason"] == "no-new-point"
    assert report["validation_runs"] == 9


@pytest.mark.slow
@pytest.mark.usefixtures("unpublished")
def test_eight_parameters(tmp_path: Path) -> None:
    """The wave depends on their mean alone, so few points are enough."""
    names = tuple("abcdefgh")
    problem = waves(names, constraints=[{"a": 1, "b": -1, "max": 0}])
    config = campaign(tmp_path, problem, 22, sampling={"batch": 2}, validation={"sobol": 20})
    report = run_campaign(config)
    chosen, validated = points_of(config, "train"), points_of(config, "validate")
    assert (len(chosen), len(validated)) == (22, 20)
    for points in (chosen, validated):
        assert (points[:, 0] <= points[:, 1] + 1e-9).all()
    assert report["rounds"] == 1 + (22 - 18) // 2
    assert report["max_relative_error"] < 0.1
    known = {tuple(point) for point in chosen}
    assert not known & {tuple(point) for point in validated}
