"""The page on the method: its numbers and conclusions are those that its script measured, and the script runs."""

import json
import re
from pathlib import Path

import pytest
from method_cases import Numbers, Size
from method_page import at, quoted, shown, with_numbers, write

from mlasdi.training import ModelSettings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FOLDER = DOCS / "explanation"
PAGE = (FOLDER / "method.md").read_text()
NUMBERS: Numbers = json.loads((DOCS / "method.json").read_text())
IMAGES = re.findall(r"!\[.+?\]\((.+?)\)", PAGE)
SMALL = Size(
    n_x=61, n_t=41, every=4, test_per_axis=4, iterations=2, steps=2, per_axis=(3,), presets=("mlasdi", "snapshot-gp"),
    anchors=(0,), kappas=(1.0,), roughness=(1.0,), n_lengthscales=4, multiscale_every=10,
)  # fmt: skip


def test_numbers_are_those_that_were_measured() -> None:
    assert len(list(quoted(PAGE))) > 20
    assert with_numbers(PAGE, NUMBERS) == PAGE


def test_every_measured_number_is_quoted() -> None:
    """What is left without its quotations holds no percentage but the level of the band."""
    rest = re.sub(r"[\d.]+(e[+-]?\d+)? %<!--.+?-->", "", PAGE)
    assert set(re.findall(r"[\d.]+ ?%", rest)) == {"90 %"}


def test_numbers_are_brought_up_to_date() -> None:
    numbers = {"a": {"0.3": 0.001234, "n": 12.0}, "b": 31.4}
    text = "falls to 7 %<!--a/0.3-->, and 5<!--a/n--> of (3e+09 %<!--b-->)"
    updated = "falls to 0.12 %<!--a/0.3-->, and 12<!--a/n--> of (3100 %<!--b-->)"
    assert with_numbers(text, numbers) == updated
    assert with_numbers(updated, numbers) == updated
    with pytest.raises(KeyError):
        with_numbers("1 %<!--a/0.4-->", numbers)
    with pytest.raises(TypeError):
        with_numbers("1 %<!--a-->", numbers)


def test_images_are_those_of_the_page_and_small() -> None:
    assert all((FOLDER / image).stat().st_size < 400_000 for image in IMAGES)
    assert {(FOLDER / image).resolve() for image in IMAGES} == set((DOCS / "images").glob("method-*.png"))
    for image in IMAGES:  # each has a caption, in italics
        assert re.search(rf"\({re.escape(image)}\)\n\n(\*[^*]|!\[)", PAGE), image


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert links
    assert all((FOLDER / link).exists() for link in links if not link.startswith("https:"))


def test_named_settings_exist() -> None:
    settings = ModelSettings.model_validate({"kind": "mlasdi"}).model_dump()
    for key in ("min_gain", "interpolation", "anchors"):
        assert key in settings
        assert key in PAGE
    assert "tolerance" in settings["basis"]
    stages = PAGE.partition("## 6 ")[2].partition("## 7 ")[0]
    for kind in re.findall(r"^- `([\w-]+)`", stages, re.MULTILINE):
        ModelSettings.model_validate({"stages": [{"kind": kind}]})


