"""Tables of points: what is read, and what is refused with its place."""

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from mlasdi.agent.text import read_columns


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    csv, parquet = tmp_path / "p.csv", tmp_path / "p.parquet"
    csv.write_text("\ufeffid, w ,a\none,1.0,0.8\n\ntwo,1e0,.75\n", encoding="utf-8")
    table = {"id": ["one", "two"], "w": [1, 1], "a": [0.8, 0.75]}
    pyarrow.parquet.write_table(pyarrow.table(table), parquet)
    for path in (csv, parquet):
        np.testing.assert_array_equal(read_columns(path, ["a", "w"]), [[0.8, 1.0], [0.75, 1.0]])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "a\n1\n", "column 'w' is missing; it has a"),
        ("p.csv", "", "column 'a' is missing; it has none"),
        ("p.csv", "a,w\n", "the table has no rows"),
        ("p.csv", "a,w\n1,2\nx,2\n", r"row 3: 'x' is not a number"),
        ("p.csv", "a,w\n1,2\n3\n", r"row 3: it has 1 of 2 cells, and none for 'w'"),
        ("p.csv", "a,w\n1,nan\n", r"row 2: 'nan' must be finite"),
        ("p.csv", b"a,w\n\xff\xfe\n", "not a CSV file"),
        ("p.parquet", "a,w\n1,2\n", "not a Parquet file"),
        ("p.xlsx", "", "give a file that ends in .csv or .parquet"),
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
    with pytest.raises(ValueError, match="row 2: 'None' is not a number"):
        read_columns(path, ["a", "w"])
