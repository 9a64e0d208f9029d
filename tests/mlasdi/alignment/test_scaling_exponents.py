"""Similarity variables: exponents that are known are found, and none where there are none."""

import numpy as np
import pytest

from mlasdi.alignment import aligned
from mlasdi.alignment.align import Aligned
from mlasdi.preprocessing import BasisSettings, TrainingData
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.surrogate import Surrogate
from mlasdi.surrogate.error_norms import max_relative_error
from mlasdi.training import ModelSettings, fit

SPACE = ParameterSpace((Parameter("width", 0.1, 0.16), Parameter("height", 1.0, 3.0)))
LAYOUT = StateLayout(("u", "p"), {"x": np.linspace(-1, 1, 121)})
T = np.linspace(0, 1, 61)


def pulses(mu: np.ndarray, layout: StateLayout = LAYOUT) -> np.ndarray:
    """A pulse that steepens and decays faster where it is high and narrow; of `u`, and of `p`, its square.

    A function of x over the width, of t times the height over the width, and of `u` over the height alone.
    """
    width, height = mu[:, :1, None], mu[:, 1:, None]
    (x,) = layout.coordinates.values()
    s, own = x / width, 0.06 * T[:, None] * height / width
    shape = np.exp(-0.5 * (s - own) ** 2) / (1 + own)
    return np.concatenate([height * shape, (height * shape) ** 2], axis=-1)


def found(
    mu: np.ndarray, u: np.ndarray, layout: StateLayout = LAYOUT, space: ParameterSpace = SPACE, **allowed
) -> Aligned:
    given = {"time_scaling": True, "coordinate_scaling": True} | allowed
    return aligned(space.to_unit(mu), T, u, layout, space.spans, BasisSettings(tolerance=1e-6), **given)


GRID = SPACE.grid(3)


@pytest.fixture(scope="module")
def similar() -> Aligned:
    return found(GRID, pulses(GRID))


def test_exponents_of_self_similar_solutions_are_found(similar):
    widths, heights = np.log(1.6), np.log(3.0)
    np.testing.assert_allclose(similar.time_scaling.log_rates, [-widths, heights], atol=2e-3)
    np.testing.assert_allclose(similar.coordinate_scaling.log_amplitudes, [[0, heights], [0, 2 * heights]], atol=2e-3)
    (axis,) = similar.coordinate_scaling.axes
    np.testing.assert_allclose(axis.log_scales, [-widths, 0], atol=2e-3)
    assert axis.centre == pytest.approx(0.5, abs=0.02)


def test_they_are_found_on_grids_finer_than_the_search_looks_at(similar):
    fine = StateLayout(("u", "p"), {"x": np.linspace(-1, 1, 6001)})
    result = found(GRID, pulses(GRID, fine), fine)
    np.testing.assert_allclose(result.time_scaling.log_rates, similar.time_scaling.log_rates, atol=2e-3)
    np.testing.assert_allclose(
        result.coordinate_scaling.axes[0].log_scales, similar.coordinate_scaling.axes[0].log_scales, atol=2e-3
    )
    assert result.coordinate_scaling.layout is fine


def test_in_these_variables_all_trajectories_are_one(similar):
    spread = similar.c - similar.c.mean(axis=0)
    assert np.sqrt(np.mean(spread**2)) < 2e-3 * np.sqrt(np.mean(similar.c**2))


def test_the_basis_knows_what_is_lost_on_the_way():
    """Own states are made by the functions of time of the common basis, which leaves out more than their own does."""
    line = ParameterSpace((SPACE.parameters[1],))
    mu = line.grid(3)
    once = pulses(np.array([[0.13, 1.0]]))
    u = np.concatenate([mu[:, :1, None] * once[..., :121], mu[:, :1, None] ** 2 * once[..., 121:]], axis=-1)
    result = found(mu, u, space=line)
    assert result.coordinate_scaling is not None
    own = np.stack([result.coordinate_scaling.own(x, one)[0] for x, one in zip(line.to_unit(mu), u, strict=True)])
    missed = np.linalg.norm((own - result.basis.lift(result.c)) / result.basis.unit)
    assert 0.5 < result.basis.truncation_error * np.linalg.norm(own / result.basis.unit) / missed < 2


