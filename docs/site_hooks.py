"""What MkDocs calls while it builds the site: pages from outside `docs/`, and formulas as MathML.

Formulas are translated when the site is built, so that it shows them without a script and without a network.
"""

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
BENCHMARKS = "tests/benchmarks"
# Page -> file that it is made of.
PAGES = ("RESULTS", "SOLVERS", "ACQUISITION", "LATENCY", "UTILISATION", "POLICY", "DEVICE")
ELSEWHERE = {"index.md": "README.md"}
ELSEWHERE |= {f"benchmarks/{name.lower()}.md": f"{BENCHMARKS}/{name}.md" for name in PAGES}
ELSEWHERE |= {f"benchmarks/{path.name}": f"{BENCHMARKS}/{path.name}" for path in (ROOT / BENCHMARKS).glob("*.png")}
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
    latex = _plain(html.unescape(found["latex"]).strip())
    mathml = convert(latex, display="block" if is_block else "inline")
    mathml = mathml.replace('<mo accent="true">&#x02015;</mo>', '<mo stretchy="true">&#x0203E;</mo>')  # a bar as wide
    unknown = re.search(r"\\[a-zA-Z]+", mathml)
    if unknown:
        raise PluginError(f"{unknown[0]} is not understood by latex2mathml, in the formula {latex}")
    return f'<div class="formula">{mathml}</div>' if is_block else mathml


def _plain(latex: str) -> str:
    """What latex2mathml does not know, in words that it does."""
    latex = re.sub(r"\\[bB]igg?l(?![a-z])", r"\\left", latex)
    latex = re.sub(r"\\[bB]igg?r(?![a-z])", r"\\right", latex)
    latex = re.sub(r"\\arg(?![a-z])", r"\\mathrm{arg}", latex)
    latex = re.sub(r"\\(min|max)_", r"\\\1\\limits_", latex)
    return re.sub(r"\\(mathcal|mathrm|mathbf) +([A-Za-z])", r"\\\1{\2}", latex)
