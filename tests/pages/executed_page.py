"""Pages of the documentation, executed: their blocks, the files and commands in these, and answers to compare with.

A block is a file if it begins with a comment that names it, `# front.yaml`; with `(not run)` after the name it is only
shown. A `console` block is a dialogue: commands after `$ `, and their answers.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from mlasdi.agent.cli.main import app

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"^(?:# |/\* |#!/bin/bash\n# )(?P<name>[\w.-]+)(?P<shown> \(not run\))?")
_EXCHANGE = re.compile(r"^\$ (.*)\n((?:[^$].*\n)*)", re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_PERCENT = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?(?:e[+-]?\d+)?) %")
_MEASURED = re.compile(r" (?:%|s|[kMG]?B)(?!\w)")
_AGE = re.compile(r" (?:now|\d+ (?:min|h|d))$")
_FRAME = re.compile(r"[━┏┓┗┛┡┩╇┳┃│─└┘┴\s]+")

Done = Result | subprocess.CompletedProcess[str]


class Page:
    """A page of the documentation.

    Attributes:
        text: all of it.
        blocks: kind and text of each fenced block.
    """

    def __init__(self, path: Path) -> None:
        self.text = path.read_text()
        self.blocks: list[tuple[str, str]] = _BLOCK.findall(self.text)
        assert len(self.blocks) == len(re.findall(r"^```\w", self.text, re.MULTILINE)), f"{path}: an open block"

    @property
    def kinds(self) -> set[str]:
        return {kind for kind, _ in self.blocks}

    def files(self, *, run: bool, kinds: tuple[str, ...] = ("python", "c", "yaml", "bash")) -> dict[str, str]:
        """Name -> text of the files; those that are only shown have `run` false."""
        named = [(_NAMED.match(text), text) for kind, text in self.blocks if kind in kinds]
        assert all(match for match, _ in named)
        return {match["name"]: text for match, text in named if match and bool(match["shown"]) != run}

    @property
    def lines(self) -> list[str]:
        """Commands of the `sh` blocks, without comments."""
        text = "".join(text for kind, text in self.blocks if kind == "sh")
        return [line.partition("#")[0].strip() for line in text.splitlines() if line]

    @property
    def exchanges(self) -> list[tuple[str, str]]:
        """Commands and answers of the dialogues, in their order."""
        return [found for kind, text in self.blocks if kind == "console" for found in _EXCHANGE.findall(text)]


def give(line: str, folder: Path, extra: tuple[str, ...] = ()) -> Done:
    """Give a command of a page, in `folder`, which must be the working directory.

    Args:
        extra: settings for `mlasdi run`; what the line itself sets comes last, and holds.
    """
    words = shlex.split(line)
    if words[0] == "mlasdi":
        if words[1] == "run":
            words[3:3] = extra
        return CliRunner().invoke(app, words[1:], prog_name="mlasdi")
    words[0] = sys.executable if words[0] == "python" else words[0]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)


def code_of(done: Done) -> int:
    return done.exit_code if isinstance(done, Result) else done.returncode


def succeeds(line: str, folder: Path, extra: tuple[str, ...] = ()) -> None:
    done = give(line, folder, extra)
    assert code_of(done) == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def assert_alike(shown: str, found: str, factor: float = 2.0) -> None:
    """Compare an answer that a page shows with a real one.

    A line `...` stands for any lines. Spaces and the frames of tables do not count. Counts must be equal; errors, sizes
    and other numbers with a point within a factor, since processors and libraries round differently. Ages, in the last
    column of a table, depend on how fast a machine is.
    """
    rest = _lines(found)
    parts = [_lines(part) for part in re.split(r"^\.\.\.$", shown, flags=re.MULTILINE)]
    for k, part in enumerate(parts):
        starts = [0] if k == 0 else range(len(rest) - len(part) + 1)
        start = next((n for n in starts if _are_alike(part, rest[n : n + len(part)], factor)), None)
        assert start is not None, f"shown:\n{shown}\nfound:\n{found}"
        rest = rest[start + len(part) :]
    assert not parts[-1] or not rest, f"not shown: {rest}"


def _lines(text: str) -> list[str]:
    # Errors are written in per cent from 0.01 % on, and as fractions below it.
    text = _PERCENT.sub(lambda found: f"{float(found[1]) / 100:.3g}", text)
    lines = (_FRAME.sub(" ", line).strip() for line in text.splitlines())
    return [_AGE.sub(" now", line) for line in lines if line]


def _are_alike(shown: list[str], found: list[str], factor: float) -> bool:
    one, other = "\n".join(shown), "\n".join(found)
    if _NUMBER.sub("#", one) != _NUMBER.sub("#", other):
        return False
    pairs = zip(_NUMBER.finditer(one), _NUMBER.finditer(other), strict=True)
    return all(_are_close(told, real, factor) for told, real in pairs)


def _are_close(told: re.Match[str], real: re.Match[str], factor: float) -> bool:
    if told[0] == real[0]:
        return True
    is_count = told[0].isdecimal() and not _MEASURED.match(told.string, told.end())
    one, other = float(told[0]), float(real[0])
    return not is_count and min(one, other) > 0 and 1 / factor < one / other < factor
