"""Attributes of data files that contain YAML text, as PDEBench writes the configuration of a run."""

from typing import Any

import yaml


def yaml_content(text: str | bytes) -> Any:
    """The content of a YAML text; None if it is none."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
