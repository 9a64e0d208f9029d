import cantera as ct
import numpy as np


def ignition(temperature, equivalence_ratio):
    """A mixture of methane and air at 1 atm ignites by itself: until it is hotter by 400 K."""
    gas = ct.Solution("gri30.yaml")
    gas.TP = temperature, ct.one_atm
    gas.set_equivalence_ratio(equivalence_ratio, "CH4", "O2:1, N2:3.76")
    reactor = ct.IdealGasConstPressureReactor(gas, clone=True)
    network = ct.ReactorNet([reactor])
    network.rtol, network.atol = 1e-9, 1e-15
    t, T, X = [0.0], [temperature], [reactor.phase.X]
    while T[-1] < temperature + 400:
        t.append(network.step())
        T.append(reactor.T)
        X.append(reactor.phase.X)
    return {"t": t, "T": np.array(T), "X": np.array(X), "species": np.arange(gas.n_species)}
