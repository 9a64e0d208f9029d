"""The benchmark's own modules can be imported by name, and so can the measures beside the tests of the solvers."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "solvers")]
