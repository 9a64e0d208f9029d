"""Limits of threads: they hold in the body, and the settings of the caller come back."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

import mlasdi
from mlasdi.prediction import Probes
from mlasdi.preprocessing import TrainingData, limited_threads
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings, fit

CALLER = 3  # threads that the caller has set


def in_use() -> set[int]:
    """The numbers of threads of all libraries in this thread of the program."""
    return {library["num_threads"] for library in threadpool_info()} | {torch.get_num_threads()}


@pytest.fixture(autouse=True)
def caller() -> Iterator[None]:
    before = torch.get_num_threads()
    with threadpool_limits(CALLER):
        torch.set_num_threads(CALLER)
        yield
    torch.set_num_threads(before)


def test_the_limit_holds_in_the_body_alone() -> None:
    assert in_use() == {CALLER}
    with limited_threads(2):
        assert in_use() == {2}
    assert in_use() == {CALLER}


def test_a_failure_in_the_body_ends_the_limit() -> None:
    with pytest.raises(ZeroDivisionError), limited_threads(1):
        raise ZeroDivisionError
    assert in_use() == {CALLER}


def test_without_a_number_it_is_that_of_the_limit_around_it_or_one() -> None:
    with limited_threads():
        assert in_use() == {1}
    with limited_threads(2):
        with limited_threads():
            assert in_use() == {2}
        with limited_threads(1):
            assert in_use() == {1}
        assert in_use() == {2}


def test_zero_threads_are_refused() -> None:
    with pytest.raises(ValueError, match="0 threads given"), limited_threads(0):
        pass


def test_limits_of_several_threads_may_overlap() -> None:
    """The first to begin is the first to end; afterwards all is as the caller has set it."""
    began, ended = threading.Event(), threading.Event()

    def other() -> None:
        with limited_threads(1):
            began.set()
            ended.wait(60)

    thread = threading.Thread(target=other)
    with limited_threads(1):
        thread.start()
        began.wait(60)
    ended.set()
    thread.join()
    assert in_use() == {CALLER}


def trajectories() -> TrainingData:
    a, t, x = np.linspace(1, 2, 4), np.linspace(0, 1, 9), np.linspace(0, 1, 7)
    u = np.exp(-a[:, None, None] * t[:, None]) * np.sin(np.pi * x)
    return TrainingData(ParameterSpace((Parameter("a", 1.0, 2.0),)), StateLayout(("u",), {"x": x}), a[:, None], t, u)


def threads_of_a_fit() -> set[int]:
    used = set[int]()
    settings = ModelSettings.model_validate({"kind": "snapshot-gp"})
    fit(trajectories(), settings, seed=0, report=lambda progress: used.update(in_use()))
    return used


def test_a_fit_has_one_thread_or_as_many_as_it_is_given() -> None:
    assert threads_of_a_fit() == {1}
    with limited_threads(2):
        assert threads_of_a_fit() == {2}
    assert in_use() == {CALLER}


def test_the_python_face_gives_the_threads_back() -> None:
    data = trajectories()
    mlasdi.fit(data.mu, data.t, data.u, parameters={"a": (1, 2)}, kind="snapshot-gp")
    assert in_use() == {CALLER}


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    data = trajectories()
    return mlasdi.fit(data.mu, data.t, data.u, parameters={"a": (1, 2)}, kind="snapshot-gp")


CALLS: dict[str, Callable[[Surrogate], object]] = {
    "predict": lambda model: model.predict(a=1.5),
    "probe": lambda model: model.probe({"a": 1.5}, [0.5], Probes(np.array([[3]]), np.ones((1, 1)))),
    "sample": lambda model: model.sample({"a": 1.5}, 2, np.random.default_rng(0)),
    "standard_steps": lambda model: model.standard_steps({"a": 1.5}),
    "project": lambda model: model.project({"a": 1.5}, model.t, model.predict(a=1.5).mean[0]),
    "latent_trajectories": lambda model: model.latent_trajectories({"a": 1.5}),
    "relative_std": lambda model: model.relative_std({"a": 1.5}),
    "acquisition_score": lambda model: model.acquisition_score({"a": 1.5}),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_surrogate_uses_one_thread_or_as_many_as_it_is_given(
    name: str, surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = list[set[int]]()

    def unit_times(self: Surrogate, t: np.ndarray) -> torch.Tensor:
        used.append(in_use())
        return torch.from_numpy((t - self.t[0]) / (self.t[-1] - self.t[0]))

    monkeypatch.setattr(Surrogate, "unit_times", unit_times)
    CALLS[name](surrogate)
    with limited_threads(2):
        CALLS[name](surrogate)
    n = len(used) // 2
    assert used == [{1}] * n + [{2}] * n
    assert n > 0
    assert in_use() == {CALLER}


def test_a_library_that_is_loaded_between_two_limits_is_limited() -> None:
    """The libraries are sought once, and again after an import."""
    code = (
        "from threadpoolctl import threadpool_info\n"
        "from mlasdi.preprocessing import limited_threads\n"
        "with limited_threads(1):\n"
        "    pass\n"
        "known = {library['filepath'] for library in threadpool_info()}\n"
        "import scipy.linalg\n"
        "assert {library['filepath'] for library in threadpool_info()} > known\n"
        "with limited_threads(1):\n"
        "    assert {library['num_threads'] for library in threadpool_info()} == {1}\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)


@pytest.mark.slow
def test_a_limit_loads_no_torch_and_holds_for_one_that_is_loaded_later() -> None:
    """A solve needs no torch; a command that has set a limit loads it when it fits a model."""
    code = (
        "import sys\n"
        "from mlasdi.preprocessing import limited_threads\n"
        "with limited_threads(1):\n"
        "    assert 'torch' not in sys.modules\n"
        "    import torch\n"
        "    torch.set_num_threads(2)\n"
        "    with limited_threads():\n"
        "        assert torch.get_num_threads() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
