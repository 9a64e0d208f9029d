"""Measures and draws: writes `images/method-*.png` and `method.json`, and the numbers into `explanation/method.md`.

    python docs/method_page.py [FOLDER]

takes a few minutes on one core. A number in the page is followed by a comment that names it, as in
`0.11 %<!--solves/mlasdi/9/max-->`: a path of keys in `method.json`. It is replaced by the value with two digits.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from method_cases import (
    Burgers,
    ErrorMap,
    Numbers,
    Size,
    anchors,
    error_map,
    kappa,
    kernel,
    reliability,
    roughness,
    similarity,
    solves,
)
from method_figures import draw
from method_stages import StageByStage, stage_by_stage

from mlasdi.agent import figures

QUOTED = re.compile(r"(?P<number>-?[\d.]+(?:e[+-]?\d+)?)(?P<unit> %)?<!--(?P<path>[^>]+)-->")


def measure(size: Size) -> tuple[Numbers, ErrorMap, StageByStage]:
    """All numbers of the page, and the fields of its maps."""
    problem = Burgers(size)
    by_solves, models = solves(problem)
    aligned, aligned_models = similarity(problem)
    found_map, stages = error_map(problem, models[9]), stage_by_stage(size)
    numbers = {
        "solves": by_solves,
        "similarity": aligned,
        "map": found_map.numbers(),
        "reliability": reliability(problem, aligned_models, models),
        "anchors": anchors(problem),
        "kernel": kernel(problem),
        "kappa": kappa(problem),
        "roughness": roughness(problem),
        "stages": stages.numbers(),
    }
    return numbers, found_map, stages


def at(numbers: Numbers, path: str) -> float:
    """The number that a path such as `solves/mlasdi/9/max` names.

    Raises:
        KeyError: there is none.
    """
    found: Any = numbers
    for key in path.split("/"):
        found = found[key]
    return float(found)


def shown(value: float, unit: str | None) -> str:
    """A number as the page shows it: two digits, fractions in per cent."""
    return f"{float(f'{value * (100 if unit else 1):.2g}'):g}"


def quoted(text: str) -> Iterator[tuple[str, str, str | None]]:
    """Number, path and unit of each quotation in the page."""
    for match in QUOTED.finditer(text):
        yield match["number"], match["path"], match["unit"]


def with_numbers(text: str, numbers: Numbers) -> str:
    """The page with all quoted numbers brought up to date."""

    def replaced(match: re.Match[str]) -> str:
        number = shown(at(numbers, match["path"]), match["unit"])
        return f"{number}{match['unit'] or ''}<!--{match['path']}-->"

    return QUOTED.sub(replaced, text)


def write(folder: Path, size: Size) -> None:
    """Everything, into `folder`; the page only where it is there."""
    numbers, found_map, stages = measure(size)
    for name, figure in draw(numbers, found_map, stages).items():
        figures.save(figure, folder / "images" / f"method-{name}.png")
    (folder / "method.json").write_text(json.dumps(numbers, indent=1) + "\n")
    page = folder / "explanation/method.md"
    if page.exists():
        page.write_text(with_numbers(page.read_text(), numbers))


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent, Size())
