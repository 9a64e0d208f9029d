"""The architecture, checked in the source: who may import whom, and which library is used where."""

import ast
import graphlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("solvers", "mlasdi", "agent")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
# Library -> the only modules that may import it.
CONFINED = {
    "ray": {"agent.executor", "agent.training_workers"},
    "mlflow": {
        *(f"agent.{name}" for name in ("tracking", "registry", "curation", "model_package", "pyfunc_model")),
        *("agent.mlflow_store", "agent.mlflow_runs", "mlasdi.surrogate_files"),
    },
    "pickle": {"solvers.verification"},
    "cloudpickle": set(),
    "dill": set(),
    "joblib": set(),
}


@dataclass(frozen=True)
class Import:
    """One import statement: the module imported, and when it runs."""

    name: str
    on_import: bool  # executed when the importing module is
    typing_only: bool  # read by type checkers alone
    function: str  # the innermost function around it, or ""


def imports(module: str) -> list[Import]:
    path = MODULES[module]
    return list(_walk(ast.parse(path.read_text(), str(path)), module, "", typing_only=False))


def _walk(node: ast.AST, module: str, function: str, typing_only: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        for name in _names(node, module):
            yield Import(name, not function and not typing_only, typing_only, function)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function = node.name
    for child in ast.iter_child_nodes(node):
        guarded = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") and child in node.body
        yield from _walk(child, module, function, typing_only or guarded)


def _names(node: ast.Import | ast.ImportFrom, module: str) -> list[str]:
    """Modules that a statement imports; `from package import module` counts as that module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base = ".".join([*above, *([node.module] if node.module else [])])
    return [f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names]


def package_of(name: str) -> str:
    return name.partition(".")[0]


def test_the_source_is_found():
    assert {package_of(module) for module in MODULES} == set(PACKAGES)
    assert {"solvers.contract", "mlasdi.surrogate", "agent.executor"} <= set(MODULES)
    assert any(found.name == "mlasdi.basis" for found in imports("mlasdi.surrogate"))


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_layers(module):
    """solvers knows neither of the others; mlasdi knows three files of solvers; agent may know all."""
    for found in imports(module):
        if module.startswith("solvers"):
            assert package_of(found.name) not in ("mlasdi", "agent"), found
            assert package_of(found.name) not in ("torch", "gpytorch", "botorch"), found
        if module.startswith("mlasdi"):
            assert package_of(found.name) != "agent", found
            if package_of(found.name) == "solvers":
                assert found.name in ("solvers.parameters", "solvers.contract", "solvers.store"), found


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_import_each_other_without_circles(package):
    graph = {
        module: {found.name for found in imports(module) if found.on_import and found.name in MODULES} - {module}
        for module in MODULES
        if package_of(module) == package
    }
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle
    assert set(graph) <= set(order)


@pytest.mark.parametrize("library", CONFINED)
def test_libraries_stay_where_they_belong(library):
    users = {
        module
        for module in MODULES
        for found in imports(module)
        if package_of(found.name) == library and not found.typing_only
    }
    assert users <= CONFINED[library]


def test_yaml_is_for_the_agent():
    users = {module for module in MODULES for found in imports(module) if package_of(found.name) == "yaml"}
    assert {package_of(module) for module in users} <= {"agent"}


def test_pickle_only_checks_that_solvers_can_travel():
    """The contract pickles a solver to see whether it could; nothing is read back from a file."""
    source = ast.parse(MODULES["solvers.verification"].read_text())
    users = {
        function.name
        for function in ast.walk(source)
        if isinstance(function, ast.FunctionDef)
        and any(isinstance(node, ast.Name) and node.id == "pickle" for node in ast.walk(function))
    }
    assert users == {"_transport_problems"}


def test_mlflow_is_one_lazy_call_of_the_model():
    """Loading by an MLflow URI turns it into a folder; importing the model never imports MLflow."""
    found = [found for module in MODULES if module.startswith("mlasdi") for found in imports(module)]
    (mlflow,) = [one for one in found if package_of(one.name) == "mlflow"]
    assert not mlflow.on_import
    assert mlflow.function == "_fetch"


@pytest.mark.parametrize("library", ["ray", "mlflow"])
def test_heavy_libraries_are_imported_when_used(library):
    """Except in the file that MLflow itself runs to load a logged model."""
    for module in set(MODULES) - {"agent.pyfunc_model"}:
        assert not [found for found in imports(module) if package_of(found.name) == library and found.on_import]