@pytest.mark.parametrize(
    ("given", "scales_time", "scales_coordinates"),
    [({"time_scaling": False}, False, True), ({"coordinate_scaling": False}, True, False)],
)
def test_what_is_not_allowed_is_not_found(given, scales_time, scales_coordinates):
    only = found(GRID, pulses(GRID), **given)
    assert only.time_scaling.is_common or scales_time
    assert only.coordinate_scaling is None or scales_coordinates


def test_solutions_that_are_not_similar_keep_their_variables():
    """Two modes over the parameters, each with its own dependence on them."""
    x = SPACE.to_unit(GRID)
    parts = [np.sin((k + 2) * T[:, None] + 3 * k * LAYOUT.coordinates["x"]) for k in range(2)]
    one = np.cos(1 + x[:, 0])[:, None, None] * parts[0] + np.sin(2 * x[:, 1])[:, None, None] * parts[1]
    result = found(GRID, np.concatenate([one, one], axis=-1))
    assert result.time_scaling.is_common
    assert result.coordinate_scaling is None


def test_without_the_fastest_corner_nothing_tells_the_end():
    slower = GRID[(GRID != [0.1, 3.0]).any(axis=1)]
    assert found(slower, pulses(slower)).time_scaling.is_common


def test_solutions_in_step_keep_common_times():
    """Also where they are the same everywhere, and nothing can be gained."""
    steady = np.broadcast_to(pulses(GRID[:1]), (9, *pulses(GRID[:1]).shape[1:]))
    for u in (steady, np.ones((9, len(T), LAYOUT.n_state))):
        result = found(GRID, np.array(u))
        assert result.time_scaling.is_common
        assert result.coordinate_scaling is None


def test_times_too_few_to_resample_are_left_alone():
    """Three and a half times a period: a spline through them is off by far more than kriging is."""
    times, (x,) = np.linspace(0, 1, 22), LAYOUT.coordinates.values()
    rates = np.exp(SPACE.to_unit(GRID) @ [0.03, -0.02])[:, None, None]
    wave = np.cos(2 * np.pi * 6 * rates * times[:, None] + x)
    u = np.concatenate([wave, wave], axis=-1)
    given = {"time_scaling": True, "coordinate_scaling": False}
    result = aligned(SPACE.to_unit(GRID), times, u, LAYOUT, SPACE.spans, BasisSettings(tolerance=1e-6), **given)
    assert result.time_scaling.is_common


def test_two_points_do_not_tell_two_parameters_apart():
    two = GRID[[0, 8]]
    assert found(two, pulses(two)).coordinate_scaling is None


def test_fronts_within_a_cell_are_not_scaled():
    """What a scheme makes of them depends on where between two nodes they stand."""
    x = LAYOUT.coordinates["x"]
    fronts = 0.5 - 0.5 * np.tanh((x - 3 * (GRID[:, :1, None] - 0.1) * (1 + T[:, None])) / 0.004)
    result = found(GRID, np.concatenate([fronts, fronts], axis=-1))
    assert result.coordinate_scaling is None or not result.coordinate_scaling.moves


def test_of_a_mesh_only_times_and_units_can_be_own():
    mesh = StateLayout(("u", "p"), {"x": LAYOUT.coordinates["x"], "y": np.zeros(121)}, scattered=True)
    wide = StateLayout(("u", "p"), {"x": LAYOUT.coordinates["x"]})
    mu = GRID[GRID[:, 0] == 0.1]
    line = ParameterSpace((SPACE.parameters[1],))
    result = found(mu[:, 1:], pulses(mu, wide), mesh, line)
    np.testing.assert_allclose(result.time_scaling.log_rates, [np.log(3)], atol=2e-3)
    np.testing.assert_allclose(result.coordinate_scaling.log_amplitudes, [[np.log(3)], [2 * np.log(3)]], atol=2e-3)
    assert not result.coordinate_scaling.moves


@pytest.fixture(scope="module")
def surrogates() -> dict[str, Surrogate]:
    data = TrainingData(SPACE, LAYOUT, GRID, T, pulses(GRID))
    given = {
        "latent_dim": 2,
        "n_time": 61,
        "first_stage": {"iterations": 20},
        "anchors": 4,
        "basis": {"tolerance": 1e-6},
    }
    return {
        kind: fit(
            data, ModelSettings.model_validate(given | {"time_scaling": kind, "coordinate_scaling": kind}), seed=0
        )
        for kind in ("learned", "off")
    }


