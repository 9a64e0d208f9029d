"""Build a surrogate of a solver, predict, draw and store. If it is killed, run it again: it continues where it was."""

import numpy as np

import mlasdi

x, t = np.linspace(0, 1, 101), np.linspace(0, 1, 51)


def pulse(speed, width):
    """The solver, here a formula: a pulse that travels and spreads. Returns the times and the solution [time, x]."""
    return t, np.exp(-(((x - 0.2 - speed * t[:, None]) / (width + 0.05 * t[:, None])) ** 2))


box = {"speed": (0.3, 0.6), "width": (0.1, 0.15)}
study = mlasdi.build(pulse, box, solver_runs=8, target_error="1%", coordinates={"x": x}, root="quickstart")
prediction = study.model.predict(speed=0.45, width=0.12)
prediction.plot().savefig("pulse.png")
prediction.to_xarray().to_netcdf("pulse.nc", engine="h5netcdf")
print(study)
