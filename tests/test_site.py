"""The documentation as a site, as `make docs` builds it: complete, with its formulas, and without a network.

Needs the extra `docs`.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line_page import commands
from headless import SCREENS
from notebook_pages import NOTEBOOKS
from reference_pages import configuration_keys

ROOT = Path(__file__).parents[1]
PACKAGES = ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers.python", "latex2mathml")


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(_is_installed, PACKAGES)), reason="the site needs more packages: pip install 'mlasdi[docs]'"
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built strictly: a dead link or a docstring that contradicts its function would be an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def pages(site: Path) -> dict[str, str]:
    return {str(path.relative_to(site)): path.read_text() for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_page_is_there(site: Path) -> None:
    names = {str(path.relative_to(ROOT / "docs").with_suffix(".html")) for path in (ROOT / "docs").rglob("*.md")}
    names |= {f"benchmarks/{path.stem.lower()}.html" for path in (ROOT / "tests/benchmarks").glob("*.md")}
    names |= {"index.html", "contributing.html", "changelog.html"}
    names |= {"reference/configuration.html", "reference/command-line.html"}
    names |= {f"tutorials/{path.stem}.html" for path in NOTEBOOKS}
    assert set(pages(site)) == names
    assert "Surrogate models of expensive" in pages(site)["tutorials/first-campaign.html"]
    for page, text in pages(site).items():
        for link in re.findall(r'<(?:img|a)[^>]* (?:src|href)="([^":#]+\.(?:html|png|py|json))', text):
            assert (site / page).parent.joinpath(link).exists(), f"{page}: {link}"


def test_formulas_are_mathml(site: Path) -> None:
    text = pages(site)["explanation/method.html"]
    source = (ROOT / "docs/explanation/method.md").read_text()
    assert text.count('<div class="formula"><math') == len(re.findall("^```math", source, re.MULTILINE)) > 5
    assert text.count("<math") > 50
    assert not any(re.search(r"\\[a-zA-Z]+", formula) for formula in re.findall(r"<math.*?</math>", text, re.DOTALL))
    assert "arithmatex" not in text


def test_the_reference_is_made_of_docstrings(site: Path) -> None:
    for page, names in {
        "python": ("fit", "Parameter", "load"),
        "surrogates": ("Surrogate.predict", "training.fit", "surrogate.Probes.at_points", "ModelSettings"),
        "campaigns": ("agent.campaign.run_campaign", "agent.config.load_config"),
        "registry": ("agent.registry.find", "agent.registry.promote"),
        "solvers": (
            "FullOrderModel",
            "solvers.storage.snapshot_store.SnapshotStore",
            "solvers.adapters.command.Command",
        ),
    }.items():
        text = pages(site)[f"reference/{page}.html"]
        assert [name for name in names if f'id="mlasdi.{name}"' not in text] == [], page


def test_generated_references_are_whole(site: Path) -> None:
    configuration = pages(site)["reference/configuration.html"]
    for key in configuration_keys():
        name = key.rpartition(".")[2]
        assert f"<code>{name}</code>" in configuration or f'id="{name}"' in configuration, key
    command_line = pages(site)["reference/command-line.html"]
    for command, _ in commands():
        assert f'id="mlasdi-{command.replace(" ", "-")}"' in command_line, command


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    for page, text in pages(site).items():
        fetched = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]*)"', text)
        fetched += re.findall(r'<link[^>]* rel="(?:stylesheet|preconnect|preload)"[^>]* href="([^"]*)"', text)
        assert [url for url in fetched if re.match(r"(?:https?:)?//", url)] == [], page


@pytest.mark.parametrize("screen", SCREENS)
def test_pages_open_from_disk(site: Path, browser: Any, screen: str) -> None:
    width, height = SCREENS[screen]
    for name in pages(site):
        page = browser.new_page(viewport={"width": width, "height": height}, is_mobile=screen == "phone")
        complaints: list[str] = []
        page.on("pageerror", lambda error, said=complaints: said.append(str(error)))
        page.on("request", lambda asked, said=complaints: said.append(asked.url) if asked.url[:4] == "http" else None)
        page.goto((site / name).as_uri(), wait_until="load")
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert (complaints, overflow) == ([], 0), name
        page.close()


def test_the_search_works_from_disk(site: Path, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto((site / "index.html").as_uri(), wait_until="load")
    page.fill("input.md-search__input", "envelope theorem")
    found = page.locator(".md-search-result__link", has_text="variable projection").first
    found.wait_for(state="attached")
    assert "explanation/method.html" in found.get_attribute("href")
    page.close()
