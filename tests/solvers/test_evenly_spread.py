"""Evenly spread indices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlasdi.solvers import evenly_spread


@given(n=st.integers(0, 300), k=st.integers(1, 400))
def test_indices_are_even_and_contain_both_ends(n: int, k: int) -> None:
    found = evenly_spread(n, k)
    assert len(found) == min(n, k)
    assert (np.diff(found) > 0).all()
    if n and k > 1:
        assert (found[0], found[-1]) == (0, n - 1)
    if len(found) > 2:
        assert np.ptp(np.diff(found)) <= 1


@pytest.mark.parametrize(("n", "k", "expected"), [(5, 1, [0]), (5, 2, [0, 4]), (5, 3, [0, 2, 4]), (3, 9, [0, 1, 2])])
def test_small_cases(n: int, k: int, expected: list[int]) -> None:
    np.testing.assert_array_equal(evenly_spread(n, k), expected)
