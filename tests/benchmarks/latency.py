"""How fast loaded surrogates answer, beside the solvers that they stand for: processor time of one core.

    python tests/benchmarks/latency.py

prints the measurements as JSON. It runs in a process of its own, where no annotation is checked at run time.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec

import numpy as np
import torch
from paper_problems import WAKE_NUS, wake, wake_solve_s
from proposal_time import proposal_times

from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import FullOrderModel, Parameter, ParameterSpace
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.solvers.builtin.burgers2d import Burgers2D
from mlasdi.solvers.builtin.multiscale import Multiscale
from mlasdi.solvers.builtin.vlasov import Vlasov
from mlasdi.surrogate import Probes, Surrogate
from mlasdi.training import ModelSettings, fit

N_PROBES = 1000
_PULSE = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1)))
_BEAMS = ParameterSpace((Parameter("T", 0.9, 1.1), Parameter("k", 1.0, 1.2)))
# All built-in problems but the wake, whose solver needs NGSolve and more than a minute: its solves are kept.
PROBLEMS: dict[str, tuple[FullOrderModel, ParameterSpace]] = {
    "multiscale": (Multiscale(), ParameterSpace((Parameter("A", 1.0, 1.4),))),
    "burgers1d": (Burgers1D(), _PULSE),
    "burgers2d": (Burgers2D(), _PULSE),
    "vlasov": (Vlasov(), _BEAMS),
}


@dataclass(frozen=True)
class SpeedUp:
    """A solver and its surrogate on the same trajectory, in milliseconds.

    Attributes:
        n_time, n_state: size of the trajectory.
        rank: of the POD basis.
        solve_ms: by the solver, once it is compiled.
        predict_ms, std_ms: by the surrogate, at the same times on the whole grid; and with the standard deviation.
        probe_ms: one sensor at all times.
    """

    problem: str
    n_time: int
    n_state: int
    rank: int
    solve_ms: float
    predict_ms: float
    std_ms: float
    probe_ms: float

    @property
    def speed_up(self) -> float:
        return self.solve_ms / self.predict_ms

    @property
    def probe_speed_up(self) -> float:
        return self.solve_ms / self.probe_ms


def best_ms(work: Callable[[], object], repeats: int = 1000) -> float:
    """Milliseconds of this thread's processor time, the best of many: the run least disturbed by others."""
    work()
    spent = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        spent.append(time.thread_time() - start)
    return 1e3 * min(spent)


def solved_grid(fom: FullOrderModel, space: ParameterSpace) -> TrainingData:
    mu = space.grid(3)
    solved = [fom.solve(space.as_dict(row)) for row in mu]
    return TrainingData(space, fom.layout, mu, solved[0].t, np.stack([one.u for one in solved]))


def trained(data: TrainingData, iterations: int) -> Surrogate:
    """The default model; how fast it is does not depend on how well it is trained."""
    settings = {"first_stage": {"iterations": iterations}, "min_gain": None}
    return fit(data, ModelSettings.model_validate(settings), seed=0)


def parts(surrogate: Surrogate) -> dict[str, float]:
    """Milliseconds by what a surrogate of burgers1d does."""
    mu, times = {"a": 0.8, "w": 1.0}, np.linspace(0, 1, 1001)
    rng = np.random.default_rng(0)
    x, t = rng.uniform(-3, 3, N_PROBES), rng.uniform(0, 1, N_PROBES)
    unit, tau = surrogate.space.to_unit(surrogate.space.as_array(mu)), torch.from_numpy(times)
    c = surrogate.coordinates(mu, times)
    left, right = torch.from_numpy(c[0].copy()), torch.from_numpy(surrogate.basis.modes.T.copy())
    return {
        "one trajectory at 1001 times": best_ms(lambda: surrogate.predict(mu, times, std=False)),
        "its latent part": best_ms(lambda: surrogate.model.latent.trajectories(unit, tau)),
        "1000 random probes in space-time": best_ms(
            lambda: surrogate.probe(mu, t, Probes.at_points(surrogate.layout, {"x": x}), std=False)
        ),
        "the same with their standard deviations": best_ms(
            lambda: surrogate.probe(mu, t, Probes.at_points(surrogate.layout, {"x": x})), 50
        ),
        "decoding that trajectory": best_ms(lambda: surrogate.basis.lift(c)),
        "a matrix product of that size in torch": best_ms(lambda: left @ right),
    }


def speed_up(name: str, surrogate: Surrogate, data: TrainingData, solve_ms: float) -> SpeedUp:
    """A surrogate in the middle of the box, beside its solver."""
    space, layout = surrogate.space, data.layout
    mu = middle(space)
    sensor = Probes.at_points(layout, {axis: float(np.median(x)) for axis, x in layout.coordinates.items()})
    repeats = 5 if layout.n_state > 5000 else 50
    return SpeedUp(
        name, len(data.t), layout.n_state, surrogate.basis.rank, solve_ms,
        predict_ms=best_ms(lambda: surrogate.predict(mu, data.t, std=False), repeats),
        std_ms=best_ms(lambda: surrogate.predict(mu, data.t), 3),
        probe_ms=best_ms(lambda: surrogate.predict(mu, data.t, std=False, probes=sensor), 50),
    )  # fmt: skip


def middle(space: ParameterSpace) -> dict[str, float]:
    return space.as_dict(space.from_unit(np.full((1, space.n_params), 0.45))[0])


def all_speed_ups() -> Iterator[tuple[SpeedUp, dict[str, float]]]:
    """Each problem with, for burgers1d, the parts of a prediction."""
    for name, (fom, space) in PROBLEMS.items():
        is_burgers, data = name == "burgers1d", solved_grid(fom, space)
        surrogate = trained(data, iterations=150 if is_burgers else 10)
        solve_ms = best_ms(lambda fom=fom, space=space: fom.solve(middle(space)), 5)  # type: ignore[misc]
        yield speed_up(name, surrogate, data, solve_ms), parts(surrogate) if is_burgers else {}
    if find_spec("ngsolve"):
        data = wake(WAKE_NUS).train
        yield speed_up("wake", trained(data, iterations=10), data, 1e3 * wake_solve_s()), {}


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = list(all_speed_ups())
    result = {
        "parts": next(p for _, p in found if p),
        "speed_ups": [asdict(one) for one, _ in found],
        "proposals": [asdict(one) for one in proposal_times()],
    }
    print(json.dumps(result))
