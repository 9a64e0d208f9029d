"""Figures: what they show, in which units, and that every text can be read on paper."""

import json
import subprocess
import sys
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.image import imread
from matplotlib.text import Text

from mlasdi.agent import figures
from mlasdi.agent.figures.style import magnitude_norm, plain_number
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout

PARAMETERS = (
    Parameter("nu", 3.2e-4, 5.4e-4, "m²/s", "log"),
    Parameter("Re", 185, 312),
    Parameter("k", 1, 1.2, "1/m"),
    Parameter("alpha", 1e-5, 1e-1, "Pa", "log"),
    Parameter("w", 0.9, 1.1, "m"),
)


def space_of(n_params):
    return ParameterSpace(PARAMETERS[:n_params])


def bowl(space, mu, centre=0.4):
    """An error that grows towards the corner farthest from `centre`, in a different measure for each parameter."""
    return 0.03 * (space.to_unit(mu) - centre) ** 2 @ np.arange(1.0, space.n_params + 1)


def solved_points(space, n_chosen=6):
    return np.concatenate([space.corners(), space.sobol(n_chosen, 1)])


def state_layout(n_axes, n_fields=1):
    coordinates = {name: np.linspace(0, 2, n) for name, n in zip("xyz"[:n_axes], (24, 17, 9), strict=False)}
    return StateLayout(
        ("u", "v")[:n_fields], coordinates, {"u": "m/s"}, coordinate_units={"x": "cm", "y": "cm"}, time_unit="ms"
    )


def field_data(layout, n_time=5):
    """Times, truth, a prediction that is worst at the third time, and its standard deviation."""
    t = np.linspace(0, 2, n_time)
    axes = list(layout.coordinates.values())
    grid = axes if layout.scattered else np.meshgrid(*axes, indexing="ij")
    grid = [x if layout.mask is None else x[layout.mask] for x in grid]
    one = np.stack([np.cos(sum(grid) - time) + 0.3 * grid[0] for time in t]).reshape(n_time, -1)
    truth = np.concatenate([one * (i + 1) for i in range(len(layout.fields))], axis=1)
    mean = truth + 1e-3 * np.array([0, 1, -3, 1, 1])[:, None] * np.linspace(-0.2, 1, truth.shape[1])
    return t, truth, mean, np.full_like(truth, 1e-3)


def drawn_texts(figure, monkeypatch):
    """(text, extent in pixels) of everything that a reader can read; tick labels outside the view are not drawn."""
    seen = []
    draw = Text.draw

    def record(self, renderer):
        if self.get_visible() and self.get_text().strip():
            seen.append(self)
        draw(self, renderer)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", record)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    renderer = canvas.get_renderer()
    return [(text, text.get_window_extent(renderer)) for text in dict.fromkeys(seen)]


def is_inside(box, frame):
    return frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1


def assert_readable(figure, monkeypatch):
    """Every text has at least 8 points, lies on the page, and overlaps no other."""
    texts = drawn_texts(figure, monkeypatch)
    assert texts
    for text, box in texts:
        assert text.get_fontsize() >= 8, text
        assert is_inside(box, figure.bbox), text
    for (one, a), (other, b) in combinations(texts, 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width <= 1 or height <= 1, (one, other)  # a pixel: extents are rounded up
    assert figure.get_figwidth() <= 7


def all_axes(figure):
    return figure.findobj(Axes)


def labels_of(figure):
    return {label for axes in all_axes(figure) for label in (axes.get_xlabel(), axes.get_ylabel()) if label}


def numbers_in(axes):
    return [text for text in axes.texts if text.get_text().isdigit()]


@pytest.mark.parametrize(
    ("n_params", "scattered"),
    [
        (1, False),
        (2, True),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in ((1, True), (2, False), (3, False), (3, True), (5, False))
        ),
    ],
)
def test_maps_are_readable_and_labelled(n_params, scattered, monkeypatch):
    space = space_of(n_params)
    mu = space.sobol(90, 0) if scattered else space.grid({1: 21, 2: 11}.get(n_params, 4))
    figure = figures.error_map(space, mu, bowl(space, mu), solved_points(space), 2**n_params)
    assert_readable(figure, monkeypatch)
    labels = labels_of(figure)
    assert any(label.startswith("max relative error [%]") for label in labels)
    shown = {p.label for p in space.parameters} & labels
    assert len(shown) == min(n_params, 4)


