"""One predicted trajectory: its summary, and the file it is written to."""

import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from mlasdi.results import Prediction
from mlasdi.surrogate import ExtrapolationWarning, Surrogate

_SUFFIXES = (".h5", ".npz")


def predicted(
    surrogate: Surrogate, mu: Mapping[str, float], t: Float[np.ndarray, " time"] | None, std: bool
) -> tuple[Prediction, dict[str, Any]]:
    """The trajectory at `mu`, and what there is to say about it, as JSON.

    Extrapolation is told in the summary, not by Python's warnings.

    Raises:
        ValueError: unknown or missing parameters, or values that are not finite.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ExtrapolationWarning)
        prediction = surrogate.predict(dict(mu), t, std=std)
    # Below three training points nothing calibrates the estimate.
    is_calibrated = surrogate.error_estimate is not None
    summary = {
        "mu": dict(mu),
        "shape": dict(zip(("param", "time", "state"), prediction.mean.shape, strict=True)),
        "times": [float(prediction.t[0]), float(prediction.t[-1])],
        "range": [float(prediction.mean.min()), float(prediction.mean.max())],
        "max_std": None if prediction.std is None else float(prediction.std.max()),
        "estimated_relative_error": float(surrogate.relative_std(dict(mu))[0]) if is_calibrated else None,
        "inside_box": bool(surrogate.space.contains(surrogate.space.as_array(mu))[0]),
        "warnings": list(dict.fromkeys(str(w.message) for w in caught)),
    }
    return prediction, summary


def check_target(path: Path | None) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Raises:
        ValueError: unknown suffix, or no such folder.
    """
    if path is None:
        return
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"--out {path}: write to a file that ends in {' or '.join(_SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"--out {path}: there is no folder {path.parent}")


def write(path: Path, surrogate: Surrogate, mu: Mapping[str, float], prediction: Prediction) -> None:
    """Write times, states, parameters and grid to HDF5 or NumPy's format; the file appears complete or not at all.

    Arrays: `t` [time], `mean` and `std` [param, time, state], `mu` [param, n_params] in the order of
    `parameter_names`, and each axis of the grid under `x_<name>`.
    """
    arrays: dict[str, Any] = {"t": prediction.t, "mean": prediction.mean, "mu": surrogate.space.as_array(mu)}
    if prediction.std is not None:
        arrays["std"] = prediction.std
    arrays |= {f"x_{axis}": np.asarray(values) for axis, values in surrogate.layout.coordinates.items()}
    texts = {"parameter_names": surrogate.space.names, "fields": surrogate.layout.fields}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as folder:
        partial = Path(folder, path.name)
        if path.suffix == ".npz":
            np.savez_compressed(partial, allow_pickle=False, **arrays, **texts)
        else:
            with h5py.File(partial, "x") as file:
                for name, array in arrays.items():
                    file[name] = array
                file.attrs.update({name: list(text) for name, text in texts.items()})
        os.replace(partial, path)
