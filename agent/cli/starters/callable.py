"""A pulse with advection and diffusion: an example to be replaced by your own solver."""

import numpy as np


def solve(speed, diffusivity, n_x=101, n_t=51):
    """Solve u_t + speed u_x = diffusivity u_xx on [0, 1], periodic, up to t = 0.5.

    Returns:
        Times `[time]`, and arrays by name: the field u `[time, x]` and its coordinates x `[x]`; or simply `t, u`.
    """
    x = np.linspace(0, 1, n_x, endpoint=False)
    t = np.linspace(0, 0.5, n_t)
    pulse = np.exp(-(((x - 0.3) / 0.15) ** 2))
    # Exact solution in Fourier space, where all modes are independent.
    wave_number = 2 * np.pi * np.fft.rfftfreq(n_x, d=1 / n_x)
    rate = -1j * speed * wave_number - diffusivity * wave_number**2
    u = np.fft.irfft(np.exp(rate * t[:, None]) * np.fft.rfft(pulse), n=n_x)
    return t, {"u": u, "x": x}
