"""Points that are the same but for rounding."""

import numpy as np

from mlasdi.preprocessing import SAME_POINT, places_among


def test_each_point_is_found_where_it_stands():
    known = np.array([[0.0, 1.0], [0.5, 0.5], [0.1 + 0.2, 0.3]])
    x = np.array([[0.3, 0.3], [0.5, 0.5 + 3 * SAME_POINT], [0.5, 0.5], [1.0, 0.0]])
    assert places_among(x, known).tolist() == [2, -1, 1, -1]
    assert places_among(x, known[:0]).tolist() == [-1] * 4
    assert places_among(x[:0], known).tolist() == []
