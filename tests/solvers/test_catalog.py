"""Solvers by name: what is listed can be built, and every mistake is answered with what is allowed."""

import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

from mlasdi.solvers import FullOrderModel, nearest
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.solvers.catalog import SOLVERS, build_solver


@pytest.mark.parametrize("name", SOLVERS)
def test_every_listed_solver_is_a_frozen_dataclass_of_the_contract(name):
    fom = build_solver(name, {})
    assert isinstance(fom, FullOrderModel)
    assert is_dataclass(fom)
    assert type(fom).__dataclass_params__.frozen
    assert fom.identity()["solver"] == name


@pytest.mark.parametrize("name", SOLVERS)
def test_every_option_enters_the_identity(name):
    """Otherwise two settings would share a stored solution."""
    fom = build_solver(name, {})
    assert {field.name for field in fields(fom)} <= set(fom.identity())


def test_options_reach_the_solver_in_the_types_it_declares():
    fom = build_solver("burgers1d", {"n_x": 101, "x_max": 2})
    assert fom == Burgers1D(n_x=101, x_max=2.0)
    assert fom.identity() == Burgers1D(n_x=101, x_max=2.0).identity()
    assert isinstance(fom.identity()["x_max"], float)  # 2 and 2.0 must not be stored under two addresses


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("burger1d", {}, "unknown solver 'burger1d'; did you mean 'burgers1d'? allowed: burgers1d, "),
        ("navier", {}, "unknown solver 'navier'; allowed: burgers1d, "),
        (
            "multiscale",
            {"nx": 9},
            "solver 'multiscale' has no option 'nx'; did you mean 'n_x'? allowed: n_t, n_x, t_end",
        ),
        ("multiscale", {"n_x": "many"}, "solver 'multiscale': option n_x = 'many': input should be a valid integer"),
        ("multiscale", {"n_x": 2.5}, "solver 'multiscale': option n_x = 2.5: input should be a valid integer"),
        ("multiscale", {"x_max": None}, "solver 'multiscale': option x_max = None: input should be a valid number"),
        ("multiscale", {"x_max": -3}, "solver 'multiscale': x_max -3.0 must be positive and finite"),
    ],
)
def test_mistakes_are_answered_on_one_line_with_what_is_allowed(name, options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole beginning of the message is compared
        build_solver(name, options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_nearest_lists_the_allowed_words_in_order():
    assert nearest("bat", ["cat", "ape"]) == "did you mean 'cat'? allowed: ape, cat"
    assert nearest("zebra", ["cat", "ape"]) == "allowed: ape, cat"


def test_catalog_loads_no_solver_before_one_is_built():
    burgers = "mlasdi.solvers.builtin.burgers1d"
    code = f"import sys, mlasdi.solvers.catalog; sys.exit('numba' in sys.modules or '{burgers}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
