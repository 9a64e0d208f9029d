"""Parts of a training in Ray workers: the same results, even if workers are lost."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlasdi.agent.execution import ClusterSettings
from mlasdi.agent.execution.ray_executor import RayExecutor
from mlasdi.agent.execution.ray_map import TrainingWorkers
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import Parameter, ParameterSpace
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.training import ModelSettings, fit
from mlasdi.validation import use_workers


@pytest.fixture(scope="module")
def connected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ray as the agent starts it, with nothing but a training to do."""
    with RayExecutor(ClusterSettings(cpus=2)) as executor:
        executor._start()
        yield


def who(item: int) -> tuple[int, int]:
    return item, os.getpid()


def killed_elsewhere(home: int) -> int:
    if os.getpid() != home:
        os.kill(os.getpid(), signal.SIGKILL)
    return home


@pytest.mark.slow
def test_shares_go_to_processes_of_their_own_and_come_back_in_order(connected: None) -> None:
    found = TrainingWorkers(3)(who, range(7))
    assert [item for item, _ in found] == list(range(7))
    assert len({pid for _, pid in found}) == 3
    assert found[0][1] == os.getpid()


def test_without_ray_or_cores_it_is_done_here() -> None:
    assert TrainingWorkers(1)(who, [4]) == [(4, os.getpid())]


@pytest.mark.slow
def test_a_lost_worker_costs_time_alone(connected: None) -> None:
    home = os.getpid()
    assert TrainingWorkers(2)(killed_elsewhere, [home] * 4) == [home] * 4


def test_an_error_is_that_of_the_work(connected: None) -> None:
    with pytest.raises(ZeroDivisionError):
        TrainingWorkers(2)(lambda n: 1 / n, [1, 1, 0])


@pytest.mark.slow
def test_a_model_is_the_same_as_with_one_core(connected: None, tmp_path: Path) -> None:
    space, fom = ParameterSpace((Parameter("a", 0.7, 0.9), Parameter("w", 0.9, 1.1))), Burgers1D(n_x=101, n_t=41)
    mu = space.sobol(6, seed=0)
    solved = [fom.solve(space.as_dict(row)) for row in mu]
    data = TrainingData(space, fom.layout, mu, solved[0].t, np.stack([one.u for one in solved]))
    settings = ModelSettings.model_validate(
        {
            "n_time": 11,
            "latent_dim": 2,
            "first_stage": {"iterations": 5},
            "time_scaling": "off",
            "coordinate_scaling": "off",
        }
    )
    alone = fit(data, settings, seed=0)
    with use_workers(TrainingWorkers(2)):
        together = fit(data, settings, seed=0)
    assert together.record.stage_names == alone.record.stage_names
    np.testing.assert_allclose(together.record.leave_one_out, alone.record.leave_one_out, rtol=1e-6)
    np.testing.assert_allclose(together.predict(mu[0]).mean, alone.predict(mu[0]).mean, rtol=1e-9, atol=1e-12)