def test_formulas_are_closed() -> None:
    """An odd dollar sign, or an open block, spoils the rest of a page."""
    text = re.sub(r"^```math\n.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert "```" not in text
    for paragraph in text.split("\n\n"):
        assert paragraph.count("$") % 2 == 0, paragraph
    for formula in re.findall(r"\$([^$]+)\$", text):  # Markdown takes a backslash before punctuation for its own
        assert not re.search(r"\\[^a-zA-Z]", formula), formula


# What the text concludes


def measured(path: str) -> float:
    return at(NUMBERS, path)


def ratio(one: str, other: str) -> float:
    return measured(one) / measured(other)


def values(path: str, measure: str) -> list[float]:
    """One measure for all values of a setting."""
    return [measured(f"{path}/{key}/{measure}") for key in _below(path)]


def _below(path: str) -> Numbers:
    found = NUMBERS
    for key in path.split("/"):
        found = found[key]
    return found


def best_on_the_curves() -> float:
    return min(error for errors in NUMBERS["kernel"]["sweep"].values() for error in errors.values())


# What the page says -> whether the numbers still say so.
CONCLUSIONS = {
    "the model falls back to it": lambda: ratio("solves/mlasdi/4/max", "solves/snapshot-gp/4/max") > 0.97,
    "the more points there are, the more the latent dynamics add": lambda: (
        ratio("solves/mlasdi/9/max", "solves/snapshot-gp/9/max") < 1
        and max(ratio(f"solves/mlasdi/{n}/max", f"solves/snapshot-gp/{n}/max") for n in (16, 25)) < 0.7
    ),
    "the autoencoder has a larger error with sixteen solves than kriging with four": lambda: (
        ratio("solves/gplasdi/16/max", "solves/snapshot-gp/4/max") > 1.2
    ),
    "over eight decades of": lambda: max(values("roughness/9", "test")) < 1.2 * min(values("roughness/9", "test")),
    "with sixteen it doubles": lambda: 1.7 < ratio("roughness/16/10000/test", "roughness/16/0.0001/test") < 2.5,
    "the leave-one-out error rises much less": lambda: (
        ratio("roughness/16/10000/leave-one-out", "roughness/16/0.0001/leave-one-out") - 1
        < 0.5 * (ratio("roughness/16/10000/test", "roughness/16/0.0001/test") - 1)
    ),
    "in between the test error does not depend on": lambda: (
        max(values("kappa/first stage", "test")[2:6]) < 1.2 * min(values("kappa/first stage", "test")[2:6])
        and max(values("kappa/first stage", "test")[::6]) > 2.5 * min(values("kappa/first stage", "test"))
    ),
    "by several times": lambda: ratio("kappa/first stage/0.1/train", "kappa/first stage/1/train") > 3,
    "can divide the training error by more than two": lambda: (
        ratio("kappa/first stage/0.3/train", "kappa/second stage/1/train") > 2
        and measured("kappa/second stage/1/train") == min(values("kappa/second stage", "train"))
    ),
    "the leave-one-out error does not fall either": lambda: (
        min(values("kappa/second stage", "leave-one-out")) > 0.95 * measured("kappa/first stage/0.3/leave-one-out")
    ),
    "without anchors the training error is smallest": lambda: all(
        measured(f"anchors/{n}/0/train") == min(values(f"anchors/{n}", "train"))
        and measured(f"anchors/{n}/0/test") > 2 * min(values(f"anchors/{n}", "test"))
        for n in (4, 9)
    ),
    "much the same order": lambda: measured("map/rank correlation") > 0.75,
    "more do no harm, and no good": lambda: all(
        max(values(f"anchors/{n}", "test")[4:]) < 1.1 * min(values(f"anchors/{n}", "test")[4:]) for n in (4, 9)
    ),
    "would cost a factor of eight": lambda: 7 < ratio("kernel/sweep/rbf/1", "kernel/chosen/test") < 9,
    "within a tenth of the best on the curves": lambda: measured("kernel/chosen/test") < 1.1 * best_on_the_curves(),
    "most of all with few points": lambda: (
        ratio("kernel/interpolation/marginal-likelihood/4/test", "kernel/interpolation/field/4/test")
        > ratio("kernel/interpolation/marginal-likelihood/16/test", "kernel/interpolation/field/16/test")
        > 1
    ),
    "makes each part larger and the total a quarter": lambda: (
        all(ratio(f"stages/2/{p}", f"stages/1/{p}") > 1 for p in ("autoencoder", "latent dynamics", "interpolation"))
        and 0.2 < ratio("stages/2/max", "stages/1/max") < 0.3
    ),
}


@pytest.mark.parametrize("sentence", CONCLUSIONS)
def test_what_the_text_concludes_is_what_was_measured(sentence: str) -> None:
    """A conclusion that no longer holds wants another sentence in the page, and here."""
    assert sentence.lower() in re.sub(r"<!--.*?-->|\s+", " ", PAGE).lower()
    assert CONCLUSIONS[sentence]()


@pytest.mark.slow
def test_the_script_draws_and_writes_all(tmp_path: Path) -> None:
    """On a coarse mesh, with hardly any training."""
    page = tmp_path / "explanation/method.md"
    page.parent.mkdir()
    page.write_text("error 1 %<!--solves/mlasdi/9/max-->")
    write(tmp_path, SMALL)
    assert {path.name for path in (tmp_path / "images").iterdir()} == {Path(image).name for image in IMAGES}
    numbers = json.loads((tmp_path / "method.json").read_text())
    assert numbers.keys() == NUMBERS.keys()
    assert page.read_text() == f"error {shown(at(numbers, 'solves/mlasdi/9/max'), ' %')} %<!--solves/mlasdi/9/max-->"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_numbers_come_out_again(tmp_path: Path) -> None:
    """Within a factor of two: other processors and libraries round differently."""
    write(tmp_path, Size())
    again = json.loads((tmp_path / "method.json").read_text())
    for _, path, _ in quoted(PAGE):
        is_zero = measured(path) == 0  # an exponent
        assert abs(at(again, path)) < 0.01 if is_zero else 0.5 < at(again, path) / measured(path) < 2, path
