"""The pictures of the built-in problems: all are there, and the script that draws them runs."""

import importlib.util
from pathlib import Path

import gallery
import numpy as np
import pytest
from matplotlib.image import imread

from mlasdi.solvers import Snapshots
from mlasdi.solvers.builtin.multiscale import Multiscale
from mlasdi.solvers.catalog import SOLVERS

IMAGES = Path(gallery.__file__).parent / "images"
COARSE: gallery.Options = {
    "multiscale": {"n_x": 60, "n_t": 21},
    "burgers1d": {"n_x": 101, "n_t": 21},
    "burgers2d": {"n_x": 20, "n_t": 41},
    "vlasov": {"n_x": 32, "n_v": 64, "n_t": 11, "t_end": 1.0, "steps": 10},
    "wake": {
        "order": 4, "maxh": 0.2, "maxh_cylinder": 0.04, "dt": 5e-4, "transient": 4.0, "n_t": 17, "dt_snapshot": 0.02,
        "n_x": 89, "n_y": 12,
    },
}  # fmt: skip


def test_every_problem_has_a_small_picture() -> None:
    assert gallery.DRAWINGS.keys() == SOLVERS.keys()
    assert {f"gallery-{name}.png" for name in SOLVERS} == {path.name for path in IMAGES.glob("gallery-*.png")}
    for name in SOLVERS:
        assert (IMAGES / f"gallery-{name}.png").stat().st_size < 150_000


@pytest.mark.slow
def test_the_script_draws_every_problem(tmp_path: Path) -> None:
    drawn = gallery.write(tmp_path, COARSE)
    expected = SOLVERS.keys() - ({"wake"} if importlib.util.find_spec("ngsolve") is None else set())
    assert {path.stem for path in drawn} == {f"gallery-{name}" for name in expected}
    for path in drawn:
        image = imread(path)[..., :3]
        assert image.shape[1] == 1300  # the width of a page
        # Colours of a field, and not a white sheet with axes alone.
        assert (np.ptp(image, axis=2) > 0.1).mean() > 0.1, path.name


def test_a_problem_is_solved_in_the_middle_of_its_box() -> None:
    snapshots, layout, at = gallery.solution("multiscale", {"n_x": 60, "n_t": 21})
    assert at == "A = 1.2"
    assert layout == Multiscale(n_x=60, n_t=21).layout
    np.testing.assert_array_equal(snapshots.u, Multiscale(n_x=60, n_t=21).solve({"A": 1.2}).u)


def test_half_a_period_is_where_the_flow_differs_most() -> None:
    t = np.linspace(0, 0.9, 31)
    wave = np.array([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)]).T
    assert t[gallery._half_period(Snapshots(t, wave))] == pytest.approx(0.5, abs=0.02)
