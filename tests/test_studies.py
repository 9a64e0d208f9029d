"""Each study runs in its smallest settings and writes a page with its figures; the pages that are shipped have them."""

import re
from collections.abc import Callable
from pathlib import Path

import correlation
import extrapolation
import noise
import numpy as np
import pytest
import sine
import stability
import stages
import study_correlations
import study_decoders
import study_dynamics
import study_horizons
import study_noise
import study_noise_figures
import study_problems
import study_splits
from study_page import Page, percent, run, table

STUDIES = Path(__file__).parents[1] / "docs/studies"


TINY_VLASOV = {"n_x": 16, "n_v": 32, "n_t": 51, "t_end": 0.5}


def tiny_noise() -> Page:
    size = study_noise.Size(
        levels=(0.0, 1.0), uncleaned=(1.0,), n_x=61, n_t=41, multiscale=(60, 41), test_per_axis=2, every=4,
        iterations=2, steps=2, n_latent=1, samples=2,
    )  # fmt: skip
    return noise.page(size, study_noise.measured(size), study_noise_figures.example(size, study_noise.burgers(size)))


def tiny_extrapolation() -> Page:
    size = study_horizons.Size({"n_x": 61, "n_t": 41}, {"n_x": 60, "n_t": 41}, wake=None, every=1, iterations=2)
    found = {one.name: study_horizons.measured(size, one) for one in study_horizons.problems(size)}
    return extrapolation.page(size, found)


SMALLEST: dict[str, Callable[[], Page]] = {
    "noise": tiny_noise,
    "extrapolation": tiny_extrapolation,
    "sine": lambda: sine.study(
        study_decoders.Size(steps=5, seeds=(0,), kappas=(0.3, 1.0, 10.0), every=8, n_x=61, n_t=51)
    ),
    "correlation": lambda: correlation.study(
        study_correlations.Size(latent_dims=(2,), steps=(5,), noise=(0.0, 0.5), second_steps=5, n_x=61, n_t=51)
    ),
    "stages": lambda: stages.study(
        study_splits.Size(
            budgets=(12,), most=2, every=10, n_x=61, n_t=51, burgers2d={"n_x": 12, "n_t": 21}, vlasov=None
        )
    ),
    "stability": lambda: stability.study(
        study_dynamics.Size(
            n_latent=2,
            n_samples=20,
            iterations=1,
            first_stage=1,
            steps=10,
            latent_dims=(2,),
            roughness=(1e-2,),
            n_x=61,
            n_t=16,
            n_duffing=16,
            vlasov=TINY_VLASOV,
        )
    ),
}


def is_whole(study: str, folder: Path) -> None:
    """Title, closed formulas, no missing numbers; all figures are shown, and all that are shown exist."""
    page = (folder / f"{study}.md").read_text()
    assert page.startswith("# ")
    assert not re.search(r"\b(nan|inf)\b", page)
    assert all(paragraph.count("$") % 2 == 0 for paragraph in page.split("\n\n"))
    shown = {Path(image).name for image in re.findall(r"!\[[^\]]+\]\((images/.+?)\)", page)}
    assert shown == {path.name for path in (folder / "images").glob(f"{study}-*.png")}
    assert f"python docs/studies/{study}.py" in page


# Half a minute each.
LONG = {"noise", "stages", "stability"}


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "study", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in SMALLEST]
)
def test_the_smallest_settings_write_a_page(study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_problems, "STORE", tmp_path / "store")
    run(study, lambda full: SMALLEST[study](), tmp_path)
    is_whole(study, tmp_path)


@pytest.mark.parametrize("study", SMALLEST)
def test_the_page_that_is_shipped_is_whole(study: str) -> None:
    is_whole(study, STUDIES)
    assert all(path.stat().st_size < 400_000 for path in (STUDIES / "images").glob(f"{study}-*.png"))


def test_numbers_and_tables_are_markdown() -> None:
    assert percent(0.012345) == "1.23 %"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


# What the studies measure


def test_overshoot_and_fast_energy_of_known_signals() -> None:
    t = np.linspace(0, 1, 401)[None, :, None]
    truth = np.exp(-t)
    assert study_decoders.overshoot(truth, truth) == 0
    assert study_decoders.overshoot(truth + 0.1 * (t == 0), truth) == pytest.approx(0.1 / (1 - np.exp(-1)))
    wiggle = 1e-2 * np.sin(2 * np.pi * 80 * t) * np.ones(1)
    quiet, loud = (study_decoders.fast_energy(u, truth) for u in (truth, truth + wiggle))
    assert quiet < 1e-4
    # Of a parabola-like arc of height 1/8, roughly, and a sine of amplitude 0.01
    assert loud > 100 * quiet


def test_correlations_of_known_samples() -> None:
    rng = np.random.default_rng(0)
    z, noise = rng.standard_normal((2000, 2)), rng.standard_normal((2000, 30))
    mixed = z @ rng.standard_normal((2, 3))
    assert study_correlations.multiple_linear(z, mixed) == pytest.approx(1)
    assert study_correlations.multiple_linear(z, noise) < 0.1
    assert study_correlations.pearson(z, z[:, :1]) == pytest.approx(1)
    half = np.sqrt(0.5) * (z[:, :1] + z[:, 1:])
    assert study_correlations.pearson(z, half) == pytest.approx(np.sqrt(0.5), abs=0.03)
    assert study_correlations.pearson(z, z**2) < 0.1


def test_the_best_line_separates() -> None:
    line = study_correlations.best_line([0.1, 0.2, 0.5, 0.6], [False, False, True, True])
    assert line is not None
    assert (line.low, line.high) == (0.2, 0.5)
    assert (line.accuracy, line.area, line.at_published) == (1.0, 1.0, 1.0)
    mixed = study_correlations.best_line([0.1, 0.6, 0.5, 0.2], [True, False, True, False])
    assert mixed is not None
    assert mixed.area == pytest.approx(0.25)
    assert study_correlations.best_line([0.1, 0.2], [True, True]) is None


def test_the_lifted_oscillator_conserves_energy_but_for_damping_and_force() -> None:
    problem = study_dynamics.duffing(n_time=201)
    gamma, delta = problem.train.mu[4]
    x, v, w = problem.train.u[4].T
    np.testing.assert_allclose(w, x**2 / np.sqrt(2))
    energy, t = v**2 + x**2 + w**2, problem.train.t
    power = 2 * v * (gamma * np.cos(study_dynamics.OMEGA * t) - delta * v)
    gained = np.concatenate([[0], np.cumsum(0.5 * np.diff(t) * (power[1:] + power[:-1]))])
    np.testing.assert_allclose(energy - energy[0], gained, atol=2e-2 * energy.max())
