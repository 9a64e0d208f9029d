"""The report of a campaign as one HTML file that needs nothing else: no network, no server, no other file."""

import base64
import gzip
import json
import os
import secrets
import shlex
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mlasdi.agent.config import Config, dump_config
from mlasdi.agent.records import Ledger
from mlasdi.agent.report.data import ReportData
from mlasdi.agent.report.headline import answer
from mlasdi.agent.report.report import read_report
from mlasdi.agent.report.status import campaign_status
from mlasdi.agent.text import percent, point, seconds

# A page with more rows of solves would be slow to open; the ledger holds them all.
MAX_ROWS = 500


class NothingToReport(Exception):
    """The campaign has not started."""


def write_html_report(config: Config, out: Path | None = None, report: Mapping[str, Any] | None = None) -> Path:
    """Write the report of a campaign, which may still be running, complete or not at all; returns its path.

    Args:
        out: file to write; None for `report.html` in the campaign's folder.
        report: of a campaign that ends just now, as in `report.json`; None to find it.

    Raises:
        NothingToReport: the campaign has not started.
        LedgerError: its ledger cannot be read.
        SurrogateError: its last model is missing or damaged.
    """
    ledger_file = config.folder / "ledger.db"
    if not ledger_file.exists():
        raise NothingToReport(f"campaign '{config.name}' has not started: there is no {ledger_file}")
    if report is None and campaign_status(config)["state"] == "finished":
        report = read_report(config.folder)
    with Ledger(ledger_file, read_only=True) as ledger:
        page = _page(config, ReportData(config, ledger, report), is_finished=report is not None)
    path = config.folder / "report.html" if out is None else out
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(page, encoding="utf-8")
    os.replace(partial, path)
    return path


def _page(config: Config, data: ReportData, *, is_finished: bool) -> str:
    drawn = data.charts()
    # At the end there is a total, which includes what no activity accounts for.
    spent = dict((data.report or {}).get("seconds") or data.ledger.seconds())
    rows = data.solves()
    return _environment().get_template("report.html").render(
        nonce=secrets.token_urlsafe(16),
        css=_source("report.css"),
        scripts=[_source(name) for name in ("report.js", "maps.js", "player.js", "start.js")],
        plotly=_plotly(),
        charts=Markup(_json(drawn)),
        drawn=drawn,
        config=config,
        report=data.report,
        is_finished=is_finished,
        round=data.round,
        answer=answer(data, spent),
        spent=dict(sorted(spent.items(), key=lambda item: -item[1])),
        solves=rows[:MAX_ROWS],
        n_more_solves=max(len(rows) - MAX_ROWS, 0),
        n_failed=data.ledger.failures(),
        validation_runs=data.ledger.solver_runs("validate"),
        settings=dump_config(config),
        predict=_predict_command(config, data.report),
    )  # fmt: skip


def _predict_command(config: Config, report: Mapping[str, Any] | None) -> str | None:
    """How to predict at the centre of the box; None before the campaign has registered its last model."""
    uri = (report or {}).get("model_uri")
    if not uri:
        return None
    space = config.problem.space
    centre = [f"{name}={value:.6g}" for name, value in space.as_dict(space.centre()).items()]
    return shlex.join(["mlasdi", "predict", uri, "--at", *centre, "--root", str(config.root)])


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("agent"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "seconds": seconds, "point": point}
    return environment


def _source(name: str) -> Markup:
    """A style sheet or a script of ours, which is no template."""
    return Markup((files("mlasdi.agent.report") / "templates" / name).read_text(encoding="utf-8"))


@cache
def _plotly() -> str:
    """Plotly's script, compressed, as base64: whole, it alone would be nearly 5 MB."""
    from plotly.offline import get_plotlyjs  # takes a noticeable time, which only this needs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 6, mtime=0)).decode()


def _json(value: Any) -> str:
    """JSON that cannot end the script element which it is put in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
