"""The check of the contract: a sound solver passes, and each breach is found and named."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from mlasdi.solvers import FullOrderModel, Snapshots, SolverError, StateLayout, verify

MU = {"rate": 0.5}


def unchecked(t: Any, u: Any) -> Snapshots:
    """Snapshots as a user's process makes them, where no annotation is enforced."""
    snapshots = object.__new__(Snapshots)
    object.__setattr__(snapshots, "t", t)
    object.__setattr__(snapshots, "u", u)
    return snapshots


@dataclass(frozen=True)
class Decay:
    """u(x, t) = exp(-rate t) on five points; the base of the solvers below, each with one breach."""

    n_x: int = 5

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return ("rate",)

    @property
    def layout(self) -> StateLayout:
        return StateLayout(("u",), {"x": np.linspace(0, 1, self.n_x)})

    def identity(self) -> dict[str, Any]:
        return {"solver": "decay", "n_x": self.n_x}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        t = np.linspace(0, 1, 4)
        return unchecked(t, np.exp(-mu["rate"] * t)[:, None] * np.ones(self.n_x))


@dataclass(frozen=True)
class Altered(Decay):
    """Decay whose result passes through `change(t, u)`."""

    change: Callable[[np.ndarray, np.ndarray], Any] = lambda t, u: (t, u)

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        good = super().solve(mu)
        return unchecked(*self.change(good.t, good.u))


def with_value(u: np.ndarray, value: float) -> np.ndarray:
    u = u.copy()
    u[2, 1] = value
    return u


def test_a_sound_solver_passes():
    fom = Decay()
    assert isinstance(fom, FullOrderModel)
    report = verify(fom, MU)
    assert report.ok
    assert report.problems == ()
    assert (report.n_time, report.n_state, report.n_bytes) == (4, 5, 4 * 5 * 8)
    assert report.solve_s >= 0


# Module-level functions, so that these solvers can be pickled and show one breach only.
def _flat(t, u):
    return t, u.ravel()


def _too_narrow(t, u):
    return t, u[:, :-1]


def _too_short(t, u):
    return t, u[:-1]


def _nan(t, u):
    return t, with_value(u, np.nan)


def _infinite(t, u):
    return t, with_value(u, np.inf)


def _standing_time(t, u):
    return np.array([0.0, 0.5, 0.5, 1.0]), u


def _nan_time(t, u):
    return np.array([0.0, np.nan, 0.5, 1.0]), u


def _no_time(t, u):
    return t[:0], u[:0]


def _float32(t, u):
    return t, u.astype(np.float32)


def _objects(t, u):
    return t, u.astype(object)


def _lists(t, u):
    return t.tolist(), u.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_flat, r"states have shape \(20,\); expected \[time, state\] = \(4, 5\)"),
        (_too_narrow, r"states have shape \(4, 4\); expected \[time, state\] = \(4, 5\)"),
        (_too_short, r"states have shape \(3, 5\); expected"),
        (_nan, "states are not finite from time index 2"),
        (_infinite, "states are not finite from time index 2"),
        (_standing_time, "times must be finite and strictly increasing"),
        (_nan_time, "times must be finite and strictly increasing"),
        (_no_time, r"times have shape \(0,\); expected \[time\] with at least one entry"),
        (_float32, "states have dtype float32; expected float64"),
        (_objects, "states have dtype object; expected float64"),
        (_lists, r"solve\(\) must return Snapshots of NumPy arrays"),
    ],
)
def test_each_malformed_result_is_named(change, message):
    report = verify(Altered(change=change), MU)
    assert not report.ok
    (problem,) = report.problems
    with pytest.raises(ValueError, match=message):
        raise ValueError(problem)


@dataclass(frozen=True)
class Tuples(Decay):
    def solve(self, mu: Mapping[str, float]) -> Any:
        good = super().solve(mu)
        return good.t, good.u


def test_a_result_of_another_type_is_named():
    assert verify(Tuples(), MU).problems == ("solve() must return Snapshots of NumPy arrays",)


@dataclass(frozen=True)
class Drifting(Decay):
    """Adds `drift` to the states, or to the last time, of every later solve."""

    drift: float = 0.0
    of_time: float = 0.0
    solves: list[int] = field(default_factory=list)

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        good = super().solve(mu)
        n_earlier = len(self.solves)
        self.solves.append(1)
        t = good.t.copy()
        t[-1] += n_earlier * self.of_time
        return unchecked(t, good.u + n_earlier * self.drift)


def test_a_solver_that_is_not_deterministic_is_named():
    message = "two solves at the same parameters differ by more than 1e-12 (relative)"
    assert verify(Drifting(drift=1e-10), MU).problems == (message,)
    (problem,) = verify(Drifting(of_time=1e-10), MU).problems
    assert problem == "two solves at the same parameters return different times"
    assert problem.kind == "not-repeatable"


@dataclass(frozen=True)
class Noisy(Decay):
    """Decay in two fields, the second with new noise in each solve."""

    level: float = 0.1
    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @property
    def layout(self) -> StateLayout:
        return StateLayout(("u", "v"), {"x": np.linspace(0, 1, self.n_x)})

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        good = super().solve(mu)
        noise = self.level * good.u.std() * self.generator.standard_normal(good.u.shape)
        return Snapshots(good.t, np.concatenate([10 * good.u, good.u + noise], axis=-1))


@pytest.mark.parametrize("level", [1e-3, 0.1, 1.0])
def test_the_level_of_noise_is_measured(level: float) -> None:
    report = verify(Noisy(n_x=2000, level=level), MU)
    assert [problem.kind for problem in report.problems] == ["not-repeatable"]
    assert report.noise == pytest.approx(level, rel=0.05)


def test_without_noise_none_is_measured() -> None:
    assert verify(Decay(), MU).noise == 0
    assert verify(Drifting(drift=1e-14), MU).noise == 0
    assert verify(Drifting(of_time=1e-10), MU).noise == 0


def test_round_off_between_solves_is_allowed():
    assert verify(Drifting(drift=1e-14), MU).ok


def test_a_solver_that_cannot_be_pickled_is_named():
    (problem,) = verify(Altered(change=lambda t, u: (t, u)), MU).problems
    assert problem.startswith("solver cannot be sent to a worker: ")


@dataclass(frozen=True)
class Stateful(Decay):
    """Its identity depends on state that pickling leaves behind."""

    def identity(self) -> dict[str, Any]:
        return {"solver": "decay", "copy": getattr(self, "_copied", False)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _copied=True)


def test_a_copy_with_another_identity_is_named():
    (problem,) = verify(Stateful(), MU).problems
    assert problem == "a pickled copy has another identity()"
    assert problem.kind == "not-portable"


@dataclass(frozen=True)
class Nameless(Decay):
    value: Any = None

    def identity(self) -> dict[str, Any]:
        return {"solver": "decay", "value": self.value}


@pytest.mark.parametrize("value", [np.zeros(2), float("nan"), {1, 2}])
def test_an_identity_that_is_not_json_is_named(value):
    (problem,) = verify(Nameless(value=value), MU).problems
    assert problem.startswith("identity() cannot be written as JSON: ")
    assert problem.kind == "not-addressable"


def test_wrong_parameter_names_are_named_without_a_solve():
    fom = Drifting()
    assert verify(fom, {"speed": 1.0}).problems == ("solver takes ['rate'], got ['speed']",)
    assert fom.solves == []


def test_a_failing_solve_is_not_hidden():
    def fail(t, u):
        raise SolverError("not-converged", "time step 3")

    with pytest.raises(SolverError, match="time step 3"):
        verify(Altered(change=fail), MU)
