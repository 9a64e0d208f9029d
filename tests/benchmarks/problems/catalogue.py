"""All test problems: those for development, and those held out."""

from problems.diffusion import HEAT4
from problems.held_out_forced import CHAOS, SOURCE
from problems.held_out_reactions import FRONT2D, IGNITION
from problems.held_out_waves import BORE, CHAIN
from problems.problem import Problem
from problems.transport import FISHER, SOD
from problems.waves import BAR, KDV, WAVE2D

DEVELOPMENT: tuple[Problem, ...] = (FISHER, BAR, KDV, SOD, HEAT4, WAVE2D)
# Fixed before any method was tuned on the others: they judge methods, and no method or constant is chosen by them.
HELD_OUT: tuple[Problem, ...] = (FRONT2D, CHAIN, BORE, SOURCE, CHAOS, IGNITION)
PROBLEMS: tuple[Problem, ...] = DEVELOPMENT + HELD_OUT


def problem_named(name: str) -> Problem:
    """The problem of that name.

    Raises:
        KeyError: there is none.
    """
    for problem in PROBLEMS:
        if problem.name == name:
            return problem
    raise KeyError(f"no problem '{name}'; there are {', '.join(problem.name for problem in PROBLEMS)}")
