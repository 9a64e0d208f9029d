"""Remedies: one for everything that the contract and the kinds of failure know, naming options that exist."""

import re
from dataclasses import fields

import pytest

from mlasdi.agent.cli.remedies import remedy, remedy_of, with_remedies
from mlasdi.agent.config import Config
from mlasdi.solvers import ADAPTERS, Problem, SolverError
from mlasdi.solvers.adapters import Command
from mlasdi.solvers.adapters.data_set import DataSet
from mlasdi.solvers.adapters.python_function import PythonFunction
from mlasdi.solvers.catalog import SOLVERS
from mlasdi.solvers.contract import FAILURE_KINDS
from mlasdi.solvers.verification import BREACH_KINDS

# Kinds that only programs end with, and those that only an executor sees.
OF_PROGRAMS = {"exit-code", "signal", "time-out", "missing-output"}
EVERYWHERE = (FAILURE_KINDS.keys() | BREACH_KINDS.keys()) - OF_PROGRAMS - {"worker-lost"}
CLASSES = {"callable": PythonFunction, "command": Command, "data-set": DataSet}


@pytest.mark.parametrize("solver", [*ADAPTERS, *SOLVERS, "my_package.solver:Mine"])
def test_every_kind_has_a_remedy(solver):
    assert all(remedy(kind, solver) for kind in EVERYWHERE)
    assert all(remedy(kind, "command") for kind in OF_PROGRAMS)


@pytest.mark.parametrize("solver", ADAPTERS)
def test_remedies_name_options_that_the_solver_has(solver):
    known = {field.name for field in fields(CLASSES[solver])}
    kinds = EVERYWHERE | OF_PROGRAMS if solver == "command" else EVERYWHERE
    texts = [remedy(kind, solver) for kind in kinds]
    named = {name for text in texts for name in re.findall(r"problem\.options\.(\w+)", text)}
    assert named
    assert named <= known
    sections = {name for text in texts for name in re.findall(r"\b([a-z]+)\.[a-z_]", text)}
    assert sections <= set(Config.model_fields)


def test_the_same_breach_has_a_remedy_in_the_code_or_in_the_configuration():
    problem = Problem("wrong-shape", "states have shape (3, 4)")
    (in_code,), (in_options,) = (with_remedies([problem], solver) for solver in ("mine:Mine", "callable"))
    assert in_code.kind == in_options.kind == "wrong-shape"
    assert in_code.message == in_options.message == str(problem)
    assert "[time, state]" in in_code.remedy
    assert "problem.options" in in_options.remedy


def test_exceptions_are_known_by_what_they_are():
    assert remedy_of(SolverError("time-out", "slow"), "command") == remedy("time-out", "command")
    assert remedy_of(MemoryError(), "burgers1d") == remedy("out-of-memory", "burgers1d")
    assert remedy_of(ZeroDivisionError(), "callable") == remedy("exception", "callable")
    assert remedy_of(SolverError("not-periodic", "take a smaller nu"), "wake") == ""  # the message has it
