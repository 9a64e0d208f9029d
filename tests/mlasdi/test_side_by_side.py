"""Pieces of a training go to whoever is named, and back in order."""

import pytest

from mlasdi.side_by_side import each, in_turn, working_with


def test_in_turn_unless_told_otherwise() -> None:
    assert each(str, [3, 1, 2]) == ["3", "1", "2"]


def test_workers_are_asked_in_the_body_alone() -> None:
    asked = []

    def workers(work, items):
        asked.append(list(items))
        return in_turn(work, items)

    with pytest.raises(ZeroDivisionError), working_with(workers):
        each(lambda n: 1 / n, [1, 0])
    assert each(str, [5]) == ["5"]
    assert asked == [[1, 0]]
