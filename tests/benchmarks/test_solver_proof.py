"""Every built-in solver against its references and its plain twin; writes SOLVERS.md, then checks it."""

from pathlib import Path

import pytest
from solver_proof import CHECKS, CONTESTS, Check, Timing
from solvers_page import page

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]
PAGE = Path(__file__).with_name("SOLVERS.md")
LEAST_RATIO = {"burgers1d": 15, "burgers2d": 50, "vlasov": 5}  # over the plain implementation


@pytest.fixture(scope="module")
def measured(plain_signatures: None) -> tuple[list[Check], list[Timing]]:
    timings = [contest.timing() for contest in CONTESTS]
    checks = [check for checks in CHECKS for check in checks()]
    PAGE.write_text(page(checks, timings))
    print(f"\nwritten: {PAGE}")
    return checks, timings


def test_every_quantity_is_within_its_bounds(measured: tuple[list[Check], list[Timing]]):
    checks, _ = measured
    assert [check for check in checks if not check.holds] == []


def test_every_trajectory_takes_at_most_the_time_allowed_and_is_that_of_the_plain_scheme(
    measured: tuple[list[Check], list[Timing]],
):
    _, timings = measured
    assert [timing for timing in timings if not timing.holds] == []


@pytest.mark.parametrize(("problem", "ratio"), LEAST_RATIO.items())
def test_compilation_pays(measured: tuple[list[Check], list[Timing]], problem: str, ratio: float):
    _, timings = measured
    (timing,) = [timing for timing in timings if timing.problem == problem]
    assert timing.ratio > ratio
