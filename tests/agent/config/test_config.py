"""Configurations: what is read, what is refused, and with which message."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from pydantic import BaseModel

from mlasdi.agent.config import Config, ConfigError, dump_config, load_config
from mlasdi.solvers import SolverError

SHIPPED = sorted(Path(__file__).parents[3].glob("configs/*.yaml"))
PROBLEM = {"solver": "burgers1d", "options": {"n_x": 51}, "parameters": {"a": [0.7, 0.9], "w": [0.9, 1.1]}}
BASE: dict[str, Any] = {"problem": PROBLEM, "budget": {"solver_runs": 6}}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "pulse.yaml"
    path.write_text(yaml.safe_dump(BASE))
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_configurations_are_valid_and_survive_being_written_out(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_config(config))
    assert load_config(copy) == config


def test_defaults_and_paths(base: Path) -> None:
    config = load_config(base)
    assert config.problem.space.names == ("a", "w")
    assert config.problem.spec.build().layout.n_state == 51
    assert (config.folder, config.seed, config.validation.grid) == (Path("mlruns/campaigns/pulse"), 0, None)


def test_overrides_reach_any_depth_and_keep_their_neighbours(base: Path) -> None:
    config = load_config(
        base,
        [
            "budget.target_error=0.5%",
            "model.first_stage.iterations=7",
            "problem.parameters.a={low: 0.1, high: 10, unit: m, scale: log}",
            "validation.grid=[3, 2]",
            "name=other",
        ],
    )
    assert (config.budget.solver_runs, config.budget.target_error) == (6, 0.005)
    assert config.model.first_stage.model_dump()["iterations"] == 7
    a, w = config.problem.space.parameters
    assert (a.low, a.high, a.unit, a.scale, w.high) == (0.1, 10, "m", "log", 1.1)
    assert (config.validation.grid, config.name) == ((3, 2), "other")


def test_a_solver_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "derived_solver.py").write_text(
        "from mlasdi.solvers.builtin.burgers1d import Burgers1D\nclass Mine(Burgers1D): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(BASE | {"problem": PROBLEM | {"solver": "derived_solver:Mine"}}))
    assert type(load_config(path).problem.spec.build()).__name__ == "Mine"


REFUSALS = {
    "unknown key": (["budget.solver_run=6"], "budget.solver_run: unknown key; did you mean 'solver_runs'?"),
    "unknown section": (["budgets.solver_runs=6"], "budgets: unknown key; did you mean 'budget'?"),
    "unknown key of a stage": (
        ["model.stages=[{kind: sine-features, n_sines: 3}]"],
        "model.stages.0.sine-features.n_sines: unknown key; did you mean 'n_sine'?",
    ),
    "unknown key of a parameter": (
        ["problem.parameters.a={low: 1, hihg: 2}"],
        "a: unknown key 'hihg'; did you mean 'high'?",
    ),
    "reversed range": (["problem.parameters.a=[0.9, 0.7]"], "parameter 'a': low 0.9 must be less than high 0.7"),
    "range of no width": (["problem.parameters.a=[0.7, 0.7]"], "parameter 'a': low 0.7 must be less than high 0.7"),
    "endless range": (
        ["problem.parameters.w=[0.9, .inf]"],
        "problem.parameters: parameter 'w': high inf must be a finite number",
    ),
    "empty box": (["problem.parameters={}"], "problem.parameters: the parameter box is empty"),
    "parameter missing": (["problem.parameters={a: [0.7, 0.9]}"], "got ['a'], solver 'burgers1d' takes ['a', 'w']"),
    "unknown solver": (
        ["problem.solver=burger1d"],
        "problem: unknown solver 'burger1d'; did you mean 'burgers1d'? allowed: burgers1d,",
    ),
    "unknown option": (["problem.options.n_y=3"], "problem: solver 'burgers1d' has no option 'n_y'; did you mean"),
    "budget below the initial design": (
        ["budget.solver_runs=3"],
        "budget.solver_runs: 3 is less than the 4 points of the initial design (sampling.initial: corners)",
    ),
    "initial design too small": (
        ["sampling.initial=sobol", "sampling.initial_sobol=1"],
        "sampling.initial: the initial design has 1 points",
    ),
    "wrong type": (["budget.solver_runs=many"], "budget.solver_runs: input should be a valid integer"),
    "unknown acquisition": (
        ["sampling.acquisition=random"],
        "sampling.acquisition: input should be 'field-std', 'coefficient-std', 'integrated-variance' or 'sobol', got",
    ),
    "negative time": (["budget.wall_time_s=-5"], "budget.wall_time_s: input should be greater than 0, got -5"),
    "percentage without its sign": (["budget.target_error=3"], "budget.target_error: must be a fraction below 1"),
    "grid of the wrong dimension": (["validation.grid=[2]"], "validation.grid: [2] needs one count for each of"),
    "all points of a box": (["sampling.initial=all"], "sampling.initial: 'all' is for a data set"),
    "the rest of a box": (["validation.rest=true"], "validation.rest: true is for a data set; give validation.grid"),
    "a constraint on no parameter": (
        ["problem.constraints=[{b: 1, max: 2}]"],
        "problem.constraints: constraint '1 b <= 2': 'b' is no parameter; allowed: a, w; change it, or the box",
    ),
    "a constraint without a limit": (
        ["problem.constraints=[{a: 1}]"],
        "problem.constraints: constraint '1 a': give min",
    ),
    "constraints that are no list": (
        ["problem.constraints={a: 1, max: 2}"],
        "problem.constraints: give a list of {name: weight, ..., max: limit} and package.module:function, got {'a': 1",
    ),
    "constraints that leave nothing": (
        ["problem.constraints=[{a: 1, w: 1, max: 1.5}]"],
        "problem.constraints: none of 65,536 points of the box meets the constraints: 1 a + 1 w <= 1.5; change it, or",
    ),
    "a predicate that there is not": (
        ["problem.constraints=['gone:away']"],
        "problem.constraints: constraint 'gone:away' cannot be loaded: No module named 'gone'",
    ),
    "a predicate that gives no answer": (
        ["problem.constraints=['operator:length_hint']"],
        "problem.constraints: constraint 'operator:length_hint': its argument 'obj' is no parameter; allowed: a, w",
    ),
    "half an integer": (
        ["problem.parameters.a={low: 0.5, high: 2, integer: true}"],
        "parameter 'a': integer needs whole bounds, got [0.5, 2.0]",
    ),
    "candidates that there are not": (
        ["sampling.candidate_set=absent.csv"],
        "sampling.candidate_set: absent.csv: there is no such file",
    ),
    "two kinds of validation": (
        ["validation.grid=3", "validation.sobol=9"],
        "validation.sobol: give this or validation.grid, not both",
    ),
    "a grid with too many points": (
        ["validation.grid=1000"],
        "validation.grid: 1000 means 1,000,000 solves for 2 parameters, more than 100,000; give fewer points, or",
    ),
    "dynamics that there are not": (
        ["model.first_stage.dynamics=cubic"],
        "first_stage.variable-projection.dynamics: input should be 'affine', 'quadratic' or 'second-order'",
    ),
    "dynamics that an autoencoder cannot find": (
        ["model={kind: mlasdi-paper, first_stage: {dynamics: quadratic}}"],
        "model: first_stage.dynamics quadratic: first_stage.kind autoencoder fits affine dynamics to the velocities",
    ),
    "a forcing of affine dynamics": (
        ["model.first_stage.forcing=[2]"],
        "first_stage.variable-projection: forcing [2.0] needs dynamics: quadratic or second-order; it is affine",
    ),
    "name that is a path": (["name=a/b"], "name: string should match pattern"),
    "override without a value": (["budget.solver_runs"], "override 'budget.solver_runs': write dotted.key=value"),
    "override through a value": (["seed.deep.er=1"], "override 'seed.deep.er=1': seed is not a section"),
    "override that is not YAML": (["seed=[1"], "override 'seed=[1': not YAML: while parsing a flow"),
    "override with a key twice": (
        ["model={kind: mlasdi, kind: gplasdi}"],
        "override 'model={kind: mlasdi, kind: gplasdi}': line 1: key 'kind' comes twice, first in line 1",
    ),
    "override that contains itself": (["problem.options=&a {b: *a}"], "line 1: the alias *a contains itself"),
    "override with very many sections": ([f"a{'.a' * 5000}=1"], "...': its key has 5,000 sections"),
}


@pytest.mark.parametrize(("overrides", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_is_refused_is_named_with_what_is_allowed(base: Path, overrides: list[str], message: str) -> None:
    base.write_text(yaml.safe_dump(BASE | {"seed": 0}))
    with pytest.raises(ConfigError) as refused:
        load_config(base, overrides)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "pulse.yaml: not YAML: while parsing a flow node"),
        ("seed: 1\nbudget: {}\nseed: 2\n", "pulse.yaml: line 3: key 'seed' comes twice, first in line 1"),
        ("a: &a [*a]", "pulse.yaml: line 1: the alias *a contains itself"),
        ("[" * 10_000, "pulse.yaml: line 1: lists and mappings are nested more than 100 levels deep"),
        ("#" * 1_000_001, "pulse.yaml: the file is larger than 1,000,000 bytes"),
        ("- 1\n", "expected a mapping of sections, got list"),
        ("", "expected a mapping of sections, got NoneType"),
        ("problem: {}\n", "problem.solver: is required; problem.parameters: is required; budget: is required"),
    ],
)
def test_files_that_hold_no_configuration(base: Path, text: str, message: str) -> None:
    base.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_config(base)
    assert message in str(refused.value)


def test_files_that_cannot_be_read(base: Path, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.yaml"):
        with pytest.raises(ConfigError, match="no such file"):
            load_config(path)
    with pytest.raises(ConfigError, match=r"pulse\.yaml/inside\.yaml: cannot be read: Not a directory"):
        load_config(base / "inside.yaml")
    base.write_bytes(b"name: \xff")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(base)


def test_constraints_survive_being_written_out(base: Path, tmp_path: Path) -> None:
    (tmp_path / "pulse_limits.py").write_text("def gentle(a): return a < 0.85\n")
    given = [{"a": 1, "w": 2, "max": 2.9, "min": 2.5}, "pulse_limits:gentle"]
    base.write_text(yaml.safe_dump(BASE | {"problem": PROBLEM | {"constraints": given}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        config = load_config(base, ["problem.parameters.w={low: 0.9, high: 1.1, scale: log}"])
        copy = tmp_path / "copy.yaml"
        copy.write_text(dump_config(config))
        assert load_config(copy).model_dump(exclude={"name"}) == config.model_dump(exclude={"name"})
        assert [str(one) for one in config.problem.constraints] == ["2.5 <= 1 a + 2 w <= 2.9", "pulse_limits:gentle"]
        assert config.problem.space.feasible([[0.8, 1.0], [0.88, 0.9], [0.8, 1.1]]).tolist() == [True, False, False]


def test_free_settings_have_the_types_of_yaml_1_2_in_files_and_overrides(base: Path, tmp_path: Path) -> None:
    """And keep them when the configuration is written out."""
    (tmp_path / "typed_solver.py").write_text("def solve(a, w, **settings): raise TypeError\n")
    written = "{nu: 1e-3, scheme: no, at: 12:30, label: '1e-3'}"
    wanted = {"nu": 1e-3, "scheme": "no", "at": "12:30", "label": "1e-3"}
    problem = PROBLEM | {"solver": "callable", "options": {"function": "typed_solver:solve"}}
    text = yaml.safe_dump(BASE | {"problem": problem})
    copy = tmp_path / "copy.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        base.write_text(text)
        by_override = load_config(base, [f"problem.options.arguments={written}"])
        base.write_text(text.replace("    function:", f"    arguments: {written}\n    function:"))
        for config in (by_override, load_config(base)):
            assert config.problem.options["arguments"] == wanted
            copy.write_text(dump_config(config))
            assert load_config(copy).problem == config.problem


def test_a_data_set_has_no_candidate_set(base: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "runs.npz", a=[0.7, 0.8], w=[1.1, 0.9], t=[0.0, 1.0], u=np.ones((2, 2, 3)))
    options = {"path": str(tmp_path / "runs.npz"), "parameters": ["a", "w"], "fields": ["u"]}
    base.write_text(yaml.safe_dump(BASE | {"problem": PROBLEM | {"solver": "data-set", "options": options}}))
    with pytest.raises(ConfigError, match=r"sampling\.candidate_set: not for a data set"):
        load_config(base, ["sampling.candidate_set=points.csv"])
    with pytest.raises(ConfigError, match=r"validation\.sobol: a data set has solutions at its own points only"):
        load_config(base, ["validation.sobol=3"])


def test_known_noise_is_the_consent_to_the_mean_of_runs(base: Path, tmp_path: Path) -> None:
    u = np.ones((4, 2, 3))
    u[3] += 1
    np.savez(tmp_path / "runs.npz", a=[0.7, 0.8, 0.9, 0.9], w=[1.1, 0.9, 1.0, 1.0], t=[0.0, 1.0], u=u)
    options = {"path": str(tmp_path / "runs.npz"), "parameters": ["a", "w"], "fields": ["u"]}
    base.write_text(yaml.safe_dump(BASE | {"problem": PROBLEM | {"solver": "data-set", "options": options}}))
    for noise, is_mean in (("estimate", False), ("none", False), ("0.1", True)):
        solver = load_config(base, ["sampling.initial=all", f"model.noise={noise}"]).problem.spec.build()
        if is_mean:
            np.testing.assert_allclose(solver.solve({"a": 0.9, "w": 1.0}).u, 1.5)
        else:
            with pytest.raises(SolverError, match=r"runs\.npz, run 2; .*runs\.npz, run 3; give .* model\.noise"):
                solver.solve({"a": 0.9, "w": 1.0})


def test_a_configuration_does_not_change(base: Path) -> None:
    config: Config = load_config(base)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1  # type: ignore[misc]


def test_points_of_a_data_set_are_those_of_the_box_in_its_order(base: Path, tmp_path: Path) -> None:
    """The data set names w first, and one of its runs lies outside."""
    a, w = np.array([0.7, 0.8, 0.9, 0.95]), np.array([1.1, 0.9, 1.0, 1.0])
    np.savez(tmp_path / "runs.npz", a=a, w=w, t=[0.0, 1.0], u=np.ones((4, 2, 3)))
    options = {"path": str(tmp_path / "runs.npz"), "parameters": ["w", "a"], "fields": ["u"]}
    base.write_text(yaml.safe_dump(BASE | {"problem": PROBLEM | {"solver": "data-set", "options": options}}))
    found = load_config(base, ["validation.rest=true"]).problem.available()
    np.testing.assert_array_equal(found, np.column_stack([a, w])[:3])
    assert load_config(base, ["sampling.initial=all"]).problem.available().shape == (3, 2)
    with pytest.raises(ConfigError, match=r"validation\.grid: a data set has solutions at its own points only"):
        load_config(base, ["validation.grid=3"])


def number_keys(model: BaseModel, prefix: str = "") -> Iterator[str]:
    """Dotted keys of all settings that are numbers, or may be."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from number_keys(value, f"{prefix}{name}.")
        elif {int, float} & {field.annotation, *get_args(field.annotation)}:
            yield prefix + name


