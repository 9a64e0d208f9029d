"""A publisher for tests that do not concern publication."""

from pathlib import Path

from mlasdi.agent.campaign.publication import Publisher


class Unpublished(Publisher):
    """Draws and registers nothing, which takes longer than these campaigns."""

    def set_damaged_aside(self) -> None:
        pass

    def is_lost(self) -> bool:
        return False

    def start(self) -> None:
        pass

    def abort(self, status: str) -> None:
        pass

    def publish_round(self, *args: object) -> str:
        return "1"

    def add_assessment(self, *args: object) -> None:
        pass

    def draw(self, *args: object) -> list[Path]:
        return []

    def identity(self, version: str | None) -> dict[str, str | None]:
        return {"version": version}

    def finish(self, *args: object) -> None:
        pass
