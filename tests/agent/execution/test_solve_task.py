"""A solve as a task: a solver that can start from earlier solutions gets those in the store."""

from pathlib import Path

import pytest

from mlasdi.agent.execution import SolverSpec, SolveTask
from mlasdi.agent.execution.solve_task import execute
from mlasdi.solvers.storage import SnapshotStore, address

RELAY = SolverSpec("relay_solver:Relay", {})


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "store")


def task(store: SnapshotStore, a: float, n_time: int | None = None) -> SolveTask:
    where = address(RELAY.build().identity(), {"a": a}, n_time)
    return SolveTask(0, RELAY, {"a": a}, where, str(store.root), n_time)


def n_before(store: SnapshotStore, a: float, n_time: int | None = None) -> float:
    """Solve one point; returns the number of solves before it from which its solution was continued."""
    given = task(store, a, n_time)
    result = execute(given)
    assert result.ok
    return store.get(given.address).u[-1, 0]


def test_a_solve_goes_on_from_the_nearest_solution_in_the_store(store):
    assert [n_before(store, a) for a in (1.0, 2.0, 3.0)] == [0, 1, 2]
    assert n_before(store, 0.9) == 1  # from a = 1, which had begun from nothing


def test_a_solution_that_was_thinned_can_be_gone_on_from(store):
    n_before(store, 1.0, n_time=2)
    assert n_before(store, 1.1) == 1


def test_a_damaged_solution_is_passed_over_and_does_not_fail_the_solve(store):
    for a in (1.0, 2.0):
        n_before(store, a)
    path = store.path(task(store, 2.0).address)
    path.write_bytes(path.read_bytes()[:-1])
    assert n_before(store, 2.1) == 1  # from a = 1
    path = store.path(task(store, 2.1).address)
    path.write_bytes(b"")
    assert n_before(store, 2.1) == 1  # solved anew, from what is sound


def test_a_solution_in_the_store_is_not_solved_again(store):
    n_before(store, 1.0)
    assert execute(task(store, 1.0)).cached
