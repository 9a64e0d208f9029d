"""Hooks of MkDocs: pages from outside `docs/`, generated reference pages, and formulas as MathML.

Formulas are translated when the site is built, so that it shows them without a script and without a network.
"""

import html
import re
import sys
from functools import partial
from pathlib import Path
from posixpath import dirname, relpath
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))  # MkDocs loads a hook from its file, and does not look for modules beside it

import notebook_pages  # noqa: E402
from command_line_page import command_line_page  # noqa: E402
from reference_pages import configuration_page  # noqa: E402

BENCHMARKS = "tests/benchmarks"
BENCHMARK_PAGES = (
    "RESULTS", "TRUST", "EXAMPLES", "RELIABILITY", "SOLVERS", "ACQUISITION", "LATENCY", "SCALE", "UTILISATION",
    "POLICY", "DEVICE", "MANY_SOLVES", "MANY_POINTS",
)  # fmt: skip
# File of the repository outside of `docs/` -> its page.
ELSEWHERE = {"README.md": "index.md"}
ELSEWHERE |= {f"{BENCHMARKS}/{name}.md": f"benchmarks/{name.lower()}.md" for name in BENCHMARK_PAGES}
ELSEWHERE |= {f"{BENCHMARKS}/{path.name}": f"benchmarks/{path.name}" for path in (ROOT / BENCHMARKS).glob("*.png")}
ELSEWHERE |= {name: name.lower() for name in ("CHANGELOG.md", "CONTRIBUTING.md")}
ELSEWHERE["CITATION.cff"] = "CITATION.cff"
GENERATED = {"reference/configuration.md": configuration_page, "reference/command-line.md": command_line_page}
GENERATED |= {f"tutorials/{path.stem}.md": partial(notebook_pages.page, path) for path in notebook_pages.NOTEBOOKS}
_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)]*)?\)")
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\(?P<kind>[(\[])(?P<latex>.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere, and those that are generated."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for page, write in GENERATED.items():
        files.append(File.generated(config, page, content=write()))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links between files as links between pages; those to a notebook lead to its page, where they are not on it."""
    here = page.file.src_uri
    notebooks = {f"tutorials/{path.stem}.ipynb": f"tutorials/{path.stem}.md" for path in notebook_pages.NOTEBOOKS}
    source = {page: source for source, page in ELSEWHERE.items()}.get(here, f"docs/{here}")

    def as_page(found: re.Match[str]) -> str:
        target = relpath(f"{dirname(source)}/{found[1]}".lstrip("/"))  # as seen from the root of the repository
        where = ELSEWHERE.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
        if where is None:
            return found[0]
        if notebooks.get(where) != here:
            where = notebooks.get(where, where)
        return f"]({relpath(where, dirname(here) or '.')}{found[2] or ''})"

    return _LINK.sub(as_page, markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Formulas as MathML."""
    return _FORMULA.sub(_as_mathml, content)


def _as_mathml(found: re.Match[str]) -> str:
    is_block = found["kind"] == "["
    latex = _known_to_latex2mathml(html.unescape(found["latex"]).strip())
    mathml = convert(latex, display="block" if is_block else "inline")
    mathml = mathml.replace('<mo accent="true">&#x02015;</mo>', '<mo stretchy="true">&#x0203E;</mo>')  # a bar as wide
    unknown = re.search(r"\\[a-zA-Z]+", mathml)
    if unknown:
        raise PluginError(f"{unknown[0]} is not understood by latex2mathml, in the formula {latex}")
    return f'<div class="formula">{mathml}</div>' if is_block else mathml


def _known_to_latex2mathml(latex: str) -> str:
    """The formula with other commands in place of those that latex2mathml does not know."""
    latex = re.sub(r"\\[bB]igg?l(?![a-z])", r"\\left", latex)
    latex = re.sub(r"\\[bB]igg?r(?![a-z])", r"\\right", latex)
    latex = re.sub(r"\\arg(?![a-z])", r"\\mathrm{arg}", latex)
    latex = re.sub(r"\\(min|max)_", r"\\\1\\limits_", latex)
    return re.sub(r"\\(mathcal|mathrm|mathbf) +([A-Za-z])", r"\\\1{\2}", latex)
