"""The two files of a saved surrogate, JSON and arrays, without pickle: written atomically, read with checks.

Formats: 3 and 4 had one calibration factor for all times; 4 added dynamics and time scaling, 5 coordinate scaling and
rates that are products of powers, 6 calibration in time and differences along the ends of scaled axes; 7 has the names
of the present classes (time_scaling was clock, coordinate_scaling was frame, drift_weight was trust). 8 is 7 with end
times, for runs that end at different times; others are saved as 7, which earlier versions read.
"""

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from mlasdi.preprocessing import MAX_IN_MEMORY, is_finite, mapped_safetensor, save_file
from mlasdi.surrogate.registered import SurrogateError, fetched

DESCRIPTION, TENSORS = "surrogate.json", "surrogate.safetensors"
FORMATS = (3, 4, 5, 6, 7, 8)
PRESENT, END_TIMES_FORMAT = 7, 8


class FormatError(ValueError):
    """A part of an earlier format that this version cannot read."""


def write(folder: Path, arrays: dict[str, np.ndarray], description: dict[str, Any]) -> None:
    """Write both files into `folder`, which appears complete or not at all.

    Raises:
        FileExistsError: the folder exists.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        raise FileExistsError(f"{folder} exists")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        weights = Path(scratch, "saved", TENSORS)
        weights.parent.mkdir()
        save_file(arrays, weights)
        digest = _digest_of_file(weights)
        description = {"format": PRESENT, **description, "sha256": digest}
        description["description_sha256"] = _digest(description)
        (weights.parent / DESCRIPTION).write_text(json.dumps(description, indent=1))
        os.replace(weights.parent, folder)


def read(source: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and description of a saved surrogate, in a folder or behind an MLflow URI; large arrays stay in the file.

    Raises:
        SurrogateError: there is no surrogate, or it is damaged or of another format.
    """
    folder = _registered(source) if str(source).startswith(("models:/", "runs:/")) else Path(source)
    for name in (DESCRIPTION, TENSORS):
        _check_file(source, folder, name)
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        digest = _digest_of_file(folder / TENSORS)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SurrogateError(f"{source}: no surrogate there ({error.filename} is missing)") from None
    except OSError as error:
        name = Path(error.filename or folder).name
        raise SurrogateError(f"{source}: {name} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # not JSON, or not text
        raise SurrogateError(f"{source}: {DESCRIPTION} is damaged ({error})") from None
    if not isinstance(description, dict):
        raise SurrogateError(f"{source}: {DESCRIPTION} is damaged (not an object)")
    if description.get("format") not in FORMATS:
        raise SurrogateError(
            f"{source}: format {description.get('format')}; this version reads {FORMATS[0]} to {FORMATS[-1]}"
        )
    if "sha256" not in description:
        raise SurrogateError(f"{source}: {DESCRIPTION} is damaged (no 'sha256')")
    checksum = description.pop("description_sha256", None)  # missing in models saved by earlier versions
    if checksum is not None and checksum != _digest(description):
        raise SurrogateError(f"{source}: {DESCRIPTION} does not match its own checksum")
    if digest != description["sha256"]:
        raise SurrogateError(f"{source}: {TENSORS} does not match its checksum")
    try:
        arrays, description = _arrays(folder / TENSORS), _upgraded(description)
    except FormatError as error:
        raise SurrogateError(f"{source}: {error}") from None
    except Exception as error:  # of safetensors, which has a class of its own; or parts of the description are missing
        raise SurrogateError(unusable(source, error)) from None
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not is_finite(array):
            raise SurrogateError(unusable(source, ValueError(f"'{name}' of {TENSORS} is not finite")))
    return arrays, description


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with safe_open(path, "numpy") as file:
        sizes = {name: 8 * int(np.prod(file.get_slice(name).get_shape())) for name in file.keys()}  # noqa: SIM118
        return {
            name: mapped_safetensor(path, name) if size > MAX_IN_MEMORY else file.get_tensor(name)
            for name, size in sizes.items()
        }


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unusable(source: str | Path, error: Exception) -> str:
    """The message for files whose contents are no surrogate."""
    reason = " ".join(str(error).split())[:300]
    return (
        f"{source}: {DESCRIPTION} and {TENSORS} are no surrogate that works ({type(error).__name__}: {reason}): "
        "load another version, or train it again"
    )


def _check_file(source: str | Path, folder: Path, name: str) -> None:
    """Check that a file is an ordinary one in its folder: reading a pipe or a device could wait for ever.

    Raises:
        SurrogateError: it is not. A missing file is not noticed.
    """
    path = folder / name
    try:
        kind, place = path.stat().st_mode, path.resolve()
    except OSError:
        return
    if not stat.S_ISREG(kind):
        raise SurrogateError(f"{source}: {name} is not a regular file; load a copy of the model")
    if not place.is_relative_to(folder.resolve()):
        raise SurrogateError(f"{source}: {name} is a link to {place}, outside the folder; load a copy of the model")


def _digest(description: dict[str, Any]) -> str:
    """SHA-256 of a description as JSON returns it, with lists for tuples and strings for keys."""
    plain = json.loads(json.dumps(description))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _registered(uri: str | Path) -> Path:
    """The folder with the surrogate that an MLflow URI names."""
    folder = fetched(str(uri))
    return next((path.parent for path in folder.rglob(DESCRIPTION)), folder)


def _upgraded(description: Mapping[str, Any]) -> dict[str, Any]:
    """The description in the present format; the argument stays as it is.

    Raises:
        FormatError: a part of it has no equivalent in the present format.
    """
    found = description["format"]
    if found >= PRESENT:
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
