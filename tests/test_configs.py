"""Every configuration that is shipped, run as a campaign on a coarse mesh with a small model."""

import importlib.util
from pathlib import Path

import pytest

from mlasdi import Surrogate
from mlasdi.agent.campaign import run_campaign
from mlasdi.agent.config import load_config

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[1] / "configs"

SMALL_MODEL = ("model.latent_dim=2", "model.anchors=2", "model.first_stage.iterations=10")
WAKE_MESH = (
    "problem.options={order: 4, maxh: 0.2, maxh_cylinder: 0.04, dt: 5.0e-4, transient: 4.0, "
    "transient_continued: 1.0, n_t: 11, dt_snapshot: 0.02, n_x: 89, n_y: 12}"
)
PAPER_MESHES = {
    "multiscale": ("problem.options={n_x: 60, n_t: 41}",),
    "vlasov": ("problem.options={n_x: 32, n_v: 64, n_t: 26, t_end: 1}",),
    "wake": (WAKE_MESH,),
}
# A coarse mesh for each, and a model that is as small as its kind allows.
SMALLEST = {
    "burgers1d": ("problem.options={n_x: 101, n_t: 51}", *SMALL_MODEL),
    "cluster": (
        "problem.options={n_x: 101, n_t: 51}", "cluster={executor: serial, mode: asynchronous}",
        "budget.target_error=null", *SMALL_MODEL,  # even this model reaches the target before its runs are used up
    ),
    "burgers2d": ("problem.options={n_x: 20, n_t: 41}", *SMALL_MODEL),
    "multiscale": (
        "problem.options={n_x: 60, n_t: 41}", "model.latent_dim=4", "model.first_stage.steps=20",
        "model.stages=[{kind: decoder, steps: 20}]",
    ),
    **{f"paper/{name}": (
        *mesh, "model.latent_dim=2", "model.first_stage.steps=20",
        "model.stages=[{kind: decoder, network: {hidden: [20], activation: sine}, steps: 20}]",
    ) for name, mesh in PAPER_MESHES.items()},
    "vlasov": ("problem.options={n_x: 32, n_v: 64, n_t: 26, t_end: 1}", *SMALL_MODEL),
    "wake": (WAKE_MESH, *SMALL_MODEL),
}  # fmt: skip
CAMPAIGN = (
    "budget.solver_runs=5", "sampling.batch=3", "sampling.candidates=32", "model.n_time=11", "cluster.executor=serial",
)  # fmt: skip


def can_run(name: str) -> bool:
    return not name.endswith("wake") or importlib.util.find_spec("ngsolve") is not None


def test_every_configuration_has_a_smallest_form() -> None:
    assert SMALLEST.keys() == {str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml")}


@pytest.mark.parametrize("name", SMALLEST)
def test_configurations_run(name: str, tmp_path: Path) -> None:
    if not can_run(name):
        pytest.skip("needs NGSolve, the extra `wake`")
    as_shipped = load_config(CONFIGS / f"{name}.yaml")
    assert as_shipped.validation.grid or as_shipped.validation.sobol
    validation = ("validation.grid=2", "validation.sobol=null")
    settings = load_config(CONFIGS / f"{name}.yaml", (*CAMPAIGN, *SMALLEST[name], *validation, f"root={tmp_path}"))
    assert (settings.problem.space, settings.model.kind) == (as_shipped.problem.space, as_shipped.model.kind)
    report = run_campaign(settings)
    assert (report["stop_reason"], report["solver_runs"], report["failed_runs"]) == ("solver-runs", 5, 0)
    assert report["validation_runs"] == 2**settings.problem.space.n_params
    assert 0 <= report["max_relative_error"] < 2  # a network that is hardly trained predicts next to nothing
    surrogate = Surrogate.load(sorted((settings.folder / "models").iterdir())[-1])
    assert surrogate.layout == settings.problem.spec.build().layout
