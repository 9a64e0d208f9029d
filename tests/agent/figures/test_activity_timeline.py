"""The figure of the workers' activities: each at its place, for one or many hosts, seconds or days."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from mlasdi.agent.figures import save
from mlasdi.agent.figures.activity_timeline import timeline
from mlasdi.agent.records import CHOOSE, SOLVE, TRAIN, UNKNOWN, WASTED, Span

SPANS = [
    Span("n1:10", 0, SOLVE, 1.0, 0.0, 4.0),
    Span("n1:10", 0, SOLVE, 1.0, 4.0, 10.0),
    Span("n1:11", 1, WASTED, 1.0, 1.0, 3.0),
    Span("n2:20", 0, TRAIN, 2.0, 2.0, 9.0),
    Span("n2:20", 0, CHOOSE, 1.0, 9.0, 10.0),
    Span(UNKNOWN, 0, WASTED, 1.0, 5.0, 6.0),
]


def bars(figure) -> list[tuple[float, float, float]]:
    """Left and right end and height of the middle of each bar."""
    found = []
    for collection in figure.axes[0].collections:
        assert isinstance(collection, PolyCollection)
        for path in collection.get_paths():
            (x0, y0), (x1, y1) = path.vertices.min(axis=0), path.vertices.max(axis=0)
            found.append((float(x0), float(x1), round(float(y0 + y1) / 2, 6)))
    return sorted(found)


def test_each_piece_of_work_lies_in_its_workers_lane() -> None:
    figure = timeline(SPANS)
    assert bars(figure) == [
        (0, 4, 0),
        (1, 3, 1),
        (2, 9, 2),
        (4, 10, 0),
        (9, 10, 2),
    ]  # without that of the unknown worker
    above, below = figure.axes
    assert [label.get_text() for label in above.get_yticklabels()] == ["n1", "n2"]
    assert below.get_xlabel() == "time since the start [s]"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [SOLVE, TRAIN, CHOOSE, WASTED]


def test_the_share_of_busy_workers_is_below() -> None:
    (stairs,) = timeline(SPANS).axes[1].patches
    values, edges, _ = stairs.get_data()
    assert edges[-1] == 10
    assert np.average(values) == pytest.approx(100 * (4 + 6 + 2 + 7 + 1) / 30)
    assert values[15] == pytest.approx(200 / 3)  # at 1.5 s: two of three


@pytest.mark.parametrize(("end_s", "unit", "shown"), [(170.0, "s", 170), (600.0, "min", 10), (9e4, "h", 25)])
def test_time_is_told_in_the_unit_that_people_would_choose(end_s: float, unit: str, shown: float) -> None:
    below = timeline([Span("n1:1", 0, SOLVE, 1.0, 0.0, end_s)]).axes[1]
    assert below.get_xlabel() == f"time since the start [{unit}]"
    assert below.get_xlim() == pytest.approx((0, shown))


def test_nothing_and_very_much_can_be_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    many = [
        Span(
            f"node{k % 40:02d}:{k % 400}",
            (k % 400) // 40,
            SOLVE,
            1.0,
            10 * (k // 400),
            10 * (k // 400) + rng.uniform(2, 9),
        )
        for k in range(4000)
    ]
    for number, spans in enumerate(([], many)):
        figure = timeline(spans)
        assert figure.get_size_inches()[1] <= 7.0
        assert save(figure, tmp_path / f"{number}.png").stat().st_size > 5000
