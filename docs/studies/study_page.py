"""What the studies share: their command, and the frame of the page that each writes.

    python docs/studies/NAME.py [--full] [--folder FOLDER]

measures, draws, and writes `NAME.md` with `images/NAME-*.png` beside this file, or into FOLDER. Without `--full` a
study takes the smaller settings that its page states.
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from matplotlib.figure import Figure

from mlasdi.agent.figures import save

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Page:
    """What a study has to say.

    Attributes:
        title: the question.
        text: Markdown below the title; shows a figure by `![caption](images/STUDY-figure.png)`.
        figures: name after `STUDY-` -> figure.
    """

    title: str
    text: str
    figures: Mapping[str, Figure] = field(default_factory=dict)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def percent(fraction: float) -> str:
    """A fraction in per cent with three digits."""
    return f"{float(f'{100 * fraction:.3g}'):g} %"


def run(study: str, measure: Callable[[bool], Page], folder: Path | None = None, full: bool = False) -> Path:
    """Carry out a study and write its page; returns where.

    Args:
        measure: makes the page, with full settings or the smaller ones.
    """
    torch.set_num_threads(1)
    folder, start = folder or HERE, time.perf_counter()
    page = measure(full)
    minutes = (time.perf_counter() - start) / 60
    for name, figure in page.figures.items():
        save(figure, folder / "images" / f"{study}-{name}.png")
    command = f"python docs/studies/{study}.py{' --full' if full else ''}"
    machine = f"{platform.machine()}, torch {torch.__version__}"
    made = f"Written by `{command}` in {minutes:.0f} minutes on one core ({machine})."
    path = folder / f"{study}.md"
    path.write_text(f"# {page.title}\n\n{page.text.strip()}\n\n---\n\n{made}\n")
    return path


def main(study: str, measure: Callable[[bool], Page]) -> None:
    """The command line of a study."""
    parser = argparse.ArgumentParser(prog=f"{study}.py", description=measure.__doc__)
    parser.add_argument("--full", action="store_true", help="the full settings, which may take hours")
    parser.add_argument("--folder", type=Path, default=HERE, help="where to write the page and its figures")
    given = parser.parse_args()
    print(f"written: {run(study, measure, given.folder, given.full)}")
