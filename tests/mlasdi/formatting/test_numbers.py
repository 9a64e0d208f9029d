"""Numbers as people write them."""

import pytest

from mlasdi.formatting import counted, percent, point, seconds, short, size


@pytest.mark.parametrize(
    ("fraction", "written"),
    [
        (None, "unknown"),
        (0.0, "0 %"),
        (8.2e-8, "8.2e-8"),
        (9.99e-5, "9.99e-5"),
        (1e-4, "0.01 %"),
        (0.01234, "1.23 %"),
        (1.5, "150 %"),
        (46.4, "4640 %"),
    ],
)
def test_percent(fraction: float | None, written: str) -> None:
    assert percent(fraction) == written


@pytest.mark.parametrize(("value", "written"), [(1e-12, "1e-12"), (1234.5, "1.23e3"), (0.25, "0.25"), (-3e7, "-3e7")])
def test_short(value: float, written: str) -> None:
    assert short(value) == written


@pytest.mark.parametrize(
    ("duration", "written"),
    [
        (0.0, "0 s"),
        (5e-6, "5 µs"),
        (0.0012, "1.2 ms"),
        (9.96, "10 s"),
        (99.6, "100 s"),
        (36e3, "10.0 h"),
    ],
)
def test_seconds(duration: float, written: str) -> None:
    assert seconds(duration) == written


def test_sizes_and_counts() -> None:
    assert [size(n) for n in (12, 1500, 2e9, 3e15)] == ["12 bytes", "1.5 kB", "2 GB", "3e+03 TB"]
    assert [counted(n, "run") for n in (0, 1, 2800)] == ["0 runs", "1 run", "2,800 runs"]


def test_a_point_is_written_as_it_is_typed() -> None:
    assert point({"a": 0.8, "liquid": "oil", "inflow": [1.0, 2.5]}) == "a=0.8 liquid=oil inflow[0]=1 inflow[1]=2.5"
