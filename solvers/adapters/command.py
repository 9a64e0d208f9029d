"""An external program as a full-order model: fills the parameters into its arguments and files, reads its output."""

import hashlib
import math
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlasdi.solvers import Json, Snapshots, SolverError
from mlasdi.solvers.adapters.file_arrays import FileArrays
from mlasdi.solvers.adapters.subprocesses import Ending, run
from mlasdi.solvers.adapters.templates import check_template, fill, placeholders
from mlasdi.solvers.formats import is_series, members

# Length of the program's output that an error message shows, and texts in it that mean exhausted memory.
_TAIL_CHARACTERS = 600
_OUT_OF_MEMORY = ("out of memory", "bad_alloc", "cannot allocate memory", "memoryerror", "oom-kill", "oom kill")


@dataclass(frozen=True, kw_only=True)
class Command(FileArrays):
    """Runs a program in a working folder of its own, without a shell, and reads the file that it writes.

    In `argv`, `files`, `templates` and `environment`, `{name}` stands for a parameter, `{name:.6e}` for a parameter in
    a number format, and `{here}` for the working directory of the agent. Launchers are ordinary programs:
    `[mpirun, -n, "4", "{here}/solver", input.nml]`, `[sbatch, --wait, "{here}/job.sh"]`.

    When a run finishes, exceeds its time limit, or the agent ends, all processes of the run are ended. Standard output
    and error are kept in the working folder as stdout.txt and stderr.txt.

    Stored solutions are found again by the arguments, the contents of templates, the environment and `version`, not by
    the contents of the program: after a new build that changes solutions, change `version`.

    Attributes:
        argv: program and arguments.
        parameters: names of the parameters.
        output: output file to read, a path in the working folder, or a pattern of paths such as `out/u_*.vtu` of files
            with one time each.
        files: name of an input file in the working folder -> its text.
        templates: name of an input file in the working folder -> the file that contains its text.
        environment: variables in addition to the agent's.
        time_limit_s: seconds that a run may take; None for no limit.
        memory_limit_mb: address space that each process of a run may have; None for no limit.
        runs: folder in which the working folders are made.
        keep: which working folders are kept: of `failed` runs, `all` or `none`.
        version: of the program.

    Raises:
        ValueError: a text has an unknown name in braces, a parameter is not used, or the suffix of the output is
            unknown.
    """

    argv: tuple[str, ...]
    parameters: tuple[str, ...]
    output: str
    files: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    time_limit_s: float | None = None
    memory_limit_mb: int | None = None
    runs: str = "mlruns/runs"
    keep: Literal["failed", "all", "none"] = "failed"
    version: str = ""

    layout = None  # each solution brings its own

    def __post_init__(self) -> None:
        if not self.argv or not self.parameters:
            raise ValueError("options argv and parameters must name at least one each")
        if "here" in self.parameters:
            raise ValueError("option parameters: 'here' stands for the working directory; call the parameter otherwise")
        for option, limit in (("time_limit_s", self.time_limit_s), ("memory_limit_mb", self.memory_limit_mb)):
            if limit is not None and not (limit > 0 and math.isfinite(limit)):
                raise ValueError(f"option {option}: {limit} must be positive and finite, or null for no limit")
        self.check_reader(self.output)
        for name in (self.output, *self.files, *self.templates):
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(f"'{name}' must be a path within the working folder of a run")
        used: set[str] = set()
        for where, text, strict in self._texts():
            check_template(text, where, (*self.parameters, "here"), strict=strict)
            used |= placeholders(text)
        unused = [name for name in self.parameters if name not in used]
        if unused:
            raise ValueError(
                f"parameters {unused} appear in no argument, input file or environment variable, as {{name}}"
            )

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return self.parameters

    def identity(self) -> Json:
        return {
            "solver": "command",
            "argv": list(self.argv),
            "texts": hashlib.sha256(repr(sorted(self._texts())).encode()).hexdigest(),
            "output": self.output,
            "version": self.version,
            **self.naming(),
        }

    def source(self) -> Path | None:
        """The script or program; None without a `version`, as other files of a program are not known."""
        program, *arguments = (text.replace("{here}", os.getcwd()) for text in self.argv)
        files = [Path(text) for text in (*arguments, shutil.which(program) or "") if Path(text).is_file()]
        return files[0] if self.version and files else None

    def solve(self, mu: Mapping[str, Any]) -> Snapshots:
        """Run the program and read its output.

        Raises:
            SolverError: the run failed (`exit-code`, `signal`, `time-out`, `out-of-memory`, `exception`), or its output
                cannot be used (`missing-output`, `bad-output`, `bad-times`, `wrong-shape`,
                `not-finite`).
        """
        values: dict[str, float | str] = {**mu, "here": os.getcwd()}
        folder = self._working_folder(mu)
        succeeded = False
        try:
            for name, text in {**self.files, **{name: _text(path) for name, path in self.templates.items()}}.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(fill(text, values))
            ending = run(
                self._arguments(values),
                folder,
                environment={name: fill(text, values) for name, text in self.environment.items()},
                time_limit_s=self.time_limit_s,
                memory_limit_mb=self.memory_limit_mb,
            )
            self._check(ending, folder)
            snapshots = self.snapshots(self.read_files(folder, self.output))
            files = members(folder, self.output) if is_series(self.output) else []
            self.check_finite(snapshots, self.output, files=files)
            snapshots.check(None)  # before the working folder is removed, so that it can be inspected
            succeeded = True
            return snapshots
        except SolverError as error:
            kept = "" if self.keep == "none" else f" (in {folder})"
            raise SolverError(error.kind, f"{error}{_tail(folder)}{kept}") from error
        finally:
            if self.keep == "none" or (succeeded and self.keep == "failed"):
                shutil.rmtree(folder, ignore_errors=True)

    def _arguments(self, values: Mapping[str, float | str]) -> list[str]:
        program, *arguments = (fill(text, values) for text in self.argv)
        # Relative to the agent's working directory, as all paths in the configuration, not to that of the run.
        return [str(Path(program).resolve()) if "/" in program else program, *arguments]

    def _working_folder(self, mu: Mapping[str, Any]) -> Path:
        runs = Path(self.runs).resolve()
        runs.mkdir(parents=True, exist_ok=True)
        point = "_".join(f"{name}={value:.6g}" for name, value in mu.items())
        return Path(tempfile.mkdtemp(prefix=f"{point[:100]}_".replace("/", "-"), dir=runs))

    def _check(self, ending: Ending, folder: Path) -> None:
        """Raise an error unless the program ended with exit code 0."""
        program = self.argv[0]
        if ending == Ending("exit", 0):
            return
        if ending.how == "time-out":
            remedy = "option time_limit_s sets the limit"
            raise SolverError("time-out", f"{program} was stopped after {self.time_limit_s:g} s; {remedy}")
        if ending.how == "not-started":
            raise SolverError("exception", f"{program} cannot be started: {ending.reason}")
        if any(sign in _end_of(folder / "stderr.txt").lower() for sign in _OUT_OF_MEMORY):
            raise SolverError(
                "out-of-memory", f"{program} ran out of memory; use a coarser grid or raise memory_limit_mb"
            )
        if ending.how == "signal":
            killed = ending.code == signal.SIGKILL
            cause = ", which may mean that the machine ran out of memory" if killed else ""
            raise SolverError("signal", f"{program} was ended by {_signal_name(ending.code)}{cause}")
        if ending.how == "lost":
            raise SolverError("signal", f"the supervisor of {program} was killed, and the program with it")
        raise SolverError("exit-code", f"{program} ended with exit code {ending.code}")

    def _texts(self) -> Iterator[tuple[str, str, bool]]:
        """Texts that may contain parameters: name, text, and whether other names in braces are errors there."""
        for i, text in enumerate(self.argv):
            yield f"argv[{i}]", text, True
        for name, text in self.environment.items():
            yield f"environment.{name}", text, True
        for name, text in self.files.items():
            yield f"files.{name}", text, False
        for name, path in self.templates.items():
            yield f"templates.{name}", _text(path), False


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise ValueError(f"option templates: '{path}' cannot be read: {error.strerror}") from error


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _tail(folder: Path) -> str:
    """The end of the program's standard error, or else of its standard output, on one line."""
    for name in ("stderr.txt", "stdout.txt"):
        words = " | ".join(filter(None, map(str.strip, _end_of(folder / name).splitlines())))
        if words:
            return f"; end of {name}: {words}"
    return ""


def _end_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL_CHARACTERS))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""
