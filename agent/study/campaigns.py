"""`build`: the campaign of the command `mlasdi run`, with the solver given as a function."""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mlasdi.agent.campaign import run_campaign
from mlasdi.agent.config import Config
from mlasdi.agent.records import Monitor
from mlasdi.agent.text import percent
from mlasdi.prediction import html_table
from mlasdi.preprocessing import places_among
from mlasdi.solvers import give
from mlasdi.surrogate import Surrogate

if TYPE_CHECKING:
    import pandas as pd

SECTIONS = ("sampling", "model", "validation", "cluster", "tracking", "budget", "outputs")


@dataclass(frozen=True)
class Study:
    """A campaign that has ended, and what came of it.

    Attributes:
        config: its configuration.
        report: `report.json`: errors as fractions, times in seconds.
    """

    config: Config
    report: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Ledger, models, figures and reports of the campaign."""
        return self.config.folder

    @property
    def model(self) -> Surrogate:
        """The last surrogate, which knows all solves."""
        return Surrogate.load(self.folder / "models" / f"round-{self.report['rounds'] - 1:03d}")

    @property
    def points(self) -> "pd.DataFrame":
        """A row for each training point: its parameters and, where a model was there before, two relative errors.

        `expected` is what that model expected there, `found` what the solve found.
        """
        import pandas as pd

        space, tested = self.config.problem.space, self.report["predicted_before"]
        table = pd.DataFrame(self.report["points"], columns=[*space.names, "expected", "found"])
        known = [space.to_unit(space.as_array(one["mu"]))[0] for one in tested]
        x = space.to_unit(space.as_array(table[list(space.names)]))
        for row, place in enumerate(places_among(x, np.array(known).reshape(-1, space.n_params)).tolist()):
            if place >= 0:
                table.loc[row, ["expected", "found"]] = tested[place]["expected"], tested[place]["found"]
        return table

    @property
    def figures(self) -> dict[str, Path]:
        """Name of each figure of the campaign, such as `error_map` or `convergence` -> its file."""
        return {path.stem: path for path in map(Path, self.report["figures"])}

    def resume(self, *, progress: bool = True, **budget: Any) -> "Study":
        """Go on with another budget, for example `solver_runs=20`; nothing is solved twice."""
        changed = self.config.budget.model_dump(mode="json") | budget
        settings = self.config.model_copy(update={"budget": type(self.config.budget).model_validate(changed)})
        return _run(settings, progress)

    def __repr__(self) -> str:
        estimate = percent(self.report["error_estimate"])
        return f"Study('{self.config.name}', {self.report['solver_runs']} solver runs, estimated error {estimate})"

    def _repr_html_(self) -> str:
        stages = " + ".join(stage["name"] for stage in self.report["stages"])
        facts = {
            "solver runs": self.report["solver_runs"],
            "stopped because of": self.report["stop_reason"],
            "estimated largest error": percent(self.report["error_estimate"]),
            "model": stages,
            "folder": self.folder,
        }
        return html_table(self.config.name, facts)


def build(
    solve: Callable[..., Any] | str,
    parameters: Mapping[str, Any],
    *,
    solver_runs: int,
    target_error: float | str | Mapping[str, float | str] | None = None,
    name: str | None = None,
    root: str | Path = "mlruns",
    fields: tuple[str, ...] | list[str] = (),
    coordinates: Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
    progress: bool = True,
    **sections: Mapping[str, Any],
) -> Study:
    """Build a surrogate of a solver: run it where the model is most uncertain, until budget or target are reached.

    It is the campaign of `mlasdi run`: the ledger in `root` keeps every solve, the same call resumes a campaign that
    was interrupted, and its models are registered with MLflow. Solves run in this process, one after the other; with
    `cluster={"executor": "ray"}` they run in parallel, if other processes can import the function.

    Args:
        solve: called with the parameters by name; returns `t, u` with times `[time]` and states `[time, ...]`, or one
            of the other forms of a `callable` solver. Or its name, `"package.module:name"`.
        parameters: the box: name -> `(low, high)`, or a `mlasdi.Parameter`.
        solver_runs: number of solves.
        target_error: relative error at which to stop earlier, such as `"1%"` or `0.01`; or name of an output or
            quantity of interest -> such an error.
        name: of the campaign; by default that of the function. Another campaign needs another name.
        root: folder of all files.
        fields: names of the fields that `solve` returns; `u` by default.
        coordinates: axis -> coordinates of the grid; by default the values of a field are numbered.
        seed: of everything random.
        progress: print a line for every event.
        **sections: further sections of the configuration, such as `model={"effort": "quick"}` or
            `sampling={"batch": 4}`, or quantities of interest `outputs={"peak": "max over time and space of T"}`.

    Returns:
        The study, with the model.

    Raises:
        pydantic.ValidationError: a setting is not allowed; it is a ValueError that names the key.
        CampaignError: too few solves succeed, or a campaign of this name has other settings.

    Examples:
        >>> import numpy as np
        >>> import mlasdi
        >>> x, t = np.linspace(0, 1, 50), np.linspace(0, 1, 30)
        >>> def decay(a):
        ...     return t, np.exp(-a * t[:, None]) * np.sin(np.pi * x)
        >>> study = mlasdi.build(decay, {"a": (1, 2)}, solver_runs=4, coordinates={"x": x}, progress=False)
        >>> study.model.predict({"a": 1.3}).mean.shape
        (1, 30, 50)
    """
    unknown = sorted(set(sections) - set(SECTIONS))
    if unknown:
        raise ValueError(f"build: unknown argument '{unknown[0]}'; sections are {', '.join(SECTIONS)}")
    function, version, is_importable = _named(solve)
    cluster = {"executor": "serial"} | dict(sections.pop("cluster", {}))
    if not is_importable and cluster["executor"] == "ray":
        raise ValueError(
            f"cluster.executor ray: other processes cannot import {function.partition(':')[2]}; define it in a module, "
            "or use the executor serial"
        )
    axes = {axis: np.asarray(values, dtype=float).tolist() for axis, values in (coordinates or {}).items()}
    options: dict[str, Any] = {"function": function, "parameters": list(parameters), "version": version}
    options |= ({"fields": list(fields)} if fields else {}) | ({"coordinates": axes} if axes else {})
    budget = {"solver_runs": solver_runs, "target_error": target_error} | dict(sections.pop("budget", {}))
    config = Config.model_validate(
        {
            "name": name or function.rpartition(":")[2],
            "root": Path(root),
            "seed": seed,
            "problem": {
                "solver": "callable",
                "options": options,
                "parameters": {key: _bounds(value) for key, value in parameters.items()},
            },
            "budget": budget,
            "cluster": cluster,
            **{key: dict(value) for key, value in sections.items()},
        }
    )
    return _run(config, progress)


def _run(config: Config, progress: bool) -> Study:
    if not progress:
        return Study(config, run_campaign(config, Monitor()))
    from mlasdi.agent.terminal import ConsoleMonitor, progress_output

    with ConsoleMonitor(progress_output(), config.sampling.batch) as monitor:
        return Study(config, run_campaign(config, monitor))


def _bounds(given: Any) -> Any:
    """`[low, high]`, or a mapping with the attributes of a `mlasdi.Parameter`."""
    return asdict(given) if is_dataclass(given) and not isinstance(given, type) else list(given)


def _named(solve: Callable[..., Any] | str) -> tuple[str, str, bool]:
    """Name of a function for the solver `callable`, version of its code, and whether other processes can import it.

    Raises:
        ValueError: it is neither a function nor a name.
    """
    if isinstance(solve, str):
        return solve, "", True
    if not callable(solve):
        raise ValueError(f"solve is {type(solve).__name__}; give a function, or its name as package.module:name")
    module, name = getattr(solve, "__module__", ""), getattr(solve, "__qualname__", type(solve).__name__)
    is_importable = module not in ("", "__main__", None) and name.isidentifier()
    if is_importable:
        return f"{module}:{name}", _version(solve), True
    short = name.rpartition(".")[2].strip("<>") or "function"
    return give(short, solve), _version(solve), False


def _version(solve: Callable[..., Any]) -> str:
    """Hash of the code: stored solutions of other code are not used again."""
    try:
        text = inspect.getsource(solve)
    except (OSError, TypeError):  # typed at a prompt, or an object
        code = getattr(solve, "__code__", None)
        text = repr(solve) if code is None else repr((code.co_code, code.co_consts, code.co_names))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
