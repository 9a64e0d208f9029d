import numpy as np
import pybamm

MODEL = pybamm.lithium_ion.SPMe({"thermal": "lumped"})
VARIABLES = {
    "voltage": "Voltage [V]",
    "temperature": "Volume-averaged cell temperature [K]",
    "electrolyte": "Electrolyte concentration [mol.m-3]",
    "anode": "X-averaged negative particle concentration [mol.m-3]",
}


def discharge(c_rate, ambient):
    """A full cell is discharged at a constant current, until its voltage has fallen to 2.5 V."""
    values = pybamm.ParameterValues("Chen2020")
    values.update({f"{one} temperature [K]": ambient for one in ("Ambient", "Initial")})
    values["Current function [A]"] = c_rate * values["Nominal cell capacity [A.h]"]
    solution = pybamm.Simulation(MODEL, parameter_values=values).solve([0, 4500 / c_rate], initial_soc=1)
    t = np.linspace(0, solution.t[-1], 201)
    return {"t": t} | {name: solution[variable](t).T for name, variable in VARIABLES.items()}
