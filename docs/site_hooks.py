"""What MkDocs calls while it builds the site: pages from outside `docs/`, and formulas as MathML.

Formulas are translated when the site is built, so that it shows them without a script and without a network.
"""

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
BENCHMARKS = "tests/benchmarks"
# Page -> file that it is made of.
ELSEWHERE = {"index.md": "README.md"} | {
    f"benchmarks/{name.lower()}.md": f"{BENCHMARKS}/{name}.md" for name in ("RESULTS", "SOLVERS", "LATENCY")
}
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\(?P<kind>[(\[])(?P<latex>.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere."""
    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Links between files of the repository as links between pages."""
    if page.file.src_uri == "index.md":
        markdown = markdown.replace("](docs/", "](")
        return re.sub(rf"\]\({BENCHMARKS}/(\w+)\.md", lambda found: f"](benchmarks/{found[1].lower()}.md", markdown)
    return markdown.replace("](../README.md", "](index.md")


def on_page_content(content: str, **_: Any) -> str:
    """Formulas as MathML."""
    return _FORMULA.sub(_as_mathml, content)


def _as_mathml(found: re.Match[str]) -> str:
    is_block = found["kind"] == "["
    mathml = convert(html.unescape(found["latex"]).strip(), display="block" if is_block else "inline")
    return f'<div class="formula">{mathml}</div>' if is_block else mathml
