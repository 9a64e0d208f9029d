"""Points that are chosen without a model: initial designs, candidate sets, and the Sobol baseline."""

from pathlib import Path

import numpy as np
import pytest

from mlasdi.agent.choosing import SamplingSettings, initial_design, next_sobol, read_candidates
from mlasdi.agent.choosing.sampling import is_near
from mlasdi.solvers import Parameter, ParameterSpace, parse_constraint

BOX = ParameterSpace((Parameter("a", 0.0, 1.0), Parameter("b", 1.0, 100.0, scale="log")))
TRIANGLE = ParameterSpace(BOX.parameters, (parse_constraint({"a": 100, "b": 1, "max": 101}),))


def unit_box(n_params: int) -> ParameterSpace:
    return ParameterSpace(tuple(Parameter(f"p{i}", 0.0, 1.0) for i in range(n_params)))


# Initial designs


def test_initial_designs() -> None:
    space = BOX
    corners = initial_design(space, SamplingSettings(initial="corners"), seed=3)
    assert {tuple(mu) for mu in corners} == {(a, b) for a in (0.0, 1.0) for b in (1.0, 100.0)}
    spread = initial_design(space, SamplingSettings(initial="sobol", initial_sobol=8), seed=3)
    # A Sobol net puts one of eight points into each eighth of either parameter's scale.
    for column in space.to_unit(spread).T:
        assert sorted((8 * column).astype(int)) == list(range(8))
    both = initial_design(space, SamplingSettings(initial="corners+sobol", initial_sobol=8), seed=3)
    np.testing.assert_array_equal(both, np.concatenate([corners, spread]))
    other = initial_design(space, SamplingSettings(initial="sobol", initial_sobol=8), seed=4)
    assert not np.allclose(other, spread)


@pytest.mark.parametrize(
    ("n_params", "kind", "n_points"), [(1, "corners", 2), (4, "corners", 16), (5, "sobol", 12), (8, "sobol", 18)]
)
def test_the_default_design_of_many_parameters_is_sobol(n_params: int, kind: str, n_points: int) -> None:
    space = unit_box(n_params)
    assert SamplingSettings().design_of(space) == kind
    design = initial_design(space, SamplingSettings(), seed=1)
    assert design.shape == (n_points, n_params)
    if kind == "sobol":
        np.testing.assert_array_equal(design, space.sobol(n_points, seed=1))


def test_too_many_corners_are_refused() -> None:
    assert len(initial_design(unit_box(6), SamplingSettings(initial="corners"), seed=0)) == 64
    with pytest.raises(ValueError, match=r"'corners' of 8 parameters are 256 corners, more than 64; give 'sobol'"):
        initial_design(unit_box(8), SamplingSettings(initial="corners"), seed=0)


def test_designs_are_feasible_and_hold_no_point_twice() -> None:
    design = initial_design(TRIANGLE, SamplingSettings(initial="corners+sobol", initial_sobol=16), seed=3)
    assert TRIANGLE.feasible(design).all()
    assert len(design) == 4 + 16
    few = ParameterSpace((Parameter("n", 1, 3, integer=True), Parameter("m", 1, 2, integer=True)))
    design = initial_design(few, SamplingSettings(initial="corners+sobol", initial_sobol=6), seed=3)
    assert sorted(map(tuple, design)) == sorted(map(tuple, few.grid(3)))


def test_initial_designs_of_a_data_set() -> None:
    """The nearest to the corners, each once, in the scale of the parameters."""
    space = BOX
    available = np.array([[0.5, 10.0], [0.1, 2.0], [0.0, 1.5], [0.9, 1.0], [0.8, 90.0], [0.2, 60.0]])
    design = initial_design(space, SamplingSettings(), 0, available)
    np.testing.assert_array_equal(design, available[[2, 5, 3, 4]])
    np.testing.assert_array_equal(initial_design(space, SamplingSettings(initial="all"), 0, available), available)
    few = initial_design(space, SamplingSettings(), 0, available[:2])
    np.testing.assert_array_equal(few, available[[1, 0]])
    with pytest.raises(ValueError, match="'all' is for a data set"):
        initial_design(space, SamplingSettings(initial="all"), 0)


# Candidate sets


def table(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "candidates.csv"
    path.write_text("\n".join(["b,a,remark", *rows]))
    return path


def test_candidates_are_the_feasible_rows_each_once(tmp_path: Path) -> None:
    path = table(tmp_path, "1,0.5,x", "100,1,breaks the constraint", "3,0.25,x", "1,0.5,again", "0.5,0.5,outside")
    np.testing.assert_array_equal(read_candidates(path, TRIANGLE), [[0.5, 1.0], [0.25, 3.0]])


def test_candidate_sets_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none of its 1 points lies in the box of problem\.parameters"):
        read_candidates(table(tmp_path, "200,0.5,x"), BOX)
    with pytest.raises(ValueError, match=r"column 'p0' is missing; it has b, a, remark"):
        read_candidates(table(tmp_path, "1,0.5,x"), unit_box(1))
    with pytest.raises(ValueError, match="there is no such file"):
        read_candidates(tmp_path / "absent.csv", BOX)


# The control


def test_the_sequence_goes_on_where_the_known_points_end() -> None:
    sequence = TRIANGLE.sobol(9, seed=2)
    known = np.concatenate([BOX.corners(), sequence[[0, 1, 3]]])
    np.testing.assert_array_equal(next_sobol(TRIANGLE, known, 3, 2, None), sequence[[2, 4, 5]])


def test_the_sequence_ends_with_the_whole_numbers() -> None:
    few = ParameterSpace((Parameter("n", 1, 3, integer=True),))
    np.testing.assert_array_equal(next_sobol(few, np.array([[1.0], [3.0]]), 5, 0, None), [[2.0]])


def test_points_are_near_in_every_parameter() -> None:
    x, others = np.array([[0.0, 0.0], [0.0, 0.5], [0.5, 0.5]]), np.array([[0.05, 0.45]])
    np.testing.assert_array_equal(is_near(x, others, 0.1), [False, True, False])
    np.testing.assert_array_equal(is_near(x, others, np.array([0.1, 0.01])), [False, False, False])


def test_points_are_sought_among_thousands() -> None:
    rng = np.random.default_rng(0)
    others, x = rng.random((5000, 2)), rng.random((300, 2))
    limit = np.array([0.003, 0.01])
    expected = [(np.abs(one - others) < limit).all(axis=1).any() for one in x]
    assert 0 < sum(expected) < len(x)
    np.testing.assert_array_equal(is_near(x, others, limit), expected)
    assert not is_near(x, others[:0], limit).any()
