"""Test problems: designs, layout, storage; solvers for development against exact solutions, balances, refinement."""

import numpy as np
import pytest
from problems import exact_solutions as exact
from problems import problem as problem_module
from problems import transport, waves
from problems.catalogue import DEVELOPMENT, HELD_OUT, PROBLEMS, problem_named
from problems.diffusion import two_layer_rod
from problems.exact_solutions import distance, observed_order
from problems.problem import Problem
from scipy.integrate import cumulative_simpson, solve_ivp
from scipy.optimize import brentq


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_trajectories_match_the_stated_layout(problem: Problem) -> None:
    for corner in problem.space.corners()[[0, -1]]:
        u = problem.solve(problem.space.as_dict(corner))
        assert u.shape == (len(problem.t), problem.n_state)
        assert np.isfinite(u).all()
        assert np.linalg.norm(u, axis=1).min() > 0.02 * np.linalg.norm(u, axis=1).max()  # relative errors are defined
    np.testing.assert_array_equal(u, problem.solve(problem.space.as_dict(corner)))


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
def test_designs_start_with_the_corners_and_stay_in_the_box(problem: Problem) -> None:
    small, large = (problem.design(n) for n in problem.sizes)
    n_corners = 2**problem.space.n_params
    assert (len(small), len(large)) == problem.sizes
    np.testing.assert_array_equal(small, large[: len(small)])
    np.testing.assert_array_equal(small[:n_corners], problem.space.corners())
    np.testing.assert_allclose(problem.space.to_unit(small[n_corners]), 0.5)
    assert problem.space.contains(large).all()
    assert len(np.unique(large, axis=0)) == len(large)
    assert problem.space.contains(problem.test_points()).all()
    assert not np.isin(problem.test_points(), large).any()


def test_the_catalogue_finds_each_problem_by_its_name() -> None:
    assert [problem_named(p.name) for p in PROBLEMS] == [*DEVELOPMENT, *HELD_OUT]
    assert {p.use for p in DEVELOPMENT} == {"development"}
    assert {p.use for p in HELD_OUT} == {"held out"}
    with pytest.raises(KeyError, match="no problem 'burger'; there are fisher, bar"):
        problem_named("burger")


def test_data_are_solved_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(problem_module, "CACHE", tmp_path / "problems")
    problem = problem_named("heat4")
    mu = problem.design(2)
    first = problem.data(mu)
    (stored,) = (tmp_path / "problems").iterdir()
    written = stored.stat().st_mtime_ns
    np.testing.assert_array_equal(problem.data(mu), first)
    assert stored.stat().st_mtime_ns == written
    np.testing.assert_array_equal(first[1], problem.solve(problem.space.as_dict(mu[1])))
    problem.data(mu[::-1])
    assert len(list((tmp_path / "problems").iterdir())) == 2


@pytest.mark.parametrize(("rate", "diffusivity"), [(8.0, 5e-4), (6.0, 1e-3)])
def test_fisher_carries_the_exact_travelling_wave(rate: float, diffusivity: float) -> None:
    t = np.linspace(0, 0.75, 51)
    start, speed = exact.fisher_wave(transport.FISHER_X - 0.35, diffusivity, rate)
    truth = exact.fisher_wave(transport.FISHER_X - 0.35 - speed * t[-1], diffusivity, rate)[0]

    def error(substeps: int) -> float:
        return distance(transport.fisher_front(start, diffusivity, rate, t, substeps)[-1], truth)

    assert error(10) < 1e-4
    assert observed_order(error, 1) > 1.8


