"""Passwords in addresses: found, refused, and kept out of what people and files are told.

The configuration is logged with every run and travels with every model, and command lines are seen by other users. So
credentials come from the environment alone.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

VARIABLES = (
    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN) for a server, PGPASSWORD for "
    "PostgreSQL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for S3"
)
# Of an address: what may be a password before the host, or among the options after it.
_USER_INFO = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]*:/{1,2})(?P<user>[^/@\s]*)@")
_SECRET = r"[\w-]*(?:password|passwd|pwd|token|secret|credential)[\w-]*"
_OPTION = re.compile(rf"(?P<before>[?&;]{_SECRET}=)[^&;#\s'\"]+", re.IGNORECASE)
_WEB = ("http", "https")


def holds_credentials(text: str) -> bool:
    """Whether an address holds a password, or on the web a user, who may be a token."""
    match = _USER_INFO.search(text)
    if match and (":" in match["user"] or match["scheme"].startswith(_WEB)):
        return True
    return _OPTION.search(text) is not None


def redacted(text: str) -> str:
    """A text without the passwords of the addresses in it."""
    text = _USER_INFO.sub(_without_password, text)
    return _OPTION.sub(lambda match: f"{match['before']}***", text)


def _without_password(match: re.Match[str]) -> str:
    user, separator, _ = match["user"].partition(":")
    if match["scheme"].startswith(_WEB):
        return f"{match['scheme']}***@"
    return f"{match['scheme']}{user}{':***' if separator else ''}@"


def refuse_credentials(address: str, what: str) -> None:
    """Refuse an address with a password.

    Args:
        what: how the message names the address, which it does not repeat.

    Raises:
        ValueError: it holds one.
    """
    if holds_credentials(address):
        raise ValueError(f"{what} holds a password; leave it out, and set in the environment {VARIABLES}")


def where_credentials_are(settings: Any, key: str = "") -> Iterator[str]:
    """Dotted keys of nested settings whose values hold a password."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from where_credentials_are(value, f"{key}.{name}" if key else str(name))
    elif isinstance(settings, str):
        if holds_credentials(settings):
            yield key
    elif isinstance(settings, Sequence):
        for item in settings:
            yield from where_credentials_are(item, key)
