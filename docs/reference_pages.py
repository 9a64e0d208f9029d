"""The reference of the configuration, made of its pydantic models when the site is built.

`docs/site_hooks.py` adds it to the site; `tests/test_site.py` checks that it lists every key.
"""

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from inspect import cleandoc
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mlasdi.agent.config import Config
from mlasdi.solvers import Parameter
from mlasdi.training.settings import PRESETS, ModelSettings

# Keys whose value is parsed by a validator, so that their type does not tell what to write.
WRITTEN = {
    "problem.parameters": "mapping: `name: [low, high]`, or `name: {low, high, unit, scale, integer, size}`, or "
    "`name: {values: [...]}`",
    "problem.constraints": "list of `{name: weight, ..., min: limit, max: limit}` and `package.module:function`",
    "budget.target_error": "fraction below 1, or text such as `0.3%`; or `{output: such a value}`",
}
WORDS = {int: "integer", float: "number", str: "text", bool: "true or false", Path: "path", Any: "any value"}
BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}", "pattern": "pattern `{}`"}

CONFIGURATION = """\
# Configuration

*Generated from the settings classes when this site is built.*

One YAML file describes a campaign. Only `problem.solver`, `problem.parameters` and `budget.solver_runs` are required.
Unknown keys are errors that name the nearest known key; keys of earlier versions are errors that name the new one.

- On the command line, `KEY=VALUE` after the file replaces a setting: keys are dotted, values are YAML
  (`budget.solver_runs=12 "model.stages=[{kind: kriging}]"`); of two values for one key the later counts.
- Values are those of YAML 1.2: `1e-3` is a number, `no` and `12:30` are text, and there are no merge keys (`<<`). A key
  that comes twice in a mapping is an error, and a file has at most a megabyte.
- A campaign that is resumed may change `budget`, `cluster` and `root` only; for anything else give it a new `name`.
- `default` says *required* where a key must be given, and *preset* where `model.kind` chooses it
  ([presets](#presets)).
"""


# The configuration


def configuration_page() -> str:
    """All sections of `Config`, one table each, and the presets of the model."""
    parts = [CONFIGURATION, "## Top level\n", _table(Config, "", _plain_keys(Config))]
    for name, field in Config.model_fields.items():
        if models := _models(field.annotation):
            parts += _section(name, models[0], 2)
    return "\n".join([*parts, _presets()])


