"""Arrays in files: written as the library reads them, mapped, checked and converted in blocks."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from mlasdi.preprocessing import is_finite, mapped_safetensor, row_blocks, save_file, scratch_array
from mlasdi.preprocessing.large_arrays import release

ARRAYS = {
    "odd": np.array([True, False, True]),
    "single": np.arange(6, dtype=np.float32).reshape(2, 3),
    "double": np.linspace(0, 1, 7),
    "none": np.empty((0, 4)),
    "number": np.array(3.5),
    "whole": np.arange(5),
}


def test_a_file_is_read_by_the_library(tmp_path):
    path = tmp_path / "file.safetensors"
    save_file(ARRAYS, path)
    found = load_file(path)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_one_array_can_be_mapped(tmp_path):
    path = tmp_path / "file.safetensors"
    save_file(ARRAYS, path)
    for name in ("single", "double", "whole"):
        found = mapped_safetensor(path, name)
        np.testing.assert_array_equal(found, ARRAYS[name])
        release(found)
        np.testing.assert_array_equal(found, ARRAYS[name])


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_a_scratch_array_is_one_wherever_it_lies(monkeypatch, limit):
    monkeypatch.setattr("mlasdi.preprocessing.large_arrays.MAX_IN_MEMORY", limit)
    array = scratch_array((300, 4), np.float32)
    assert isinstance(array, np.memmap) == (limit == 0)
    assert not array.any()
    values = np.random.default_rng(0).standard_normal(array.shape).astype(np.float32)
    array[:] = values
    release(array)
    np.testing.assert_array_equal(np.concatenate([block for _, block in row_blocks(array)]), values)


def test_a_single_value_that_is_not_finite_is_found():
    values = np.zeros((50, 3))
    assert is_finite(values)
    values[-1, -1] = np.nan
    assert not is_finite(values)
