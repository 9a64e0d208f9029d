"""Files that are no surrogate, with correct check sums: refused at once, with the name of the file and a remedy."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlasdi.surrogate import Surrogate, SurrogateError

TENSORS, DESCRIPTION = "surrogate.safetensors", "surrogate.json"


@pytest.fixture
def saved(surrogate: Surrogate, tmp_path: Path) -> Path:
    return surrogate.save(tmp_path / "model")


def tamper(folder: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], Any]) -> None:
    """Change tensors and description, and make their check sums agree."""
    tensors, description = load_file(folder / TENSORS), json.loads((folder / DESCRIPTION).read_text())
    change(tensors, description)
    save_file(tensors, folder / TENSORS)
    description["sha256"] = hashlib.sha256((folder / TENSORS).read_bytes()).hexdigest()
    description.pop("description_sha256", None)
    (folder / DESCRIPTION).write_text(json.dumps(description))


def names(folder: Path) -> list[str]:
    return sorted(load_file(folder / TENSORS))


def refused(folder: Path) -> str:
    with pytest.raises(SurrogateError) as caught:
        Surrogate.load(folder)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_values_that_are_not_finite_are_refused(saved: Path, surrogate: Surrogate, tmp_path: Path) -> None:
    for k, name in enumerate(names(saved)):
        folder = surrogate.save(tmp_path / str(k))

        def spoil(tensors: dict[str, torch.Tensor], _: Any, name: str = name) -> None:
            if tensors[name].is_floating_point() and tensors[name].numel():
                tensors[name].view(-1)[-1] = float("nan")

        tamper(folder, spoil)
        if load_file(saved / TENSORS)[name].is_floating_point() and load_file(saved / TENSORS)[name].numel():
            assert f"'{name}' of {TENSORS} is not finite" in refused(folder)


@pytest.mark.parametrize("name", ["basis.modes", "basis.mean", "basis.unit", "layout.coordinates.x"])
def test_arrays_of_other_shapes_are_refused(saved: Path, name: str) -> None:
    if name not in names(saved):
        name = next(one for one in names(saved) if one.startswith(name.partition(".")[0]))

    def cut(tensors: dict[str, torch.Tensor], _: Any) -> None:
        tensors[name] = tensors[name][:-3].clone()

    tamper(saved, cut)
    assert "load another version, or train it again" in refused(saved)


CHANGED_TIMES = (lambda t: t[:-1], lambda t: t[::2], lambda t: t[:1], lambda t: t + 1, lambda t: 2 * t)


@pytest.mark.parametrize("change", CHANGED_TIMES)
def test_times_other_than_those_saved_are_refused(
    saved: Path, surrogate: Surrogate, change: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """Nothing else depends on how many they are, so that fewer would go unnoticed, with predictions at other times."""

    def spoil(tensors: dict[str, torch.Tensor], _: Any) -> None:
        tensors["t"] = change(tensors["t"]).clone()

    def forget(_: Any, description: dict[str, Any]) -> None:
        del description["times"]

    tamper(saved, forget)  # as an earlier version has saved it
    assert len(Surrogate.load(saved).t) == len(surrogate.t)
    folder = surrogate.save(saved.with_name("other"))
    tamper(folder, spoil)
    assert "its times are not those that were saved" in refused(folder)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["basis", "scale"], float("nan")),
        (["basis", "scale"], "large"),
        (["basis"], []),
        (["stages", 0, "kind"], "os.system"),
        (["stages"], {"kind": 1}),
        (["parameters"], {}),
        (["record"], None),
        (["encoder"], "linear"),
        (["layout"], 3),
    ],
)
def test_other_descriptions_are_refused(saved: Path, keys: list[Any], value: Any) -> None:
    def change(_: Any, description: Any) -> None:
        for key in keys[:-1]:
            description = description[key]
        description[keys[-1]] = value

    tamper(saved, change)
    assert DESCRIPTION in refused(saved)


def test_what_is_no_file_of_the_folder_is_refused_and_not_waited_for(saved: Path, tmp_path: Path) -> None:
    for name in (DESCRIPTION, TENSORS):
        path, kept = saved / name, tmp_path / name
        path.rename(kept)
        os.mkfifo(path)
        assert f"{name} is not a regular file" in refused(saved)
        path.unlink()
        path.symlink_to("/dev/zero")
        assert f"{name} is not a regular file" in refused(saved)
        path.unlink()
        path.symlink_to(kept)
        assert f"{name} is a link to {kept}, outside the folder" in refused(saved)
        path.unlink()
        path.mkdir()
        assert f"{name} is not a regular file" in refused(saved)
        path.rmdir()
        kept.rename(path)
    assert Surrogate.load(saved).n_stages


def test_a_folder_may_be_a_link(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(saved)
    assert Surrogate.load(tmp_path / "link").n_stages
