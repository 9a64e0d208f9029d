"""The reproduction of the paper runs in its smallest settings; the page that is shipped has its figures."""

import re
from pathlib import Path

import pytest
import reproduction_page
import study_reproduction
import study_reproduction_checks as checks
import torch
from study_problems import FirstStage, multiscale
from study_reproduction_figures import DRAWN

from mlasdi.decoders import AutoencoderSettings, DecoderSettings
from mlasdi.latent.parametrisations import Affine, Form, FreeQuadratic

DOCS = Path(__file__).parents[1] / "docs"
TINY = study_reproduction.Size(
    seeds=(0,), multiscale=4, wake=None, vlasov=None, options={"multiscale": {"n_x": 60, "n_t": 21}},
    kappas=(0.1, 1.0), kappa_steps=2, published_seeds=(0,), published=2, n_samples=20,
)  # fmt: skip


@pytest.mark.slow
def test_the_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run loads the trained models, and writes the same."""
    monkeypatch.setattr(study_reproduction, "KEPT", tmp_path / "kept")
    path = reproduction_page.write(TINY, tmp_path)
    text = path.read_text()
    kept = [path.name for path in (tmp_path / "kept").iterdir()]
    assert len([name for name in kept if "decoder" in name]) == 4  # two kappas and two other activations
    assert len(kept) == 8
    assert re.search(r"\| multiscale \| ours, full states \|", text)
    assert "kappa = | 0.1 | 1 |" in text
    for name in DRAWN:
        assert f"reproduction-{name}.png" in text
        assert (tmp_path / "images" / f"reproduction-{name}.png").stat().st_size > 5000


def test_the_page_that_is_shipped_has_its_figures() -> None:
    text = (DOCS / "explanation" / "reproduction.md").read_text()
    figures = re.findall(r"\(\.\./images/([\w-]+\.png)\)", text)
    assert len(figures) == len(DRAWN)
    for name in figures:
        assert (DOCS / "images" / name).is_file()


OSCILLATOR = [0.1, 0.2, *(0.0, 1.0), *(-1.0, 0.0)]  # b, A
# The same, and the coefficients of z_0^2, z_0 z_1 and z_1^2
LOTKA_VOLTERRA = [0.0, 0.0, *(1.0, 0.0), *(0.0, -1.0), *(0.0, 0.0), *(-1.0, 1.0), *(0.0, 0.0)]


@pytest.mark.parametrize(
    ("form", "true"), [(Affine(2), OSCILLATOR), (FreeQuadratic(2), LOTKA_VOLTERRA)], ids=["affine", "quadratic"]
)
def test_least_squares_recover_the_coefficients_of_a_system(form: Form, true: list[float]) -> None:
    """Up to the error of finite differences, which is of second order in the time step."""
    xi, z0, errors = torch.tensor([true]).double(), torch.tensor([[1.5, 1.0]]).double(), []
    for n_steps in (200, 400):
        t = torch.linspace(0, 8, n_steps + 1).double()
        errors.append(float((checks.calibrated(form, form.solve(xi, z0, t).z, t) - xi).norm() / xi.norm()))
    assert errors[1] < min(0.35 * errors[0], 0.02)


def test_a_decoder_that_was_trained_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = multiscale(n_x=60, n_t=21)
    first = FirstStage.trained(problem, 2, {"steps": 2, "initial_state": "given"}, seed=0)
    settings = DecoderSettings(steps=3)
    found = checks.decoded(first, settings, tmp_path)
    monkeypatch.setattr(checks, "fit_decoder", None)
    again = checks.decoded(first, settings, tmp_path)
    assert (again.train, again.test, len(again.losses)) == (found.train, found.test, len(found.losses))
    with pytest.raises(TypeError):  # other settings are trained
        checks.decoded(first, DecoderSettings(steps=4), tmp_path)


def test_changes_reach_the_first_stage_and_the_networks_of_later_ones() -> None:
    settings = study_reproduction.configured(multiscale(n_x=60, n_t=21))
    free = study_reproduction.changed(settings, "first_stage", {"calibration": "joint"})
    fast = study_reproduction.changed(settings, "network", {"kappa": 75.0})
    assert isinstance(free.first_stage, AutoencoderSettings)
    assert free.first_stage.calibration == "joint"
    assert free.stages == settings.stages
    assert fast.first_stage == settings.first_stage
    assert [stage.network.kappa for stage in fast.stages if isinstance(stage, DecoderSettings)] == [75.0]
