"""What `RESULTS.md` is made of, as data: one problem can be measured again without the others."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ablation import Variant
from results_page import Results
from scoring import Score
from state_size import SizeTiming

FILE = Path(__file__).with_name("results.json")


def save(results: Results) -> None:
    FILE.write_text(json.dumps(asdict(results), indent=1) + "\n")


def load() -> Results:
    """The results of the last run.

    Raises:
        FileNotFoundError: there are none.
    """
    found = json.loads(FILE.read_text())
    scores = {
        problem: {method: [_score(one) for one in by_seed] for method, by_seed in methods.items()}
        for problem, methods in found["scores"].items()
    }
    variants = [Variant(**{**one, "score": _score(one["score"])}) for one in found["variants"]]
    return Results(
        scores,
        found["solves"],
        found["measured"],
        variants,
        [SizeTiming(**{**one, "stages": tuple(one["stages"])}) for one in found["sizes"]],
    )


def _score(given: dict[str, Any]) -> Score:
    return Score(**{**given, "stages": tuple(given["stages"])})
