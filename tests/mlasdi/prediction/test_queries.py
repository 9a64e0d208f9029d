"""Probes: values of the decoded state, interpolated, without decoding all of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlasdi.solvers import StateLayout
from mlasdi.surrogate import Probes

X, Y = np.linspace(-1.0, 2.0, 7), np.array([3.0, 2.0, 0.5])  # the second decreases, in uneven steps
GRID = StateLayout(("u", "v"), {"x": X, "y": Y})
MASK = np.ones((7, 3), dtype=bool)
MASK[2:4, 1:] = False
MASKED = StateLayout(("u",), {"x": X, "y": Y}, mask=MASK)
NODES = StateLayout(("u",), {"x": np.array([0.0, 1.0, 1.0]), "y": np.array([0.0, 0.0, 2.0])}, scattered=True)


def bilinear(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 1 + 2 * x - y + 0.5 * x * y


def state(layout: StateLayout) -> np.ndarray:
    """`bilinear` in the first field, its double in the next."""
    if layout.scattered:
        values = bilinear(*layout.coordinates.values())
    else:
        grid = bilinear(*np.meshgrid(*layout.coordinates.values(), indexing="ij"))
        values = grid.ravel() if layout.mask is None else grid[layout.mask]
    return np.concatenate([(k + 1) * values for k in range(len(layout.fields))])


@given(
    x=hnp.arrays(float, 5, elements=st.floats(-1, 2)),
    y=hnp.arrays(float, 5, elements=st.floats(0.5, 3)),
)
def test_on_a_grid_bilinear_fields_are_read_exactly(x: np.ndarray, y: np.ndarray) -> None:
    read = Probes.at_points(GRID, {"x": x, "y": y}).of(state(GRID))
    np.testing.assert_allclose(read, np.concatenate([bilinear(x, y), 2 * bilinear(x, y)]), atol=1e-13)


def test_values_at_nodes_are_exact() -> None:
    u = np.random.default_rng(0).standard_normal(GRID.n_state)
    x, y = (grid.ravel() for grid in np.meshgrid(X, Y, indexing="ij"))
    np.testing.assert_allclose(Probes.at_points(GRID, {"x": x, "y": y}).of(u), u, atol=1e-14)
    np.testing.assert_allclose(Probes.at_points(GRID, {"x": x, "y": y}, ["v"]).of(u), u[21:], atol=1e-14)
    np.testing.assert_array_equal(Probes.of_fields(GRID, ["v"]).of(u), u[21:])
    np.testing.assert_array_equal(Probes.of_fields(GRID, ["v", "u"]).of(u), np.concatenate([u[21:], u[:21]]))


def test_masked_nodes_have_no_weight() -> None:
    u = state(MASKED)
    whole = Probes.at_points(MASKED, {"x": X[5], "y": 1.0}).of(u)
    np.testing.assert_allclose(whole, [bilinear(X[5], 1.0)])
    # Between a node of the fluid and a masked one, the probe has the value of the former.
    next_to_mask = Probes.at_points(MASKED, {"x": 0.5 * (X[1] + X[2]), "y": 2.0}).of(u)
    np.testing.assert_allclose(next_to_mask, [bilinear(X[1], 2.0)])
    with pytest.raises(ValueError, match=r"holds no value at x=0.25, y=0.5: the point is masked"):
        Probes.at_points(MASKED, {"x": 0.25, "y": 0.5})


def test_of_scattered_nodes_the_closest_is_read() -> None:
    u = state(NODES)
    np.testing.assert_array_equal(Probes.at_points(NODES, {"x": [0.2, 0.9], "y": [0.1, 1.9]}).of(u), u[[0, 2]])


def test_an_axis_may_have_a_single_node() -> None:
    layout = StateLayout(("u",), {"x": X, "z": np.array([4.0])})
    u = np.arange(7.0)
    np.testing.assert_allclose(Probes.at_points(layout, {"x": [X[3], X[6]], "z": [4.0, 4.0]}).of(u), [3.0, 6.0])


def test_joined_probes_read_one_after_the_other() -> None:
    u = np.random.default_rng(1).standard_normal(GRID.n_state)
    parts = [Probes.at_points(GRID, {"x": 0.3, "y": 1.0}), Probes.of_fields(GRID, ["v"])]
    np.testing.assert_allclose(Probes.joined(parts).of(u), np.concatenate([part.of(u) for part in parts]))
    assert len(Probes.joined(parts)) == 23


@pytest.mark.parametrize(
    ("points", "fields", "message"),
    [
        ({"x": 0.0}, None, r"coordinates \['x'\] given; field 'u' has \['x', 'y'\]"),
        ({"x": 0.0, "y": 3.5}, None, "y=3.5 lies outside the grid; give y from 0.5 to 3"),
        ({"x": np.nan, "y": 1.0}, None, "x=nan lies outside the grid; give x from -1 to 2"),
        ({"x": [0.0, 1.0], "y": 1.0}, None, "one value a point"),
        ({"x": 0.0, "y": 1.0}, ["w"], "field 'w' is not known; the state has u, v"),
        ({"x": 0.0, "y": 1.0}, [], "no field is given"),
    ],
)
def test_what_cannot_be_read_is_refused(points: dict, fields: list | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Probes.at_points(GRID, points, fields)


# With a surrogate

MU = np.array([[0.78, 1.04], [0.85, 0.95]])


def test_predicting_probes_is_reading_them_from_the_prediction(surrogate) -> None:
    probes = Probes.at_points(surrogate.layout, {"x": [-1.01, 0.0, 0.777]})
    whole, part = surrogate.predict(MU), surrogate.predict(MU, probes=probes)
    assert part.mean.shape == (2, 51, 3)
    np.testing.assert_allclose(part.mean, probes.of(whole.mean), atol=1e-11)
    node = Probes.at_points(surrogate.layout, {"x": surrogate.layout.coordinates["x"][[10, 60]]})
    std = surrogate.predict(MU, probes=node).std
    np.testing.assert_allclose(std, whole.std[..., [10, 60]], atol=1e-10)


def test_each_probe_has_a_time(surrogate) -> None:
    rng = np.random.default_rng(3)
    t, x = rng.uniform(0, 1, 40), rng.uniform(-3, 3, 40)
    probes = Probes.at_points(surrogate.layout, {"x": x})
    found, outer = surrogate.probe(MU, t, probes), surrogate.predict(MU, t, probes=probes)
    np.testing.assert_allclose(found.mean, np.stack([np.diag(mean) for mean in outer.mean]), atol=1e-11)
    np.testing.assert_allclose(found.std, np.stack([np.diag(std) for std in outer.std]), atol=1e-11)
    assert surrogate.probe(MU, t, probes, std=False).std is None
    with pytest.raises(ValueError, match="2 times given for 40 probes"):
        surrogate.probe(MU, [0.0, 1.0], probes)


def test_samples_have_the_mean_and_the_deviation_of_the_prediction(surrogate) -> None:
    probes = Probes.at_points(surrogate.layout, {"x": [-0.5, 1.2]})
    t = [0.2, 0.9]
    samples = surrogate.sample(MU, 4000, np.random.default_rng(0), t, probes=probes)
    expected = surrogate.predict(MU, t, probes=probes)
    assert samples.shape == (2, 4000, 2, 2)
    # Standard errors of mean and deviation are 1.6 % and 1.1 % of the deviation.
    np.testing.assert_allclose(samples.mean(axis=1), expected.mean, rtol=0, atol=0.08 * expected.std.max())
    np.testing.assert_allclose(samples.std(axis=1), expected.std, rtol=0.06)
    with pytest.raises(ValueError, match="n 0 given"):
        surrogate.sample(MU, 0, np.random.default_rng(0))


def test_quantiles_are_those_of_a_normal_distribution(surrogate) -> None:
    found = surrogate.predict(MU, [0.5])
    low, middle, high = np.moveaxis(found.quantiles([0.05, 0.5, 0.95]), 1, 0)
    np.testing.assert_allclose(middle, found.mean)
    np.testing.assert_allclose(high - found.mean, 1.6448536 * found.std, rtol=1e-6)
    np.testing.assert_allclose(found.mean - low, high - found.mean, rtol=1e-6, atol=1e-14)
    with pytest.raises(ValueError, match=r"quantiles \[1.0\]: give levels between 0 and 1"):
        found.quantiles(1.0)
    with pytest.raises(ValueError, match="std=True"):
        surrogate.predict(MU, std=False).quantiles(0.5)
