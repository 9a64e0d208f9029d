"""The report of a campaign as one HTML file, which needs no network, server or other file."""

import base64
import gzip
import json
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
from mlasdi.agent.report.first_sentence import answer
from mlasdi.agent.report.headline import headline
from mlasdi.agent.report.report_file import read_report
from mlasdi.agent.report.status import campaign_status
from mlasdi.formatting import assignments, percent, point, seconds
from mlasdi.preprocessing import limited_threads
from mlasdi.solvers.storage import atomic_write

# Largest number of solves in the table: with more, the page would be slow to open. The ledger contains them all.
MAX_ROWS = 500


class NothingToReport(Exception):
    """The campaign has not started."""


@limited_threads()
def write_html_report(
    config: Config, out: Path | None = None, report: Mapping[str, Any] | None = None, *, reload_s: int | None = None
) -> Path:
    """Write the HTML report of a campaign, which may still be running; returns its path.

    Args:
        out: file to write; None for `report.html` in the campaign's folder.
        report: `report.json` of a campaign that is just ending; None to read it.
        reload_s: seconds after which a browser loads the page again; None for never.

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
        page = _page(config, ReportData(config, ledger, report), is_finished=report is not None, reload_s=reload_s)
    path = config.folder / "report.html" if out is None else out
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def _page(config: Config, data: ReportData, *, is_finished: bool, reload_s: int | None) -> str:
    drawn = data.charts()
    # The report of a finished campaign has a total, which includes time outside all activities.
    spent = dict((data.report or {}).get("seconds") or data.ledger.seconds())
    rows = data.solves()
    return _environment().get_template("report.html").render(
        reload_s=reload_s,
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
        answer=answer(data.report) if data.report is not None else "",
        headline=headline(data, spent),
        spent=dict(sorted(spent.items(), key=lambda item: -item[1])),
        solves=rows[:MAX_ROWS],
        n_more_solves=max(len(rows) - MAX_ROWS, 0),
        n_failed=data.ledger.failures(),
        validation_runs=data.ledger.solver_runs("validate"),
        settings=dump_config(config),
        predict=_predict_command(config, data.report),
    )  # fmt: skip


def _predict_command(config: Config, report: Mapping[str, Any] | None) -> str | None:
    """A command that predicts at the centre of the box; None before the last model is registered."""
    uri = (report or {}).get("model_uri")
    if not uri:
        return None
    space = config.problem.space
    centre = assignments(space.as_dict(space.centre()))
    return shlex.join(["mlasdi", "predict", uri, "--at", *centre, "--root", str(config.root)])


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mlasdi.agent.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "seconds": seconds, "point": point}
    return environment


def _source(name: str) -> Markup:
    """The text of a file in `templates`; marked as safe, because it contains no user input."""
    return Markup((files("mlasdi.agent.report") / "templates" / name).read_text(encoding="utf-8"))


@cache
def _plotly() -> str:
    """Plotly's script, compressed, as base64; uncompressed it has nearly 5 MB."""
    from plotly.offline import get_plotlyjs  # a slow import

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 6, mtime=0)).decode()


def _json(value: Any) -> str:
    """JSON that cannot end the script element that contains it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
