"""The architecture, checked in the source: who may import whom, and which library is used where."""

import ast
import functools
import graphlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"solvers": "mlasdi.solvers", "agent": "mlasdi.agent", "mlasdi": "mlasdi"}
MOST_FILES = 10  # in a room, beside its __init__


def _modules() -> dict[str, Path]:
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "starters" not in path.parts:  # text of its own, for users to change
                parts = path.relative_to(ROOT / folder).with_suffix("").parts
                found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


MODULES = _modules()
ROOMS = sorted({name for name, path in MODULES.items() if path.name == "__init__.py"})
# Library -> the only modules that may import it.
CONFINED = {
    "ray": {"mlasdi.agent.execution.ray_executor", "mlasdi.agent.execution.ray_map"},
    "mlflow": {
        *(
            f"mlasdi.agent.registry.{name}"
            for name in ("tracking", "champion", "registry", "curation", "package", "pyfunc_model")
        ),
        *("mlasdi.agent.tracking_store.connection", "mlasdi.agent.tracking_store.embedded"),
        *("mlasdi.agent.registry.runs", "mlasdi.agent.registry.versions", "mlasdi.surrogate.registered"),
    },
    "pickle": {"mlasdi.solvers.verification"},
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


@functools.cache
def imports(module: str) -> list[Import]:
    path = MODULES[module]
    return list(_walk(ast.parse(path.read_text(), str(path)), "", typing_only=False))


def _walk(node: ast.AST, function: str, typing_only: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        for name in _names(node):
            yield Import(name, not function and not typing_only, typing_only, function)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function = node.name
    for child in ast.iter_child_nodes(node):
        guarded = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") and child in node.body
        yield from _walk(child, function, typing_only or guarded)


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Modules that a statement imports; `from package import module` counts as that module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert not node.level, "imports are absolute"
    base = node.module or ""
    return [f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names]


def room_of(module: str) -> str:
    """The room of a module: the innermost package that it is or lies in."""
    return module if module in ROOMS else module.rpartition(".")[0]


def floor_of(module: str) -> str:
    """`solvers`, `mlasdi` or `agent`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ("agent", "solvers") else "mlasdi"


def own_imports(module: str) -> list[Import]:
    return [found for found in imports(module) if found.name.partition(".")[0] == "mlasdi"]


def test_the_source_is_found():
    assert {floor_of(module) for module in MODULES} == set(FOLDERS)
    assert {"mlasdi.solvers.contract", "mlasdi.surrogate.surrogate", "mlasdi.agent.campaign.campaign"} <= set(MODULES)
    assert any(found.name == "mlasdi.preprocessing" for found in imports("mlasdi.surrogate.predictor"))


@pytest.mark.parametrize("module", MODULES)
def test_floors_import_only_those_below(module):
    """solvers know neither of the others; mlasdi knows what describes solutions and parameters; agent may know all."""
    for found in imports(module):
        assert found.name.partition(".")[0] not in ("agent", "solvers"), found
    for found in own_imports(module):
        if floor_of(module) == "solvers":
            assert floor_of(found.name) == "solvers", found
        if floor_of(module) == "mlasdi":
            assert floor_of(found.name) != "agent", found
            assert not found.name.startswith(("mlasdi.solvers.builtin", "mlasdi.solvers.adapters")), found


@pytest.mark.parametrize("module", [module for module in MODULES if floor_of(module) == "solvers"])
def test_solvers_need_no_model(module):
    assert not {found.name.partition(".")[0] for found in imports(module)} & {"torch", "gpytorch", "botorch"}


@pytest.mark.parametrize("module", MODULES)
def test_rooms_are_entered_by_their_face(module):
    """What a room offers to others stands in its `__init__.pyi`; the files behind it are its own affair."""
    for found in own_imports(module):
        if room_of(found.name) != room_of(module):
            assert found.name in ROOMS, found


def test_rooms_import_each_other_without_circles():
    graph = {
        room: {
            room_of(found.name)
            for module in MODULES
            if room_of(module) == room and module != "mlasdi"
            for found in own_imports(module)
            if not found.typing_only and found.name != "mlasdi"
        }
        - {room}
        for room in ROOMS
    }
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize("room", ROOMS)
def test_files_of_a_room_import_each_other_without_circles(room):
    graph = {
        module: {found.name for found in own_imports(module) if found.on_import and room_of(found.name) == room}
        - {module, room}
        for module in MODULES
        if room_of(module) == room
    }
    list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_small_and_say_what_they_are_for(room):
    assert sum(room_of(module) == room and module != room for module in MODULES) <= MOST_FILES
    purpose = ast.get_docstring(ast.parse(MODULES[room].read_text()))
    assert purpose
    assert purpose.splitlines()[0].endswith(".")


@pytest.mark.parametrize("room", ROOMS)
def test_no_name_of_a_face_hides_a_file(room):
    """`from room import name` must not depend on whether the file of that name was imported before."""
    face = MODULES[room].with_suffix(".pyi")
    names = {
        alias.name
        for node in (ast.parse(face.read_text()).body if face.exists() else [])
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert not names & {path.stem for path in face.parent.iterdir()}


@pytest.mark.parametrize("library", CONFINED)
def test_libraries_stay_where_they_belong(library):
    users = {
        module
        for module in MODULES
        for found in imports(module)
        if found.name.partition(".")[0] == library and not found.typing_only
    }
    assert users <= CONFINED[library]


def test_yaml_is_for_the_agent():
    """And for attributes of data files that contain YAML text."""
    users = {module for module in MODULES for found in imports(module) if found.name.partition(".")[0] == "yaml"}
    assert {floor_of(module) for module in users - {"mlasdi.solvers.formats.yaml_attributes"}} <= {"agent"}


def test_pickle_only_checks_that_solvers_can_travel():
    """The contract pickles a solver to see whether it could; nothing is read back from a file."""
    source = ast.parse(MODULES["mlasdi.solvers.verification"].read_text())
    users = {
        function.name
        for function in ast.walk(source)
        if isinstance(function, ast.FunctionDef)
        and any(isinstance(node, ast.Name) and node.id == "pickle" for node in ast.walk(function))
    }
    assert users == {"_transport_problems"}


def test_mlflow_is_one_lazy_call_of_the_model():
    """Loading by an MLflow URI turns it into a folder; importing the model never imports MLflow."""
    found = [found for module in MODULES if floor_of(module) == "mlasdi" for found in imports(module)]
    (mlflow,) = [one for one in found if one.name.partition(".")[0] == "mlflow"]
    assert not mlflow.on_import
    assert mlflow.function == "fetched"


@pytest.mark.parametrize("library", ["ray", "mlflow"])
def test_heavy_libraries_are_imported_when_used(library):
    """Except in the file that MLflow itself runs to load a logged model."""
    for module in set(MODULES) - {"mlasdi.agent.registry.pyfunc_model"}:
        assert not [found for found in imports(module) if found.name.partition(".")[0] == library and found.on_import]
