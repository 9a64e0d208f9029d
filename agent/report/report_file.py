"""The file `report.json` in the folder of a campaign."""

import json
from pathlib import Path
from typing import Any

from mlasdi.solvers.storage import atomic_write


def write_report(folder: Path, report: dict[str, Any]) -> Path:
    """Write `report.json` and return its path."""
    path = folder / "report.json"
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    return path


def read_report(folder: Path) -> dict[str, Any]:
    """The report in a campaign's folder; its paths are below that folder, also after it was moved or copied."""
    report = json.loads((folder / "report.json").read_text())
    was, now = f"{report.get('folder', folder)}/", f"{folder}/"
    if was == now:
        return report
    paths = [*report.get("figures", ()), report.get("model_uri") or ""]
    *figures, model = (now + path.removeprefix(was) if path.startswith(was) else path for path in paths)
    return report | {"folder": str(folder), "figures": figures, "model_uri": model or None}
