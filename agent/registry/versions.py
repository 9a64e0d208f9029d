"""The versions that a campaign registers: one for each round, with the MLflow model behind it."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlasdi.agent.registry.champion import CAMPAIGN_TAG, ROUND_TAG
from mlasdi.agent.registry.package import FIGURES, Documents, packages, save_model
from mlasdi.agent.registry.runs import unless_it_exists, where
from mlasdi.agent.tracking_store import all_pages

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

_MAX_DESCRIPTION = 5000  # of a version, in MLflow's databases


@dataclass(frozen=True)
class Versions:
    """The versions of one campaign; every call can be repeated.

    Attributes:
        registered_model: its name.
    """

    client: "MlflowClient"
    experiment_id: str
    registered_model: str
    campaign_id: str

    def of_round(self, round: int) -> "ModelVersion | None":
        """The version of a round; None if it is not registered."""
        query = f"name = '{self.registered_model}' and {where(self._tags(round))}"
        found = all_pages(self.client.search_model_versions, filter_string=query)
        return found[0] if found else None

    def log_model(
        self, round: int, run_id: str, surrogate_folder: Path, box: dict[str, list[float]], documents: Documents
    ) -> "LoggedModel":
        """Log the surrogate as an MLflow model of the round's run; an incomplete one is completed."""
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        client, found = self.client, self._models(round)
        model = found[0] if found else self._new_model(round, run_id)
        if model.status == LoggedModelStatus.READY:
            return model
        outputs = client.get_run(run_id).outputs
        if all(output.model_id != model.model_id for output in (outputs.model_outputs if outputs else [])):
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=round)])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model")
            save_model(path, surrogate_folder, box, documents, run_id=run_id, model_id=model.model_id)
            client.log_model_artifacts(model.model_id, str(path))
        return client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)

    def add_figures(self, round: int, figures: Sequence[Path]) -> None:
        """Save files with the logged model of a round, if there is one."""
        for model in self._models(round):
            with tempfile.TemporaryDirectory() as folder:
                added = Path(folder, FIGURES)
                added.mkdir()
                for figure in figures:
                    shutil.copy(figure, added)
                self.client.log_model_artifacts(model.model_id, folder)

    def create(
        self, round: int, model: "LoggedModel", tags: Mapping[str, str], card: str, *, by_path: bool
    ) -> "ModelVersion":
        """Register a logged model.

        Args:
            card: description of the version, in Markdown.
            by_path: name the model by its folder: MLflow's database store looks a `models:/` source up in its global
                default store.
        """
        with unless_it_exists():
            self.client.create_registered_model(self.registered_model)
        return self.client.create_model_version(
            self.registered_model,
            source=model.artifact_location if by_path else f"models:/{model.model_id}",
            run_id=model.source_run_id,
            model_id=model.model_id,
            description=card[:_MAX_DESCRIPTION] or None,
            tags={**tags, "packages": json.dumps(packages()), "round": str(round), **self._tags(round)},
        )

    def link(self, round: int, version: "ModelVersion") -> None:
        """Link the round's run and its model to the registered version, as MLflow's pages show them."""
        name, number = version.name, str(version.version)
        if version.run_id:
            self.client.set_tag(version.run_id, "model_uri", f"models:/{name}/{number}")
        linked = json.dumps([{"name": name, "version": number}])
        for model in self._models(round):
            self.client.set_logged_model_tags(model.model_id, {"mlflow.modelVersions": linked})

    def _tags(self, round: int) -> dict[str, str]:
        return {CAMPAIGN_TAG: self.campaign_id, ROUND_TAG: str(round)}

    def _models(self, round: int) -> "list[LoggedModel]":
        """The logged model of a round, or none."""
        return list(self.client.search_logged_models([self.experiment_id], where(self._tags(round))))

    def _new_model(self, round: int, run_id: str) -> "LoggedModel":
        return self.client.create_logged_model(self.experiment_id, "surrogate", run_id, self._tags(round))
