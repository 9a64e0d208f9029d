"""Lists what a file holds: names, shapes and types of its arrays, and its attributes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mlasdi.solvers.formats.arrays import SUFFIXES, read_file


@dataclass(frozen=True)
class Listing:
    """What a file holds.

    Attributes:
        shapes: array -> its shape; names contain the groups of HDF5 (`grid/x`).
        dtypes: array -> its type.
        attributes: of the file, or `group@name` of a group.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def contents_of(path: Path) -> Listing:
    """What a file with named arrays holds.

    Raises:
        ValueError: the format has no named arrays, or the file is damaged.
        OSError: the file cannot be read.
    """
    if path.is_file() and h5py.is_hdf5(path):
        return _of_hdf5(path)
    suffix, attributes = path.suffix.lower(), dict[str, Any]()
    if suffix == ".npz":
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    elif suffix in SUFFIXES:
        arrays, attributes = read_file(path, None)
    else:
        raise ValueError(f"{path}: no file with named arrays; those are HDF5, NPZ and {', '.join(SUFFIXES)}")
    held = {name: np.asarray(one) for name, one in arrays.items() if hasattr(one, "dtype")}
    return Listing({n: a.shape for n, a in held.items()}, {n: str(a.dtype) for n, a in held.items()}, attributes)


def _of_hdf5(path: Path) -> Listing:
    shapes, dtypes, attributes = dict[str, tuple[int, ...]](), dict[str, str](), dict[str, Any]()

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            shapes[name], dtypes[name] = item.shape or (), str(item.dtype)
        else:
            attributes.update({f"{name}@{key}": value for key, value in item.attrs.items()})

    with h5py.File(path, "r", locking=False) as file:
        attributes.update(file.attrs)
        file.visititems(visit)
    return Listing(shapes, dtypes, attributes)
