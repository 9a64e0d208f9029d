"""Tables: what is read, and what is refused with its place."""

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from mlasdi.solvers import read_columns, read_matrix, read_table


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    csv, parquet = tmp_path / "p.csv", tmp_path / "p.parquet"
    csv.write_text("\ufeffid, w ,a\none,1.0,0.8\n\ntwo,1e0,.75\n", encoding="utf-8")
    table = {"id": ["one", "two"], "w": [1, 1], "a": [0.8, 0.75]}
    pyarrow.parquet.write_table(pyarrow.table(table), parquet)
    for path in (csv, parquet):
        np.testing.assert_array_equal(read_columns(path, ["a", "w"]), [[0.8, 1.0], [0.75, 1.0]])


def test_cells_may_be_empty_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("a,w\n1,\n2,NaN\n,3\n4\n")
    table = read_table(path)
    np.testing.assert_array_equal(table.numbers_or_nan("a"), [1, 2, np.nan, 4])
    np.testing.assert_array_equal(table.numbers_or_nan("w"), [np.nan, np.nan, 3, np.nan])
    path.write_text("a,w\n1,\nx,2\n")
    with pytest.raises(ValueError, match="row 3, column 'a': 'x' is not a number"):
        read_table(path).numbers_or_nan("a")
    with pytest.raises(ValueError, match="column 'b' is missing"):
        read_table(path).numbers_or_nan("b")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "a\n1\n", "column 'w' is missing; it has a"),
        ("p.csv", "", "column 'a' is missing; it has none"),
        ("p.csv", "a,w\n", "the table has no rows"),
        ("p.csv", "a,w\n1,2\nx,2\n", r"row 3, column 'a': 'x' is not a number"),
        ("p.csv", "a,w\n1,2\n\n,2\n", r"row 4, column 'a': the cell is empty"),
        ("p.csv", "a;w\n1;2\n1;\n", r"row 3: it has 1 of 2 cells|row 3, column 'w': the cell is empty"),
        ("p.csv", "a;w\n0,5;2\n", r"row 2, column 'a': '0,5' is not a number; write a decimal point"),
        ("p.csv", "a,w,a\n1,2,3\n", r"2 columns are called 'a'"),
        ("p.json", '[{"a": 1, "w": 2}, {"a": 1}]', r"row 2, column 'w': the cell is empty"),
        ("p.json", '[{"a": NaN, "w": 2}]', r"row 1, column 'a': 'nan' must be finite"),
        ("p.json", '[{"a": true, "w": 2}]', r"row 1, column 'a': 'True' is not a number"),
        ("p.json", '{"a": 1}', r"must be a table, that is a list of rows"),
        ("p.json", "[1", r"not a JSON file"),
        ("p.csv", "a,w\n1,2\n3\n", r"row 3: it has 1 of 2 cells, and none for 'w'"),
        ("p.csv", "a,w\n1,2\n3,4,5\n", r"row 3: it has 3 cells, and there are 2 columns"),
        ("p.csv", "a,w\n1,nan\n", r"row 2, column 'w': 'nan' must be finite"),
        ("p.csv", b"a,w\n\xff\xfe\n", "not a CSV file"),
        ("p.parquet", "a,w\n1,2\n", "not a Parquet file"),
        ("p.xlsx", "", "give a file that ends in .csv, .tsv, .txt, .json or .parquet"),
        ("none.csv", None, "there is no such file"),
    ],
)
def test_what_is_no_table_of_points_is_refused(
    tmp_path: Path, name: str, text: str | bytes | None, message: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read_columns(path, ["a", "w"])


def test_a_missing_value_of_parquet_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [0.8, None], "w": [1.0, 1.0]}), path)
    with pytest.raises(ValueError, match="row 2, column 'a': the cell is empty"):
        read_columns(path, ["a", "w"])


MARKS = {"comma": ", ", "semicolon": ";", "tab": "\t", "blanks": "  "}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"]


def encoded(text: str, encoding: str) -> bytes:
    return ("\ufeff" + text if encoding == "utf-16-be" else text).encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("mark", MARKS.values(), ids=MARKS.keys())
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_text_is_read_with_every_mark_between_cells_and_every_byte_order_mark(
    tmp_path: Path, encoding: str, mark: str, line_end: str
) -> None:
    """With a header line, with one as NumPy comments it, and without."""
    rows = [["w", "a"], ["1.0", "0.8"], ["1e0", ".75"]]
    lines = [mark.join(row) for row in rows]
    numbers = [[1.0, 0.8], [1.0, 0.75]]
    path = tmp_path / "p.csv"
    for header, names in (([lines[0]], ["w", "a"]), ([f"# {lines[0]}"], ["w", "a"]), ([], None)):
        path.write_bytes(encoded(line_end.join([*header, *lines[1:], ""]), encoding))
        found_names, values = read_matrix(path)
        assert found_names == names
        np.testing.assert_array_equal(values, numbers)
        if names:
            np.testing.assert_array_equal(read_columns(path, ["a", "w"]), np.array(numbers)[:, ::-1])


def test_quoted_cells_may_contain_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('"name; long", "a"\n"one, two", 1\n')
    table = read_table(path)
    assert table.columns == ["name; long", "a"]
    assert [cell for _, cell in table.cells("name; long")] == ["one, two"]
    np.testing.assert_array_equal(table.numbers(["a"]), [[1.0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows of numbers"),
        ("t,u\n", "no rows of numbers"),
        ("0,1,2\n1,2\n", "row 2 has 2 cells, the first row of numbers 3"),
        ("t,u\n0,1\n1,\n", "row 3, column 'u': the cell is empty"),
        ("t\tu\n0\t1\n\t1\n", "row 3, column 't': the cell is empty"),
        ("0,1\n\n1,**\n", r"row 3, column 2: '\*\*' is not a number"),
        ("0,0;1,0\n0,5;1,0\n", "row 2, column '0,0': '0,5' is not a number; write a decimal point"),
    ],
)
def test_text_that_is_no_table_of_numbers_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "u.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_matrix(tmp_path / "u.csv")
