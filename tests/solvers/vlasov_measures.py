"""What the Vlasov solver is measured by: kinetic theory, free streaming, conservation, and its own second scheme."""

from dataclasses import replace

import numpy as np
from scipy.optimize import root
from scipy.signal import argrelmax
from scipy.special import wofz

from mlasdi.solvers.builtin.vlasov import BEAM_VELOCITY, MEAN_DENSITY, Vlasov, field_of_density


def dispersion_root(k: float, beams: list[tuple[float, float]], temperature: float, guess: complex) -> complex:
    """Frequency omega at which a wave exp(i (k x - omega t)) exists in Maxwellian beams of (density, velocity).

    Zero of 1 + sum_s n_s / (k^2 T) (1 + zeta_s Z(zeta_s)), zeta_s = (omega / k - u_s) / sqrt(2 T), with the plasma
    dispersion function Z (Fried and Conte, The Plasma Dispersion Function, 1961).
    """

    def epsilon(parts: np.ndarray) -> list[float]:
        value = 1.0 + 0j
        for density, velocity in beams:
            zeta = (complex(*parts) / k - velocity) / np.sqrt(2 * temperature)
            value += density / (k**2 * temperature) * (1 + zeta * 1j * np.sqrt(np.pi) * wofz(zeta))
        return [value.real, value.imag]

    found = root(epsilon, [guess.real, guess.imag], tol=1e-12)
    assert found.success, found.message
    return complex(*found.x)


def electric_field(fom: Vlasov, f: np.ndarray, length: float) -> np.ndarray:
    """E `[*time, n_x]` of states `[*time, n_x, n_v]`: E_x = rho - <rho>, <E> = 0."""
    rho = f.sum(axis=-1) * (2 * fom.v_max / fom.n_v)
    return rho @ field_of_density(fom.n_x, length).T


def landau_root() -> complex:
    """Least damped wave of wave number 0.5 in a Maxwellian of density and temperature 1."""
    return dispersion_root(0.5, [(1.0, 0.0)], 1.0, 1.4 - 0.15j)


def landau_wave(fom: Vlasov, amplitude: float = 0.01) -> complex:
    """Frequency and damping, as omega, of a wave of wave number 0.5 in a Maxwellian, from the maxima of |E|."""
    k, length = 0.5, 4 * np.pi
    maxwellian = np.exp(-(fom.v**2) / 2) / np.sqrt(2 * np.pi)
    f = fom.advance((1 + amplitude * np.cos(k * fom.x(length)))[:, None] * maxwellian, length)
    t = np.linspace(0, fom.t_end, fom.n_t)
    wave = np.fft.rfft(electric_field(fom, f, length), axis=1)[:, 1]
    log_size = np.log(np.abs(wave))
    (peaks,) = argrelmax(log_size)
    # Vertices of the parabolas through three values about each maximum; the first, of the transient, is left out.
    vertices = [np.polyfit(t[p - 1 : p + 2], log_size[p - 1 : p + 2], 2) for p in peaks[1:]]
    times = [-b / (2 * a) for a, b, _ in vertices]
    heights = [c - b**2 / (4 * a) for a, b, c in vertices]
    half_period = np.polyfit(np.arange(len(times)), times, 1)[0]
    return complex(np.pi / half_period, np.polyfit(times, heights, 1)[0])


def growth_root() -> float:
    """Growth rate of the two-stream instability at k = 1, T = 1, at the solver's density and beams."""
    beams = [(MEAN_DENSITY / 2, BEAM_VELOCITY), (MEAN_DENSITY / 2, -BEAM_VELOCITY)]
    return dispersion_root(1.0, beams, 1.0, 0.7j).imag


def two_stream_growth(fom: Vlasov, amplitude: float = 1e-5, since: float = 4.0) -> float:
    """Growth rate of the first mode of E at k = 1, T = 1, from an amplitude at which the linear theory holds."""
    length = 2 * np.pi
    beams = sum(np.exp(-((fom.v - u) ** 2) / 2) for u in (-BEAM_VELOCITY, BEAM_VELOCITY)) / np.sqrt(2 * np.pi)
    density = MEAN_DENSITY / 2 * (1 + amplitude * np.cos(fom.x(length)))
    f = fom.advance(density[:, None] * beams, length)
    t = np.linspace(0, fom.t_end, fom.n_t)
    size = np.abs(np.fft.rfft(electric_field(fom, f, length), axis=1)[:, 1])
    late = t >= since
    return float(np.polyfit(t[late], np.log(size[late]), 1)[0])


def free_streaming_error(fom: Vlasov) -> float:
    """Largest error at t_end of a smooth density that streams freely, in a domain of length 2 pi."""
    x, v = fom.x(2 * np.pi)[:, None], fom.v
    maxwellian = np.exp(-(v**2) / 2)

    def exact(t: float) -> np.ndarray:
        return (1 + 0.5 * np.sin(x - v * t)) * maxwellian

    f = fom.advance(exact(0.0), 2 * np.pi, coupling=0.0)
    return float(np.abs(f[-1] - exact(fom.t_end)).max())


def free_streaming_order(sizes: tuple[int, ...], **options: object) -> float:
    """Observed order of accuracy in dx; the steps are so many that space alone counts."""
    errors = [free_streaming_error(Vlasov(n_x=n, n_v=64, n_t=2, t_end=1.0, steps=4 * n, **options)) for n in sizes]
    return float(-np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def mass_drift(fom: Vlasov, mu: dict[str, float]) -> float:
    """Largest relative change of the mass."""
    mass = fom.solve(mu).u.sum(axis=1)
    return float(np.abs(mass / mass[0] - 1).max())


def energy_drift(fom: Vlasov, mu: dict[str, float]) -> float:
    """Largest change of the total energy int v^2 f / 2 + int E^2 / 2, relative to its initial value."""
    length = fom.length(mu["k"])
    f = fom.solve(mu).u.reshape(fom.n_t, fom.n_x, fom.n_v)
    kinetic = (f.sum(axis=1) @ fom.v**2) * (2 * fom.v_max / fom.n_v) / 2
    energy = kinetic + (electric_field(fom, f, length) ** 2).sum(axis=1) / 2
    return float(np.abs(energy / energy[0] - 1).max())


def scheme_difference(fom: Vlasov, mu: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Relative L2 distance between the two schemes, of f and of E, at each snapshot `[time]`."""
    grid = (fom.n_t, fom.n_x, fom.n_v)
    ours, other = (replace(fom, scheme=name).solve(mu).u.reshape(grid) for name in ("weno5", "splines"))
    fields = [electric_field(fom, f, fom.length(mu["k"])) for f in (ours, other)]
    difference = np.linalg.norm((ours - other).reshape(fom.n_t, -1), axis=1)
    f_error = difference / np.linalg.norm(ours.reshape(fom.n_t, -1), axis=1)
    e_error = np.linalg.norm(fields[0] - fields[1], axis=1) / np.linalg.norm(fields[0], axis=1)
    return f_error, e_error
