"""The notebooks of the documentation: executed, with their outputs stored in them, and as pages.

`make notebooks` executes them as they are. The cells run in one namespace, as in Jupyter; a cell shows what it prints,
the value of its last expression unless a semicolon follows, and the figures of pyplot that it has drawn.
"""

import ast
import base64
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot

DOCS = Path(__file__).parent
NOTEBOOKS = sorted((DOCS / "tutorials").glob("*.ipynb"))


def read(path: Path) -> dict[str, Any]:
    """A notebook as JSON."""
    return json.loads(path.read_text())


def executed(notebook: dict[str, Any], changes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The notebook with the outputs of its cells, which are executed in the working directory.

    Args:
        changes: text -> text to execute in place of it, for example with fewer solver runs.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = []
    with matplotlib.rc_context():  # settings of one notebook have no effect on the next
        pyplot.switch_backend("agg")
        try:
            for cell in notebook["cells"]:
                if cell["cell_type"] == "code":
                    source = "".join(cell["source"])
                    for text, other in (changes or {}).items():
                        source = source.replace(text, other)
                    number = 1 + sum(one["cell_type"] == "code" for one in cells)
                    cell = cell | {"outputs": _outputs(source, names, number), "execution_count": number}
                cells.append(cell)
        finally:
            pyplot.close("all")
    return notebook | {"cells": cells}


def _outputs(source: str, names: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """What a cell shows, as the notebook format has it."""
    *body, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        body, last = [*body, last], None
    printed = StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        exec(compile(ast.Module(body, []), f"cell {number}", "exec"), names)
        value = None if last is None else eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
    found: list[dict[str, Any]] = []
    if printed.getvalue():
        text = printed.getvalue().splitlines(keepends=True)
        found.append({"output_type": "stream", "name": "stdout", "text": text})
    if value is not None and not source.rstrip().endswith(";"):
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        if hasattr(value, "_repr_png_"):
            data["image/png"] = base64.b64encode(value._repr_png_()).decode()
        elif hasattr(value, "_repr_html_"):
            data["text/html"] = value._repr_html_().splitlines(keepends=True)
        found.append({"output_type": "execute_result", "execution_count": number, "data": data, "metadata": {}})
    return found + _drawn_figures()


def _drawn_figures() -> list[dict[str, Any]]:
    """The open figures of pyplot, which are closed."""
    found: list[dict[str, Any]] = []
    for number in pyplot.get_fignums():
        stream = BytesIO()
        pyplot.figure(number).savefig(stream, format="png")
        data = {"image/png": base64.b64encode(stream.getvalue()).decode()}
        found.append({"output_type": "display_data", "data": data, "metadata": {}})
    pyplot.close("all")
    return found


def page(path: Path) -> str:
    """The notebook as a page in Markdown; figures are in it as data."""
    parts = []
    for cell in read(path)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_shown(output) for output in cell.get("outputs", ())]
    title, *rest = parts
    note = f"*This page is a notebook, with its outputs: [{path.name}]({path.name}).*"
    return "\n\n".join([title, note, *rest]) + "\n"


def _shown(output: Mapping[str, Any]) -> str:
    if output["output_type"] == "stream":
        return f"```text\n{''.join(output['text']).rstrip()}\n```"
    data = output["data"]
    if "image/png" in data:
        return f'<img alt="figure" src="data:image/png;base64,{data["image/png"]}">'
    if "text/html" in data:
        lines = (line.strip() for line in "".join(data["text/html"]).splitlines())
        plain = "".join(lines).replace(' border="1" class="dataframe"', "")  # the site has a style for plain tables
        return f'<div class="output">{plain}</div>'
    return f"```text\n{''.join(data['text/plain']).rstrip()}\n```"


def main() -> None:
    """Execute all notebooks, each in an empty folder, and store their outputs in them."""
    started_in = Path.cwd()
    for path in NOTEBOOKS:
        notebook = read(path)
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            warnings.simplefilter("ignore", DeprecationWarning)
            notebook = executed(notebook)
            os.chdir(started_in)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
