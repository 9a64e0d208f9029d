"""A pulse with advection and diffusion as a program that reads an input file and writes solution.npz.

An example to be replaced by your own solver, in any language.
"""

import sys
from pathlib import Path

import numpy as np

lines = Path(sys.argv[1]).read_text().splitlines()
given = {name.strip(): float(value) for name, value in (line.split("=") for line in lines)}
speed, diffusivity = given["speed"], given["diffusivity"]

x = np.linspace(0, 1, 101, endpoint=False)
t = np.linspace(0, 0.5, 51)
pulse = np.exp(-(((x - 0.3) / 0.15) ** 2))
# Exact solution in Fourier space, where all modes are independent.
wave_number = 2 * np.pi * np.fft.rfftfreq(x.size, d=1 / x.size)
rate = -1j * speed * wave_number - diffusivity * wave_number**2
u = np.fft.irfft(np.exp(rate * t[:, None]) * np.fft.rfft(pulse), n=x.size)
np.savez("solution.npz", t=t, u=u, x=x)
