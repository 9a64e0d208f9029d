"""Raw binary files: numbers without a description, which the configuration gives."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np


@dataclass(frozen=True, kw_only=True)
class RawFormat:
    """What a raw binary file holds: one array.

    Attributes:
        dtype: type of the numbers as NumPy writes it, with the byte order: `<f8`, `>f4`, `float32`.
        shape: lengths of the axes as the array is read; -1 for one that follows from the size of the file.
        order: whether the last axis varies fastest (`C`) or the first (`F`, as Fortran and MATLAB write).
        header_bytes: bytes before the numbers.
        footer_bytes: bytes after the numbers.

    Raises:
        ValueError: the type is no real number, or more than one length is unknown.
    """

    dtype: str
    shape: tuple[int, ...]
    order: Literal["C", "F"] = "C"
    header_bytes: int = 0
    footer_bytes: int = 0

    def __post_init__(self) -> None:
        try:
            is_number = np.dtype(self.dtype).kind in "iuf"
        except TypeError:
            is_number = False
        if not is_number:
            raise ValueError(f"option raw.dtype = '{self.dtype}' must be a real number such as <f8, >f4 or int32")
        if not self.shape or min(self.shape) < -1 or 0 in self.shape or self.shape.count(-1) > 1:
            raise ValueError(f"option raw.shape = {list(self.shape)} needs positive lengths, and -1 at most once")
        if min(self.header_bytes, self.footer_bytes) < 0:
            raise ValueError("options raw.header_bytes and raw.footer_bytes must not be negative")

    def read(self, path: Path) -> np.ndarray:
        """The array in a file.

        Raises:
            ValueError: the file has another size than dtype and shape say; it may be cut off.
        """
        item, n_bytes = np.dtype(self.dtype).itemsize, path.stat().st_size - self.header_bytes - self.footer_bytes
        known = prod(n for n in self.shape if n > 0) * item
        fits = n_bytes == known if -1 not in self.shape else n_bytes > 0 and n_bytes % known == 0
        if not fits:
            raise ValueError(
                f"it has {n_bytes:,} bytes of numbers; {list(self.shape)} of {self.dtype} takes "
                f"{'multiples of ' if -1 in self.shape else ''}{known:,} (option raw)"
            )
        values = np.fromfile(path, self.dtype, count=n_bytes // item, offset=self.header_bytes)
        return values.reshape(self.shape, order=self.order).astype(values.dtype.newbyteorder("="), copy=False)
