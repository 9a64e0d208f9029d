"""Templates: numbers survive, braces that mean something else are left alone, and nothing else is possible."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlasdi.solvers.adapters.templates import check_template, fill, placeholders


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_without_format_survives_to_the_last_bit(value):
    assert float(fill("{a}", {"a": value})) == value


def test_formats_of_numbers():
    values = {"nu": 3.2e-4, "n": 4.0}
    assert fill("{nu:.3e} {nu:12.5f}|{n:03d} {n:g}", values) == "3.200e-04      0.00032|004 4"


def test_other_braces_are_left_alone():
    text = 'solver { nu {nu}; } {"json": {nu}} {other} {0} {} {{nu}}'
    assert fill(text, {"nu": 1.0}) == 'solver { nu 1.0; } {"json": 1.0} {other} {0} {} {1.0}'
    assert placeholders(text) == {"nu", "other"}


@pytest.mark.parametrize("text", ["{a.__class__}", "{a[0]}", "{a!r}", "{a:{a}}", "{__import__('os')}"])
def test_nothing_but_numbers_can_be_reached(text):
    assert fill(text, {"a": 1.0}) in (text, text.replace("{a}", "1.0"))


def test_filling_is_not_repeated():
    assert fill("{here}{a}", {"here": "{a}", "a": 2.0}) == "{a}2.0"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{b}", r"argv\[1\]: '\{b\}' is no parameter; allowed: a, n"),
        ("{a:.3q}", "'.3q' is no number format"),
        ("{a:%Y}", "is no number format"),
        ("{a:<<<}", "is no number format"),
    ],
)
def test_mistakes_are_named(text, told):
    with pytest.raises(ValueError, match=told):
        check_template(text, "argv[1]", ("a", "n"), strict=True)


def test_only_strict_texts_refuse_other_names():
    check_template("{b} {a:.3f}", "files.input", ("a",), strict=False)
