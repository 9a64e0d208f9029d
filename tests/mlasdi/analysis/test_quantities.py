"""Quantities: as text and as functions, for the mean of a surrogate and for functions drawn from it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlasdi.analysis.quantities import drawn, predicted, quantities_of, times_of

MU = np.array([[0.2, 0.3], [0.5, 0.9], [0.8, 0.1]])


def test_texts_reduce_a_field(model: Any) -> None:
    texts = ["mean(u)", "rms(v)", "min( v )", "max(u)", "u(x=0.3)"]
    u, v = model.predict(MU)["u"], model.predict(MU)["v"]
    expected = [u.mean(-1), np.sqrt((v**2).mean(-1)), v.min(-1), u.max(-1), u[..., 6]]
    together = predicted(model, quantities_of(model, texts), MU, model.t)
    for text, one, found in zip(texts, expected, together, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-9)
        (alone,) = predicted(model, quantities_of(model, text), MU, model.t)  # decodes nothing else
        np.testing.assert_allclose(alone, one, rtol=1e-9)


def test_functions_see_fields_and_parameters_by_name(model: Any) -> None:
    given = {"end": lambda p: p["u"][:, -1].max(axis=-1), "a": lambda p: p.mu[:, 0], "each": lambda p: p["v"][..., 0]}
    end, a, each = predicted(model, quantities_of(model, given), MU, model.t)
    np.testing.assert_allclose(end[:, 0], model.predict(MU)["u"][:, -1].max(axis=-1))
    assert (a[:, 0] == MU[:, 0]).all()
    assert each.shape == (3, len(model.t))


def test_drawn_functions_have_the_surrogate_s_distribution_and_do_not_depend_on_other_points(coarse: Any) -> None:
    quantity = quantities_of(coarse, "u(x=0.5)")
    (values,) = drawn(coarse, quantity, MU, coarse.t, 3000, 7)
    found = coarse.predict(MU)
    np.testing.assert_allclose(values.mean(axis=0), found["u"][..., 10], atol=5 * found.std.max() / np.sqrt(3000))
    np.testing.assert_allclose(values.std(axis=0), found.field("u", "std")[..., 10], rtol=0.06, atol=1e-9)
    (alone,) = drawn(coarse, quantity, MU[1:2], coarse.t, 3000, 7)
    np.testing.assert_allclose(alone[:, 0], values[:, 1], rtol=1e-9, atol=1e-12)


def test_sentences_of_the_outputs_and_names_of_the_model_mean_the_same(model: Any) -> None:
    known = replace(model, info={"quantities": {"peak": "max over time and space of u", "code": "os:getcwd"}})
    found = predicted(known, quantities_of(known, ["peak", "u at x=0.5, time=1", "max over space of u"]), MU, model.t)
    by_text = predicted(model, quantities_of(model, ["max(u)", "u(x=0.5)"]), MU, model.t)
    np.testing.assert_allclose(found[0][:, 0], by_text[0].max(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found[1][:, 0], by_text[1][:, -1], rtol=1e-9)
    np.testing.assert_allclose(found[2], by_text[0], rtol=1e-12)
    with pytest.raises(ValueError, match="ask for 'os:getcwd' itself"):
        quantities_of(known, "code")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("u", "write mean\\(u\\)"),
        ("mean(w)", "field 'w' is not known; the state has u, v"),
        ("median(u)", "'median' is none of mean, rms"),
        ("u(x=2)", "lies outside the grid"),
        ("u(y=0.5)", "coordinates \\['y'\\] given"),
        ("u(x=a)", "write a coordinate and a number"),
        ([], "no quantity is given"),
    ],
)
def test_unknown_quantities_are_refused(model: Any, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantities_of(model, given)


@pytest.mark.parametrize(
    ("function", "message"),
    [(lambda p: p["u"], "has shape \\(3, 11, 21\\) for 3"), (lambda p: p.mu[:, 0] * np.nan, "is not finite")],
)
def test_functions_return_one_value_or_one_a_time(model: Any, function: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predicted(model, quantities_of(model, function), MU, model.t)


def test_times_are_within_the_training(model: Any) -> None:
    assert times_of(model, 0.5).tolist() == [0.5]
    with pytest.raises(ValueError, match="give times \\[time\\] from 0 to 1"):
        times_of(model, [0.5, 1.2])
