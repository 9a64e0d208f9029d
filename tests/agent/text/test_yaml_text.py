"""YAML: scalars of version 1.2, what is refused, and how fast."""

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlasdi.agent.text import dump_yaml, parse_yaml, read_yaml
from mlasdi.agent.text.yaml_text import MAX_BYTES

# Examples of the core schema (YAML 1.2.2, section 10.3.2), and texts that YAML 1.1 reads as something else.
SCALARS = {
    "null": None, "~": None, "": None, "true": True, "FALSE": False, "0": 0, "-19": -19, "0o7": 7, "0x3A": 58,
    "010": 10, "0.": 0.0, "-0.0": -0.0, ".5": 0.5, "+12e03": 12000.0, "-2E+05": -200000.0, "1e-3": 1e-3, "1E5": 1e5,
    ".inf": float("inf"), "-.Inf": -float("inf"), "no": "no", "Yes": "Yes", "on": "on", "off": "off", "n": "n",
    "12:30": "12:30", "1_000": "1_000", "2001-12-14": "2001-12-14", "1e": "1e", "0b11": "0b11", "tRUE": "tRUE",
    ".": ".", "'1e-3'": "1e-3", '"no"': "no", "!!float 3": 3.0, "!!str 3": "3", "!!int 3": 3, "=": "=",
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS.items(), ids=map(repr, SCALARS))
def test_scalars_are_those_of_version_1_2(text: str, value: object) -> None:
    for found in (parse_yaml(text), parse_yaml(f"a: {text}")["a"], parse_yaml(f"[{text or '~'}]")[0]):
        assert found == value
        assert type(found) is type(value)


plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.sampled_from(list(SCALARS))
)
texts = st.one_of(st.text(), st.sampled_from(list(SCALARS)))
documents = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20)


@given(documents)
def test_what_is_written_is_read_as_the_same_also_by_readers_of_version_1_1(value: object) -> None:
    text = dump_yaml({"value": value})
    assert parse_yaml(text) == {"value": value}
    assert yaml.safe_load(text) == {"value": value}


@given(st.text(alphabet=" \n\t[]{}:,-?&*!|>'\"#%@a1<."))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    message = ""
    try:
        parse_yaml(text)
    except ValueError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "line 4: key 'c' comes twice, first in line 3"),
        ("{a: 1, 'a': 2}", "line 1: key 'a' comes twice, first in line 1"),
        ("a: &x {b: *x}", r"line 1: the alias \*x contains itself"),
        ("a: &x [1, [*x]]", r"line 1: the alias \*x contains itself"),
        ("b: &x {c: 1}\na: {<<: *x}", "line 2: YAML 1.2 has no merge key <<; repeat the settings"),
        ("? [1, 2]\n: 3", "line 1: a key must be text or a number"),
        ("!!python/object/apply:os.system [ls]", "line 1: the tag !!python/object/apply:os.system is not allowed"),
        ("a: !!timestamp 2001-12-14", "the tag !!timestamp is not allowed"),
        ("a: !!int many", "line 1: 'many' is no int"),
        ("a: !!map [1]", "line 1: a mapping is expected"),
        ("9" * 5000, "an integer of 5,000 digits is too long"),
        ("a: [", "not YAML: while parsing a flow node"),
        ("a: *x", "not YAML: found undefined alias"),
        ("a: 1\n---\nb: 2", "not YAML: expected a single document"),
        ("\udcff", "not YAML: "),
        (b"a: \xff", "not YAML: "),
    ],
)
def test_what_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_yaml(text)


def test_aliases_are_allowed_where_they_are_small() -> None:
    assert parse_yaml("a: &x [1, no]\nb: *x\nc: {d: *x}") == {"a": [1, "no"], "b": [1, "no"], "c": {"d": [1, "no"]}}


def laughs(n: int) -> str:
    """Each line names nine times the line before."""
    lines = [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, n)]
    return "\n".join(["a0: &a0 [x]", *lines])


BOMBS = {
    "laughs": laughs(30),
    "a long text often": f"a: &a {'x' * 500_000}\nb: [*a, *a, *a]",
    "deep lists": "[" * 400_000,
    "deep mappings": "{a: " * 200_000,
    "deep blocks": "- " * 300_000,
    "indented blocks": "\n".join(" " * i + "a:" for i in range(1300)),
    "long list": "[" + "1," * 490_000 + "]",
    "many keys": "\n".join(f"k{i}: 1" for i in range(90_000)),
    "large file": "#" * 5_000_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(tmp_path: Path, name: str) -> None:
    """Within a second of processor time, since other programs may run beside."""
    path = tmp_path / "bomb.yaml"
    path.write_text(BOMBS[name])
    start = time.process_time()
    with pytest.raises(ValueError, match=r"nested more than|too large|larger than"):
        read_yaml(path)
    assert time.process_time() - start < 1


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("a: 1\n" + "#" * (MAX_BYTES - 5))
    assert read_yaml(path) == {"a": 1}
    path.write_text("a: 1\n" + "#" * (MAX_BYTES - 4))
    with pytest.raises(ValueError, match="the file is larger than 1,000,000 bytes"):
        read_yaml(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "marked.yaml"
    path.write_text("näme: 1", encoding=encoding)
    assert read_yaml(path) == {"näme": 1}
