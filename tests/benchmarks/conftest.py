"""The benchmark's own modules can be imported by name, and so can the measures beside the tests of the solvers."""

import sys
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest

SOLVERS = Path(__file__).parents[1] / "solvers"
sys.path[:0] = [str(Path(__file__).parent), str(SOLVERS), str(SOLVERS / "builtin")]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--only", help="test_surrogates.py: measure this problem alone, and keep what is known of the others"
    )
    parser.addoption(
        "--methods",
        help="test_surrogates.py: measure these methods alone (separated by commas), and keep what is known of others",
    )


@pytest.fixture(scope="module")
def plain_signatures() -> Iterator[None]:
    """Without the run-time checks of shapes that other tests want: they would count as time of what is measured."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
