"""Lines of name and value."""

from collections.abc import Mapping

from rich.console import Console


def print_facts(console: Console, facts: Mapping[str, str]) -> None:
    """Lines of name and value; not a table, so that commands and paths are not broken and can be copied."""
    width = max(map(len, facts))
    for name, value in facts.items():
        console.print(f"  {name:<{width}}  {value}", soft_wrap=True)
