"""Sobol indices of a polynomial, whose indices are known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlasdi.analysis import Sensitivity
from mlasdi.solvers import ParameterSpace
from mlasdi.solvers.constraints import LinearConstraint


def exact(t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First-order and total indices `[time, param]` of `a (1 + b t)` for uniform a and b, and its variance."""
    of_a, of_b, of_both = (1 + t / 2) ** 2 / 12, t**2 / 48, t**2 / 144
    total = of_a + of_b + of_both
    return (
        np.stack([of_a, of_b], 1) / total[:, None],
        np.stack([of_a + of_both, of_b + of_both], 1) / total[:, None],
        total,
    )


@pytest.fixture(scope="module")
def found(model: Any) -> Sensitivity:
    return model.sensitivity(
        {"mean(u)": "mean(u)", "rms(v)": "rms(v)", "three": lambda p: np.full(len(p), 3.0)}, n=1024
    )


def test_indices_over_time_are_those_in_closed_form(model: Any, found: Sensitivity) -> None:
    first, total, variance = exact(model.t)
    one = found["mean(u)"]
    np.testing.assert_allclose(one.first.value, first, atol=0.01)
    np.testing.assert_allclose(one.total.value, total, atol=0.01)
    np.testing.assert_allclose(one.variance, variance * (2 / np.pi * 0.99) ** 2, rtol=0.1)
    weights = variance / variance.sum()
    np.testing.assert_allclose(one.first_overall.value, weights @ first, atol=0.01)
    inside = (one.total.low <= total) & (total <= one.total.high)
    assert inside.mean() > 0.6  # of 90 % intervals; those of all times are correlated


def test_a_quantity_that_does_not_vary_has_no_indices(found: Sensitivity) -> None:
    np.testing.assert_allclose(found["rms(v)"].first.value, np.tile([0.0, 1.0], (11, 1)), atol=0.01)
    assert np.isnan(found["three"].first.value).all()
    assert np.isnan(found["three"].total_overall.value).all()


def test_the_error_of_the_surrogate_is_part_of_the_interval(model: Any, coarse: Any) -> None:
    good, poor = (one.sensitivity("max(u)", t=[1.0], n=256)["max(u)"] for one in (model, coarse))
    assert (poor.total.surrogate_std > 10 * good.total.surrogate_std).all()
    assert ((poor.total.high - poor.total.low) > (good.total.high - good.total.low)).all()
    truth = exact(np.ones(1))[1]
    assert ((poor.total.low <= truth) & (truth <= poor.total.high)).all()


def test_more_points_lower_the_error_of_sampling(model: Any) -> None:
    few, many = (model.sensitivity("mean(u)", n=n)["mean(u)"].total_overall for n in (32, 1024))
    assert (many.sampling_std < few.sampling_std / 2).all()


def test_distributions_and_fixed_parameters(model: Any) -> None:
    narrow = model.sensitivity("mean(u)", {"a": "normal(0.5, 0.01)"}, t=[1.0], n=256)
    assert narrow["mean(u)"].first.value[0, 1] > 0.9  # of b, since a hardly varies
    one = model.sensitivity(lambda p: p["u"][:, -1, 10], {"b": 0.5}, n=64)
    assert one.names == ("a",)
    assert one["<lambda>"].t is None
    assert one["<lambda>"].total.value == pytest.approx(1, abs=0.05)


def test_tables_and_text(found: Sensitivity) -> None:
    table = found.to_dataframe()
    assert table["parameter"].tolist() == ["a", "b"] * 3
    assert {"first", "first_low", "total_high", "total_surrogate_std", "total_sampling_std"} <= set(table)
    assert len(found.to_dataframe(over_time=True)) == (2 * 11 + 1) * 2
    assert "mean(u): a 0.9" in repr(found)
    assert "<td>" in found._repr_html_()
    with pytest.raises(ValueError, match="there are mean"):
        found["w"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 100}, "n must be a power of 2"),
        ({"n": 8}, "at least 16"),
        ({"draws": 1}, "draws at least 2"),
        ({"distributions": {"a": 0.5, "b": 0.5}}, "all are fixed"),
    ],
)
def test_bad_input_is_refused(model: Any, given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.sensitivity("mean(u)", **given)


def test_dependent_parameters_are_refused(model: Any) -> None:
    related = ParameterSpace(model.space.parameters, (LinearConstraint((("a", 1.0), ("b", 1.0)), high=1.0),))
    with pytest.raises(ValueError, match="constraint '1 a \\+ 1 b <= 1' makes them"):
        replace(model, space=related).sensitivity()
