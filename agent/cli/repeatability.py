"""Checks solves that differ at the same parameters: a breach of the contract, or the noise in the configuration."""

from dataclasses import dataclass

from mlasdi.agent.text import percent
from mlasdi.solvers import ContractReport, Problem
from mlasdi.training import ModelSettings
from mlasdi.validation import Finding

# Largest ratio, either way, of the measured noise level to the one in the configuration without a warning.
MAX_RATIO = 2.0


@dataclass(frozen=True)
class Repeatability:
    """Comparison of two solves at one point with the configuration.

    Attributes:
        problems: breaches of the contract; a difference is no breach if the configuration allows noise.
        fact: the difference of the solves and its meaning for `model.noise`; empty if they are equal or their
            difference is a breach.
        concerns: a warning if the noise level in the configuration differs from the measured one.
    """

    problems: tuple[Problem, ...]
    fact: str = ""
    concerns: tuple[Finding, ...] = ()


def check_repeatability(report: ContractReport, model: ModelSettings) -> Repeatability:
    """Compare the noise of two solves with `model.noise`; noise is allowed if that is given and is not `none`."""
    expected = "noise" in model.model_fields_set and model.noise != "none"
    if not (report.noise and expected):
        return Repeatability(report.problems)
    rest = tuple(problem for problem in report.problems if problem.kind != "not-repeatable")
    fact = f"two solves differ by noise of {percent(report.noise)} of the values' standard deviation; "
    if isinstance(model.noise, str):
        return Repeatability(
            rest, fact + f"model.noise: {model.noise} determines the level from the data, if the noise is white"
        )
    ratio = report.noise / model.noise
    fact += f"model.noise is {percent(model.noise)}"
    if 1 / MAX_RATIO <= ratio <= MAX_RATIO:
        return Repeatability(rest, fact)
    message = f"model.noise is {percent(model.noise)}, but two solves differ by {ratio:.2g} times as much"
    return Repeatability(
        rest, fact, (Finding("noise-level", message, f"model.noise: {report.noise:.2g}, or estimate"),)
    )