def test_bar_agrees_with_finite_differences() -> None:
    c, z, end = 1.05, 0.03, 4.0
    ours = waves.solve_bar({"c": c, "z": z})[: int(end / 20 * 200) + 1 : 10]

    def error(n: int) -> float:
        x = np.arange(1, n + 1) / n
        load = 1.5 * np.exp(-(((x - 0.3) / 0.1) ** 2))

        def slope(t: float, state: np.ndarray) -> np.ndarray:
            u, v = np.split(state, 2)
            # Symmetry about the free end.
            curvature = np.diff(np.concatenate([[0.0], u, u[-2:-1]]), 2) * n**2
            return np.concatenate([v, c**2 * curvature - 2 * z * v + load * np.sin(7 * t)])

        start = np.concatenate([np.exp(-(((x - 0.6) / 0.12) ** 2)), np.zeros(n)])
        found = solve_ivp(slope, (0, end), start, "DOP853", t_eval=np.linspace(0, end, 5), rtol=1e-7, atol=1e-7).y.T
        u, v = np.split(found[:, n // 50 - 1 :: n // 50], [50], axis=1)
        return distance(np.concatenate([u, v / 5], axis=1), ours[:, 1::2][:: len(ours) // 4])

    assert error(400) < 5e-3
    assert 1.9 < observed_order(error, 200) < 2.1


def test_bar_starts_with_the_pulse_and_its_modes_are_exact() -> None:
    frequency, start, load = np.array([1.6, 7.1, 30.0]), np.array([1.0, -0.5, 0.2]), np.array([0.3, 0.7, -1.0])
    q, slope = waves.driven_oscillators(waves.BAR_T, frequency, 0.05, start, load)

    def rate(t: float, state: np.ndarray) -> np.ndarray:
        q, v = np.split(state, 2)
        return np.concatenate([v, load * np.sin(7 * t) - 0.1 * v - frequency**2 * q])

    first = np.concatenate([start, np.zeros(3)])
    found = solve_ivp(rate, (0, 20), first, "DOP853", t_eval=waves.BAR_T, rtol=1e-10, atol=1e-10).y.T
    np.testing.assert_allclose(np.concatenate([q, slope], axis=1), found, atol=1e-6)
    u, v = np.split(waves.solve_bar({"c": 1.0, "z": 0.02})[0], 2)
    np.testing.assert_allclose(u, np.exp(-(((waves.BAR_X - 0.6) / 0.12) ** 2)), atol=1e-5)
    np.testing.assert_allclose(v, 0, atol=1e-12)


def test_kdv_carries_a_soliton() -> None:
    x, t = waves.KDV_X, np.linspace(0, 3, 101)
    truth = np.stack([waves.soliton(x, 2.0, 8 + 4 * time) for time in t])

    def error(substeps: int) -> float:
        return distance(waves.korteweg_de_vries(truth[0], t, substeps), truth)

    assert error(8) < 1e-5  # the time step of the problem
    assert 3.7 < observed_order(error, 4) < 4.6


def test_kdv_conserves_its_invariants_while_solitons_collide() -> None:
    u = waves.solve_kdv({"a1": 2.0, "a2": 0.4})
    slope = np.fft.irfft(2j * np.pi / 40 * np.arange(129) * np.fft.rfft(u), 256)
    for invariant in (u.sum(axis=1), (u**2).sum(axis=1), (u**3 - slope**2 / 2).sum(axis=1)):
        np.testing.assert_allclose(invariant, invariant[0], rtol=1e-5)
    assert u.min() > -0.01
    assert np.argmax(u[-1]) / 256 * 40 > 32  # the large one has overtaken


def test_sod_converges_to_the_exact_solution() -> None:
    left, right = (1.0, 0.0, 1.0), (0.125, 0.0, 0.1)
    np.testing.assert_allclose(exact.star_region(left, right), (0.30313, 0.92745), atol=1e-5)

    def error(n: int) -> float:
        x = (np.arange(16 * n) + 0.5) / (16 * n) - 0.5
        truth = exact.riemann(x / 0.2, left, right).reshape(3, n, 16).mean(axis=-1)
        return float(np.abs(transport.shock_tube(left, right, np.array([0.0, 0.1, 0.2]), n)[-1] - truth).mean())

    assert error(400) < 3e-3
    assert observed_order(error, 100) > 0.75


@pytest.mark.parametrize("right", [(0.08, 0.0, 0.4), (0.4, 0.0, 0.05), (0.08, 0.0, 0.05)])
def test_sod_is_right_and_conservative_at_the_corners_of_the_box(right: tuple[float, float, float]) -> None:
    left, x = (1.0, 0.0, 1.0), (np.arange(400) + 0.5) / 400 - 0.5
    fields = transport.shock_tube(left, right, np.linspace(0, 0.15, 6), 400)
    assert np.abs(fields[-1] - exact.riemann(x / 0.15, left, right)).mean() < 6e-3
    totals = np.stack([transport.conserved(u).sum(axis=1) for u in fields]) / 400
    np.testing.assert_allclose(totals[:, [0, 2]], totals[:1, [0, 2]] * np.ones((6, 1)), rtol=1e-10)
    np.testing.assert_allclose(totals[:, 1], (1 - right[2]) * np.linspace(0, 0.15, 6), atol=1e-10)  # push of the ends


def test_heat4_reaches_the_exact_steady_state() -> None:
    ends = exact.rod_surface((0.3, 1.5), 2.0, 0.8)

    def error(n: int) -> float:
        last = two_layer_rod((0.3, 1.5), 2.0, 0.8, np.array([0.0, 100.0]), n)[-1]
        surfaces = 1.5 * last[[0, -1]] - 0.5 * last[[1, -2]]
        return float(np.abs(surfaces - ends).max())

    assert error(200) < 1e-4
    assert observed_order(error, 50) > 1.9


def test_heat4_decays_and_balances_as_it_should() -> None:
    k, h = 0.7, 2.0
    wave_number = brentq(lambda b: b * np.tan(b / 2) - h / k, 1e-6, np.pi - 1e-6)
    cooling = two_layer_rod((k, k), 0.0, h, np.array([0.0, 1.5, 2.0]))
    np.testing.assert_allclose(np.log(cooling[1] / cooling[2]), k * wave_number**2 * 0.5 * np.ones(200), rtol=1e-3)
    t = np.linspace(0, 0.6, 2001)
    u = two_layer_rod((2.0, 0.5), 3.0, 4.0, t)
    outflow = (u[:, [0, -1]] / (1 / 4.0 + 0.5 / 200 / np.array([2.0, 0.5]))).sum(axis=1)
    gained = 0.4 * 3.0 * t - cumulative_simpson(outflow, x=t, initial=0)
    # Not from the start, where the end cells cool at once.
    np.testing.assert_allclose(np.diff(u.mean(axis=1)[[200, -1]]), np.diff(gained[[200, -1]]), rtol=1e-5)


def test_wave2d_agrees_with_finite_differences() -> None:
    centre = {"x0": 0.42, "y0": 0.57}
    ours = waves.solve_wave2d(centre).reshape(101, 31, 31)

    def error(n: int) -> float:
        x = np.linspace(0, 1, n + 1)
        bump = [np.exp(-(((x - centre[name]) / 0.1) ** 2)) for name in ("x0", "y0")]
        u = np.outer(*bump)
        u[[0, -1]] = u[:, [0, -1]] = 0

        def push(u: np.ndarray) -> np.ndarray:
            inner = u[1:-1, 1:-1]
            return np.pad(u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * inner, 1) / 4

        before, now = u, u + push(u) / 2  # leapfrog with a time step of half a cell, from rest
        for _ in range(2 * n - 1):
            before, now = now, 2 * now - before + push(now)
        return distance(now[:: n // 32, :: n // 32][1:-1, 1:-1], ours[-1])

    assert error(256) < 0.02
    assert 1.8 < observed_order(error, 128) < 2.2
