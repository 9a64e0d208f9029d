"""Memory of large states: writes SCALE.md, then checks it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import scale
from scale_page import MOST_RATIO, MOST_SENSOR_MB, MOST_TRAINING_MB, page

pytestmark = pytest.mark.bench
PAGE = Path(__file__).with_name("SCALE.md")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, scale.__file__], capture_output=True, text=True, timeout=7200)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    PAGE.write_text(page(found))
    print(f"\nwritten: {PAGE}")
    return found


@pytest.mark.parametrize(("step", "most_mb"), [("train", MOST_TRAINING_MB), ("sensor", MOST_SENSOR_MB)])
def test_memory_does_not_grow_with_the_states(rows: list[dict[str, Any]], step: str, most_mb: float) -> None:
    assert {row["n_state"]: row["peak_mb"] for row in rows if row["step"] == step and row["peak_mb"] > most_mb} == {}


def test_the_basis_from_blocks_is_as_good(rows: list[dict[str, Any]]) -> None:
    ratios = [row["ratio"] for row in rows if row["step"] == "compare"]
    assert ratios
    assert max(ratios) <= MOST_RATIO


def test_the_error_does_not_depend_on_the_resolution(rows: list[dict[str, Any]]) -> None:
    errors = [row["error"] for row in rows if row["step"] == "validate"]
    assert max(errors) < 2 * min(errors)
