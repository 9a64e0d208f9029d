"""Parameters of which only some values are solved, words, and lists of numbers."""

import numpy as np
import pytest

from mlasdi.solvers import Parameter, ParameterSpace, described_point, parameters_of
from mlasdi.solvers.storage import address

SPACE = ParameterSpace(
    (
        *parameters_of("fluid", {"values": ["water", "oil", "air"]}),
        *parameters_of("n", {"values": [5, 1, 2]}),
        *parameters_of("inflow", {"size": 2, "low": 0, "high": 1}),
        *parameters_of("a", {"low": 0.7, "high": 0.9}),
    )
)
POINT = {"fluid": "oil", "n": 2.0, "inflow": [0.25, 0.5], "a": 0.8}


def test_each_word_and_component_is_a_coordinate() -> None:
    assert SPACE.names == ("fluid=water", "fluid=oil", "fluid=air", "n", "inflow[0]", "inflow[1]", "a")
    assert SPACE.inputs == ("fluid", "n", "inflow", "a")
    assert SPACE.words == {"fluid": ["water", "oil", "air"]}
    (row,) = SPACE.as_array(POINT)
    np.testing.assert_array_equal(row, [0, 1, 0, 2, 0.25, 0.5, 0.8])
    assert SPACE.as_dict(row) == POINT
    np.testing.assert_array_equal(SPACE.to_unit(row)[:3], [0, 1, 0])


def test_many_points_by_name() -> None:
    columns = {"fluid": ["oil", "air"], "n": [1, 5], "inflow": [[0, 1], [1, 0]], "a": [0.7, 0.9]}
    rows = SPACE.as_array(columns)
    np.testing.assert_array_equal(rows, [[0, 1, 0, 1, 0, 1, 0.7], [0, 0, 1, 5, 1, 0, 0.9]])
    np.testing.assert_array_equal(SPACE.as_array([SPACE.as_dict(row) for row in rows]), rows)


def test_designs_consist_of_allowed_values() -> None:
    corners = SPACE.corners()
    assert len(corners) == SPACE.n_corners == 3 * 2 * 2 * 2 * 2
    grid = SPACE.grid([1, 3, 2, 2, 2])
    assert len(grid) == 3 * 3 * 8
    sobol = SPACE.sobol(300, seed=0)
    for points in (corners, grid, sobol, SPACE.centre()[None]):
        assert SPACE.feasible(points).all()
        assert len(np.unique(points, axis=0)) == len(points)
        assert set(points[:, 3]) <= {1.0, 2.0, 5.0}
        np.testing.assert_array_equal(points[:, :3].sum(axis=1), 1)
    shares = sobol[:, :3].mean(axis=0)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.08)
    np.testing.assert_allclose([(sobol[:, 3] == n).mean() for n in (1, 2, 5)], 1 / 3, atol=0.08)


def test_a_small_space_has_no_more_points_than_values() -> None:
    space = ParameterSpace((*parameters_of("fluid", {"values": ["a", "b"]}), Parameter("n", 1, 4, values=(1, 2, 4))))
    assert len(space.sobol(100, seed=0)) == 6


def test_points_as_text() -> None:
    assert described_point(POINT) == "fluid = oil, n = 2, inflow = [0.25, 0.5], a = 0.8"


def test_other_values_are_not_feasible() -> None:
    (row,) = SPACE.as_array(POINT)
    for column, value in ((3, 3.0), (0, 1.0), (1, 0.0), (1, 0.5)):
        changed = row.copy()
        changed[column] = value
        assert not SPACE.feasible(changed)


def test_values_are_rounded_on_their_scale() -> None:
    parameter = Parameter("k", 1, 100, scale="log", values=(1, 100))
    np.testing.assert_array_equal(parameter.nearest(np.array([9.0, 11.0])), [1, 100])


def test_spaces_are_restored() -> None:
    assert ParameterSpace.from_json(**SPACE.to_json()) == SPACE


def test_addresses_know_words_and_lists() -> None:
    points = [POINT, {**POINT, "fluid": "air"}, {**POINT, "inflow": [0.5, 0.25]}]
    assert len({address({"solver": "a"}, point) for point in points}) == 3
    assert address({}, {"a": -0.0, "b": [1]}) == address({}, {"a": 0, "b": [1.0]})


@pytest.mark.parametrize(
    ("point", "told"),
    [
        ({**POINT, "fluid": "gas"}, "fluid 'gas' given; allowed: water, oil, air"),
        ({**POINT, "fluid": 1}, "fluid 1 given; allowed: water"),
        ({**POINT, "inflow": [1, 2, 3]}, r"inflow of shape \(3,\) given; it is a list of 2 numbers"),
        ({**POINT, "inflow": 1}, "it is a list of 2 numbers"),
    ],
)
def test_bad_points_are_refused(point: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SPACE.as_array(point)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"values": [1]}, r"'p': values \[1\] must be a list of at least two"),
        ({"values": "water"}, "values 'water' must be a list"),
        ({"values": [1, 1]}, r"values \[1.0, 1.0\] must increase|low 1.0 must be less"),
        ({"values": [1, 2, 2]}, "all different"),
        ({"values": [1, "oil"]}, "must be all numbers, or all words"),
        ({"values": [True, False]}, "must be all numbers, or all words"),
        ({"values": ["oil", "oil"]}, "two or more different words"),
        ({"values": ["a,b", "c"]}, "without commas"),
        ({"values": [1, 2], "low": 0}, "give values, or low; not both"),
        ({"values": [1, 2], "integer": True}, "give values, or integer"),
        ({"values": ["a", "b"], "unit": "m"}, "have no size, unit or scale"),
        ({"low": 0, "high": 1, "size": 0}, "size 0 must be at least 1"),
        ({"low": 0, "high": 1, "size": 1.5}, "size 1.5 must be a whole number"),
        ({"low": 0, "high": 1, "unit": 3}, "unit 3 must be text"),
        ({"low": 0, "high": 1, "integer": "yes"}, "integer 'yes' must be true or false"),
        ({"low": 0}, "high None must be a number"),
    ],
)
def test_bad_descriptions_are_refused(given: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parameters_of("p", given)
