"""Descriptions of surrogates that earlier versions saved, converted to the present format.

Formats: 3 and 4 had one calibration factor for all times; 4 added dynamics and time scaling, 5 coordinate scaling and
rates that are products of powers, 6 calibration in time and differences along the ends of scaled axes; 7 has the names
of the present classes (time_scaling was clock, coordinate_scaling was frame, drift_weight was trust).
"""

from collections.abc import Mapping
from typing import Any

FORMATS = (3, 4, 5, 6, 7)


class FormatError(ValueError):
    """A part of an earlier format that this version cannot read."""


def upgraded(description: Mapping[str, Any]) -> dict[str, Any]:
    """The description in the present format; the argument stays as it is.

    Raises:
        FormatError: a part of it has no equivalent in the present format.
    """
    found = description["format"]
    if found == FORMATS[-1]:
        return dict(description)
    new = {name: value for name, value in description.items() if name not in ("clock", "frame")}
    frame = description.get("frame")
    if found < 6 and any((frame or {}).get("axes", ())):
        raise FormatError(
            f"its rescaled coordinates are those of format {found}, which this version cannot read; train it again"
        )
    new["time_scaling"] = description.get("clock")
    new["coordinate_scaling"] = frame and _renamed(frame, "log_gains", "log_amplitudes")
    new["stages"] = [
        {**stage, "settings": _renamed(stage["settings"], "trust", "drift_weight")} for stage in description["stages"]
    ]
    new["record"] = _record(description["record"])
    return new


def _renamed(settings: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if name == old else name: value for name, value in settings.items()}


def _record(saved: Mapping[str, Any]) -> dict[str, Any]:
    record = dict(saved)
    for name in ("std_factor", "error_factor"):
        if name in record:
            record[f"{name}s"] = [record.pop(name)]
    return record
