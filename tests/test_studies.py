"""The studies: each runs in its smallest form, and its page stands with its figures."""

import re
from collections.abc import Callable
from pathlib import Path

import extrapolation
import noise
import pytest
from study_page import Page, run


def tiny_noise() -> Page:
    size = noise.Size(
        levels=(0.0, 1.0), uncleaned=(1.0,), n_x=61, n_t=41, multiscale=(60, 41), test_per_axis=2, every=4,
        iterations=2, steps=2, n_latent=1, samples=2,
    )  # fmt: skip
    return noise.page(size, *noise.measured(size))


def tiny_extrapolation() -> Page:
    size = extrapolation.Size({"n_x": 61, "n_t": 41}, {"n_x": 60, "n_t": 41}, wake=None, every=1, iterations=2)
    found = {one.name: extrapolation.measured(size, one) for one in extrapolation.problems(size)}
    return extrapolation.page(size, found)


# Study -> its page in the smallest form.
TINY: dict[str, Callable[[], Page]] = {"noise": tiny_noise, "extrapolation": tiny_extrapolation}


@pytest.mark.parametrize("study", TINY)
def test_a_study_writes_its_page(study: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extrapolation, "STORE", tmp_path / "store")
    text = run(study, lambda full: TINY[study](), tmp_path).read_text()
    images = re.findall(r"!\[.+?\]\((.+?)\)", text)
    assert {tmp_path / image for image in images} == set((tmp_path / "images").iterdir())
    assert all(image.startswith(f"images/{study}-") for image in images)
    assert "nan" not in text.split()