@pytest.mark.parametrize("first_stage", ["chosen", "variable-projection", "autoencoder"])
def test_no_number_may_be_infinite(base: Path, first_stage: str) -> None:
    chosen = [f"model.first_stage={{kind: {first_stage}}}"]
    keys = list(number_keys(load_config(base, chosen)))
    keys.append("cluster.solve_resources.licence")
    assert {"budget.wall_time_s", "sampling.candidates", "model.noise_floor", "model.basis.tolerance"} <= set(keys)
    for key in keys:
        for value in (".inf", "-.inf", ".nan"):
            with pytest.raises(ConfigError, match=key.rpartition(".")[2]):
                load_config(base, [*chosen, f"{key}={value}"])


@pytest.mark.parametrize(
    ("key", "limit"),
    [
        ("validation.sobol", 100_000),
        ("sampling.initial_sobol", 10_000),
        ("sampling.candidates", 65_536),
        ("model.anchors", 1024),
        ("cluster.cpus", 10_000),
        ("cluster.train_cpus", 10_000),
        ("sampling.batch", 100_000),
    ],
)
def test_numbers_that_nothing_could_work_off_are_refused(base: Path, key: str, limit: int) -> None:
    load_config(base, [f"{key}={limit}", "budget.solver_runs=20000"])
    for value in (limit + 1, 10**30):
        with pytest.raises(ConfigError, match=rf"{key.replace('.', '[.]')}.*{limit}"):
            load_config(base, [f"{key}={value}", "budget.solver_runs=20000"])


def test_long_names_are_refused(base: Path) -> None:
    assert load_config(base, [f"name={'x' * 100}"]).name == "x" * 100
    with pytest.raises(ConfigError, match=r"name: .*at most 100 characters"):
        load_config(base, [f"name={'x' * 101}"])
    with pytest.raises(ConfigError, match="the name has 101 characters, at most 100 are allowed"):
        load_config(base, [f"problem.parameters={{{'x' * 101}: [0, 1], w: [0, 1]}}"])


def test_a_range_that_overflows_is_refused(base: Path) -> None:
    with pytest.raises(ConfigError, match="too large"):
        load_config(base, ["problem.parameters.a=[-1.7e308, 1.7e308]"])
