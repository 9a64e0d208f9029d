"""The held-out solvers against exact solutions, balances and refinement."""

import numpy as np
from problems import exact_solutions as exact
from problems import held_out_forced, held_out_reactions, held_out_waves
from problems.catalogue import problem_named
from problems.exact_solutions import distance, observed_order
from scipy.integrate import cumulative_simpson, solve_ivp


def test_front2d_carries_the_exact_travelling_wave() -> None:
    x, t, (d, r, a) = held_out_reactions.FRONT_X, np.linspace(0, 1, 51), (0.01, 60.0, 0.2)
    start, speed = exact.bistable_wave(x - 0.3, d, r, a)
    truth = exact.bistable_wave(x - 0.3 - speed, d, r, a)[0]

    def error(substeps: int) -> float:
        fields = held_out_reactions.bistable_front(np.tile(start, (41, 1)), d, r, a, t, substeps)
        return distance(fields[-1], np.tile(truth, (41, 1)))

    assert error(5) < 5e-4
    assert observed_order(error, 1) > 1.8


def test_front2d_is_the_same_on_a_finer_grid() -> None:
    x = np.linspace(0, 1, 81)
    start = 1 / (1 + np.exp((np.hypot(x[:, None] - 0.4, x - 0.3) - 0.2) / 0.025))
    fine, coarse = (
        held_out_reactions.bistable_front(u, 0.01, 50.0, 0.1, np.linspace(0, 0.6, 31)) for u in (start, start[::2, ::2])
    )
    assert distance(coarse, fine[:, ::2, ::2]) < 1e-3


def test_ignition_has_the_exact_subcritical_steady_state() -> None:
    def error(n: int) -> float:
        theta = held_out_reactions.slab_explosion(0.8, 0.0, np.array([0.0, 60.0]), 1e12, 0.0, n)[-1, 0]
        return abs(theta[0] + (theta[0] - theta[1]) / 8 - exact.frank_kamenetskii_peak(0.8))

    assert error(80) < 1e-3
    assert observed_order(error, 20) > 1.9


def test_ignition_balances_heat_and_fuel() -> None:
    t = np.linspace(0, 1.2, 4001)
    theta, y = held_out_reactions.slab_explosion(9.0, 0.5, t).transpose(1, 0, 2)
    enthalpy = (theta + held_out_reactions.HEAT_RELEASE * y).mean(axis=1)
    lost = cumulative_simpson(2 * 80 * theta[:, -1], x=t, initial=0)
    np.testing.assert_allclose(enthalpy[200:] - enthalpy[200], lost[200] - lost[200:], atol=1e-4)
    assert np.all((y > 0) & (y <= 1 + 1e-6))


def test_every_point_of_the_ignition_box_ignites() -> None:
    problem = problem_named("ignition")
    u = np.stack([problem.solve(problem.space.as_dict(corner)) for corner in problem.space.corners()])
    hottest = u[:, :, :80].max(axis=2)
    assert hottest.max(axis=1).min() > 0.6
    delays = problem.t[hottest.argmax(axis=1)]
    assert delays.max() < 1.1
    assert delays.max() / delays.min() > 6


def test_chain_keeps_its_energy_and_is_of_fourth_order() -> None:
    start, t = 2 * np.exp(-(((held_out_waves.CHAIN_SITE - 10) / 3) ** 2)), np.linspace(0, 15, 51)
    truth = held_out_waves.oscillator_chain(start, 1.0, 0.1, t, 32)

    def error(substeps: int) -> float:
        return distance(held_out_waves.oscillator_chain(start, 1.0, 0.1, t, substeps), truth)

    assert error(4) < 1e-4
    assert 3.7 < observed_order(error, 4) < 4.4
    energy = held_out_waves.chain_energy(truth[:, 0], truth[:, 1], 1.0, 0.1)
    np.testing.assert_allclose(energy, energy[0], rtol=1e-6)


def test_chain_with_linear_springs_has_the_exact_modes() -> None:
    t, j = np.linspace(0, 20, 51), held_out_waves.CHAIN_SITE
    start = np.sin(3 * np.pi * j / 41) - 0.4 * np.sin(11 * np.pi * j / 41)
    frequency = np.sqrt(4 * np.sin(np.pi * np.array([3, 11]) / 82) ** 2 + 0.1)
    modes = np.sin(np.pi * np.outer([3, 11], j) / 41)
    truth = np.cos(np.outer(t, frequency)) @ (np.array([1, -0.4])[:, None] * modes)
    assert distance(held_out_waves.oscillator_chain(start, 0.0, 0.1, t)[:, 0], truth) < 1e-4


