"""The studies: each runs in its smallest form, and its page stands with its figures."""

import re
from collections.abc import Callable
from pathlib import Path

import noise
import pytest
from study_page import Page, run

TINY: dict[str, Callable[[], Page]] = {}  # study -> its page, measured in seconds


def tiny(study: Callable[[], Page]) -> Callable[[], Page]:
    """Register the smallest form of a study."""
    TINY[study.__name__] = study
    return study


@tiny
def noise_page() -> Page:
    size = noise.Size(
        levels=(0.0, 1.0), uncleaned=(1.0,), n_x=61, n_t=41, multiscale=(60, 41), test_per_axis=2, every=4,
        iterations=2, steps=2, n_latent=1, samples=2,
    )  # fmt: skip
    return noise.page(size, *noise.measured(size))


@pytest.mark.parametrize("name", TINY)
def test_a_study_writes_its_page(name: str, tmp_path: Path) -> None:
    study = name.removesuffix("_page")
    path = run(study, lambda full: TINY[name](), tmp_path)
    text = path.read_text()
    images = re.findall(r"!\[.+?\]\((.+?)\)", text)
    assert {tmp_path / image for image in images} == set((tmp_path / "images").iterdir())
    assert all(image.startswith(f"images/{study}-") for image in images)
    assert "nan" not in text.split()
