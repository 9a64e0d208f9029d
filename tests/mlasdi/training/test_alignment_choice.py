"""The choice of rescaled variables: exponents that are known are chosen, and none where there are none."""

import numpy as np
import pytest

from mlasdi.preprocessing import BasisSettings, TrainingData
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.surrogate import Surrogate
from mlasdi.surrogate.error_norms import max_relative_error
from mlasdi.training import ModelSettings, fit
from mlasdi.training.alignment_choice import AlignmentChoice, box_points, choose_alignment

SPACE = ParameterSpace((Parameter("width", 0.1, 0.16), Parameter("height", 1.0, 3.0)))
LAYOUT = StateLayout(("u", "p"), {"x": np.linspace(-1, 1, 121)})
T = np.linspace(0, 1, 61)
GRID = SPACE.grid(3)


def pulses(mu: np.ndarray, layout: StateLayout = LAYOUT) -> np.ndarray:
    """A pulse that steepens and decays faster where it is high and narrow; of `u`, and of `p`, its square.

    A function of x over the width, of t times the height over the width, and of `u` over the height alone.
    """
    width, height = mu[:, :1, None], mu[:, 1:, None]
    (x,) = layout.coordinates.values()
    s, tau = x / width, 0.06 * T[:, None] * height / width
    shape = np.exp(-0.5 * (s - tau) ** 2) / (1 + tau)
    return np.concatenate([height * shape, (height * shape) ** 2], axis=-1)


def chosen(
    mu: np.ndarray, u: np.ndarray, layout: StateLayout = LAYOUT, space: ParameterSpace = SPACE, t: np.ndarray = T
) -> AlignmentChoice:
    data = TrainingData(space, layout, mu, t, u)
    return choose_alignment(data, BasisSettings(tolerance=1e-6), time_scaling=True, coordinate_scaling=True)


def test_points_of_the_box_hold_corners_and_faces():
    points = box_points(2, np.array([[0.3, 0.4]]))
    assert {tuple(point) for point in points.tolist()} == {
        (0.3, 0.4), (0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0), (0.5, 1), (0, 0.5), (1, 0.5),
    }  # fmt: skip
    assert len(box_points(12, np.empty((0, 12)))) < 100


@pytest.mark.slow
def test_scaling_laws_of_self_similar_solutions_are_found():
    """On a grid finer than the search looks at."""
    widths, heights = np.log(1.6), np.log(3.0)
    fine = StateLayout(("u", "p"), {"x": np.linspace(-1, 1, 6001)})
    choice = chosen(GRID, pulses(GRID, fine), fine)
    scaling = choice.aligned.coordinate_scaling
    np.testing.assert_allclose(choice.aligned.time_scaling.log_rates, [-widths, heights], atol=5e-3)
    np.testing.assert_allclose(scaling.log_amplitudes, [[0, heights], [0, 2 * heights]], atol=5e-3)
    np.testing.assert_allclose(scaling.axes[0].log_scales, [-widths, 0], atol=5e-3)
    assert scaling.layout is fine
    assert choice.estimates[choice.aligned.name] == min(choice.estimates.values())
    np.testing.assert_array_equal(choice.best[0].flat, choice.aligned.exponents.flat)


def test_solutions_that_are_not_similar_keep_their_variables():
    """Two modes over the parameters, each with its own dependence on them."""
    x = SPACE.to_unit(GRID)
    parts = [np.sin((k + 2) * T[:, None] + 3 * k * LAYOUT.coordinates["x"]) for k in range(2)]
    one = np.cos(1 + x[:, 0])[:, None, None] * parts[0] + np.sin(2 * x[:, 1])[:, None, None] * parts[1]
    data = TrainingData(SPACE, LAYOUT, GRID, T, np.concatenate([one, one], axis=-1))
    only_time = choose_alignment(data, BasisSettings(), time_scaling=True, coordinate_scaling=False)
    assert only_time.aligned.is_common


@pytest.mark.slow
def test_solutions_that_are_equal_everywhere_keep_their_variables():
    steady = np.broadcast_to(pulses(GRID[:1]), (9, *pulses(GRID[:1]).shape[1:]))
    for u in (steady, np.ones((9, len(T), LAYOUT.n_state))):
        assert chosen(GRID, np.array(u)).aligned.is_common


def test_two_points_keep_their_variables():
    line = ParameterSpace((SPACE.parameters[1],))
    mu = line.grid(2)
    assert chosen(mu, pulses(np.column_stack([[0.13, 0.13], mu])), space=line).aligned.is_common


