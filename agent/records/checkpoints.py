"""The models and assessments of a campaign on disk; damaged files are detected, set aside and made again."""

import shutil
from collections.abc import Callable
from pathlib import Path

from mlasdi.agent.execution import download_from, exists_at, list_with_prefix, remove_at, upload_to
from mlasdi.surrogate import Surrogate, SurrogateError
from mlasdi.validation import Assessment, DamagedAssessment

# Names of the folders through which models are exchanged with workers.
_PREFIX = ".model-round-"


class Checkpoints:
    """The models and assessments of one campaign, by round.

    Args:
        folder: of the campaign.
        shared: folder or URL that the workers can access too.
        warn: called with a message for each damaged file.
    """

    def __init__(self, folder: Path, shared: str, warn: Callable[[str], None]) -> None:
        self.folder, self.shared, self._warn = folder, shared, warn
        self._last: tuple[int, Surrogate] | None = None

    def model_folder(self, round: int) -> Path:
        return self.folder / "models" / f"round-{round:03d}"

    def assessment_path(self, round: int) -> Path:
        return self.folder / "assessments" / f"round-{round:03d}.npz"

    def surrogate(self, round: int) -> Surrogate | None:
        """The model of a round; None if there is none or it is damaged."""
        if self._last is not None and self._last[0] == round:
            return self._last[1]
        folder = self.model_folder(round)
        if not folder.exists():
            return None
        try:
            surrogate = Surrogate.load(folder)
        except SurrogateError as error:
            self._set_aside(folder, f"the model of round {round} is damaged and will be trained again: {error}")
            return None
        self._last = (round, surrogate)
        return surrogate

    def for_workers(self, round: int) -> str:
        """Folder or URL at which workers save and load the model of a round."""
        return f"{self.shared}/{_PREFIX}{round:03d}"

    def import_from_worker(self, round: int) -> None:
        """Copy the model that a worker has trained into the campaign's folder, completely or not at all."""
        with download_from(self.for_workers(round)) as folder:
            self._copy(folder, self.model_folder(round))

    def share(self, round: int) -> str:
        """Copy the model of a round to where workers load it, and remove earlier ones; returns that folder or URL."""
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
        for old in (partial, target):  # a killed agent may have left either
            shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(source, partial)
        partial.rename(target)

    def assessment(self, round: int) -> Assessment | None:
        """The assessment of a round's model on the validation set; None if there is none or it is damaged."""
        path = self.assessment_path(round)
        if not path.exists():
            return None
        try:
            return Assessment.load(path)
        except DamagedAssessment as error:
            self._set_aside(path, f"the assessment of round {round} is damaged and will be made again: {error}")
            return None

    def sweep(self) -> None:
        """Remove incomplete files of killed agents; no other agent may be working on the campaign."""
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
        self._warn(f"{reason}; the damaged files are kept as {target}")
