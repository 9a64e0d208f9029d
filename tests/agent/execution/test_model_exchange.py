"""Exchange of models through a folder or a URL."""

import uuid
from pathlib import Path

import pytest

from mlasdi.agent.execution.model_exchange import download_from, exists_at, list_with_prefix, remove_at, upload_to


@pytest.fixture(params=["folder", "file", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    folder = tmp_path / "shared"
    return {"folder": str(folder), "file": folder.as_uri(), "memory": f"memory://{uuid.uuid4().hex}"}[request.param]


def leave(place: str, **files: str) -> None:
    with upload_to(place) as folder:
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)


def found(place: str) -> dict[str, str]:
    with download_from(place) as folder:
        return {path.name: path.read_text() for path in folder.iterdir()}


def test_what_is_written_is_read_and_replaces_what_was_there(root: str) -> None:
    place = f"{root}/.model-1"
    assert not exists_at(place)
    leave(place, old="1", both="1")
    leave(place, both="2", new="2")
    assert exists_at(place)
    assert found(place) == {"both": "2", "new": "2"}


def test_places_are_listed_by_prefix_and_removed(root: str) -> None:
    assert list_with_prefix(root, ".model-") == []
    for name in (".model-2", ".model-1", "other"):
        leave(f"{root}/{name}", file=name)
    places = [f"{root}/.model-1", f"{root}/.model-2"]
    assert list_with_prefix(root, ".model-") == places
    remove_at(places[0])
    remove_at(places[0])  # nothing there is no error
    assert list_with_prefix(root, ".model-") == places[1:]
    assert found(places[1]) == {"file": ".model-2"}


def test_nothing_is_there_when_writing_fails(root: str) -> None:
    place = f"{root}/.model-1"
    leave(place, old="1")
    with pytest.raises(FileNotFoundError):
        leave(place, half="1", **{"no/such": "2"})
    assert not exists_at(place)
