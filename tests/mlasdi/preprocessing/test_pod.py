"""The POD basis against the singular value decomposition, and against states formed in full."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlasdi.preprocessing import BasisSettings, PodBasis

SHAPES = [(60, 25), (25, 60)]  # more snapshots than states, and fewer


def decaying(rng: np.random.Generator, shape: tuple[int, int], factor: float) -> np.ndarray:
    """Snapshots `[snapshot, state]` with a mean and with singular values `factor^-k`."""
    n = min(shape)
    left = np.linalg.qr(rng.standard_normal((shape[0], n)))[0]
    right = np.linalg.qr(rng.standard_normal((shape[1], n)))[0]
    return rng.standard_normal(shape[1]) + left * factor ** -np.arange(n) @ right.T


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=st.integers(0, 2**32 - 1), tolerance=st.floats(1e-5, 0.3))
def test_rank_is_the_smallest_that_meets_the_tolerance(shape, seed, tolerance):
    u = decaying(np.random.default_rng(seed), shape, factor=2.0)
    basis = PodBasis.fit(u, BasisSettings(tolerance=tolerance))
    singular = np.linalg.svd(u - u.mean(axis=0), compute_uv=False)
    truncated = np.sqrt([np.sum(singular[r:] ** 2) for r in range(len(singular) + 1)]) / np.linalg.norm(u)
    assert truncated[basis.rank] <= tolerance * (1 + 1e-6)  # Gram eigenvalues are exact to 1e-15 of the largest
    assert basis.rank == 1 or truncated[basis.rank - 1] > tolerance * (1 - 1e-6)
    recomputed = np.linalg.norm(u - basis.lift(basis.project(u))) / np.linalg.norm(u)
    assert basis.truncation_error == pytest.approx(recomputed, rel=1e-9)
    np.testing.assert_allclose(basis.modes.T @ basis.modes, np.eye(basis.rank), atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [1, 3, 7])
def test_data_of_an_exact_rank_get_that_rank(shape, rank):
    rng = np.random.default_rng(rank)
    u = rng.standard_normal(shape[1]) + rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    basis = PodBasis.fit(u, BasisSettings(tolerance=1e-7))
    assert basis.rank == rank
    np.testing.assert_allclose(basis.lift(basis.project(u)), u, atol=1e-10)


def test_rounding_errors_are_not_taken_for_modes():
    """A tolerance below rounding does not add modes that double precision does not resolve."""
    u = decaying(np.random.default_rng(0), (60, 25), factor=100.0)
    basis = PodBasis.fit(u, BasisSettings(tolerance=1e-15))
    assert 7 <= basis.rank <= 9  # singular values are 100^-k: 1e-14 is resolved, 1e-16 barely
    np.testing.assert_allclose(basis.lift(basis.project(u)), u, atol=1e-12)


def test_the_truncation_error_is_that_of_the_snapshots():
    """Which the smallest eigenvalues of the Gram matrix do not give."""
    u = decaying(np.random.default_rng(0), (60, 25), factor=100.0)
    basis = PodBasis.fit(u, BasisSettings(tolerance=4e-8))
    recomputed = np.linalg.norm(u - basis.lift(basis.project(u))) / np.linalg.norm(u)
    assert basis.truncation_error == pytest.approx(recomputed, rel=1e-2)


def test_max_rank_limits_the_basis_and_the_truncation_error_shows_it():
    u = decaying(np.random.default_rng(1), (60, 25), factor=1.5)
    basis = PodBasis.fit(u, BasisSettings(tolerance=1e-8, max_rank=5))
    assert basis.rank == 5
    recomputed = np.linalg.norm(u - basis.lift(basis.project(u))) / np.linalg.norm(u)
    assert basis.truncation_error == pytest.approx(recomputed, rel=1e-10)
    assert recomputed > 1e-3


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_constant_data_are_reproduced(value):
    u = np.full((3, 4, 6), value)
    basis = PodBasis.fit(u, BasisSettings())
    assert basis.rank == 1
    assert basis.truncation_error < 1e-14
    np.testing.assert_allclose(basis.lift(basis.project(u)), u, atol=1e-14)


def test_modes_are_ordered_and_coordinates_have_unit_mean_square():
    u = decaying(np.random.default_rng(2), (60, 25), factor=2.0)
    basis = PodBasis.fit(u, BasisSettings(tolerance=1e-7))
    c = basis.project(u)
    power = np.mean(c**2, axis=0)
    assert (np.diff(power) < 0).all()
    assert power.sum() == pytest.approx(1.0, abs=1e-10)


@pytest.fixture(scope="module")
def basis() -> PodBasis:
    return PodBasis.fit(decaying(np.random.default_rng(3), (30, 50), factor=3.0), BasisSettings(tolerance=1e-3))


def test_project_undoes_lift(basis):
    c = np.random.default_rng(4).standard_normal((2, 5, basis.rank))
    assert basis.lift(c).shape == (2, 5, 50)
    np.testing.assert_allclose(basis.project(basis.lift(c)), c, atol=1e-11)


def test_norm_is_that_of_the_lifted_states(basis):
    c = 3 * np.random.default_rng(5).standard_normal((2, 5, basis.rank))
    np.testing.assert_allclose(basis.norm(c), np.linalg.norm(basis.lift(c), axis=-1), rtol=1e-11)


@pytest.mark.parametrize("n_points", [2, 40])
def test_norms_of_weighted_sums_are_those_of_the_sums(basis, n_points):
    """Whether there are fewer points than modes or more."""
    rng = np.random.default_rng(1)
    c, weights = rng.standard_normal((n_points, 5, basis.rank)), rng.standard_normal((3, n_points))
    weights += (1 - weights.sum(axis=1, keepdims=True)) / n_points
    assert 2 < basis.rank < 40
    np.testing.assert_allclose(basis.norm_of_sums(weights, c), basis.norm(np.tensordot(weights, c, axes=1)), rtol=1e-10)


def test_lift_std_is_the_diagonal_of_the_lifted_covariance(basis):
    steps = np.random.default_rng(6).standard_normal((4, 3, basis.rank))
    std = basis.lift_std(steps)
    for k in range(3):
        covariance = steps[:, k].T @ steps[:, k]
        lifted = basis.scale**2 * basis.modes @ covariance @ basis.modes.T
        np.testing.assert_allclose(std[k], np.sqrt(np.diag(lifted)), rtol=1e-12)


# Fields of different scales


@pytest.fixture
def flow() -> np.ndarray:
    """Snapshots `[sample, state]` of a velocity of order one and a pressure of order 1e5, each of three modes."""
    rng = np.random.default_rng(8)
    fields = [
        size * (1 + rng.standard_normal((30, 3)) @ np.linalg.qr(rng.standard_normal((50, 3)))[0].T) for size in (1, 1e5)
    ]
    return np.concatenate(fields, axis=1)


def test_a_small_field_is_resolved_along_with_a_large_one(flow):
    settings = BasisSettings(tolerance=1e-3)
    velocity, rebuilt = flow[:, :50], {}
    for sizes in ((100,), (50, 50)):
        basis = PodBasis.fit(flow, settings, sizes)
        rebuilt[len(sizes)] = basis.lift(basis.project(flow))[:, :50]
    error = {n: np.linalg.norm(u - velocity) / np.linalg.norm(velocity) for n, u in rebuilt.items()}
    assert error[2] < 2e-3
    assert error[1] > 0.01


def test_norms_of_coordinates_are_norms_of_states(flow):
    basis = PodBasis.fit(flow, BasisSettings(), (50, 50))
    c = basis.project(flow)
    np.testing.assert_allclose(basis.norm(c), basis.state_norm(flow), rtol=1e-6)
    distances = basis.scale * np.linalg.norm(c[1:] - c[:-1], axis=-1)
    np.testing.assert_allclose(distances, basis.state_norm(flow[1:] - flow[:-1]), rtol=1e-5)
    np.testing.assert_allclose(basis.lift(c), flow, rtol=1e-5, atol=1e-5)


def test_the_units_of_the_fields_do_not_matter(flow):
    """Pressure in Pa or in bar: the same coordinates, the same errors."""
    bar = flow * np.repeat([1.0, 1e-5], 50)
    given, other = (PodBasis.fit(u, BasisSettings(), (50, 50)) for u in (flow, bar))
    assert given.rank == other.rank
    np.testing.assert_allclose(given.norm(given.project(flow)), other.norm(other.project(bar)), rtol=1e-8)


def test_a_field_that_never_changes_has_the_unit_of_its_values(flow):
    still = flow.copy()
    still[:, 50:] = 2e5
    np.testing.assert_allclose(PodBasis.fit(still, BasisSettings(), (50, 50)).unit[50:], 2e5)
    still[:, 50:] = 0
    np.testing.assert_allclose(PodBasis.fit(still, BasisSettings(), (50, 50)).unit[50:], 1.0)


def test_a_single_number_counts_as_much_as_a_field(flow):
    """A field of 50 values and a number, which varies otherwise: both are resolved, in norms with equal weights."""
    number = np.cos(np.arange(30.0) ** 2)
    u = np.column_stack([1e5 * flow[:, :50], number])
    basis = PodBasis.fit(u, BasisSettings(tolerance=0.05), (50, 1))
    rebuilt = basis.lift(basis.project(u))
    assert np.abs(rebuilt[:, 50] - number).max() < 0.2
    plain = PodBasis.fit(u, BasisSettings(tolerance=0.05))
    assert np.abs(plain.lift(plain.project(u))[:, 50] - number).max() > 0.2
    squares = u**2 / basis.norm_unit**2
    np.testing.assert_allclose(squares[:, :50].sum(axis=1).mean(), squares[:, 50].mean(), rtol=1e-9)
    offset = PodBasis.fit(u + np.repeat([1e8, 0.0], (50, 1)), BasisSettings(), (50, 1))
    assert offset.state_norm(offset.mean) < 1.1 * np.sqrt(51)  # no field counts more for an offset
    # What the basis leaves out is spread over the values in their units, whatever the weights.
    error = np.sqrt(np.mean((rebuilt - u) ** 2 / basis.unit**2 * np.repeat([1 / 50, 1.0], (50, 1)) * 51 / 2))
    assert basis.truncation_rms == pytest.approx(error, rel=1e-6)
    assert set(basis.subsampled(10).unit) == set(basis.unit)


@pytest.mark.parametrize("sizes", [(60,), (30, 30), (40, 20)])
def test_the_basis_of_factored_snapshots_is_that_of_the_snapshots(sizes):
    """Three functions of time, with a constant among them and without."""
    rng = np.random.default_rng(8)
    rows = rng.standard_normal((4, 3, 60)) * np.repeat([1.0, 1e-3], 30)
    for functions in (rng.standard_normal((25, 3)), np.stack([np.ones(25), *rng.standard_normal((2, 25))], axis=1)):
        in_time = np.linalg.qr(functions)[0]
        factored = PodBasis.fit_factored(rows, in_time, BasisSettings(), sizes)
        plain = PodBasis.fit(in_time @ rows, BasisSettings(), sizes)
        assert factored.rank == plain.rank
        np.testing.assert_allclose(factored.mean, plain.mean, atol=1e-12)
        np.testing.assert_allclose(factored.unit, plain.unit, rtol=1e-9)
        assert factored.scale == pytest.approx(plain.scale)
        u = (in_time @ rows)[2]
        np.testing.assert_allclose(factored.lift(factored.project(u)), plain.lift(plain.project(u)), atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 25), (25, 40)])
@pytest.mark.parametrize("tolerance", [1e-7, 1e-9, 1e-11])
def test_small_tolerances_are_met(shape: tuple[int, int], tolerance: float) -> None:
    """Singular values fall by a factor of 4 from one to the next, so about 12 and 18 modes are needed."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((n, 24)))[0] for n in shape)
    u = left * 4.0 ** -np.arange(24) @ right.T
    u -= u.mean(axis=0)
    basis = PodBasis.fit(u, BasisSettings(tolerance=tolerance))
    assert basis.truncation_error <= 1.1 * tolerance
    expected = -np.log(tolerance) / np.log(4)
    assert abs(basis.rank - expected) < 2.5
    np.testing.assert_allclose(basis.modes.T @ basis.modes, np.eye(basis.rank), atol=1e-12)
