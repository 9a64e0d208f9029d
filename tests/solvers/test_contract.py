"""The types of the contract: errors, layouts, snapshots, and solvers that start from others."""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlasdi.solvers import Continuable, Snapshots, SolverError, Start, StateLayout
from mlasdi.solvers.builtin.multiscale import Multiscale


def test_solver_error_survives_the_way_out_of_a_worker():
    error = pickle.loads(pickle.dumps(SolverError("not-finite", "time step 7: overflow")))
    assert (error.kind, error.message, str(error)) == ("not-finite", "time step 7: overflow", "time step 7: overflow")


@given(n_time=st.integers(2, 60), n_kept=st.integers(2, 80))
def test_thinned_snapshots_keep_both_ends_and_are_evenly_spread(n_time, n_kept):
    t = np.arange(float(n_time))
    thin = Snapshots(t, np.column_stack([t, -t])).thinned(n_kept)
    assert thin.t.size == min(n_time, n_kept)
    assert (thin.t[0], thin.t[-1]) == (0, n_time - 1)
    assert np.ptp(np.diff(thin.t)) <= 1
    np.testing.assert_array_equal(thin.u, np.column_stack([thin.t, -thin.t]))


def test_thinning_to_nothing_is_refused_and_to_none_changes_nothing():
    snapshots = Snapshots(np.arange(3.0), np.zeros((3, 1)))
    assert snapshots.thinned(None) is snapshots
    with pytest.raises(ValueError, match="n_time 1: at least 2 snapshots"):
        snapshots.thinned(1)


def test_states_whose_squares_overflow_are_not_finite():
    """A solver that diverges may end before its values are infinite."""
    layout = StateLayout(("u",), {"x": np.arange(2.0)})
    with pytest.raises(SolverError, match=r"states reach 1e\+200; at most 1e\+150 is allowed") as failure:
        Snapshots(np.arange(2.0), np.array([[1.0, 2.0], [0.0, -1e200]])).check(layout)
    assert failure.value.kind == "not-finite"
    Snapshots(np.arange(2.0), np.array([[1.0, 2.0], [0.0, -1e149]])).check(layout)


def test_layout_splits_a_state_into_its_fields_in_c_order():
    layout = StateLayout(("u", "v"), {"x": np.arange(3.0), "y": np.arange(4.0)})
    assert (layout.shape, layout.n_state) == ((3, 4), 24)
    u, v = np.arange(12.0).reshape(3, 4), -np.arange(12.0).reshape(3, 4)
    state = np.concatenate([u.ravel(), v.ravel()])
    parts = layout.split(np.stack([state, 2 * state]))
    assert list(parts) == ["u", "v"]
    np.testing.assert_array_equal(parts["u"], np.stack([u, 2 * u]))
    np.testing.assert_array_equal(parts["v"], np.stack([v, 2 * v]))


def test_layouts_compare_by_value():
    def layout(**changes: Any) -> StateLayout:
        settings = {"fields": ("u",), "coordinates": {"x": np.arange(3.0)}, "field_units": {"u": "m/s"}}
        return StateLayout(**(settings | changes))

    assert layout() == layout()
    assert layout() == pickle.loads(pickle.dumps(layout()))
    assert layout() != layout(coordinates={"x": np.arange(4.0)})
    assert layout() != layout(coordinates={"y": np.arange(3.0)})
    assert layout() != layout(field_units={})
    assert layout() != "layout"
    masked = layout(mask=np.array([True, False, True]))
    assert masked == layout(mask=np.array([True, False, True]))
    assert masked != layout()
    assert masked != layout(mask=np.array([True, True, False]))


def test_a_mask_leaves_points_out_of_the_state_and_blank_in_the_fields():
    mask = np.array([[True, False], [True, True], [False, True]])
    layout = StateLayout(("u", "v"), {"x": np.arange(3.0), "y": np.arange(2.0)}, mask=mask)
    assert (layout.shape, layout.n_points, layout.n_state) == ((3, 2), 4, 8)
    v = layout.split(np.arange(16.0).reshape(2, 8))["v"]
    np.testing.assert_array_equal(v[1][mask], [12, 13, 14, 15])
    assert np.isnan(v[:, ~mask]).all()


