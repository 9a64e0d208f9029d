"""Pieces of a training go to whoever is named, and back in order."""

import pytest

from mlasdi.validation import parallel_map, serial_map, use_workers


def test_in_turn_unless_told_otherwise() -> None:
    assert parallel_map(str, [3, 1, 2]) == ["3", "1", "2"]


def test_workers_are_asked_in_the_body_alone() -> None:
    asked = []

    def workers(work, items):
        asked.append(list(items))
        return serial_map(work, items)

    with pytest.raises(ZeroDivisionError), use_workers(workers):
        parallel_map(lambda n: 1 / n, [1, 0])
    assert parallel_map(str, [5]) == ["5"]
    assert asked == [[1, 0]]
