"""The reproduction of the paper runs in its smallest settings; the page that is shipped has its figures."""

import re
from pathlib import Path

import pytest
import reproduction_page
import study_reproduction
from study_reproduction_figures import DRAWN

DOCS = Path(__file__).parents[1] / "docs"
TINY = study_reproduction.Size(
    seeds=(0,), multiscale=4, wake=None, vlasov=None, options={"multiscale": {"n_x": 60, "n_t": 21}},
    kappas=(0.1, 1.0), kappa_steps=2, published_seeds=(0,), published=2,
)  # fmt: skip


@pytest.mark.slow
def test_the_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run loads the trained models, and writes the same."""
    monkeypatch.setattr(study_reproduction, "KEPT", tmp_path / "kept")
    path = reproduction_page.write(TINY, tmp_path)
    text = path.read_text()
    trained = {folder.name for folder in (tmp_path / "kept").iterdir()}
    assert len(trained) == 4
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