def test_scattered_points_are_one_axis():
    layout = StateLayout(("u",), {"x": np.array([0.0, 1.0, 0.5]), "y": np.array([0.0, 0.0, 1.0])}, scattered=True)
    assert (layout.shape, layout.n_state) == ((3,), 3)
    np.testing.assert_array_equal(layout.split(np.arange(3.0))["u"], np.arange(3.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fields": ()}, "at least one field"),
        ({"mask": np.array([True, False])}, r"mask has shape \(2,\), the grid \(3,\)"),
        ({"scattered": True, "coordinates": {"x": np.arange(3.0), "y": np.arange(2.0)}}, "one length"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        StateLayout(**({"fields": ("u",), "coordinates": {"x": np.arange(3.0)}} | change))


def test_layouts_come_back_from_their_parts():
    layout = StateLayout(("u",), {"x": np.arange(3.0)}, {"u": "m/s"}, {"x": "m"}, "s", np.array([True, False, True]))
    assert StateLayout.from_parts(*layout.parts()) == layout


@pytest.mark.parametrize(
    ("shape", "max_nodes", "max_points", "expected"),
    [
        ((9, 7), 9, None, (9, 7)),
        ((9, 7), 5, None, (5, 5)),
        ((1000, 1000), 500, 900, (30, 30)),
        ((1000, 4), 500, 900, (225, 4)),
        ((50,), 50, 7, (7,)),
    ],
)
def test_a_coarse_layout_keeps_the_ends_of_each_axis(shape, max_nodes, max_points, expected):
    axes = {name: np.linspace(0, 1, n) ** 2 for name, n in zip("xy", shape, strict=False)}
    layout = StateLayout(("u", "v"), axes)
    coarse, kept = layout.coarsened(max_nodes, max_points)
    assert coarse.shape == expected
    assert len(kept) == coarse.n_state
    grids = np.meshgrid(*axes.values(), indexing="ij")
    for name, grid in zip(axes, grids, strict=True):
        x = coarse.coordinates[name]
        assert (x[0], x[-1]) == (0, 1)
        values = coarse.split(np.concatenate([grid.ravel(), -grid.ravel()])[kept])
        along = np.moveaxis(values["u"], list(axes).index(name), -1)
        np.testing.assert_array_equal(along, np.broadcast_to(x, along.shape))
        np.testing.assert_array_equal(values["v"], -values["u"])


def test_a_coarse_mesh_has_evenly_spread_points():
    x = np.arange(100.0)
    masked = StateLayout(("u",), {"x": x}, mask=x % 2 == 0)
    for layout, n_points in ((StateLayout(("u", "v"), {"x": x, "y": -x}, scattered=True), 100), (masked, 50)):
        coarse, kept = layout.coarsened(5, 10)
        assert (coarse.n_points, len(kept)) == (10, coarse.n_state)
        assert (kept[0], kept[-1]) == (0, layout.n_state - 1)
        assert layout.coarsened(5, n_points)[0] is layout


def test_the_solution_tells_the_layout_where_the_solver_does_not():
    t, u = np.arange(2.0), np.ones((2, 3))
    assert Snapshots(t, u).problems(None) == ["neither the solver nor its solution has a layout"]
    assert not Snapshots(t, u, StateLayout(("u",), {"x": np.arange(3.0)})).problems(None)


@dataclass(frozen=True)
class Continuing(Multiscale):
    def solve_from(self, mu: Mapping[str, float], starts: Sequence[Start]) -> Snapshots:
        return replace(self.solve(mu), restart=np.ones(3))


def test_only_a_solver_that_offers_it_goes_on_from_others():
    assert isinstance(Continuing(), Continuable)
    assert not isinstance(Multiscale(), Continuable)


def test_thinned_snapshots_keep_their_restart():
    restart = np.ones(3)
    assert Snapshots(np.arange(5.0), np.zeros((5, 1)), restart=restart).thinned(2).restart is restart
