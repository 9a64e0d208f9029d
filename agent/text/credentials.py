"""Finds passwords in URLs, rejects them in settings, and removes them from messages.

The configuration is logged with every run and saved with every model, and other users can see command lines. Therefore
credentials come from the environment only.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

VARIABLES = (
    "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN) for a server, PGPASSWORD for "
    "PostgreSQL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for S3"
)
# In a URL, the part before the host that may contain a password, and options after it whose names say so. Possessive
# quantifiers and atomic groups keep the search linear in the length of the text: it also runs over long error messages.
_USER_INFO = re.compile(
    r"(?<![\w+.-])(?P<before>(?:[^\WA-Za-z]|[+.-])*+)(?P<scheme>[A-Za-z][\w+.-]*+:/{1,2})(?P<user>[^/@\s]*+)@"
)
_SECRET = "password|passwd|pwd|token|secret|credential"
_OPTION = re.compile(rf"(?P<before>[?&;](?=[\w-]*+=)(?>[\w-]*?(?:{_SECRET}))[\w-]*+=)[^&;#\s'\"]+", re.IGNORECASE)
_WEB = ("http", "https")


def holds_credentials(text: str) -> bool:
    """Whether a URL contains a password or, on the web, a user name, which may be a token."""
    match = _USER_INFO.search(text)
    if match and (":" in match["user"] or match["scheme"].startswith(_WEB)):
        return True
    return _OPTION.search(text) is not None


def redacted(text: str) -> str:
    """A text without the passwords of the URLs in it."""
    text = _USER_INFO.sub(_without_password, text)
    return _OPTION.sub(lambda match: f"{match['before']}***", text)


def _without_password(match: re.Match[str]) -> str:
    user, separator, _ = match["user"].partition(":")
    start = match["before"] + match["scheme"]
    if match["scheme"].startswith(_WEB):
        return f"{start}***@"
    return f"{start}{user}{':***' if separator else ''}@"


def refuse_credentials(address: str, what: str) -> None:
    """Check that a URL contains no password.

    Args:
        what: name of the URL in the message, which does not repeat it.

    Raises:
        ValueError: it contains one.
    """
    if holds_credentials(address):
        raise ValueError(f"{what} contains a password; leave it out, and set in the environment {VARIABLES}")


def where_credentials_are(settings: Any, key: str = "") -> Iterator[str]:
    """Dotted keys of nested settings whose values contain a password."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from where_credentials_are(value, f"{key}.{name}" if key else str(name))
    elif isinstance(settings, str):
        if holds_credentials(settings):
            yield key
    elif isinstance(settings, Sequence):
        for item in settings:
            yield from where_credentials_are(item, key)
