"""What is left at a place is found there by whoever reads it, whether it is a folder or a URL."""

import uuid
from pathlib import Path

import pytest

from agent import model_places


@pytest.fixture(params=["folder", "file", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    folder = tmp_path / "shared"
    return {"folder": str(folder), "file": folder.as_uri(), "memory": f"memory://{uuid.uuid4().hex}"}[request.param]


def leave(place: str, **files: str) -> None:
    with model_places.written(place) as folder:
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)


def found(place: str) -> dict[str, str]:
    with model_places.read(place) as folder:
        return {path.name: path.read_text() for path in folder.iterdir()}


def test_what_is_written_is_read_and_replaces_what_was_there(root: str) -> None:
    place = f"{root}/.model-1"
    assert not model_places.exists(place)
    leave(place, old="1", both="1")
    leave(place, both="2", new="2")
    assert model_places.exists(place)
    assert found(place) == {"both": "2", "new": "2"}


def test_places_are_listed_by_prefix_and_removed(root: str) -> None:
    assert model_places.beside(root, ".model-") == []
    for name in (".model-2", ".model-1", "other"):
        leave(f"{root}/{name}", file=name)
    places = [f"{root}/.model-1", f"{root}/.model-2"]
    assert model_places.beside(root, ".model-") == places
    model_places.remove(places[0])
    model_places.remove(places[0])  # nothing there is no error
    assert model_places.beside(root, ".model-") == places[1:]
    assert found(places[1]) == {"file": ".model-2"}


def test_nothing_is_there_when_writing_fails(root: str) -> None:
    place = f"{root}/.model-1"
    leave(place, old="1")
    with pytest.raises(FileNotFoundError):
        leave(place, half="1", **{"no/such": "2"})
    assert not model_places.exists(place)
