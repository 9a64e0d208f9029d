"""The examples with solvers of others: `python tests/benchmarks/examples_study.py [example ...]` (`make examples`).

Each folder of `examples/` is copied and run as its user would; its model is then judged at points that no campaign saw.
Writes `examples.json`, an example at a time, and EXAMPLES.md. An example whose code is not installed is skipped.
"""

import argparse
import contextlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import yaml
from examples_page import write_page
from results_page import here_and_now

import mlasdi
from mlasdi.agent.campaign import run_campaign
from mlasdi.agent.config import Config, load_config
from mlasdi.agent.report.report import output_errors
from mlasdi.solvers import FullOrderModel, Snapshots, build_solver
from mlasdi.surrogate import Surrogate
from mlasdi.surrogate.uncertainty import NORMAL_90
from mlasdi.validation import assess, covered_part

FOLDER = Path(__file__).parents[2] / "examples"
FILE = Path(__file__).with_name("examples.json")
N_UNSEEN = 20
SEED = 2026  # of the unseen points: not one that an agent's designs use


@dataclass(frozen=True)
class Example:
    """A folder of `examples/`.

    Attributes:
        code: whose solver it is.
        modules, programs: what has to be installed.
        build: a command that is run first, in the folder.
        must: output -> largest relative error that is allowed; `*` stands for all others.
        unseen: option -> value for the data set with the unseen runs; None where the solver can be asked.
    """

    code: str
    must: Mapping[str, float]
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    unseen: Mapping[str, str] | None = None

    def missing(self) -> list[str]:
        """What is not installed."""
        modules = [name for name in self.modules if importlib.util.find_spec(name) is None]
        return modules + [name for name in self.programs if shutil.which(name) is None]


EXAMPLES = {
    "openfoam-cavity": Example(
        "OpenFOAM, icoFoam", {"*": 0.01}, programs=("icoFoam", "blockMesh"),
    ),
    "pybamm-discharge": Example("PyBaMM, SPMe", {"*": 0.005}, modules=("pybamm",)),
    "cantera-ignition": Example("Cantera, GRI-Mech 3.0", {"end_time": 0.02, "*": 0.05}, modules=("cantera",)),
    "scikit-fem-plate": Example("scikit-fem", {"*": 0.01}, modules=("skfem",)),
    "fortran-mpi": Example(
        "Fortran and MPI", {"*": 0.01}, programs=("mpif90", "mpirun"),
        build=("mpif90", "-O2", "-o", "heat", "heat.f90"),
    ),
    "the-well": Example(
        "files in the layout of The Well", {"*": 0.01}, build=(sys.executable, "write_runs.py"),
        unseen={"path": "unseen"},
    ),
    "scalar-outputs": Example("a Python function", {"*": 0.01}),
}  # fmt: skip


def lines_of(folder: Path) -> int:
    """Lines that a user writes to connect the solver: the configuration, and the reader that it names."""
    (path,) = folder.glob("*.yaml")
    options = yaml.safe_load(path.read_text())["problem"]["options"]
    named = [options.get(key, "").partition(":")[0] for key in ("function", "reader")]
    files = [path, *(folder / f"{name}.py" for name in named if name)]
    return sum(bool(line.strip()) for file in files for line in file.read_text().splitlines())


def unseen_runs(config: Config, example: Example) -> list[tuple[np.ndarray, Snapshots]]:
    """Solutions at points that no campaign has seen, uniform in the units that the box has."""
    problem = config.problem
    fom: FullOrderModel = build_solver(problem.solver, {**problem.options, **(example.unseen or {})})
    space = problem.space
    if example.unseen is not None:
        mu = fom.available()[:N_UNSEEN]
    else:
        mu = space.from_unit(np.random.default_rng(SEED).random((N_UNSEEN, space.n_params)))
    return [(one, fom.solve(space.as_dict(one))) for one in mu]


def judged(
    surrogate: Surrogate, runs: Sequence[tuple[np.ndarray, Snapshots]], must: Mapping[str, float]
) -> dict[str, Any]:
    """True errors of each output, relative to its own norm, beside the estimate and the coverage of the 90 % bands."""
    truths = [(mu, covered_part(surrogate, run)) for mu, run in runs]
    found = output_errors(surrogate, assess(surrogate, truths, len(truths)))
    if "end_time" in found:
        prediction = surrogate.predict(np.stack([mu for mu, _ in runs]))
        distances = np.abs(prediction.end_time - [run.t[-1] for _, run in runs])
        found["end_time"]["coverage"] = float(np.mean(distances <= NORMAL_90 * prediction.end_time_std))
    keys = ("max_error", "mean_error", "error_estimate", "coverage")
    return {name: {key: one[key] for key in keys} | {"must": must.get(name, must["*"])} for name, one in found.items()}


def measured(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Run an example in a copy of its folder, and judge its model."""
    example = EXAMPLES[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / name
        shutil.copytree(FOLDER / name, folder)
        (path,) = folder.glob("*.yaml")
        if example.build:
            subprocess.run(example.build, cwd=folder, check=True)
        with contextlib.chdir(folder):
            config = load_config(path.name, overrides)
            began = perf_counter()
            report = run_campaign(config)
            if report["stop_reason"] == "interrupted":
                raise SystemExit(f"{name}: interrupted after {report['solver_runs']} runs; nothing is written")
            seconds = perf_counter() - began
            surrogate = mlasdi.load(f"models:/{config.name}@champion")
            outputs = judged(surrogate, unseen_runs(config, example), example.must)
    return {
        "code": example.code, "lines": lines_of(FOLDER / name), "solver_runs": report["solver_runs"],
        "stages": list(surrogate.record.stage_names), "seconds": seconds, "outputs": outputs,
        "measured": here_and_now(),
    }  # fmt: skip


def load() -> dict[str, dict[str, Any]]:
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("examples", nargs="*", help="names; all by default")
    parser.add_argument("--set", nargs="*", default=(), metavar="KEY=VALUE", help="changes of the configurations")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.examples or EXAMPLES:
        if missing := EXAMPLES[name].missing():
            print(f"{name} is skipped: {', '.join(missing)} is not installed.")
            continue
        entry = measured(name, given.set)
        for output, one in entry["outputs"].items():
            print(f"{name} {output}: largest error {one['max_error']:.3g}, allowed {one['must']:.3g}", flush=True)
        FILE.write_text(json.dumps(load() | {name: entry}, indent=1) + "\n")
    write_page(load(), {name: one.missing() for name, one in EXAMPLES.items()}, N_UNSEEN)


if __name__ == "__main__":
    main()
