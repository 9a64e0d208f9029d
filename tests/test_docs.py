"""All pages of the documentation: links, commands, settings and names that they mention exist; words that they avoid.

Also (slow) the numbers of campaigns that pages quote.
"""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import command_line_page
import notebook_pages
import pytest
import reference_pages
import yaml
from executed_page import Page

from mlasdi.agent.config import Config, StopReason, load_config
from mlasdi.agent.terminal import BAD_INPUT, DONE, FAILED, INTERRUPTED

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
FLOORS = ("solvers", "mlasdi", "agent")
GENERATED = (
    "reference/configuration.md", "reference/command-line.md",
    *(f"tutorials/{path.stem}.md" for path in notebook_pages.NOTEBOOKS),
)  # fmt: skip
# Private words of earlier versions; the field has others.
AVOIDED = (
    r"own (time|coordinates|units|variables)", "told apart", "side by side", "sated", "parcel", "goes on", "clock",
    "judge[sd]?", "trust the (stages|model)", "forgets?", "reached points", "dear solves", "strips", "kriging to come",
)  # fmt: skip
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text):
        target = (page.parent / link).resolve()
        generated = target.is_relative_to(DOCS) and str(target.relative_to(DOCS)) in GENERATED
        assert generated or target.exists(), link


@pytest.mark.parametrize("name", [name for name in NAMES if "studies/" not in name])
def test_plain_words(name: str) -> None:
    text = re.sub(r"\s+", " ", (ROOT / name).read_text())
    found = [word for word in AVOIDED if re.search(rf"\b({word})\b", text, re.IGNORECASE)]
    assert found == []


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_settings_exist(name: str) -> None:
    text = (ROOT / name).read_text()
    commands = {command for command, _ in command_line_page.commands()}
    lines = [
        line for kind, block in Page(ROOT / name).blocks if kind in ("sh", "console") for line in block.splitlines()
    ]
    for line in lines:
        if given := re.match(r"(?:\$ )?mlasdi (\w+)(?: (\w+) )?", line):
            assert given[1] in commands, line
            if given[1] == "models" and given[2]:
                assert f"models {given[2]}" in commands, line
    keys = {re.sub(r"\[\]", "", key) for key in reference_pages.configuration_keys()}
    for key in re.findall(rf"`((?:{'|'.join(Config.model_fields)})\.[a-z_.]+)[`:=]", text):
        assert key in keys or not key.partition(".")[2].isidentifier() or key.startswith("problem.parameters."), key


def test_images_are_shown_and_small() -> None:
    shown = {
        (page.parent / image).resolve()
        for page in PAGES
        for image in re.findall(r"!\[.+?\]\((.+?)\)", page.read_text())
    }
    assert set((DOCS / "images").iterdir()) <= shown
    assert all(image.stat().st_size < 400_000 for image in shown)


# The generated references


def test_the_configuration_lists_every_key_with_its_default() -> None:
    page = reference_pages.configuration_page()
    for key in reference_pages.configuration_keys():
        assert f"| `{key.rpartition('.')[2]}` |" in page or f"\n## {key}\n" in page, key
    assert "| `batch` | integer, at least 1, at most 100000 | `1` |" in page
    assert "| `executor` | `ray`, `serial`, `slurm` | `ray` |" in page
    assert "| `target_error` | fraction below 1, or text such as `0.3%`; or `{output: such a value}` | `null` |" in page
    assert "None" not in page


def test_the_command_line_lists_every_command_and_option() -> None:
    page = command_line_page.command_line_page()
    assert {"run", "init", "check", "models compare", "predict", "serve"} <= {
        name for name, _ in command_line_page.commands()
    }
    for name, command in command_line_page.commands():
        section = page.partition(f"## mlasdi {name}\n")[2].partition("\n## ")[0]
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden and parameter.name != "help":
                assert f"`{parameter.opts[0]}`" in section, (name, parameter.name)
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)]
    assert codes == [DONE, FAILED, BAD_INPUT, INTERRUPTED]


def test_the_report_page_names_every_reason_to_stop() -> None:
    (row,) = re.findall(r"^\| `stop_reason` \| (.*) \|$", (DOCS / "reference/report.md").read_text(), re.MULTILINE)
    assert set(re.findall(r"`([a-z-]+)`", row)) == {str(reason) for reason in StopReason}


# What explanations name


