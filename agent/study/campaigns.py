"""`build`: the campaign of the command `mlasdi run`, with the solver given as a function."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mlasdi.agent.config import Config
from mlasdi.agent.study.studies import Study
from mlasdi.solvers import FullOrderModel, Snapshots, give

SECTIONS = ("sampling", "model", "validation", "cluster", "tracking", "budget", "outputs")


def build(
    solve: Callable[..., Any] | FullOrderModel | str | None,
    parameters: Mapping[str, Any],
    *,
    solver_runs: int,
    target_error: float | str | Mapping[str, float | str] | None = None,
    name: str | None = None,
    root: str | Path = "mlruns",
    fields: tuple[str, ...] | list[str] = (),
    coordinates: Mapping[str, ArrayLike] | None = None,
    tracking_uri: str | None = None,
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
            of the other forms of a `callable` solver. Or its name, `"package.module:name"`; or a `FullOrderModel`; or
            None if you run the solves yourself, between `Study.ask` and `Study.tell`: then nothing is run yet.
        parameters: the box: name -> `(low, high)`, or a `mlasdi.Parameter`.
        solver_runs: number of solves.
        target_error: relative error at which to stop earlier, such as `"1%"` or `0.01`; or name of an output or
            quantity of interest -> such an error.
        name: of the campaign; by default that of the function, or `study`. Another campaign needs another name.
        root: folder of all files.
        fields: names of the fields that `solve` returns; `u` by default.
        coordinates: axis -> coordinates of the grid; by default the values of a field are numbered.
        tracking_uri: MLflow store that records the campaign and its models; by default a database in `root`.
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
    function, version, is_importable = _named(solve, name or "study")
    cluster = {"executor": "serial"} | dict(sections.pop("cluster", {}))
    if not is_importable and cluster["executor"] != "serial":
        raise ValueError(
            f"cluster.executor {cluster['executor']}: other processes cannot import {function.partition(':')[2]}; "
            "define it in a module, or use the executor serial"
        )
    axes = {axis: np.asarray(values, dtype=float).tolist() for axis, values in (coordinates or {}).items()}
    options: dict[str, Any] = {"function": function, "parameters": list(parameters), "version": version}
    options |= ({"fields": list(fields)} if fields else {}) | ({"coordinates": axes} if axes else {})
    tracking = dict(sections.pop("tracking", {})) | ({} if tracking_uri is None else {"uri": tracking_uri})
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
            "tracking": tracking,
            **{key: dict(value) for key, value in sections.items()},
        }
    )
    study = Study(config, runs_solver=solve is not None, progress=progress)
    return study.run() if study.runs_solver else study


def _bounds(given: Any) -> Any:
    """`[low, high]`, or a mapping with the attributes of a `mlasdi.Parameter`."""
    return asdict(given) if is_dataclass(given) and not isinstance(given, type) else list(given)


def _named(solve: Callable[..., Any] | FullOrderModel | str | None, study: str) -> tuple[str, str, bool]:
    """Name of a function for the solver `callable`, version of its code, and whether other processes can import it.

    Raises:
        ValueError: it is neither a function nor a name nor a full-order model.
    """
    if isinstance(solve, str):
        return solve, "", True
    if solve is None:
        return give(study, _left_to_the_user), "", False
    if isinstance(solve, FullOrderModel):
        text = json.dumps(solve.identity(), sort_keys=True)
        return give(type(solve).__name__, _as_function(solve)), _digest(text), False
    if not callable(solve):
        raise ValueError(
            f"solve is {type(solve).__name__}; give a function, its name as package.module:name, a FullOrderModel, or "
            "None to run the solves yourself"
        )
    module, name = getattr(solve, "__module__", ""), getattr(solve, "__qualname__", type(solve).__name__)
    is_importable = module not in ("", "__main__", None) and name.isidentifier()
    if is_importable:
        return f"{module}:{name}", _version(solve), True
    short = name.rpartition(".")[2].strip("<>") or "function"
    return give(short, solve), _version(solve), False


def _left_to_the_user(**mu: float) -> None:
    """Stands for a solver that only the user can run."""
    raise RuntimeError(f"the solve at {mu} is run by the user: give its solution to Study.tell")


def _as_function(fom: FullOrderModel) -> Callable[..., Snapshots]:
    """A full-order model as a function of its parameters by name."""

    def solve(**mu: float) -> Snapshots:
        found = fom.solve(mu)
        return found if found.layout is not None else replace(found, layout=fom.layout)

    return solve


def _version(solve: Callable[..., Any]) -> str:
    """Hash of the code: stored solutions of other code are not used again."""
    try:
        text = inspect.getsource(solve)
    except (OSError, TypeError):  # typed at a prompt, or an object
        code = getattr(solve, "__code__", None)
        text = repr(solve) if code is None else repr((code.co_code, code.co_consts, code.co_names))
    return _digest(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
