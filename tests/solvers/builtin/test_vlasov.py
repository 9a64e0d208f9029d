"""The Vlasov solver against kinetic theory, conservation laws, a plain implementation, and its own second scheme."""

from dataclasses import replace

import numpy as np
import pytest
from naive_solvers import vlasov_numpy
from vlasov_measures import (
    electric_field,
    energy_drift,
    free_streaming_order,
    growth_root,
    landau_root,
    landau_wave,
    mass_drift,
    scheme_difference,
    two_stream_growth,
)

from mlasdi.solvers import SolverError, verify
from mlasdi.solvers.builtin.vlasov import Vlasov

CENTRE = {"T": 1.0, "k": 1.1}
CORNERS = [{"T": T, "k": k} for T in (0.9, 1.1) for k in (1.0, 1.2)]
SCHEMES = ["weno5", "splines"]
SMALL = Vlasov(n_x=32, n_v=64, n_t=26, t_end=1.0)


def uniform_beams(fom: Vlasov) -> np.ndarray:
    """A state that does not depend on x."""
    return np.tile(np.exp(-(fom.v**2) / 2), (fom.n_x, 1))


def test_the_computed_roots_are_the_published_ones():
    assert landau_root() == pytest.approx(1.4156618886 - 0.1533594669j, abs=1e-9)
    assert growth_root() == pytest.approx(0.6742, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_landau_damping(scheme):
    wave = landau_wave(Vlasov(n_x=32, n_v=64, n_t=251, t_end=25.0, v_max=6.0, steps=2, scheme=scheme))
    assert wave.real == pytest.approx(landau_root().real, rel=0.01)
    assert wave.imag == pytest.approx(landau_root().imag, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_landau_damping_at_the_default_resolution(scheme):
    wave = landau_wave(Vlasov(n_t=501, t_end=25.0, scheme=scheme))
    assert wave.real == pytest.approx(landau_root().real, rel=1e-3)
    assert wave.imag == pytest.approx(landau_root().imag, rel=3e-3)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_growth_of_the_two_stream_instability(scheme):
    fom = Vlasov(n_x=32, n_v=64, n_t=251, t_end=10.0, steps=3, scheme=scheme)
    assert two_stream_growth(fom) == pytest.approx(growth_root(), rel=0.03)


@pytest.mark.slow
def test_weno_is_of_fifth_order_in_space():
    assert free_streaming_order((16, 32, 64), scheme="weno5") > 4.5


def test_spline_shifts_reproduce_free_streaming_to_third_order():
    """Fourth order a shift, and as many shifts as grid points."""
    assert free_streaming_order((32, 64, 128), scheme="splines") == pytest.approx(3, abs=0.2)


def test_splines_are_of_second_order_in_time():
    fom = Vlasov(n_x=64, n_t=2, t_end=0.5, scheme="splines")
    solutions = [replace(fom, steps=steps).solve(CENTRE).u[-1] for steps in (4, 8, 16, 64)]
    errors = [np.linalg.norm(u - solutions[-1]) for u in solutions[:-1]]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("domain", ["matched", "fixed"])
def test_mass_is_conserved(scheme, domain):
    fom = Vlasov(n_x=64, n_v=64, n_t=26, steps=25, scheme=scheme, domain=domain)
    assert mass_drift(fom, CENTRE) < 1e-12


def test_energy_is_conserved_up_to_the_dissipation_of_the_scheme():
    coarse, fine = (energy_drift(Vlasov(n_x=n, n_v=n, n_t=26, steps=30), CENTRE) for n in (64, 128))
    assert fine < 2e-3
    assert fine < coarse / 4


@pytest.mark.slow
def test_the_two_schemes_agree_until_filaments_are_thinner_than_the_grid():
    f, field = scheme_difference(Vlasov(), CENTRE)
    t = np.linspace(0, 5, 251)
    assert f[t <= 3].max() < 1e-2
    assert field.max() < 1.5e-2  # an integral of f, which the filaments hardly enter
    assert f.max() < 4e-2


@pytest.mark.slow
@pytest.mark.parametrize("mu", CORNERS)
def test_the_two_schemes_agree_better_on_a_finer_grid(mu):
    coarse, _ = scheme_difference(Vlasov(), mu)
    fine, _ = scheme_difference(Vlasov(n_x=256, n_v=256, steps=6), mu)
    until = 200  # t = 4
    assert fine[: until + 1].max() < 1e-2
    assert fine[: until + 1].max() < coarse[: until + 1].max() / 2


@pytest.mark.slow
@pytest.mark.parametrize("mu", CORNERS)
def test_more_steps_change_nothing(mu):
    u, other = Vlasov().solve(mu).u, Vlasov(steps=6).solve(mu).u
    assert np.linalg.norm(u - other, axis=1).max() < 1e-5 * np.linalg.norm(u[0])


@pytest.mark.slow
def test_the_velocity_range_is_wide_enough():
    """At the corner of the published box where most reaches its ends; the wider grid holds the same velocities."""
    mu = {"T": 0.9, "k": 1.0}
    u = Vlasov().solve(mu).u.reshape(251, 128, 128)
    wide = Vlasov(v_max=10.5, n_v=192, steps=5).solve(mu).u.reshape(251, 128, 192)[:, :, 32:160]
    assert np.linalg.norm(u - wide, axis=(1, 2)).max() < 1e-3 * np.linalg.norm(wide[0])


@pytest.mark.parametrize("mu", [CENTRE, CORNERS[0]])
@pytest.mark.parametrize("domain", ["matched", "fixed"])
def test_a_plain_implementation_agrees(mu, domain):
    fom = Vlasov(n_x=24, n_v=32, n_t=11, t_end=1.0, domain=domain, steps=4)
    np.testing.assert_allclose(fom.solve(mu).u, vlasov_numpy(fom, mu), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_beams_stay_symmetric(scheme):
    """The initial state is even under (x, v) -> (-x, -v), and so is the equation."""
    u = replace(SMALL, v_max=10.0, scheme=scheme).solve(CENTRE).u.reshape(26, 32, 64)
    mirrored = np.roll(u[:, ::-1, ::-1], (1, 1), axis=(1, 2))
    np.testing.assert_allclose(u, mirrored, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_uniform_state_is_stationary(scheme):
    f = replace(SMALL, scheme=scheme).advance(uniform_beams(SMALL), 2 * np.pi)
    np.testing.assert_allclose(f, np.broadcast_to(f[0], f.shape), rtol=0, atol=1e-12)


def test_the_electric_field_has_the_density_as_its_derivative():
    fom, length = Vlasov(n_x=32, n_v=64), 3.0
    x = fom.x(length)
    wave = 2 * np.pi / length
    f = uniform_beams(fom) * (1 + 0.3 * np.cos(wave * x) + 0.1 * np.sin(2 * wave * x))[:, None]
    n = np.exp(-(fom.v**2) / 2).sum() * 14 / 64
    expected = n * (0.3 * np.sin(wave * x) / wave - 0.1 * np.cos(2 * wave * x) / (2 * wave))
    np.testing.assert_allclose(electric_field(fom, f, length), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("n_x", [31, 32])
def test_odd_grids_do_as_well(n_x):
    fom = Vlasov(n_x=n_x, n_v=n_x + 32, n_t=11, t_end=1.0, steps=6)
    f, field = scheme_difference(fom, CENTRE)
    assert f.max() < 1e-3
    assert field.max() < 1e-2


@pytest.mark.parametrize("scheme", SCHEMES)
def test_for_an_integer_wave_number_the_domains_coincide(scheme):
    mu = {"T": 1.0, "k": 1.0}
    matched, fixed = (replace(SMALL, scheme=scheme, domain=domain).solve(mu) for domain in ("matched", "fixed"))
    np.testing.assert_array_equal(matched.u, fixed.u)


def test_the_fixed_domain_keeps_the_published_jump():
    fom = Vlasov(domain="fixed", n_t=26, t_end=0.5)
    u = fom.solve({"T": 1.0, "k": 1.2}).u.reshape(26, 128, 128)
    jump = u[0, 0] / (8 / np.sqrt(2 * np.pi)) / (np.exp(-((fom.v - 2) ** 2) / 2) + np.exp(-((fom.v + 2) ** 2) / 2))
    np.testing.assert_allclose(jump, 1.1, rtol=1e-12)
    ratio = u[0, -1] / u[0, 0]
    np.testing.assert_allclose(ratio, (1 + 0.1 * np.cos(1.2 * fom.x(2 * np.pi)[-1])) / 1.1, rtol=1e-12)
    assert u.min() > -1e-2


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("domain", ["matched", "fixed"])
def test_contract(scheme, domain):
    fom = Vlasov(n_x=32, n_v=64, n_t=26, t_end=1.0, scheme=scheme, domain=domain)
    report = verify(fom, CENTRE)
    assert report.problems == ()
    assert (report.n_time, report.n_state) == (26, 32 * 64)
    assert list(fom.layout.coordinates) == ["kx" if domain == "matched" else "x", "v"]


def test_the_layout_is_the_published_grid():
    phase, v = Vlasov().layout.coordinates.values()
    np.testing.assert_allclose([phase[0], phase[64], v[0], v[64]], [0.0, np.pi, -7.0, 0.0], atol=1e-15)
    assert Vlasov().layout.shape == (128, 128)


@pytest.mark.parametrize(
    "mu", [{"T": 0.0, "k": 1.0}, {"T": 1.0, "k": -1.0}, {"T": np.nan, "k": 1.0}, {"T": 1.0, "k": np.inf}]
)
def test_parameters_without_meaning_are_refused(mu):
    with pytest.raises(SolverError, match=r"both must be positive and finite") as caught:
        SMALL.solve(mu)
    assert caught.value.kind == "bad-parameters"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_velocity_range_that_cuts_the_beams_is_refused(scheme):
    with pytest.raises(SolverError, match=r"ends of the velocity range, f is .* take a v_max above 7") as caught:
        replace(SMALL, scheme=scheme).solve({"T": 8.0, "k": 1.0})
    assert caught.value.kind == "bad-parameters"


@pytest.mark.parametrize(("n_t", "steps", "kind"), [(26, 1, "not-converged"), (2, 25, "not-finite")])
def test_an_unstable_step_is_reported_with_its_remedy(n_t, steps, kind):
    fom = Vlasov(n_x=64, n_v=64, n_t=n_t, t_end=5.0, steps=steps)
    with pytest.raises(SolverError, match=rf"by snapshot \d+ \(t = .*take more steps than {steps}, or a") as caught:
        fom.solve(CENTRE)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_x": 7}, "n_x 7 must be at least 8"),
        ({"n_v": 7}, "n_v 7 must be at least 8"),
        ({"n_t": 1}, "n_t 1 must be at least 2"),
        ({"steps": 0}, "steps 0 must be at least 1"),
        ({"t_end": -1.0}, "t_end -1.0 must be positive and finite"),
        ({"v_max": np.nan}, "v_max nan must be positive and finite"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Vlasov(**options)