def test_the_architecture_lists_every_room() -> None:
    page = (DOCS / "explanation/architecture.md").read_text()
    listed = re.findall(r"^\| `([\w/]+)` \| ", page, re.MULTILINE)
    rooms = {
        str(path.parent.relative_to(ROOT))
        for floor in FLOORS
        for path in (ROOT / floor).rglob("__init__.pyi")
        if not path.is_relative_to(ROOT / "mlasdi/agent") and not path.is_relative_to(ROOT / "mlasdi/solvers")
    }
    assert rooms - {"mlasdi"} <= set(listed)
    for name in [*listed, *re.findall(r"`((?:solvers|mlasdi|agent|tests)/[\w/.]+)`", page)]:
        assert (ROOT / name).exists(), name


def test_notation_is_that_of_the_code() -> None:
    source = "\n".join(path.read_text() for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
    rows = re.findall(r"^\| .* \| .* \| (.*) \|$", (DOCS / "explanation/notation.md").read_text(), re.MULTILINE)
    names = [word for row in rows for name in re.findall(r"`([^`]+)`", row) for word in re.findall(r"\w+", name)]
    assert len(names) > 20
    missing = [name for name in names if not re.search(rf"\b{name}\b", source)]
    assert missing == []


def test_yaml_blocks_are_configurations(tmp_path: Path) -> None:
    """Those that are parts of a configuration, completed by a problem."""
    base, n_read = yaml.safe_load((ROOT / "configs/burgers1d.yaml").read_text()), 0
    for page in DOCS.glob("how-to/*.md"):
        for kind, text in Page(page).blocks:
            given = yaml.safe_load(text) if kind == "yaml" else {}
            if given and "problem" not in given and set(given) <= set(Config.model_fields):
                path = tmp_path / "part.yaml"
                path.write_text(yaml.safe_dump(base | given))
                load_config(path)  # raises where it is none
                n_read += 1
    assert n_read > 0


# The numbers of campaigns


def percents(text: str) -> list[float]:
    """Percentages as fractions."""
    return [float(value) / 100 for value in re.findall(r"([\d.e-]+) %", text)]


def errors_of(row: str) -> list[float]:
    """The errors in a row of a table: fractions, or percentages."""
    return [float(value) / (100 if unit else 1) for value, unit in re.findall(r"([\d.e-]+)( %)?", row)]


def assert_near(told: list[float], found: list[float]) -> None:
    """Within a factor of two: other processors and libraries round differently, which may move the points chosen."""
    assert len(told) == len(found)
    assert all(0.5 < a / b < 2 for a, b in zip(told, found, strict=True)), (told, found)


BENCHMARKS = (DOCS / "explanation/benchmarks.md").read_text()
CAMPAIGNS = re.findall(r"^\| `(mlasdi run .*?)`", BENCHMARKS, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("line", CAMPAIGNS)
def test_the_numbers_are_those_of_a_real_run(line: str, tmp_path: Path) -> None:
    code = "from mlasdi.agent.cli.main import main; main()"
    command = [sys.executable, "-c", code, *shlex.split(line)[1:], f"root={tmp_path}", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (row,) = re.findall(rf"^\| `{re.escape(line)}`[^|]*\|(.*)\|$", BENCHMARKS, re.MULTILINE)
    runs, first, total, mean, estimate, coverage = row.split("|")
    assert int(runs) == report["solver_runs"]
    assert_near(percents(first), [report["stages"][0]["max_error"]])
    assert_near(percents(total + mean), [report["max_relative_error"], report["mean_relative_error"]])
    assert_near(percents(estimate), [] if report["error_estimate"] is None else [report["error_estimate"]])
    assert percents(coverage) == pytest.approx([report["coverage"]], abs=0.25)
    if "burgers1d" in line:
        assert report["max_relative_error"] <= 0.003
    if "multiscale" in line:  # the published recipe: its second stage divides the error
        assert report["stages"][0]["max_error"] >= 3 * report["stages"][1]["max_error"]
    if line == CAMPAIGNS[0]:
        text = (DOCS / "how-to/read-the-report.md").read_text()
        shown = {name: errors_of(row) for name, row in re.findall(r"^│ ([\w() .,-]+?) +│(.*)│$", text, re.MULTILINE)}
        assert list(shown) == [stage["name"] for stage in report["stages"]]
        for stage in report["stages"]:
            assert_near(shown[stage["name"]], [stage[key] for key in ("leave_one_out", "max_error", "mean_error")])
