"""Independent pieces of a training are computed by the given workers, and returned in order."""

import pytest

from mlasdi.validation import parallel_map, serial_map, use_workers


def test_the_default_is_serial() -> None:
    assert parallel_map(str, [3, 1, 2]) == ["3", "1", "2"]


def test_workers_are_used_in_the_body_alone() -> None:
    calls = []

    def workers(function, items):
        calls.append(list(items))
        return serial_map(function, items)

    with pytest.raises(ZeroDivisionError), use_workers(workers):
        parallel_map(lambda n: 1 / n, [1, 0])
    assert parallel_map(str, [5]) == ["5"]
    assert calls == [[1, 0]]