def test_numbers_follow_the_order_of_choice():
    space = space_of(2)
    mu = space.grid(11)
    solved = solved_points(space)
    figure = figures.error_map(space, mu, bowl(space, mu), solved, 4)
    axes = figure.axes[0]
    numbers = numbers_in(axes)
    assert [text.get_text() for text in numbers] == [str(i + 1) for i in range(len(solved))]
    at = np.array([text.get_position() for text in numbers])
    displaced = ~np.isclose(at, solved, rtol=1e-6).all(axis=1)
    # Only what lies under the marker of the largest error had to move: it is in the last corner.
    assert displaced.tolist() == [False, False, False, True] + [False] * 6


@pytest.mark.parametrize("n_params", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_numbers_lie_inside_their_panel(n_params):
    space = space_of(n_params)
    mu = space.grid(5)
    figure = figures.error_map(space, mu, bowl(space, mu), space.corners(), 2**n_params)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    n_panels = 0
    for axes in figure.axes:
        numbers = numbers_in(axes)
        n_panels += bool(numbers)
        assert len(numbers) in (0, 2**n_params)
        for text in numbers:
            box = text.get_window_extent(canvas.get_renderer())
            assert is_inside(box, axes.bbox)
    assert n_panels == {1: 1, 2: 1, 3: 3}[n_params]


def test_points_at_the_same_place_are_told_apart(monkeypatch):
    space = space_of(2)
    mu = space.grid(5)
    close = space.from_unit(0.5 + 0.002 * np.arange(12)[:, None] * [1, -1])
    figure = figures.error_map(space, mu, bowl(space, mu), close, 3)
    assert_readable(figure, monkeypatch)
    assert [text.get_text() for text in numbers_in(figure.axes[0])] == [str(i + 1) for i in range(12)]


def test_initial_and_chosen_points_differ_in_shape():
    space = space_of(2)
    mu = space.grid(5)
    figure = figures.error_map(space, mu, bowl(space, mu), space.sobol(7, 0), 3)
    markers = [line.get_marker() for line in figure.axes[0].lines if line.get_markersize() > 9]
    assert markers == ["s"] * 3 + ["o"] * 4


def test_of_hundreds_of_points_none_is_numbered():
    space = space_of(2)
    solved = np.vstack([solved_points(space), space.sobol(300, seed=1)])
    mu = space.sobol(100, seed=0)
    figure = figures.error_map(space, mu, bowl(space, mu), solved, 4)
    assert numbers_in(figure.axes[0]) == []
    markers = {line.get_marker(): len(line.get_xdata()) for line in figure.axes[0].lines}
    assert (markers["s"], markers["o"]) == (4, len(solved) - 4)


def map_values(axes):
    (mesh,) = (c for c in axes.collections if isinstance(c, QuadMesh))
    return np.asarray(mesh.get_array().filled(np.nan)), mesh


def test_cells_are_the_errors_in_per_cent_at_their_points():
    space = space_of(2)
    mu = space.grid((4, 3))
    errors = np.arange(1.0, 13.0) / 100
    figure = figures.error_map(space, mu, errors, np.empty((0, 2)), 0)
    image, mesh = map_values(figure.axes[0])
    np.testing.assert_allclose(image, 100 * errors.reshape(4, 3).T)
    corners = mesh.get_coordinates()
    for row, column in np.ndindex(3, 4):
        nu, re = mu.reshape(4, 3, 2)[column, row]
        assert corners[row, column, 0] <= nu <= corners[row, column + 1, 0]
        assert corners[row, column, 1] <= re <= corners[row + 1, column, 1]
    np.testing.assert_allclose(corners[[0, -1], [0, -1]], space.bounds)  # the map fills the box, no more and no less
    assert figure.axes[0].get_xscale() == "log"
    assert figure.axes[0].get_yscale() == "linear"


@pytest.mark.slow
def test_projection_shows_the_largest_over_the_other_parameters():
    space = space_of(3)
    mu = space.grid(4)
    errors = np.random.default_rng(0).uniform(0.01, 0.02, len(mu))
    figure = figures.error_map(space, mu, errors, np.empty((0, 3)), 0)
    cube = 100 * errors.reshape(4, 4, 4)
    panels = [axes for axes in figure.axes if any(isinstance(c, QuadMesh) for c in axes.collections)][:3]
    for axes, expected in zip(panels, (cube.max(2).T, cube.max(1).T, cube.max(0).T), strict=True):
        np.testing.assert_allclose(map_values(axes)[0], expected)
        np.testing.assert_allclose(map_values(axes)[1].get_clim(), (0, 100 * errors.max()))


@pytest.mark.slow
def test_of_five_parameters_the_idle_one_is_left_out():
    space = space_of(5)
    mu = space.sobol(200, 0)
    errors = 0.01 + bowl(space, mu) - 0.03 * 3 * (space.to_unit(mu)[:, 2] - 0.4) ** 2  # does not depend on k
    labels = labels_of(figures.error_map(space, mu, errors, solved_points(space), 32))
    assert {p.label for p in PARAMETERS} - labels == {"k [1/m]"}


def test_scattered_points_colour_what_is_nearest():
    space = space_of(2)
    mu = space.sobol(40, 0)
    errors = np.linspace(0.01, 0.02, 40)
    image, _ = map_values(figures.error_map(space, mu, errors, space.corners(), 4).axes[0])
    n = len(image)
    cells = np.clip((space.to_unit(mu) * n).astype(int), 0, n - 1)
    np.testing.assert_allclose(image[cells[:, 1], cells[:, 0]], 100 * errors, rtol=0.05)
    assert np.isfinite(image).all()


@pytest.mark.parametrize("n_params", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
@pytest.mark.parametrize("bad", [0.02, 1.0])
def test_values_that_are_not_finite_are_left_blank(n_params, bad, monkeypatch):
    space = space_of(n_params)
    mu = space.grid(6)
    errors = bowl(space, mu)
    errors[: max(1, int(bad * len(mu)))] = [np.nan, np.inf][n_params % 2]
    figure = figures.error_map(space, mu, errors, solved_points(space, 2), 2**n_params)
    assert_readable(figure, monkeypatch)
    title = figure.get_suptitle()
    assert title == "" if bad == 1.0 else f"largest: {100 * errors[np.isfinite(errors)].max():.3g} %" in title


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_what_is_not_feasible_stays_blank_however_much_it_is(share, monkeypatch):
    space = space_of(2)
    mu = space.grid(11)
    errors = np.where(space.to_unit(mu)[:, 0] <= share, bowl(space, mu), np.nan)
    figure = figures.uncertainty_map(space, mu, errors, space.corners(), 4)
    assert_readable(figure, monkeypatch)
    (image,) = (mesh for mesh in figure.axes[0].collections if isinstance(mesh, QuadMesh))
    assert np.ma.getmaskarray(image.get_array()).sum() == np.isnan(errors).sum()


def test_largest_error_is_marked_and_named():
    space = space_of(2)
    mu = space.grid(9)
    errors = bowl(space, mu)
    figure = figures.uncertainty_map(space, mu, errors, space.corners(), 4)
    (cross,) = (line for line in figure.axes[0].lines if line.get_marker() == "X")
    np.testing.assert_allclose(np.ravel(cross.get_data()), mu[errors.argmax()])
    assert figure.get_suptitle() == "largest: 3.24 % at nu = 0.00054 m²/s, Re = 312"
    assert "estimated relative error [%]" in labels_of(figure)


def test_colour_scale_is_logarithmic_only_where_one_value_would_hide_the_others():
    assert not isinstance(magnitude_norm(np.array([0.0, 1.0, 2.0, 5.0])), LogNorm)
    norm = magnitude_norm(np.array([1e-6, 0.1, 0.1, 20.0, np.nan, 0.0]))
    assert isinstance(norm, LogNorm)
    assert (norm.vmin, norm.vmax) == (0.02, 20.0)


@pytest.mark.parametrize("n_params", [1, 2])
def test_errors_over_many_decades_stay_readable(n_params, monkeypatch):
    space = space_of(n_params)
    mu = space.grid(12)
    errors = 10 ** (-7 + 6 * space.to_unit(mu)[:, 0])
    assert_readable(figures.error_map(space, mu, errors, solved_points(space), 2**n_params), monkeypatch)


ROUNDS = {
    "one round": ([4], [{"autoencoder": 0.05}], [None]),
    "growing": (
        [4, 6, 9],
        [{"ae": 0.05}, {"ae": 0.02, "sine": 0.004}, {"ae": 0.01, "kriging": 0.002}],
        [None, 0.01, 0.003],
    ),
    "narrow": ([4, 5], [{"ae": 0.0101}, {"ae": 0.0100}], [0.0102, None]),
    "diverged": ([4, 5], [{"ae": np.inf}, {"ae": np.nan}], [None, None]),
    "nothing yet": ([], [], []),
}


@pytest.mark.parametrize(
    ("name", "target", "validated"),
    [(name, 0.003, True) for name in ROUNDS] + [(name, None, False) for name in ("one round", "nothing yet")],
)
def test_convergence_is_readable(name, target, validated, monkeypatch):
    rounds = ROUNDS[name]
    figure = figures.convergence(*rounds, target, validated)
    assert_readable(figure, monkeypatch)
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "solver runs"
    assert axes.get_ylabel().endswith("[%]")
    assert ("validation" in axes.get_ylabel()) == validated
    assert not rounds[0] or all(float(tick).is_integer() for tick in axes.get_xticks())


def test_convergence_has_a_line_for_each_number_of_stages():
    (axes,) = figures.convergence(*ROUNDS["growing"], 0.003, True).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == [
        "1 stage\n(ae)",
        "2 stages\n(+ sine or kriging)",
        "estimate, without validation",
        "target 0.3 %",
    ]
    one, two, estimate, target = lines.values()
    np.testing.assert_allclose(one.get_ydata(), [5, 2, 1])
    np.testing.assert_allclose(two.get_ydata(), [np.nan, 0.4, 0.2])
    np.testing.assert_allclose(estimate.get_ydata(), [np.nan, 1, 0.3])
    assert estimate.get_linestyle() == "--"
    np.testing.assert_allclose(target.get_ydata(), 0.3)
    low, high = axes.get_ylim()
    assert low < 0.2 < 5 < high


@pytest.mark.slow
@pytest.mark.parametrize("size", [(22, 4), *(pytest.param(one, marks=pytest.mark.slow) for one in ((2, 2), (3, 14)))])
def test_two_space_coordinates_keep_their_proportions(size, monkeypatch):
    x, y = (np.linspace(-length / 2, length / 2, 30) for length in size)
    layout = StateLayout(("u", "v"), {"x": x, "y": y}, coordinate_units={"x": "m", "y": "m"})
    figure = figures.worst_point(figures.Comparison(layout, *field_data(layout)), space_of(1), np.array([4e-4]))
    assert_readable(figure, monkeypatch)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    for axes in panels:
        assert axes.bbox.height / axes.bbox.width == pytest.approx(size[1] / size[0], rel=0.01)
        (bar,) = axes.child_axes
        assert (bar.bbox.y0, bar.bbox.y1) == pytest.approx((axes.bbox.y0, axes.bbox.y1))
        assert is_inside(axes.yaxis.label.get_window_extent(), figure.bbox)


@pytest.mark.parametrize(
    ("n_axes", "n_fields"),
    [(1, 1), *(pytest.param(*one, marks=pytest.mark.slow) for one in ((2, 2), (1, 2), (2, 1), (3, 1), (3, 2)))],
)
def test_worst_point_is_readable_and_labelled(n_axes, n_fields, monkeypatch):
    layout, space = state_layout(n_axes, n_fields), space_of(3)
    figure = figures.worst_point(
        figures.Comparison(layout, *field_data(layout)), space, space.from_unit([0.5, 0.5, 0.5])
    )
    assert_readable(figure, monkeypatch)
    small = "u [$10^{-3}$ m/s]"
    assert labels_of(figure) == {"x [cm]", "u [m/s]", small, "t [ms]" if n_axes == 1 else "y [cm]"}
    title = figure.get_suptitle()
    assert "t = 1 ms" in title
    assert ("field u (of u, v)" in title) == (n_fields == 2)
    assert ("z = " in title) == (n_axes == 3)


@pytest.mark.slow
def test_points_outside_a_mask_are_left_blank(monkeypatch):
    x, y = np.linspace(0, 2, 20), np.linspace(0, 1, 10)
    mask = np.hypot(x[:, None] - 0.5, y - 0.5) > 0.2
    layout = StateLayout(("u",), {"x": x, "y": y}, mask=mask)
    figure = figures.worst_point(figures.Comparison(layout, *field_data(layout)), space_of(1), np.array([4e-4]))
    assert_readable(figure, monkeypatch)
    for values, _ in worst_panels(figure).values():
        np.testing.assert_array_equal(np.isnan(values), ~mask.T)


@pytest.mark.parametrize("n_axes", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_scattered_points_of_a_field_are_coloured_in_their_places(n_axes, monkeypatch):
    rng = np.random.default_rng(0)
    layout = StateLayout(("u",), {name: rng.random(40) for name in "xyz"[:n_axes]}, scattered=True)
    t, truth, mean, std = field_data(layout)
    figure = figures.worst_point(figures.Comparison(layout, t, truth, mean, std), space_of(1), np.array([4e-4]))
    assert_readable(figure, monkeypatch)
    if n_axes > 1:
        panel = next(axes for axes in figure.axes if axes.get_title(loc="left") == "truth")
        (points,) = panel.collections
        np.testing.assert_array_equal(points.get_offsets(), np.column_stack([layout.coordinates[n] for n in "xy"]))
        np.testing.assert_array_equal(points.get_array(), truth[2])


def worst_panels(figure):
    return {axes.get_title(loc="left"): map_values(axes) for axes in figure.axes}


@pytest.mark.parametrize("n_axes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_worst_point_scales_and_contents(n_axes):
    layout = state_layout(n_axes, 2)
    t, truth, mean, std = field_data(layout)
    panels = worst_panels(
        figures.worst_point(figures.Comparison(layout, t, truth, mean, std), space_of(1), np.array([4e-4]))
    )
    assert list(panels) == ["truth", "prediction", "prediction minus truth", "standard deviation"]
    (true, a), (predicted, b), (difference, c), (spread, d) = panels.values()
    assert a.get_clim() == b.get_clim()
    assert c.get_clim()[0] == -c.get_clim()[1] < 0
    assert c.get_clim()[1] == pytest.approx(np.abs(difference).max())
    assert d.get_clim() == (0, pytest.approx(1e-3))
    select = (lambda u: layout.split(u)["u"]) if n_axes == 1 else (lambda u: layout.split(u)["u"][2].T)
    for shown, expected in ((true, truth), (predicted, mean), (difference, mean - truth), (spread, std)):
        np.testing.assert_allclose(shown, select(expected))
    assert len({a.get_cmap().name, c.get_cmap().name, d.get_cmap().name}) == 3


@pytest.mark.slow
def test_worst_point_of_a_fine_grid_is_thinned_but_spans_it_all():
    layout = StateLayout(("u",), {"x": np.linspace(-3, 3, 1501)})
    t = np.linspace(0, 1, 1001)
    truth = np.outer(1 + t, np.cos(layout.coordinates["x"]))
    figure = figures.worst_point(
        figures.Comparison(layout, t, truth, 1.01 * truth, 0.01 * np.abs(truth)), space_of(1), np.array([4e-4])
    )
    image, mesh = worst_panels(figure)["truth"]
    assert max(image.shape) <= 501
    np.testing.assert_allclose(mesh.get_coordinates()[[0, -1], [0, -1]], [[-3, 0], [3, 1]])


@pytest.mark.slow
def test_worst_point_survives_constant_and_diverged_fields(monkeypatch):
    layout = state_layout(1)
    t, truth, mean, std = field_data(layout)
    ones = np.ones_like(truth)
    assert_readable(
        figures.worst_point(figures.Comparison(layout, t, ones, ones, 0 * ones), space_of(1), np.array([4e-4])),
        monkeypatch,
    )
    mean[3:] = np.nan
    figure = figures.worst_point(figures.Comparison(layout, t, truth, mean, std), space_of(1), np.array([4e-4]))
    assert_readable(figure, monkeypatch)
    assert figure.get_suptitle().endswith("max relative error nan %, at t = 1.5 ms")


RELIABLE = {
    "one": {"9 solver runs": np.linspace(0.1, 0.99, 5)},
    "everything inside": {"a": np.ones(5), "b": np.zeros(5)},
    "many": {f"{n} solver runs,\nwithout calibration": np.linspace(0, 1, 5) ** n for n in range(1, 8)},
}


@pytest.mark.parametrize("observed", RELIABLE.values(), ids=RELIABLE.keys())
def test_reliability_shows_what_the_bands_hold_against_what_they_promise(observed, monkeypatch):
    levels = (0.1, 0.5, 0.8, 0.9, 0.99)
    figure = figures.reliability(levels, observed)
    assert_readable(figure, monkeypatch)
    (axes,) = figure.axes
    diagonal, *lines = axes.lines
    np.testing.assert_array_equal(*diagonal.get_data())
    assert [line.get_label() for line in lines] == list(observed)
    for line, shares in zip(lines, observed.values(), strict=True):
        np.testing.assert_allclose(line.get_data(), [100 * np.array(levels), 100 * shares])
    (target,) = axes.patches
    assert (target.get_x() + target.get_width() / 2, target.get_y(), target.get_height()) == (90, 85, 10)
    low, high = np.reshape(axes.bbox.extents, (2, 2))
    assert 0.8 < np.divide(*(high - low)) < 1.25  # the diagonal looks like one


SPLITS = {
    "one stage": (["variable-projection"], 1.0),
    "long names": (["variable-projection", "sine-features (kappa 0.1, ridge 1e-05)", "kriging"], 1.0),
    "perfect": (["kriging"], 0.0),
    "diverged": (["autoencoder", "sine-decoder"], np.inf),
    "many": ([f"sine-decoder #{k}" for k in range(7)], 1e-6),
}


@pytest.mark.parametrize(("names", "size"), SPLITS.values(), ids=SPLITS.keys())
def test_error_split_is_readable_and_tells_every_number(names, size, monkeypatch):
    parts = {"projection": np.full(len(names), 2.6e-6), "interpolation": size * 0.0123 / np.arange(1, len(names) + 1)}
    total = np.full(len(names), size * 0.015)
    figure = figures.error_split(names, parts, total)
    assert_readable(figure, monkeypatch)
    (axes,) = figure.axes
    assert [container.get_label() for container in axes.containers] == ["projection", "interpolation", "total"]
    lengths = [[bar.get_width() for bar in container] for container in axes.containers]
    expected = [100 * values for values in (*parts.values(), total)]
    np.testing.assert_allclose(lengths, np.where(np.isfinite(expected), expected, 0), rtol=1e-12)
    numbers = [text.get_text() for text in axes.texts]
    assert numbers[: len(names)] == ["0.00026"] * len(names)
    told = "not finite" if np.isinf(size) else plain_number(1.5 * size, 2)
    assert numbers[-len(names) :] == [told] * len(names)
    groups = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert groups == [f"{k} stage{'s' * (k > 1)} ({'+ ' * (k > 1)}{name})" for k, name in enumerate(names, start=1)]


@pytest.mark.parametrize(
    ("n_latents", "n_points"),
    [(1, 1), *(pytest.param(*one, marks=pytest.mark.slow) for one in ((4, 3), (3, 16), (5, 3), (8, 9)))],
)
def test_latent_trajectories(n_latents, n_points, monkeypatch):
    t = np.linspace(0, 2, 30)
    mean = np.cos(t)[None, :, None] * np.linspace(1, 2, n_points)[:, None, None] * np.ones(n_latents)
    std = np.full_like(mean, 0.1)
    labels = [f"a = {i / 10:.3g}, w = {1 + i / 7:.3g} m" for i in range(n_points)]
    figure = figures.latent_trajectories(t, mean, std, labels, time_unit="s")
    assert_readable(figure, monkeypatch)
    panels = [axes for axes in figure.axes if axes.lines]
    assert [axes.get_ylabel() for axes in panels] == [f"$z_{{{i + 1}}}$" for i in range(min(n_latents, 6))]
    n_columns = {1: 1, 3: 3, 4: 2, 5: 3, 8: 3}[n_latents]
    assert [axes.get_xlabel() for axes in panels[-n_columns:]] == ["t [s]"] * n_columns
    for axes in panels:
        assert [line.get_label() for line in axes.lines] == labels
        bands = [c.get_paths()[0].vertices for c in axes.collections if isinstance(c, PolyCollection)]
        assert len(bands) == n_points
        for band, curve in zip(bands, mean[..., 0], strict=True):
            assert band[:, 1].max() == pytest.approx(curve.max() + 0.2)  # two standard deviations
            assert band[:, 1].min() == pytest.approx(curve.min() - 0.2)
    assert len({line.get_color() for line in panels[0].lines}) == n_points


HISTORIES = {
    "iterated": {"autoencoder": [(i, 10 * 0.9**i) for i in range(50)]},
    "closed": {"kriging": [(1, 8.8e-9)]},
    "mixed": {
        "autoencoder": [(i, 10 * 0.99**i) for i in range(500)],
        "sine-features": [(1, 3e-3)],
        "sine-decoder": [(i, 0.1 / (i + 1)) for i in range(50)],
        "kriging": [(1, 0.0)],
    },
    "many": {f"sine-decoder {k}": [(i, 0.1**k / (i + 1)) for i in range(50)] for k in range(5)},
    "negative": {"marginal likelihood": [(i, 1.0 - i) for i in range(5)]},
}


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(history, id=name, marks=[pytest.mark.slow] if name in ("mixed", "many") else [])
        for name, history in HISTORIES.items()
    ],
)
def test_training_loss_leaves_no_stage_and_no_panel_out(history, monkeypatch):
    figure = figures.training_loss(history)
    assert_readable(figure, monkeypatch)
    used = [axes for axes in figure.axes if axes.axison]
    assert all(axes.lines for axes in used)
    texts = [text.get_text().replace("\n", "") for text, _ in drawn_texts(figure, monkeypatch)]
    for name in history:
        assert any(text in (name, name.replace(" ", "")) for text in texts), name
    negative = any(loss < 0 for pairs in history.values() for _, loss in pairs)
    assert {axes.get_yscale() for axes in used} == {"linear" if negative else "log"}


def test_training_loss_shows_the_values_of_closed_form_stages(monkeypatch):
    texts = [t.get_text() for t, _ in drawn_texts(figures.training_loss(HISTORIES["mixed"]), monkeypatch)]
    assert {"0.003", "0", "closed form"} <= set(texts)


@pytest.mark.parametrize(
    ("value", "text"), [(0.3, "0.3"), (1e-4, "0.0001"), (2e-5, r"$2 \times 10^{-5}$"), (1e6, "$10^{6}$"), (0.0, "0")]
)
def test_numbers_on_axes(value, text):
    assert plain_number(value) == text


def test_style_is_independent_of_the_users_settings():
    with matplotlib.rc_context({"font.size": 20, "ytick.labelsize": 3, "axes.grid": True}):
        figure = figures.training_loss(HISTORIES["iterated"])
        FigureCanvasAgg(figure).draw()
        assert matplotlib.rcParams["font.size"] == 20  # and leaves them alone
    assert {text.get_fontsize() for text in figure.axes[0].get_yticklabels()} == {8}
    assert not any(line.get_visible() for line in figure.axes[0].get_xgridlines())


def test_save_writes_a_picture_for_print(tmp_path):
    figure = figures.training_loss(HISTORIES["mixed"])
    path = figures.save(figure, tmp_path / "new" / "loss.png")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    height, width, _ = imread(path).shape
    np.testing.assert_allclose((width, height), figure.get_size_inches() * 200, atol=1)
    assert [p.name for p in path.parent.iterdir()] == ["loss.png"]


def test_save_that_fails_leaves_the_old_picture_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "loss.png"
    figure = figures.training_loss(HISTORIES["closed"])
    figures.save(figure, path)
    before = path.read_bytes()

    def broken(path, **_):
        path.write_bytes(b"half a picture")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", broken)
    with pytest.raises(OSError, match="disk full"):
        figures.save(figure, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["loss.png"]


def test_imports_nothing_heavy():
    code = "import sys, json; import mlasdi.agent.figures.curves; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
    assert not {"torch", "ray", "mlflow", "matplotlib.pyplot"} & set(loaded)


@pytest.mark.slow
def test_maps_of_error_and_estimate_can_share_their_colours():
    space = space_of(2)
    mu = space.full_grid(5)
    errors, estimates = bowl(space, mu), 4 * bowl(space, mu, 0.6)
    scale = np.concatenate([errors, estimates])
    maps = [
        figures.error_map(space, mu, errors, space.corners(), 4, scale=scale),
        figures.uncertainty_map(space, mu, estimates, space.corners(), 4, scale=scale),
    ]
    norms = [next(c for c in one.axes[0].collections if isinstance(c, QuadMesh)).norm for one in maps]
    assert (norms[0].vmin, norms[0].vmax) == (norms[1].vmin, norms[1].vmax)
    assert norms[0].vmax == pytest.approx(100 * scale.max())


@pytest.mark.parametrize("n_params", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3))])
def test_a_ratio_of_one_is_the_middle_of_the_scale(n_params):
    space = space_of(n_params)
    mu = space.full_grid(4)
    ratios = np.linspace(0.5, 4, len(mu))
    ratios[0] = np.nan
    figure = figures.ratio_map(space, mu, ratios, space.corners(), 2**n_params)
    FigureCanvasAgg(figure).draw()
    assert figure.get_suptitle().startswith("largest: 4 at ")
    if n_params > 1:
        norm = next(c for c in figure.axes[0].collections if isinstance(c, QuadMesh)).norm
        assert norm.vmin * norm.vmax == pytest.approx(1)
        assert norm.vmax == pytest.approx(4)
