"""The models and assessments of a campaign on disk: verified when read; a damaged one is set aside and made again."""

import shutil
from collections.abc import Callable
from pathlib import Path

from mlasdi.agent.execution import download_from, exists_at, list_with_prefix, remove_at, upload_to
from mlasdi.surrogate import Surrogate, SurrogateError
from mlasdi.validation import Assessment, DamagedAssessment

# Of the places at which workers leave and find models.
_PREFIX = ".model-round-"


class Checkpoints:
    """What the rounds of one campaign have left in its folder.

    Args:
        folder: of the campaign.
        shared: folder that workers see, too, or a URL.
        warn: gets a line for each damaged file.
    """

    def __init__(self, folder: Path, shared: str, warn: Callable[[str], None]) -> None:
        self.folder, self.shared, self._warn = folder, shared, warn
        self._last: tuple[int, Surrogate] | None = None

    def model_folder(self, round: int) -> Path:
        return self.folder / "models" / f"round-{round:03d}"

    def assessment_path(self, round: int) -> Path:
        return self.folder / "assessments" / f"round-{round:03d}.npz"

    def surrogate(self, round: int) -> Surrogate | None:
        """The model of a round; None where there is no sound one."""
        if self._last is not None and self._last[0] == round:
            return self._last[1]
        folder = self.model_folder(round)
        if not folder.exists():
            return None
        try:
            surrogate = Surrogate.load(folder)
        except SurrogateError as error:
            self._set_aside(folder, f"the model of round {round} is damaged, and is trained again: {error}")
            return None
        self._last = (round, surrogate)
        return surrogate

    def for_workers(self, round: int) -> str:
        """Where workers leave the model of a round, and find it again."""
        return f"{self.shared}/{_PREFIX}{round:03d}"

    def import_from_worker(self, round: int) -> None:
        """Take the model that a worker has left as that of a round, complete or not at all."""
        with download_from(self.for_workers(round)) as folder:
            self._copy(folder, self.model_folder(round))

    def share(self, round: int) -> str:
        """The model of a round where workers find it, in place of all earlier ones."""
        place = self.for_workers(round)
        for earlier in list_with_prefix(self.shared, _PREFIX):
            if earlier < place:
                remove_at(earlier)
        if not exists_at(place):
            with upload_to(place) as folder:
                shutil.copytree(self.model_folder(round), folder)
        return place

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name.lstrip('.')}.copy")
        for old in (partial, target):  # an agent that was killed may have left either
            shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(source, partial)
        partial.rename(target)

    def assessment(self, round: int) -> Assessment | None:
        """What validation found of a round's model; None where there is no sound record."""
        path = self.assessment_path(round)
        if not path.exists():
            return None
        try:
            return Assessment.load(path)
        except DamagedAssessment as error:
            self._set_aside(path, f"the assessment of round {round} is damaged, and is made again: {error}")
            return None

    def sweep(self) -> None:
        """Remove what agents that were killed left half-written; nobody else may be at work on the campaign."""
        for pattern in ("*.partial", ".*.partial", "*/*.partial", "*/.*.partial"):
            for path in self.folder.glob(pattern):
                path.unlink(missing_ok=True)
        for folder in (self.folder / "models").glob(".round-*"):
            shutil.rmtree(folder, ignore_errors=True)
        for place in list_with_prefix(self.shared, _PREFIX):
            remove_at(place)

    def _set_aside(self, path: Path, reason: str) -> None:
        self._last = None
        target = path.with_name(f"{path.name}.damaged")
        n = 2
        while target.exists():
            target = path.with_name(f"{path.name}.damaged-{n}")
            n += 1
        path.rename(target)
        self._warn(f"{reason}; what is left of it is kept as {target}")
