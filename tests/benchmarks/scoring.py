"""What a fitted model is worth on a problem's test set, and what its training cost."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from methods import Fitted, Method
from paper_problems import Problem

from mlasdi.surrogate import Surrogate, covered
from mlasdi.surrogate.error_norms import max_relative_error
from mlasdi.surrogate.uncertainty import NORMAL_90

CHUNK = 32  # test points at a time: bounds the memory that predictions take
T = TypeVar("T")


@dataclass(frozen=True)
class Score:
    """One fit, judged.

    Attributes:
        max_error, mean_error: over the test points, of the largest relative L2 error over time.
        train_s: processor seconds of the fit; on an idle machine, and one thread, the same as seconds.
        estimate: the model's own estimate of the largest error, where it gives one.
        coverage: share of the values at test points, training points aside, inside the 90 % band.
        stages: names of the stages kept, for the project's own models.
    """

    max_error: float
    mean_error: float
    train_s: float
    estimate: float | None
    coverage: float | None
    stages: tuple[str, ...]


def processor_seconds(work: Callable[[], T]) -> tuple[T, float]:
    """Result of `work`, and the processor time it took: what other processes do on the machine does not count."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def score(problem: Problem, method: Method, seed: int) -> Score:
    """Fit and judge."""
    fitted, train_s = processor_seconds(lambda: method.fit(problem, seed))
    return judge(problem, fitted, train_s)


def judge(problem: Problem, fitted: Fitted, train_s: float, *, band: bool = True) -> Score:
    """Errors on the test set; with `band`, the coverage of a surrogate's 90 % band too."""
    test, surrogate = problem.test, fitted.surrogate
    errors = np.concatenate(
        [max_relative_error(test.u[rows], fitted.predict(test.mu[rows])) for rows in _chunks(len(test.mu))]
    )
    return Score(
        max_error=float(errors.max()),
        mean_error=float(errors.mean()),
        train_s=train_s,
        estimate=surrogate.error_estimate if surrogate else None,
        coverage=_coverage(problem, surrogate) if surrogate and band else None,
        stages=surrogate.record.stage_names if surrogate else (),
    )


def _coverage(problem: Problem, surrogate: Surrogate) -> float:
    """Share of all values, at the test points that are no training points, within the 90 % band."""
    test = problem.test
    distance = np.abs(test.mu[:, None] - problem.train.mu).max(axis=-1).min(axis=-1)
    chosen = np.flatnonzero(distance > 1e-9)
    inside = 0.0
    for rows in _chunks(len(chosen)):
        mu, truth = test.mu[chosen[rows]], test.u[chosen[rows]]
        prediction = surrogate.predict(mu)
        assert prediction.std is not None  # for the type checker: it was asked for
        inside += covered(truth, prediction.mean, prediction.std, NORMAL_90).mean() * len(mu)
    return inside / len(chosen)


def _chunks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK))
