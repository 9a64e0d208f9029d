"""Compiled loops where nothing can be cached."""

import tempfile

import pytest

from mlasdi.solvers.compilation import compiled


def add(a: float, b: float) -> float:
    return a + b


def refuse(*args: object, **more: object) -> None:
    raise PermissionError("cannot be written")


@pytest.mark.parametrize("is_writable", [True, False])
def test_what_cannot_be_cached_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch, is_writable: bool) -> None:
    """As of an installation for all users, whose folder and whose home cannot be written."""
    if not is_writable:
        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    found = compiled(add)
    assert found(1.0, 2.0) == 3.0
