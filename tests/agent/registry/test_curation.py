"""Versions promoted, tagged, archived and compared; and what every version carries."""

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import yaml
from blank_figures import leave_figures_blank
from small_campaign import write_config

from mlasdi.agent.campaign.publication import Publisher
from mlasdi.agent.config import load_config
from mlasdi.agent.records import Point
from mlasdi.agent.registry import curation, find
from mlasdi.agent.registry.registry import locate
from mlasdi.agent.tracking_store import StoreUnreachable, connect, quiet, store_uri
from mlasdi.surrogate import Surrogate

ONE, TWO = "models:/small/1", "models:/small/2"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, empty_store: Path, burgers_surrogate: Surrogate) -> Path:
    """Two versions of one model, of campaigns with different budgets; the first is champion."""
    folder = tmp_path_factory.mktemp("root")
    (folder / "mlruns").mkdir()
    shutil.copyfile(empty_store, folder / "mlruns" / "mlflow.db")
    for k in range(2):
        config = load_config(
            write_config(folder, budget={"solver_runs": 5 + k}, name=f"c{k}"), ["tracking.registered_model=small"]
        )
        publisher = Publisher(config, f"id{k}")
        publisher.start()
        model = burgers_surrogate.save(config.folder / "models" / "round-000")
        solved = Point(1, 0, "train", {"a": 0.8, "w": 1.0}, str(k), None, "solved")
        with pytest.MonkeyPatch.context() as patch:
            leave_figures_blank(patch)
            publisher.publish_round(0, burgers_surrogate, model, None, [solved], 5 + k)
    return folder / "mlruns"


def test_a_version_carries_all_that_explains_it(root: Path, burgers_surrogate: Surrogate) -> None:
    info, folder = locate(ONE, store=root)
    assert yaml.safe_load((folder / "config.yaml").read_text())["budget"]["solver_runs"] == 5
    assert json.loads(info.tags["solver_identity"])["n_x"] == 101
    assert set(json.loads(info.tags["packages"])) >= {"torch", "mlflow", "numpy"}
    assert info.tags["mlasdi.campaign_id"] == "id0"
    assert len(info.tags["data_hash"]) == 64
    assert (info.size_bytes or 0) > burgers_surrogate.basis.modes.nbytes
    assert info.fields == ("u",)
    card = (folder / "model_card.md").read_text()
    with quiet():
        description = connect(store_uri(None, root)).get_model_version("small", "1").description
    assert description == card[:5000]
    estimate = f"{100 * (burgers_surrogate.error_estimate or np.nan):.3g} %"
    for fact in (
        "| `a` | 0.7 | 0.9 | - |",
        f"estimated without further solves: {estimate}",
        "not validated",
        '"n_x": 101',
    ):
        assert fact in card


def test_promotion_moves_an_alias(root: Path) -> None:
    assert curation.promote(TWO, "paper", store=root) is None
    assert curation.promote(ONE, "paper", store=root) == "2"
    assert locate("models:/small@paper", store=root)[0].version == "1"
    for alias in ("latest", "v3", "a b"):
        with pytest.raises(ValueError, match=f"alias '{alias}': "):
            curation.promote(ONE, alias, store=root)
    with pytest.raises(ValueError, match="'small' has no version '9'; it has: 1, 2"):
        curation.promote("models:/small/9", store=root)


def test_tags_are_set_and_removed(root: Path) -> None:
    assert curation.tag(TWO, {"reviewed": "yes", "note": "a, b"}, store=root) == {"reviewed": "yes", "note": "a, b"}
    assert curation.tag(TWO, {}, ["note"], store=root) == {"reviewed": "yes"}
    with pytest.raises(ValueError, match="has no tag 'note'"):
        curation.tag(TWO, {}, ["note"], store=root)
    for own in ("error_estimate", "mlasdi.campaign_id"):
        with pytest.raises(ValueError, match=f"tag '{own}' is used by the registry itself"):
            curation.tag(TWO, {own: "0"}, store=root)


def test_archived_versions_are_not_listed(root: Path) -> None:
    with pytest.raises(ValueError, match="models:/small/1 has the alias 'champion'; move that first"):
        curation.archive(ONE, store=root)
    curation.archive(TWO, store=root)
    assert [model.version for model in find(store=root)] == ["1"]
    assert {model.version: model.is_archived for model in find(store=root, archived=True)} == {"1": False, "2": True}
    with pytest.raises(ValueError, match=r"models:/small/2 is archived; .* --undo"):
        curation.promote(TWO, store=root)
    curation.archive(TWO, undo=True, store=root)
    assert {model.version for model in find(store=root)} == {"1", "2"}


def test_two_versions_are_compared(root: Path, burgers_surrogate: Surrogate) -> None:
    found = curation.compare(ONE, TWO, store=root)
    one, other = found["models"]
    assert (one["uri"], other["solver_runs"], one["error_estimate"]) == (ONE, 6, burgers_surrogate.error_estimate)
    assert [stage["name"] for stage in one["stages"]] == list(burgers_surrogate.record.stage_names)
    assert {tuple(point.values()) for point in one["points"]} >= {(0.7, 0.9), (0.8, 1.0)}
    assert (found["common_points"], found["same_data"], found["same_solver"]) == (5, False, True)
    assert found["settings"]["budget.solver_runs"] == [5, 6]
    assert set(found["settings"]) == {"budget.solver_runs", "name"}
    json.dumps(found, allow_nan=False)


def test_a_store_that_does_not_answer_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for uri in (f"http://127.0.0.1:{port}", f"postgresql://127.0.0.1:{port}/mlflow"):
        with pytest.raises(StoreUnreachable, match=rf"no MLflow store answers at {uri} .*is the server running\?"):
            find(store=uri)