def test_bore_carries_a_solitary_wave() -> None:
    x, t, speed = held_out_waves.BORE_X - 60, np.linspace(0, 20, 51), 1.4
    truth = exact.long_wave((x + 60 - speed * t[:, None]) % 120 - 60, speed)

    def error(substeps: int) -> float:
        return distance(held_out_waves.regularised_long_wave(truth[0], 0.0, t, substeps), truth)

    assert error(5) < 1e-5
    assert 3.7 < observed_order(error, 1) < 4.4


def test_bore_loses_energy_by_viscosity_alone() -> None:
    start, t, nu = held_out_waves.solve_bore({"a": 1.0, "nu": 0.02})[0], np.linspace(0, 40, 401), 0.05
    u = held_out_waves.regularised_long_wave(start, nu, t)
    slope = np.fft.irfft(2j * np.pi / 120 * np.arange(129) * np.fft.rfft(u), 256)
    np.testing.assert_allclose(u.sum(axis=1), u[0].sum(), rtol=1e-12)
    energy, loss = 0.5 * (u**2 + slope**2).sum(axis=1), nu * (slope**2).sum(axis=1)
    np.testing.assert_allclose(energy - energy[0], -cumulative_simpson(loss, x=t, initial=0), atol=1e-5 * energy[0])


def test_source_agrees_with_finite_differences_and_balances_heat() -> None:
    d, w, radius, t = 0.01, 6.0, 0.25, np.linspace(0, 0.6, 41)
    fine = held_out_forced.heated_plate(d, w, radius, t)
    loss = np.exp(-held_out_forced.LOSS * t)
    np.testing.assert_allclose(fine[:, 0, 0], 0.3 * loss + (1 - loss) / held_out_forced.LOSS, rtol=1e-12)
    assert distance(held_out_forced.heated_plate(d, w, radius, t, substeps=1), fine) < 1e-6

    def error(n: int) -> float:
        x = np.linspace(0, 1, n + 1)

        def slope(time: float, flat: np.ndarray) -> np.ndarray:
            u = flat.reshape(n + 1, n + 1)
            padded = np.pad(u, 1, mode="reflect")  # no flux at the edges
            laplacian = np.diff(padded[:, 1:-1], 2, axis=0) + np.diff(padded[1:-1], 2, axis=1)
            spots = [
                np.exp(-0.5 * ((x - p) / 0.06) ** 2) / 0.06
                for p in held_out_forced.source_path(np.array(time), w, radius)
            ]
            return (d * n**2 * laplacian - held_out_forced.LOSS * u + np.outer(*spots) / (2 * np.pi)).ravel()

        found = solve_ivp(slope, (0, 0.6), np.full((n + 1) ** 2, 0.3), rtol=1e-6, atol=1e-6).y[:, -1]
        modes = np.cos(np.pi * np.outer(x, np.arange(held_out_forced.PLATE_MODES)))
        return distance(found.reshape(n + 1, n + 1), modes @ fine[-1] @ modes.T)

    assert error(64) < 2e-3
    assert 1.8 < observed_order(error, 32) < 2.2


def test_chaos_grows_as_linear_theory_says() -> None:
    t, length = np.linspace(0, 5, 11), 33.0
    u = held_out_forced.kuramoto_sivashinsky(1e-6 * np.cos(2 * np.pi * 4 * held_out_forced.CHAOS_X), length, t, 30)
    k = 8 * np.pi / length
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), np.exp((k**2 - k**4) * t) * np.linalg.norm(u[0]), rtol=1e-5)


def test_chaos_is_resolved_and_balances_energy() -> None:
    mu, length, n = {"L": 34.0, "b": 1.0}, 34.0, 128
    u = held_out_forced.solve_chaos(mu)
    phase = 2 * np.pi * np.arange(256) / 256
    finer = held_out_forced.kuramoto_sivashinsky(
        np.cos(2 * phase) + np.sin(3 * phase), length, held_out_forced.CHAOS_T, 12
    )
    assert distance(u, finer[:, ::2]) < 1e-3
    t = np.linspace(0, 30, 601)
    u = held_out_forced.kuramoto_sivashinsky(u[0], length, t)
    k = 2 * np.pi / length * np.arange(n // 2 + 1)
    first, second = (np.fft.irfft(factor * np.fft.rfft(u), n) for factor in (1j * k, -(k**2)))
    gain = (first**2 - second**2).sum(axis=1)
    energy = 0.5 * (u**2).sum(axis=1)
    np.testing.assert_allclose(energy - energy[0], cumulative_simpson(gain, x=t, initial=0), atol=1e-4 * energy.max())
    assert np.abs(u.mean(axis=1)).max() < 1e-12