def configuration_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Dotted names of all keys; those of list entries follow `[]`, as in `model.stages[].ridge`."""
    for name, field in model.model_fields.items():
        path = prefix + name
        yield path
        for nested in _models(field.annotation):
            yield from configuration_keys(nested, f"{path}[]." if _is_list(field.annotation) else f"{path}.")


def undescribed_keys() -> list[str]:
    """Keys without a description, neither of the field nor in the docstring of its class."""
    return sorted(set(_undescribed(Config, "")))


def _undescribed(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        nested = _models(field.annotation)
        if not nested and not _description(model, name, field):
            yield prefix + name
        for one in nested:
            yield from _undescribed(one, f"{prefix}{name}.")


def _section(path: str, model: type[BaseModel], level: int, default: BaseModel | None = None) -> list[str]:
    """Heading, purpose and keys of a section, and the sections below it.

    Args:
        default: the section as it is where nothing is given; None for the defaults of its class.
    """
    parts = [f"\n{'#' * level} {path}\n", _purpose(model), "", _table(model, path, list(model.model_fields), default)]
    if model.model_fields.get("parameters") and path == "problem":
        parts += [f"\n{'#' * (level + 1)} problem.parameters.NAME\n", _parameter_table()]
    for name, field in model.model_fields.items():
        is_list = _is_list(field.annotation)
        for nested in _models(field.annotation):
            kind = nested.model_fields.get("kind")
            title = f"{path}.{name}{'[]' if is_list else ''}" + (f", kind {kind.default}" if kind else "")
            if len(nested.model_fields) > 1:
                given = field.default if isinstance(field.default, nested) else None
                parts += _section(title, nested, min(level + 1, 4), given)
    return parts


def _plain_keys(model: type[BaseModel]) -> list[str]:
    return [name for name, field in model.model_fields.items() if not _models(field.annotation)]


def _table(model: type[BaseModel], path: str, names: list[str], default: BaseModel | None = None) -> str:
    rows = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for name in names:
        field = model.model_fields[name]
        values = WRITTEN.get(f"{path}.{name}") or _values(field.annotation, field.metadata)
        standard = _default(model, name, field) if default is None else as_yaml(getattr(default, name))
        row = (f"`{name}`", values, standard, _description(model, name, field))
        rows.append("| " + " | ".join(cell(text) for text in row) + " |")
    return "\n".join(rows)


def _parameter_table() -> str:
    described = _attributes(Parameter)
    hints = {"low": "number", "high": "number", "unit": "text", "scale": "`linear`, `log`", "integer": "true or false"}
    hints["values"] = "list of numbers, or of words"
    rows = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for field in fields(Parameter):
        if field.name in hints:
            default = "*required*" if field.default is MISSING else as_yaml(field.default)
            rows.append(
                f"| `{field.name}` | {hints[field.name]} | {default} | {cell(described[field.name].rstrip('.'))} |"
            )
    return "\n".join(rows)


def _presets() -> str:
    """What each value of `model.kind` stands for."""
    rows = [
        "\n## Presets\n",
        "`model.kind` sets the keys below; each of them can be set beside it.\n",
        f"| key | {' | '.join(f'`{name}`' for name in PRESETS)} |",
        "|---" * (len(PRESETS) + 1) + "|",
    ]
    for key in PRESETS["mlasdi"]:
        chosen = (_preset_value(preset[key]) for preset in PRESETS.values())
        rows.append(f"| `{key}` | {' | '.join(chosen)} |")
    dims = (ModelSettings.model_validate({"kind": name}).latent_dims for name in PRESETS)
    rows.append(f"| `latent_dim` | {' | '.join(as_yaml(d[0] if len(d) == 1 else list(d)) for d in dims)} |")
    return "\n".join(rows) + "\n"


def _preset_value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {as_yaml(item)}" if key != "kind" else f"`{item}`" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(f"`{one['kind']}`" for one in value) or "`[]`"
    return as_yaml(value)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes in an annotation, in their order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple


def _values(annotation: Any, metadata: Any = ()) -> str:
    """A type in words, with the values that are allowed."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if models := _models(annotation):
        kinds = [f"`{one.model_fields['kind'].default}`" for one in models if "kind" in one.model_fields]
        of = "list of sections" if origin is tuple else "section"
        return f"{of}, by `kind`: {', '.join(kinds)}" if kinds else of
    if origin is Annotated:
        return _values(parts[0], parts[1:])
    if origin is Literal:
        return ", ".join(f"`{_plain(part)}`" for part in parts)
    if origin in (Union, UnionType):
        words = [_values(part) for part in parts if part is not NoneType]
        null = ["`null`"] if NoneType in parts else []
        return "; or ".join([_bounded(words[0], metadata), *words[1:], *null])
    if origin is tuple:
        return _bounded(
            f"list of {_values(parts[0]).replace('integer', 'integers').replace('number', 'numbers')}", metadata
        )
    if origin is dict:
        return "mapping"
    return _bounded(WORDS.get(annotation, "number"), metadata)


def _bounded(words: str, metadata: Any) -> str:
    limits = [text for one in metadata for text in _limits(one)]
    return ", ".join([words, *limits])


def _limits(constraint: Any) -> list[str]:
    if isinstance(constraint, FieldInfo):
        return [text for one in constraint.metadata for text in _limits(one)]
    if getattr(constraint, "min_length", None):
        return ["not empty"]
    found = ((text, getattr(constraint, name, None)) for name, text in BOUNDS.items())
    return [text.format(_plain(limit)) for text, limit in found if limit is not None]


def _default(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    if model is Config and name == "name":
        return "name of the file"
    if model is ModelSettings and name in (*PRESETS["mlasdi"], "latent_dim"):
        return "*preset*"
    if _models(field.annotation) and not _is_list(field.annotation):
        return "see there"
    default = field.get_default(call_default_factory=True, validated_data={})
    return "*required*" if default is PydanticUndefined else as_yaml(default)


def as_yaml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"`[{', '.join(map(_plain, value))}]`"
    return "`{}`" if value == {} else f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    """A value as YAML has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else '""' if value == "" else str(value)


def _purpose(model: type[BaseModel]) -> str:
    return _sentence(
        cleandoc(model.__doc__ or "").partition("\n\nAttributes:")[0].replace("\n\n", " ").replace("\n", " ")
    )


def _description(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    if name == "kind" and len(get_args(field.annotation)) == 1:
        return "which kind of stage this is"
    if nested := _models(field.annotation):
        return field.description or ("see below" if len(nested) > 1 else _purpose(nested[0]))
    text = field.description or _attributes(model).get(name, "")
    return re.sub(r"`?\bNone\b`?", "`null`", text).rstrip(".")


def _attributes(model: type) -> dict[str, str]:
    """Descriptions in the `Attributes` section of a docstring."""
    text = cleandoc(model.__doc__ or "").partition("Attributes:\n")[2]
    found = re.findall(r"^ {4}([\w, ]+): (.*(?:\n {8,}.*)*)", text, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", said) for names, said in found for name in names.split(", ")}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def cell(text: str) -> str:
    return text.replace("|", "\\|")
