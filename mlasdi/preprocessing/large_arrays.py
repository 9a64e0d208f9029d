"""Arrays that may be larger than memory should hold: kept in a file, and read and written block by block."""

import json
import mmap
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from mlasdi.solvers.storage import block_ranges

MAX_IN_MEMORY = 1 << 26  # bytes of an array that is kept in memory
# Names of types in a safetensors file.
_TYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "uint8": "U8",
          "bool": "BOOL"}  # fmt: skip


def scratch_array(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array of zeros; a large one lies in a temporary file, which goes when the array does."""
    if int(np.prod(shape)) * np.dtype(dtype).itemsize <= MAX_IN_MEMORY:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(prefix="mlasdi-") as file:
        return np.memmap(file, dtype, "w+", shape=shape)


def row_blocks(array: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows of a matrix in float64, in blocks; what was read of a mapped file is then released from memory."""
    for rows in block_ranges(*array.shape):
        yield rows, np.asarray(array[rows], dtype=float)
        release(array)


def release(array: np.ndarray) -> None:
    """Let go of the pages of a mapped file; they are read again when they are used. Other arrays stay as they are."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)


def is_finite(array: np.ndarray) -> bool:
    """Whether all values are, looked at in blocks."""
    flat, finite = array.reshape(-1), True
    for part in block_ranges(flat.size, 1):
        finite = finite and bool(np.isfinite(flat[part]).all())
        release(array)
    return finite


def save_file(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """A file in the format of safetensors (https://github.com/huggingface/safetensors), written in blocks.

    The library's own writer needs a copy of everything.
    """
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # so that all values are aligned
    header, offset = dict[str, Any](), 0
    for name in order:
        array = arrays[name]
        end = offset + array.nbytes
        header[name] = {
            "dtype": _TYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            flat = arrays[name].reshape(-1)
            for part in block_ranges(flat.size, 1):
                file.write(np.ascontiguousarray(flat[part]).data)
                release(arrays[name])


def mapped_safetensor(path: Path, name: str) -> np.ndarray:
    """One array of a safetensors file, mapped and not read."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        found = json.loads(file.read(size))[name]
    dtype = next(key for key, value in _TYPES.items() if value == found["dtype"])
    return np.memmap(path, dtype, "c", 8 + size + found["data_offsets"][0], tuple(found["shape"]))