def test_on_a_mesh_time_and_amplitudes_are_rescaled_alone():
    mesh = StateLayout(("u", "p"), {"x": LAYOUT.coordinates["x"], "y": np.zeros(121)}, scattered=True)
    mu = GRID[GRID[:, 0] == 0.1]
    line = ParameterSpace((SPACE.parameters[1],))
    found = chosen(mu[:, 1:], pulses(mu), mesh, line).aligned
    np.testing.assert_allclose(found.time_scaling.log_rates, [np.log(3)], atol=5e-3)
    np.testing.assert_allclose(found.coordinate_scaling.log_amplitudes, [[np.log(3)], [2 * np.log(3)]], atol=5e-3)
    assert not found.coordinate_scaling.moves


def burgers(space: ParameterSpace, mu: np.ndarray) -> AlignmentChoice:
    fom = Burgers1D(n_x=401, n_t=401)
    u = np.stack([fom.solve(space.as_dict(row)).u[::8] for row in mu])
    data = TrainingData(space, fom.layout, mu, np.linspace(0, 1, u.shape[1]), u)
    return choose_alignment(data, BasisSettings(), time_scaling=True, coordinate_scaling=True)


@pytest.mark.slow
def test_scaling_laws_are_found_where_trajectories_are_far_out_of_step():
    """Burgers over a box twice as wide either way: its solutions are functions of x / w, a t / w, and u / a."""
    box = ParameterSpace((Parameter("a", 0.5, 1.2), Parameter("w", 0.5, 1.1)))
    found = burgers(box, box.grid(3)).aligned
    heights, widths = np.log(2.4), np.log(2.2)
    np.testing.assert_allclose(found.time_scaling.log_rates, [heights, -widths], atol=0.05)
    np.testing.assert_allclose(found.coordinate_scaling.log_amplitudes, [[heights, 0]], atol=0.05)
    np.testing.assert_allclose(found.coordinate_scaling.axes[0].log_scales, [0, -widths], atol=0.05)


@pytest.mark.slow
def test_boundary_effects_do_not_hide_scaling_laws():
    """Burgers at corners and scattered points; the domain is periodic, and the pulses end in a kink there."""
    box = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))
    found = burgers(box, np.concatenate([box.grid(2), box.sobol(5, seed=11)])).aligned
    np.testing.assert_allclose(found.time_scaling.log_rates, [np.log(9 / 7), -np.log(11 / 9)], atol=0.02)


def fitted(scaling: str) -> Surrogate:
    data = TrainingData(SPACE, LAYOUT, GRID, T, pulses(GRID))
    given = {"kind": "snapshot-gp", "n_time": 61, "basis": {"tolerance": 1e-6}}
    return fit(
        data, ModelSettings.model_validate(given | {"time_scaling": scaling, "coordinate_scaling": scaling}), seed=0
    )


@pytest.fixture(scope="module")
def rescaled() -> Surrogate:
    return fitted("learned")


@pytest.mark.slow
def test_a_surrogate_in_rescaled_variables_errs_less_by_orders(rescaled):
    mu = SPACE.grid(4)
    error, common = (max_relative_error(pulses(mu), s.predict(mu).mean).max() for s in (rescaled, fitted("off")))
    assert error < 0.003
    assert error < 0.05 * common


@pytest.mark.slow
def test_the_parts_of_a_rescaled_prediction_agree(rescaled):
    """Points alone and together, and the basis at a point."""
    surrogate, mu = rescaled, SPACE.sobol(3, seed=2)
    together = surrogate.predict(mu, [0.1, 0.63])
    for i in range(3):
        alone = surrogate.predict(mu[i], [0.1, 0.63])
        np.testing.assert_allclose(together.mean[i], alone.mean[0], atol=1e-12)
        np.testing.assert_allclose(together.std[i], alone.std[0], atol=1e-12)
        basis = surrogate.reconstruction.at(SPACE.to_unit(mu[i]))
        np.testing.assert_allclose(basis.lift(surrogate.coordinates(mu[i], [0.1, 0.63]))[0], alone.mean[0], atol=1e-12)


@pytest.mark.slow
def test_a_saved_surrogate_keeps_its_scaling(rescaled, tmp_path):
    saved = rescaled
    loaded, mu = Surrogate.load(saved.save(tmp_path / "model")), np.array([[0.13, 1.7]])
    assert loaded.time_scaling == saved.time_scaling
    assert loaded.coordinate_scaling == saved.coordinate_scaling
    np.testing.assert_array_equal(loaded.predict(mu).mean, saved.predict(mu).mean)
    np.testing.assert_array_equal(loaded.predict(mu).std, saved.predict(mu).std)
