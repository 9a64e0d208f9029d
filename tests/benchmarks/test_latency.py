"""How fast a loaded surrogate answers on one core: its processor time, the best of many."""

import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from mlasdi.probes import Probes
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings, TrainingData, fit
from solvers.burgers import Burgers1D
from solvers.parameters import Parameter, ParameterSpace

MU = {"a": 0.8, "w": 1.0}
T = np.linspace(0, 1, 1001)


def best_ms(work: Callable[[], object], repeats: int = 300) -> float:
    """Milliseconds of this thread's processor time."""
    work()
    spent = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        spent.append(time.thread_time() - start)
    return 1e3 * min(spent)


def trained() -> Surrogate:
    """The default model of burgers1d, trained on a grid of nine points."""
    fom, space = Burgers1D(), ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))
    mu = space.grid(3)
    solved = [fom.solve(space.as_dict(row)) for row in mu]
    data = TrainingData(space, fom.layout, mu, solved[0].t, np.stack([one.u for one in solved]))
    return fit(data, ModelSettings(), seed=0)


def measured(surrogate: Surrogate) -> dict[str, float]:
    """Milliseconds by what was done."""
    rng = np.random.default_rng(0)
    x, t = rng.uniform(-3, 3, 1000), rng.uniform(0, 1, 1000)
    unit, tau = surrogate.space.to_unit(surrogate.space.as_array(MU)), torch.from_numpy(T)
    c = surrogate.coordinates(MU, T)
    left, right = torch.from_numpy(c[0].copy()), torch.from_numpy(surrogate.basis.modes.T.copy())
    return {
        "one trajectory at 1001 times": best_ms(lambda: surrogate.predict(MU, T, std=False)),
        "its latent part": best_ms(lambda: surrogate.model.latent.trajectories(unit, tau)),
        "1000 probes in space-time": best_ms(
            lambda: surrogate.probe(MU, t, Probes.at_points(surrogate.layout, {"x": x}), std=False)
        ),
        "decoding": best_ms(lambda: surrogate.basis.lift(c)),
        "a matrix product of that size": best_ms(lambda: left @ right),
    }


@pytest.mark.bench
def test_predictions_are_fast_enough_to_drag_a_slider() -> None:
    # In a process of its own, where no annotation is checked at run time.
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    spent = json.loads(done.stdout)
    print(*(f"{name}: {ms:.2f} ms" for name, ms in spent.items()), sep="\n")
    assert spent["one trajectory at 1001 times"] < 5
    assert spent["its latent part"] < 1
    assert spent["1000 probes in space-time"] < 2
    assert spent["decoding"] <= 2 * spent["a matrix product of that size"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(measured(trained())))
