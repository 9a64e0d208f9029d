"""Lines of name and value."""

import textwrap
from collections.abc import Mapping

from rich.console import Console


def print_facts(console: Console, facts: Mapping[str, str]) -> None:
    """Lines of name and value.

    Lists and sentences are wrapped to the width of the console, below the value. Commands and paths are not broken, so
    that they can be copied.
    """
    width = max(map(len, facts))
    indent = " " * (width + 4)
    for name, value in facts.items():
        if ", " in value or ": " in value:
            lines = textwrap.wrap(
                value, max(console.width - len(indent), 20), break_long_words=False, break_on_hyphens=False
            )
            value = f"\n{indent}".join(lines)
        console.print(f"  {name:<{width}}  {value}", soft_wrap=True)
