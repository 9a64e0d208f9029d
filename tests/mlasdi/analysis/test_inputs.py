"""Distributions of parameters: as they are written, truncated to the box."""

import numpy as np
import pytest
from scipy import stats

from mlasdi.analysis import Inputs, parse_distribution
from mlasdi.solvers import Parameter, ParameterSpace

SPACE = ParameterSpace(
    (Parameter("a", 1, 3), Parameter("nu", 0.01, 1, scale="log"), Parameter("n", 2, 5, integer=True))
)
PROBABILITIES = (np.arange(4000) + 0.5) / 4000


@pytest.mark.parametrize(
    ("text", "law"),
    [
        ("normal(2, .5)", stats.norm(2, 0.5)),
        (" lognormal( 2,0.3 )", stats.lognorm(0.3, scale=2)),
        ("uniform(1,2e0)", stats.uniform(1, 1)),
        ("loguniform(1,3)", stats.loguniform(1, 3)),
    ],
)
def test_texts_are_distributions(text: str, law: object) -> None:
    p = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(parse_distribution(text).ppf(p), law.ppf(p))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gauss(0,1)", "is no distribution; write normal"),
        ("normal(0)", "normal takes mean, standard deviation"),
        ("normal(0,1,2)", "normal takes mean, standard deviation"),
        ("normal(0,-1)", "must be positive, got -1"),
        ("normal(0,nan)", "must be finite"),
        ("normal(0,__import__)", "normal takes"),
        ("lognormal(-4,1)", "the median must be positive"),
        ("uniform(2,1)", "high - low must be positive"),
        ("loguniform(0,1)", "low must be positive"),
        ("inf", "is no distribution"),
    ],
)
def test_other_texts_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_distribution(text)


def test_distributions_are_truncated_to_the_box_and_the_rest_is_told() -> None:
    inputs = Inputs.of(SPACE, {"a": "normal(1.2, 0.4)", "nu": 0.1, "n": 3})
    a = inputs.at(PROBABILITIES[:, None])[:, 0]
    assert (inputs.names, inputs.outside) == (("a",), {"a": pytest.approx(stats.norm.cdf(-0.5) + stats.norm.sf(4.5))})
    truncated = stats.truncnorm((1 - 1.2) / 0.4, (3 - 1.2) / 0.4, loc=1.2, scale=0.4)
    np.testing.assert_allclose([a.mean(), a.std()], [truncated.mean(), truncated.std()], rtol=1e-3)
    assert (inputs.at(PROBABILITIES[:, None])[:, 1:] == [0.1, 3]).all()


def test_what_is_not_named_is_uniform_on_its_scale() -> None:
    inputs = Inputs.of(SPACE, None)
    assert inputs.texts == {"a": "uniform(1, 3)", "nu": "loguniform(0.01, 1)", "n": "uniform(2, 5)"}
    a, nu, n = inputs.at(np.repeat(PROBABILITIES[:, None], 3, axis=1)).T
    assert (np.median(a), np.median(nu)) == (pytest.approx(2, rel=1e-3), pytest.approx(0.1, rel=1e-3))
    assert np.unique(n, return_counts=True)[1].tolist() == [1000] * 4  # the bounds are as likely as other numbers


def test_other_forms_of_distributions() -> None:
    inputs = Inputs.of(SPACE, {"a": (1, 2), "nu": stats.lognorm(0.2, scale=0.1), "n": np.float64(4)})
    assert inputs.texts == {"a": "uniform(1, 2)", "nu": "lognorm(0.2, 0.1)", "n": "4"}
    assert inputs.at(np.array([[0.5, 0.5]]))[0] == pytest.approx([1.5, 0.1, 4])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"b": 1}, "parameter 'b' is not known; the model has a, nu, n"),
        ({"a": "normal(9, 0.1)"}, "parameter 'a': less than 1% of normal"),
        ({"a": 5}, "parameter 'a': 5 lies outside of the trained range 1 to 3"),
        ({"a": (1, 2, 3)}, "is no distribution; give text"),
        ({"a": "sin(1)"}, "parameter 'a': 'sin\\(1\\)' is no distribution"),
    ],
)
def test_what_does_not_fit_the_box_is_refused(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Inputs.of(SPACE, given)
