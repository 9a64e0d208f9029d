"""The README, executed: its commands, Python, configurations and file list, and (slow) the numbers that it reports.

Campaigns run on a coarse mesh with a small model, so that every command works on a result of its own kind.
"""

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from servers import mlflow_server
from typer.testing import CliRunner, Result

from mlasdi.agent.cli.main import app
from mlasdi.agent.config import Config, dump_config, load_config
from mlasdi.agent.records import Ledger
from mlasdi.agent.report import read_report

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PACKAGES = ("solvers", "mlasdi", "agent")
DEMO = "mlasdi run configs/burgers1d.yaml"

# What `run` is given here beside what the README says.
SMALL = (
    "model.latent_dim=2", "model.n_time=11", "model.anchors=2", "model.first_stage.iterations=10", "model.stages=[]",
    "sampling.batch=8", "sampling.acquisition=sobol", "budget.solver_runs=4", "validation={}",
    "cluster.executor=serial",
)  # fmt: skip
SMALL_MESH = {"burgers1d": "problem.options={n_x: 101, n_t: 51}"}


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def block(language: str, first_line: str) -> str:
    """The block that begins with a comment."""
    (found,) = [text for text in blocks(language) if text.startswith(f"# {first_line}\n")]
    return found


def section(title: str) -> str:
    return re.split(r"^## ", README.split(f"\n## {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def shell_lines() -> list[str]:
    return [line for text in blocks("sh") for line in text.splitlines() if line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory as the README supposes it, with its files, and the results of its first campaign."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "configs", folder / "configs")
    (folder / "rod.py").write_text(block("python", "rod.py"))
    (folder / "rod.yaml").write_text(block("yaml", "rod.yaml"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)  # PYTHONPATH=.
        result = mlasdi(DEMO)
        assert result.exit_code == 0, result.output
        yield folder


def mlasdi(line: str) -> Result:
    """Run a command line of the README; campaigns small."""
    assignments, words = [], shlex.split(line, comments=True)
    while "=" in words[0]:
        assignments.append(words.pop(0))
    assert assignments in ([], ["PYTHONPATH=."])
    assert words.pop(0) == "mlasdi"
    if words[0] == "run" and "--dry-run" not in words:
        words[2:2] = [*SMALL, *(mesh for name, mesh in SMALL_MESH.items() if name in words[1])]
    return CliRunner().invoke(app, words, prog_name="mlasdi")


# Commands


def test_every_kind_of_block_is_known() -> None:
    assert {kind for kind, _ in BLOCKS} == {"sh", "console", "text", "python", "yaml"}
    assert len(BLOCKS) == len(re.findall(r"^```\w", README, re.MULTILINE))
    assert DEMO in (line.partition("#")[0].strip() for line in shell_lines())
    for line in shell_lines():
        assert re.match(
            r"(PYTHONPATH=\. )?mlasdi |make |mlflow ui |MLFLOW_TRACKING_URI=\S+ mlflow models |curl ", line
        ), line


def test_commands_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = set(re.findall(r"^make ([a-z-]+)", "\n".join(shell_lines()), re.MULTILINE))
    assert {"demo", "test"} <= wanted | set(re.findall(r"`make ([a-z-]+)`", README)) <= targets
    assert f"{DEMO}\n" in (ROOT / "Makefile").read_text()


# `mlasdi serve` runs until it is stopped; its own tests start it.
@pytest.mark.parametrize("line", [line for line in shell_lines() if "mlasdi " in line and "mlasdi serve" not in line])
def test_commands(line: str, folder: Path) -> None:
    result = mlasdi(line)
    assert result.exit_code == 0, result.output
    if "--json" in line:
        assert isinstance(json.loads(result.stdout), dict)
    if "--out" in line:
        assert (folder / "u.h5").stat().st_size > 0
    if "budget.solver_runs" in line:
        assert read_report(folder / "mlruns/campaigns/burgers1d")["solver_runs"] == 10


def test_every_command_is_shown(folder: Path) -> None:
    commands = set(re.findall(r"^  ([a-z]+)  ", mlasdi("mlasdi --help").stdout, re.MULTILINE))
    assert commands == {re.sub(r"^.*mlasdi ", "", line).split()[0] for line in shell_lines() if "mlasdi " in line}


def test_the_shown_dialogue_is_what_happens(folder: Path) -> None:
    (dialogue,) = blocks("console")
    result = None
    for line, answer in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", dialogue, re.MULTILINE):
        if line == "echo $?":
            assert result is not None
            assert answer == f"{result.exit_code}\n"
        else:
            result = mlasdi(line)
            assert result.output == answer
    assert result is not None


def test_the_database_to_browse_is_there(folder: Path) -> None:
    (line,) = [line for line in shell_lines() if line.startswith("mlflow ui")]
    database = line.rpartition("sqlite:///")[2]
    assert (folder / database).exists()
    assert shlex.split(read_report(folder / "mlruns/campaigns/burgers1d")["browse"])[:2] == ["mlflow", "ui"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_mlflow_serves_the_champion_to_curl(folder: Path) -> None:
    (serve, ask) = (line for line in shell_lines() if "mlflow models serve" in line or line.startswith("curl"))
    (variable, _), (host, port) = serve.split(maxsplit=1), ("http://127.0.0.1:", "5001")
    words = shlex.split(serve)[2:]
    place = words.index("--port")
    assert words[place + 1] == port
    name, _, value = variable.partition("=")
    arguments = [*words[:place], *words[place + 2 :]]
    with mlflow_server(*arguments, health="/ping", cwd=folder, environment={name: value}) as address:
        command = [word.replace(f"{host}{port}", address) for word in shlex.split(ask)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = np.array(json.loads(done.stdout)["predictions"])
    assert found.shape == (1, 2, 2, 101)
    assert (found[:, 0] <= found[:, 1]).all()


def test_interrupting_has_the_exit_code_of_the_table() -> None:
    from mlasdi.agent.cli.errors import BAD_INPUT, DONE, FAILED, INTERRUPTED

    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", section("Commands"), re.MULTILINE)]
    assert codes == [DONE, FAILED, BAD_INPUT, INTERRUPTED]


# Python


def test_python_blocks_run(folder: Path) -> None:
    """Together, one after the other, in a new process, as a reader would paste them."""
    script = "\n".join(text for text in blocks("python") if not text.startswith("# rod.py"))
    checks = (
        "assert p.mean.shape == p.std.shape == (1, len(p.t), 101) and p.t.shape == (11,)\n"
        "assert mean.shape == (441, 3, 101) and z.mean.shape == (441, 11, 2) and error.shape == (441,)\n"
        "assert u.shape == p.mean.shape and first.shape[0] == 441 and model.solver_runs >= 4\n"
        "assert surrogate.n_stages >= 1 and Surrogate.load('my-surrogate').space == space\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script + checks], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "models:/burgers1d@champion" in done.stdout


# Configurations


def test_the_full_configuration_names_every_key_with_its_default(folder: Path) -> None:
    text = block("yaml", "every key")
    (folder / "full.yaml").write_text(text)
    given = yaml.safe_load(text)
    least = {"name": given["name"], "problem": given["problem"], "budget": {"solver_runs": 9}}
    (folder / "least.yaml").write_text(yaml.safe_dump(least))
    full = load_config(folder / "full.yaml")
    assert dump_config(full) == dump_config(load_config(folder / "least.yaml"))
    del given["problem"]["parameters"]["a"]
    wanted = yaml.safe_load(dump_config(full))
    del wanted["problem"]["parameters"]["a"]
    assert keys(given) == keys(wanted)


def keys(settings: Any) -> Any:
    """Names of all settings, without their values."""
    if isinstance(settings, dict):
        return {name: keys(value) for name, value in settings.items()}
    return [keys(item) for item in settings if isinstance(item, dict)] if isinstance(settings, list) else None


def test_presets_stand_for_what_is_shown(folder: Path) -> None:
    shown = [yaml.safe_load(text)["model"] for text in blocks("yaml") if list(yaml.safe_load(text)) == ["model"]]
    assert shown
    for model in shown:
        assert config_with(folder, model) == config_with(folder, {"kind": model["kind"]})
        complete = yaml.safe_load(dump_config(config_with(folder, model)))["model"]
        assert keys(model) == keys({name: complete[name] for name in model})
        not_of_a_preset = {"latent_dim", "n_time", "basis", "noise", "noise_floor"}
        assert set(complete) - set(model) == not_of_a_preset


def config_with(folder: Path, model: dict[str, Any]) -> Config:
    base = yaml.safe_load((ROOT / "configs/burgers1d.yaml").read_text())
    path = folder / "preset.yaml"
    path.write_text(yaml.safe_dump(base | {"model": model}))
    return load_config(path)


def test_every_yaml_block_is_tested() -> None:
    first_lines = {text.partition("\n")[0] for text in blocks("yaml")}
    assert first_lines == {"# every key", "# rod.yaml", "model:"}


def test_named_settings_exist() -> None:
    """Dotted keys in the text, such as `budget.target_error`."""
    sections = yaml.safe_load(block("yaml", "every key"))
    named = re.findall(rf"`({'|'.join(sections)})\.([a-z_]+)`", README)
    assert named
    assert all(key in sections[name] for name, key in named)


# What the text says about files and results


def test_every_key_of_the_report_is_explained(folder: Path) -> None:
    rows = re.findall(r"^\| (`.*?`) \| .* \|$", section("Reading the result"), re.MULTILINE)
    explained = re.findall(r"`(\w+)`", " ".join(rows))
    assert explained == sorted(explained, key=explained.index)
    assert set(explained) == set(read_report(folder / "mlruns/campaigns/burgers1d"))


def test_the_folder_of_a_campaign_holds_what_is_said(folder: Path) -> None:
    campaign = folder / "mlruns/campaigns/burgers1d"
    for name in ("report.json", "figures/", "models/", "assessments/", "snapshots/", "ledger.db"):
        assert f"`{name}`" in section("Reading the result")
        assert (campaign / name).exists() or name == "assessments/"  # written where there is a validation set
    with Ledger(campaign / "ledger.db", read_only=True) as ledger:
        assert ledger.points("train")
    for figure in (campaign / "figures").glob("*.png"):
        assert f"`{figure.stem.partition('-')[0]}`" in section("Reading the result")


def test_images_exist_and_are_small() -> None:
    images = re.findall(r"!\[.+?\]\((.+?)\)", README)
    assert images
    assert all((ROOT / image).stat().st_size < 150_000 for image in images)
    # Pages of the documentation show the others.
    of_pages = {path for name in ("method", "tutorial") for path in (ROOT / "docs/images").glob(f"{name}-*.png")}
    assert {ROOT / image for image in images} == set((ROOT / "docs/images").iterdir()) - of_pages


def listed_files() -> dict[str, list[str]]:
    """Package -> its files, in the order of the architecture section."""
    (tree,) = re.findall(r"^```text\n(.*?)^```$", section("Architecture"), re.MULTILINE | re.DOTALL)
    listed: dict[str, list[str]] = {}
    for line in tree.splitlines():
        name = line.split(maxsplit=1)[0] if line else ""
        if name.endswith("/"):
            listed[name.removesuffix("/")] = []
        elif name:
            assert len(line.split(maxsplit=1)) == 2, f"{name} is not explained"
            list(listed.values())[-1].append(name)
    return listed


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_is_listed_and_every_listed_file_exists(package: str) -> None:
    existing = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"}
    assert sorted(listed_files()[package]) == sorted(existing)


@pytest.mark.parametrize("package", PACKAGES)
def test_files_import_only_what_is_listed_above_them(package: str) -> None:
    above: set[str] = set()
    for name in listed_files()[package]:
        imported = set()
        for node in ast.walk(ast.parse((ROOT / package / name).read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == package:
                inside = (node.module or "").partition(".")[2]
                imported |= {inside} if inside else {alias.name for alias in node.names}
        assert imported <= above, f"{package}/{name}"
        above.add(name.removesuffix(".py"))


def test_files_named_in_the_text_exist() -> None:
    for name in re.findall(r"`((?:solvers|mlasdi|agent|configs|docs)/[\w/.]+\.\w+)`", README):
        assert (ROOT / name).exists(), name


def test_notation_is_that_of_the_code() -> None:
    source = "\n".join(path.read_text() for package in PACKAGES for path in (ROOT / package).glob("*.py"))
    rows = [row.split("|")[3] for row in section("Notation").splitlines() if row.startswith("| ")][1:]
    names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert len(names) > 20
    for name in names:
        for word in re.findall(r"\w+", name):
            assert re.search(rf"\b{word}\b", source), name


# The numbers


def table_of(text: str) -> dict[str, list[float]]:
    """Stage -> errors, of the table that a run prints."""
    rows = re.findall(r"^│ ([\w() .,-]+?) +│(.*)│$", text, re.MULTILINE)
    return {name: percents(cells) for name, cells in rows}


def percents(text: str) -> list[float]:
    """Percentages as fractions."""
    return [float(value) / 100 for value in re.findall(r"([\d.]+) %", text)]


def assert_near(told: list[float], found: list[float]) -> None:
    assert len(told) == len(found)
    assert all(0.5 < a / b < 2 for a, b in zip(told, found, strict=True)), (told, found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", [DEMO, *(f"{DEMO} seed={n} name=seed-{n}" for n in (1, 2)), "mlasdi run configs/multiscale.yaml"]
)
def test_the_numbers_are_those_of_a_real_run(line: str, tmp_path: Path) -> None:
    """Within a factor of two: other processors and libraries round differently, which may move the points chosen."""
    code = "from mlasdi.agent.cli.main import main; main()"
    command = [sys.executable, "-c", code, *shlex.split(line)[1:], f"root={tmp_path}", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (row,) = re.findall(rf"^\| `{re.escape(line)}`[^|]*\|(.*)\|$", section("Measured"), re.MULTILINE)
    runs, first, total, mean, estimate, coverage = row.split("|")
    assert int(runs) == report["solver_runs"]
    assert_near(percents(first), [report["stages"][0]["max_error"]])
    assert_near(percents(total + mean), [report["max_relative_error"], report["mean_relative_error"]])
    assert_near(percents(estimate), [] if report["error_estimate"] is None else [report["error_estimate"]])
    assert percents(coverage) == pytest.approx([report["coverage"]], abs=0.25)
    if "burgers1d" in line:
        assert report["max_relative_error"] <= 0.003
    if "multiscale" in line:  # the published recipe: what its second stage is for
        assert report["stages"][0]["max_error"] >= 3 * report["stages"][1]["max_error"]
    if line == DEMO:
        (shown,) = [table_of(text) for text in blocks("text") if "leave-one-out" in text]
        assert list(shown) == [stage["name"] for stage in report["stages"]]
        for stage in report["stages"]:
            assert_near(shown[stage["name"]], [stage[key] for key in ("leave_one_out", "max_error", "mean_error")])
