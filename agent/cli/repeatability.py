"""Solves that differ at the same parameters: a breach of the contract, or the noise that the configuration tells of."""

from dataclasses import dataclass

from mlasdi.agent.text import percent
from mlasdi.solvers import ContractReport, Problem
from mlasdi.training import ModelSettings
from mlasdi.validation import Finding

ALIKE = 2.0  # factor between the level that was measured and the one that is given, above which something is wrong


@dataclass(frozen=True)
class Repeatability:
    """What two solves at one point say, in view of the configuration.

    Attributes:
        problems: breaches of the contract; that solves differ is none where the solutions are said to be noisy.
        fact: how far the solves differ, and what that means for `model.noise`; empty where they are the same, or where
            their difference is a problem.
        concerns: a level of noise that is given and is far from the one measured.
    """

    problems: tuple[Problem, ...]
    fact: str = ""
    concerns: tuple[Finding, ...] = ()


def judged(report: ContractReport, model: ModelSettings) -> Repeatability:
    """Noise is expected where `model.noise` is written in the configuration, and is not `none`."""
    expected = "noise" in model.model_fields_set and model.noise != "none"
    if not (report.noise and expected):
        return Repeatability(report.problems)
    rest = tuple(problem for problem in report.problems if problem.kind != "not-repeatable")
    fact = f"two solves differ like noise of {percent(report.noise)} of the values' standard deviation; "
    if isinstance(model.noise, str):
        return Repeatability(rest, fact + f"model.noise: {model.noise} finds the level in the data if it is white")
    ratio = report.noise / model.noise
    fact += f"model.noise says {percent(model.noise)}"
    if 1 / ALIKE <= ratio <= ALIKE:
        return Repeatability(rest, fact)
    message = f"model.noise is {percent(model.noise)}, and two solves differ by {ratio:.2g} times as much"
    return Repeatability(
        rest, fact, (Finding("noise-level", message, f"model.noise: {report.noise:.2g}, or estimate"),)
    )
