"""Points of the Sobol sequence in an asynchronous campaign, in batches of any size, and lists of points."""

from types import SimpleNamespace

import numpy as np

from mlasdi.agent.campaign.proposal_queue import PointList, ProposalQueue
from mlasdi.agent.choosing import SamplingSettings
from mlasdi.solvers import Parameter, ParameterSpace

SPACE = ParameterSpace((Parameter("a", 0.0, 1.0), Parameter("b", 2.0, 3.0)))


def queue() -> ProposalQueue:
    config = SimpleNamespace(seed=3, sampling=SamplingSettings(acquisition="sobol"))
    rounds = SimpleNamespace(space=SPACE, config=config, solves=SimpleNamespace(available=None))
    return ProposalQueue(rounds, waits_for_choice=False)  # type: ignore[arg-type]


def test_the_sequence_does_not_depend_on_the_sizes_of_batches() -> None:
    proposals, known = queue(), PointList(2)
    for n in [1, 5, 40, 2, 100, 3, 30]:
        known.extend(mu for mu, _ in proposals.sobol_points(n, known.array))
    np.testing.assert_array_equal(known.array, SPACE.sobol(181, 3))


def test_points_that_became_known_in_between_are_passed_over() -> None:
    proposals, known = queue(), PointList(2)
    sequence = SPACE.sobol(12, 3)
    known.extend(mu for mu, _ in proposals.sobol_points(2, known.array))
    known.extend(sequence[[3, 5]])  # chosen by a model, for example
    found = [mu for mu, _ in proposals.sobol_points(4, known.array)]
    np.testing.assert_array_equal(found, sequence[[2, 4, 6, 7]])


def test_a_list_of_points_grows() -> None:
    points, rows = PointList(2), np.arange(400.0).reshape(200, 2)
    assert points.array.shape == (0, 2)
    points.extend(rows[:70])
    points.extend(rows[70:])
    np.testing.assert_array_equal(points.array, rows)
