"""YAML of configuration files and of KEY=VALUE: scalars of YAML 1.2, and no surprises.

`1e-3` is a number, `no` and `12:30` are texts (core schema of YAML 1.2, section 10.3.2), a key that comes twice is an
error, and a text that would take long or much memory is refused at once.
"""

import re
from pathlib import Path
from typing import Any, ClassVar, Never

import yaml

MAX_BYTES = 1_000_000  # of a file
# Characters of a text with its aliases replaced by what they stand for. An entry of a list or mapping counts as many as
# take as long to read.
MAX_SIZE, ENTRY_SIZE = 1_000_000, 50
MAX_DEPTH = 100  # of nested lists and mappings; deeper ones exceed the recursion limit of other libraries

_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}
_PATTERNS = {name: re.compile(f"(?:{pattern})$") for name, pattern in _SCALARS.items()}
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times faster


class _Loader(_SafeLoader):
    """Constructs the types of the core schema and nothing else."""

    yaml_implicit_resolvers: ClassVar[dict[str | None, Any]] = {}
    yaml_constructors: ClassVar[dict[str | None, Any]] = {}


class _Dumper(yaml.SafeDumper):
    """Quotes each text that YAML 1.1 or 1.2 would read as something else."""


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no YAML, larger than `MAX_BYTES`, or refused by `parse_yaml`.
    """
    with path.open("rb") as stream:
        text = stream.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError(f"the file is larger than {MAX_BYTES:,} bytes, the most that a configuration may have")
    return parse_yaml(text)


def parse_yaml(text: str | bytes) -> Any:
    """The content of a YAML text: None, bool, int, float, str, list and dict.

    Raises:
        ValueError: it is no YAML, a key comes twice, an alias contains itself, it is larger than `MAX_SIZE` with its
            aliases replaced, or nested deeper than `MAX_DEPTH`.
    """
    try:
        _check_size(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {' '.join(str(error).split())}") from None
    except UnicodeError as error:
        raise ValueError(f"not YAML: {error}") from None


def dump_yaml(value: Any) -> str:
    """YAML that `parse_yaml`, and readers of YAML 1.1, read as the same value; mappings keep their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)


def _check_size(text: str | bytes) -> None:
    """Check size and nesting while the text is parsed, before anything is constructed.

    Raises:
        ValueError: the text is nested too deeply or too large, or an alias contains itself.
    """
    sizes = dict[str | None, int]()  # of what anchors name
    open_anchors, counts = list[str | None](), [0]
    for event in yaml.parse(text, Loader=_Loader):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.CollectionStartEvent):
            open_anchors.append(anchor)
            counts.append(ENTRY_SIZE)
            if len(counts) > MAX_DEPTH:
                raise ValueError(f"{_line(event)}lists and mappings are nested more than {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            sizes[open_anchors.pop()] = size = counts.pop()
            counts[-1] += size
        elif isinstance(event, yaml.ScalarEvent):
            sizes[anchor] = size = ENTRY_SIZE + len(event.value)
            counts[-1] += size
        elif isinstance(event, yaml.AliasEvent):
            if anchor in open_anchors:
                raise ValueError(f"{_line(event)}the alias *{anchor} contains itself")
            counts[-1] += sizes.get(anchor, 0)
        if sum(counts) > MAX_SIZE:
            raise ValueError(
                f"{_line(event)}the text is too large: with aliases replaced it has more than {MAX_SIZE:,} characters, "
                f"where each entry counts {ENTRY_SIZE}; put tables into files of their own"
            )


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}: "


def _mapping(loader: Any, node: yaml.Node) -> dict[Any, Any]:
    if not isinstance(node, yaml.MappingNode):
        _refuse("a mapping is expected", node)
    found, lines = dict[Any, Any](), dict[Any, int]()
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            _refuse("a key must be text or a number", key_node)
        key = loader.construct_object(key_node, deep=True)
        if key == "<<" and key_node.style not in ("'", '"'):
            _refuse("YAML 1.2 has no merge key <<; repeat the settings", key_node)
        if key in found:
            _refuse(f"key '{key}' comes twice, first in line {lines[key]}", key_node)
        found[key] = loader.construct_object(value_node, deep=True)
        lines[key] = key_node.start_mark.line + 1
    return found


def _sequence(loader: Any, node: yaml.Node) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode):
        _refuse("a list is expected", node)
    return [loader.construct_object(one, deep=True) for one in node.value]


def _scalar(loader: Any, node: yaml.Node) -> Any:
    """A scalar of the type that its form, or an explicit tag such as `!!float`, says."""
    kind, text = node.tag.removeprefix(_TAG), str(loader.construct_scalar(node))
    if kind == "str":
        return text
    if not _PATTERNS[kind].match(text) and not (kind == "float" and _PATTERNS["int"].match(text)):
        _refuse(f"'{text}' is no {kind}", node)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    try:
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    except ValueError:  # Python converts integers up to some length only
        _refuse(f"an integer of {len(text):,} digits is too long", node)


def _unknown(loader: Any, node: yaml.Node) -> Never:
    _refuse(f"the tag {node.tag.replace(_TAG, '!!')} is not allowed", node)


def _refuse(what: str, node: yaml.Node) -> Never:
    raise ValueError(f"{_line(node)}{what}")


def _set_up() -> None:
    """Register the scalars of YAML 1.2 for reading, and for the texts that have to be quoted."""
    for name, pattern in _PATTERNS.items():
        first = ["~", "n", "N", ""] if name == "null" else list("tTfF") if name == "bool" else list("-+.0123456789")
        for one in (_Loader, _Dumper):
            one.add_implicit_resolver(_TAG + name, pattern, first)
        _Loader.add_constructor(_TAG + name, _scalar)
    _Loader.add_constructor(f"{_TAG}str", _scalar)
    _Loader.add_constructor(f"{_TAG}seq", _sequence)
    _Loader.add_constructor(f"{_TAG}map", _mapping)
    _Loader.add_constructor(None, _unknown)


_set_up()
