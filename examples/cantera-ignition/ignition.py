import cantera as ct
import numpy as np

SPECIES = ("CH4", "O2", "CO", "H2O", "CH3")


def ignition(temperature, equivalence_ratio):
    """Methane and air at 1 atm ignite by themselves: until the temperature has risen by 400 K."""
    gas = ct.Solution("gri30.yaml")
    gas.TP = temperature, ct.one_atm
    gas.set_equivalence_ratio(equivalence_ratio, "CH4", "O2:1, N2:3.76")
    reactor = ct.IdealGasConstPressureReactor(gas, clone=True)
    network = ct.ReactorNet([reactor])
    network.rtol, network.atol = 1e-9, 1e-15
    t, states = [0.0], [[temperature, *reactor.phase[SPECIES].X]]
    while states[-1][0] < temperature + 400:
        t.append(network.step())
        states.append([reactor.T, *reactor.phase[SPECIES].X])
    return {"t": t} | dict(zip(("T", *SPECIES), np.transpose(states)))