def test_a_surrogate_in_similarity_variables_errs_less_by_orders(surrogates):
    mu = SPACE.grid(4)
    own, common = (max_relative_error(pulses(mu), surrogates[k].predict(mu).mean).max() for k in ("learned", "off"))
    assert own < 0.003
    assert own < 0.05 * common


def test_the_parts_of_a_rescaled_prediction_agree(surrogates):
    """Points alone and together, probes, samples and the basis at a point, and what was saved and loaded."""
    surrogate, mu = surrogates["learned"], SPACE.sobol(3, seed=2)
    together = surrogate.predict(mu, [0.1, 0.63])
    for i in range(3):
        alone = surrogate.predict(mu[i], [0.1, 0.63])
        np.testing.assert_allclose(together.mean[i], alone.mean[0], atol=1e-12)
        np.testing.assert_allclose(together.std[i], alone.std[0], atol=1e-12)
        basis = surrogate.view.at(SPACE.to_unit(mu[i]))
        c = surrogate.coordinates(mu[i], [0.1, 0.63])
        np.testing.assert_allclose(basis.lift(c)[0], alone.mean[0], atol=1e-12)


def test_a_saved_one_keeps_its_scaling(surrogates, tmp_path):
    loaded, mu = Surrogate.load(surrogates["learned"].save(tmp_path / "model")), np.array([[0.13, 1.7]])
    assert (loaded.time_scaling, loaded.coordinate_scaling) == (
        surrogates["learned"].time_scaling,
        surrogates["learned"].coordinate_scaling,
    )
    np.testing.assert_array_equal(loaded.predict(mu).mean, surrogates["learned"].predict(mu).mean)
    np.testing.assert_array_equal(loaded.predict(mu).std, surrogates["learned"].predict(mu).std)


def test_exponents_are_found_where_trajectories_are_far_out_of_step():
    """Burgers over a box twice as wide either way: its solutions are functions of x / w, a t / w, and u / a."""
    box, fom = ParameterSpace((Parameter("a", 0.5, 1.2), Parameter("w", 0.5, 1.1))), Burgers1D()
    mu = box.grid(4)
    u = np.stack([fom.solve(box.as_dict(row)).u[::10] for row in mu])
    t = np.linspace(0, 1, u.shape[1])
    result = aligned(
        box.to_unit(mu), t, u, fom.layout, box.spans, BasisSettings(), time_scaling=True, coordinate_scaling=True
    )
    heights, widths = np.log(2.4), np.log(2.2)
    np.testing.assert_allclose(result.time_scaling.log_rates, [heights, -widths], atol=0.05)
    np.testing.assert_allclose(result.coordinate_scaling.log_amplitudes, [[heights, 0]], atol=0.05)
    np.testing.assert_allclose(result.coordinate_scaling.axes[0].log_scales, [0, -widths], atol=0.05)


def test_what_happens_at_the_ends_does_not_hide_how_alike_solutions_are():
    """Burgers at corners and scattered points: with few points between, common times would be almost as good.

    The domain is periodic, and the pulses end in a kink there, which stays in place.
    """
    box, fom = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1))), Burgers1D()
    mu = np.concatenate([box.grid(2), box.sobol(5, seed=11)])
    u = np.stack([fom.solve(box.as_dict(row)).u[::10] for row in mu])
    t = np.linspace(0, 1, u.shape[1])
    result = aligned(
        box.to_unit(mu), t, u, fom.layout, box.spans, BasisSettings(), time_scaling=True, coordinate_scaling=True
    )
    np.testing.assert_allclose(result.time_scaling.log_rates, [np.log(9 / 7), -np.log(11 / 9)], atol=5e-3)
    assert not any(result.coordinate_scaling.axes[0].shifts)


def test_two_levels_are_scaled_and_not_shifted():
    """At two levels a shift does the same as a scale about another centre; in between it does not."""
    mu = SPACE.grid(2)
    (axis,) = found(mu, pulses(mu)).coordinate_scaling.axes
    assert axis.shifts == (0, 0)
