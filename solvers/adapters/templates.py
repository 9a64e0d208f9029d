"""Texts with places for parameters, `{name}` or `{name:.6e}`, filled without giving the text any power."""

import re
from collections.abc import Iterable, Mapping

_PLACE = re.compile(r"\{([A-Za-z_]\w*)(?::([^{}]*))?\}")
# Number formats alone: what str.format offers beyond them (attributes, items, nesting) never reaches it.
_FORMAT = re.compile(r"(?:.?[<>=^])?[-+ ]?#?0?\d*[,_]?(?:\.\d+)?[deEfFgG]?")


def places(text: str) -> set[str]:
    """Names in braces."""
    return {match[1] for match in _PLACE.finditer(text)}


def filled(text: str, values: Mapping[str, float | str]) -> str:
    """The text with the values in place of the names in braces.

    Braces around anything that is not one of the names are left alone, since input files have uses of their own for
    them. Without a format a number is written with all the digits that restore it.
    """

    def value_of(place: re.Match[str]) -> str:
        name, form = place[1], place[2] or ""
        if name not in values:
            return place[0]
        value = values[name]
        if isinstance(value, str):
            return value
        whole = form.endswith("d") and value.is_integer()
        return format(int(value) if whole else value, form) if form else repr(value)

    return _PLACE.sub(value_of, text)


def check(text: str, where: str, values: Iterable[str], *, strict: bool) -> None:
    """Refuse a text that could not be filled.

    Args:
        where: of the text, for the message.
        values: names that have values.
        strict: whether other names in braces are mistakes.

    Raises:
        ValueError: a name has no value, or a format is not one of a number.
    """
    known = list(values)
    for match in _PLACE.finditer(text):
        name, form = match[1], match[2] or ""
        if name not in known:
            if strict:
                raise ValueError(f"{where}: '{match[0]}' is no parameter; allowed: {', '.join(known)}")
            continue
        if not _FORMAT.fullmatch(form):
            raise ValueError(f"{where}: '{match[0]}': '{form}' is no number format; for example {{{name}:.6e}}")
        try:
            filled(match[0], {name: 1.0})
        except ValueError as error:
            raise ValueError(f"{where}: '{match[0]}': {error}") from error
