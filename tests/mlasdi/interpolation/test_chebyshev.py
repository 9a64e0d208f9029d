"""Interpolation in time: accurate for analytic functions, and not used for others."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from mlasdi.interpolation.chebyshev import MIN_TIMES_PER_NODE, N_NODES, RESOLVED, at_times

MANY = MIN_TIMES_PER_NODE * N_NODES[-1]
TOLERANCE = 10 * RESOLVED  # the coefficients after those that vanish decay, but their sum is not bounded sharply


def evaluated_at(function: Callable[[Tensor], Tensor], t: Tensor) -> tuple[Tensor, list[int]]:
    """Values at `t` of a function of time, as `[1, time, 2]`, and the numbers of times at which it was evaluated."""
    sizes = []

    def evaluate(times: Tensor) -> Tensor:
        sizes.append(len(times))
        return torch.stack([function(times), 1 - 3 * function(times)], dim=-1)[None]

    return at_times(evaluate, t), sizes


def scattered(n: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(low, high, n))


@pytest.mark.parametrize(
    ("function", "sizes"),
    [
        (lambda t: torch.exp(-2 * t) * torch.sin(5 * t), [33]),
        (lambda t: torch.sin(30 * t + 1), [33, 65]),
        (lambda t: torch.sin(100 * t) + 0 * t, [33, 65, 129]),
        (lambda t: torch.ones_like(t), [33]),
    ],
    ids=["slow", "faster", "fastest", "constant"],
)
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.5, 0.5)])
def test_analytic_functions_are_interpolated(
    function: Callable[[Tensor], Tensor], sizes: list[int], low: float, high: float
) -> None:
    t = scattered(MANY, low, high)
    found, evaluated = evaluated_at(function, t)
    assert evaluated == sizes
    torch.testing.assert_close(found[0, :, 0], function(t), rtol=0, atol=4 * TOLERANCE)
    torch.testing.assert_close(found[0, :, 1], 1 - 3 * function(t), rtol=0, atol=4 * TOLERANCE)


@pytest.mark.parametrize(
    "function", [lambda t: (t > 0.3).to(t.dtype), lambda t: torch.sqrt(t), lambda t: torch.sin(t).float().double()]
)
def test_others_are_evaluated(function: Callable[[Tensor], Tensor]) -> None:
    """A step, an infinite slope, and single precision."""
    t = scattered(MANY)
    found, evaluated = evaluated_at(function, t)
    assert evaluated == [*N_NODES, MANY]
    assert torch.equal(found[0, :, 0], function(t))


@pytest.mark.parametrize("t", [scattered(MIN_TIMES_PER_NODE * N_NODES[0] - 1), torch.full((MANY,), 0.4).double()])
def test_few_or_equal_times_are_evaluated(t: Tensor) -> None:
    found, evaluated = evaluated_at(torch.exp, t)
    assert evaluated == [len(t)]
    assert torch.equal(found[0, :, 0], torch.exp(t))


def test_times_that_are_nodes() -> None:
    """The middle of the interval is one."""
    t = torch.linspace(0, 1, MANY + 1).double()
    found, evaluated = evaluated_at(torch.exp, t)
    assert evaluated == [33]
    torch.testing.assert_close(found[0, :, 0], torch.exp(t), rtol=TOLERANCE, atol=0)
