"""MLflow tracking of one campaign: a run for the campaign, a nested run per round, a registered version per model.

Every call can be repeated: after a kill, the resumed campaign logs the interrupted round again.
"""

import json
import shlex
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlasdi.agent.registry.champion import CAMPAIGN_TAG, ROUND_TAG, champion_of, promote_if_better
from mlasdi.agent.registry.package import Documents, packages, save_model
from mlasdi.agent.registry.runs import (
    Undelivered,
    find_run,
    has_run,
    log_metrics,
    log_params,
    unless_it_exists,
    where,
)
from mlasdi.agent.registry.tracking_settings import TrackingSettings
from mlasdi.agent.tracking_store import (
    all_pages,
    connect,
    database_file,
    is_database,
    quiet,
    set_damaged_aside,
    store_uri,
)
from mlasdi.surrogate import ARTIFACTS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion

_KIND_TAG = "mlasdi.kind"
_MAX_DESCRIPTION = 5000  # of a version, in MLflow's databases


class Tracker:
    """Records one campaign in MLflow, from one process; before `start`, other methods raise `Undelivered`.

    Args:
        settings: the store, and names other than the campaign's.
        root: folder of the embedded database, and of artifacts without a tracking server.
        campaign: name of the campaign.
        campaign_id: identity of the campaign, by which earlier records are found and continued.
    """

    def __init__(self, settings: TrackingSettings, root: Path, campaign: str, campaign_id: str) -> None:
        if not campaign_id or "'" in campaign_id:
            raise ValueError(f"campaign_id '{campaign_id}' must not be empty or contain a quote")
        self.uri = store_uri(settings.uri, root)
        self.campaign, self.campaign_id = campaign, campaign_id
        self.experiment = settings.experiment or campaign
        self.registered_model = settings.registered_model or campaign
        self._tags = {CAMPAIGN_TAG: campaign_id, _KIND_TAG: "campaign"}
        self._artifacts = root.resolve() / ARTIFACTS
        self._config_text = ""
        self._opened: tuple[MlflowClient, str, str] | None = None

    @property
    def browse_hint(self) -> str:
        """How to view the results: a command for a database, an address for a server."""
        if is_database(self.uri):
            return f"mlflow ui --backend-store-uri {shlex.quote(self.uri)}"
        return f"{self.uri.rstrip('/')}/#/experiments/{self._experiment_id}/runs/{self.run_id}"

    @property
    def run_id(self) -> str:
        """Id of the campaign's run."""
        return self._session[2]

    @property
    def _client(self) -> "MlflowClient":
        return self._session[0]

    @property
    def _experiment_id(self) -> str:
        return self._session[1]

    @property
    def _session(self) -> "tuple[MlflowClient, str, str]":
        if self._opened is None:
            raise Undelivered("MLflow: the campaign's run is not open")
        return self._opened

    def set_damaged_aside(self) -> Path | None:
        """Rename an SQLite database that is damaged; returns its new path, or None if it is sound."""
        file = database_file(self.uri)
        return None if file is None else set_damaged_aside(file)

    @quiet()
    def is_lost(self) -> bool:
        """Whether the store is a database that has no run of the campaign, not even a deleted one."""
        if not is_database(self.uri):
            return False
        client = connect(self.uri)
        experiment = client.get_experiment_by_name(self.experiment)
        return experiment is None or not has_run(client, experiment.experiment_id, self._tags)

    @quiet()
    def start(self, config_text: str, params: Mapping[str, Any]) -> str:
        """Open the campaign's run, or reopen an existing one, and return its id.

        Args:
            config_text: the validated configuration, saved as the artifact `config.yaml`.
            params: nested settings, logged with dotted names. MLflow keeps the first value of each parameter.
        """
        client = connect(self.uri)
        experiment_id = self._open_experiment(client)
        run = find_run(client, experiment_id, self._tags)
        if run is None:
            run = client.create_run(experiment_id, tags=self._tags, run_name=self.campaign)
        elif run.info.status != "RUNNING":
            client.update_run(run.info.run_id, status="RUNNING")
        log_params(client, run, params)
        client.log_text(run.info.run_id, config_text, "config.yaml")
        self._config_text = config_text
        self._opened = (client, experiment_id, run.info.run_id)
        return run.info.run_id

    @quiet()
    def log_round(
        self, round: int, metrics: Mapping[str, float], params: Mapping[str, Any], artifacts: Sequence[Path]
    ) -> str:
        """Log one round as a run nested in the campaign's, and return its id.

        The metrics are also logged to the campaign's run, with the round as their step. A complete round is not
        changed; an incomplete one is completed and keeps the values it has.

        Args:
            artifacts: files or folders, logged under their own names.
        """
        run = self._round_run(round)
        run_id = run.info.run_id
        if run.info.status == "FINISHED":
            return run_id
        log_params(self._client, run, params)
        for path in artifacts:
            self._client.log_artifact(run_id, str(path))
        # MLflow keeps all values of an interrupted call, but equal values with equal times count once. Therefore the
        # time is that of the run's creation.
        metrics = {**metrics, **run.data.metrics}
        for target in (run_id, self.run_id):
            log_metrics(self._client, target, metrics, step=round, timestamp=run.info.start_time)
        self._client.set_terminated(run_id)
        return run_id

    @quiet()
    def register(
        self,
        round: int,
        surrogate_folder: Path,
        tags: Mapping[str, str],
        error_estimate: float,
        *,
        card: str = "",
        figures: Sequence[Path] = (),
    ) -> str:
        """Register the saved surrogate of a round as a version of the registered model, and return the version.

        The alias `champion` moves to it if it is better (see `is_better`). A round that is registered already keeps its
        version.

        Args:
            surrogate_folder: with the files of `Surrogate.save`.
            tags: version tags, of which `parameter_box` is required: JSON `{name: [low, high]}` in the order of the
                model's input columns.
            error_estimate: the model's own estimate of its relative error, a fraction; infinite if it is not known.
            card: the model card, Markdown; MLflow shows it as the description of the version.
            figures: files that are saved with the model, besides the card and the campaign's configuration.

        Raises:
            ValueError: `parameter_box` is missing.
        """
        if "parameter_box" not in tags:
            raise ValueError(f"version tags need 'parameter_box', got {sorted(tags)}")
        version = self._version_of(round)
        if version is None:
            documents = Documents(card, self._config_text, tuple(figures))
            model = self._log_model(round, surrogate_folder, json.loads(tags["parameter_box"]), documents)
            own = {"error_estimate": repr(float(error_estimate)), "size_bytes": str(_size(surrogate_folder))}
            version = self._create_version(round, model, {**tags, **own}, card)
        promote_if_better(self._client, version)
        return str(version.version)

    @quiet()
    def tag_version(self, version: str, tags: Mapping[str, str]) -> None:
        """Add tags that become known after the registration, such as a validated `max_error`.

        The alias `champion` moves to the version if it is better now.
        """
        for name, value in tags.items():
            self._client.set_model_version_tag(self.registered_model, version, name, value)
        promote_if_better(self._client, self._client.get_model_version(self.registered_model, version))

    @quiet()
    def tag_round(self, round: int, tags: Mapping[str, str]) -> None:
        """Add tags to the version of a round, if it is registered; the champion stays."""
        version = self._version_of(round)
        if version is None:
            return
        for name, value in tags.items():
            self._client.set_model_version_tag(self.registered_model, version.version, name, value)

    def _version_of(self, round: int) -> "ModelVersion | None":
        this_round = where({CAMPAIGN_TAG: self.campaign_id, ROUND_TAG: str(round)})
        query = f"name = '{self.registered_model}' and {this_round}"
        found = all_pages(self._client.search_model_versions, filter_string=query)
        return found[0] if found else None

    @quiet()
    def champion(self) -> str | None:
        """The version that has the alias `champion`, or None."""
        return champion_of(self._client, self.registered_model)

    @quiet()
    def finish(
        self,
        metrics: Mapping[str, float],
        artifacts: Sequence[Path],
        status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED",
    ) -> None:
        """Log the campaign's final metrics and files, and close its run."""
        for path in artifacts:
            self._client.log_artifact(self.run_id, str(path))
        rounds = where({CAMPAIGN_TAG: self.campaign_id, _KIND_TAG: "round"})
        n_rounds = len(all_pages(self._client.search_runs, experiment_ids=[self._experiment_id], filter_string=rounds))
        # A step and time later than those of all rounds and of an earlier finish, so that MLflow shows these values.
        log_metrics(self._client, self.run_id, metrics, step=n_rounds, timestamp=time.time_ns() // 1_000_000)
        self._client.set_terminated(self.run_id, status)

    def _open_experiment(self, client: "MlflowClient") -> str:
        """Create, find or restore the experiment; with a database, its artifacts are stored in the root."""
        location = self._artifacts.as_uri() if is_database(self.uri) else None
        with unless_it_exists():
            return client.create_experiment(self.experiment, artifact_location=location)
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            raise RuntimeError(f"experiment '{self.experiment}' exists, but cannot be found: was it deleted?")
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
        return experiment.experiment_id

    def _round_run(self, round: int) -> "Run":
        """The run of a round, created if there is none."""
        tags = {CAMPAIGN_TAG: self.campaign_id, _KIND_TAG: "round", ROUND_TAG: str(round)}
        return find_run(self._client, self._experiment_id, tags) or self._client.create_run(
            self._experiment_id, tags={**tags, "mlflow.parentRunId": self.run_id}, run_name=f"round {round}"
        )

    def _create_version(self, round: int, model: "LoggedModel", tags: Mapping[str, str], card: str) -> "ModelVersion":
        with unless_it_exists():
            self._client.create_registered_model(self.registered_model)
        return self._client.create_model_version(
            self.registered_model,
            # MLflow's database store looks a `models:/` source up in its global default store, hence a path.
            source=model.artifact_location if is_database(self.uri) else f"models:/{model.model_id}",
            run_id=model.source_run_id,
            model_id=model.model_id,
            description=card[:_MAX_DESCRIPTION] or None,
            tags={
                **tags,
                "packages": json.dumps(packages()),
                "campaign": self.campaign,
                "round": str(round),
                CAMPAIGN_TAG: self.campaign_id,
                ROUND_TAG: str(round),
            },
        )

    def _log_model(
        self, round: int, surrogate_folder: Path, box: dict[str, list[float]], documents: Documents
    ) -> "LoggedModel":
        """Log the surrogate as an MLflow model of the round's run; an incomplete one is completed."""
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        client, run_id = self._client, self._round_run(round).info.run_id
        tags = {CAMPAIGN_TAG: self.campaign_id, ROUND_TAG: str(round)}
        found = client.search_logged_models([self._experiment_id], where(tags))
        model = found[0] if found else client.create_logged_model(self._experiment_id, "surrogate", run_id, tags)
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


def _size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
