"""Texts with placeholders for parameters, `{name}` or `{name:.6e}`; nothing else in a text is evaluated."""

import re
from collections.abc import Iterable, Mapping

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)(?::([^{}]*))?\}")
# Number formats only: attributes, items and nesting, which str.format also knows, are not allowed.
_FORMAT = re.compile(r"(?:.?[<>=^])?[-+ ]?#?0?\d*[,_]?(?:\.\d+)?[deEfFgG]?")


def placeholders(text: str) -> set[str]:
    """Names in braces."""
    return {match[1] for match in _PLACEHOLDER.finditer(text)}


def fill(text: str, values: Mapping[str, float | str]) -> str:
    """The text with the values in place of the names in braces.

    Braces around anything else stay, because input files may contain braces. Without a format, a number is written
    with all digits that are needed to restore it.
    """

    def value_of(match: re.Match[str]) -> str:
        name, form = match[1], match[2] or ""
        if name not in values:
            return match[0]
        value = values[name]
        if isinstance(value, str):
            return value
        whole = form.endswith("d") and value.is_integer()
        return format(int(value) if whole else value, form) if form else repr(value)

    return _PLACEHOLDER.sub(value_of, text)


def check_template(text: str, where: str, values: Iterable[str], *, strict: bool) -> None:
    """Check that a text can be filled.

    Args:
        where: name of the text, for the message.
        values: names that have values.
        strict: whether other names in braces are errors.

    Raises:
        ValueError: a name has no value, or a format is no number format.
    """
    known = list(values)
    for match in _PLACEHOLDER.finditer(text):
        name, form = match[1], match[2] or ""
        if name not in known:
            if strict:
                raise ValueError(f"{where}: '{match[0]}' is no parameter; allowed: {', '.join(known)}")
            continue
        if not _FORMAT.fullmatch(form):
            raise ValueError(f"{where}: '{match[0]}': '{form}' is no number format; for example {{{name}:.6e}}")
        try:
            fill(match[0], {name: 1.0})
        except ValueError as error:
            raise ValueError(f"{where}: '{match[0]}': {error}") from error
