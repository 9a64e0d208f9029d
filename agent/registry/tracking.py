"""MLflow tracking of one campaign: a run for the campaign, a nested run per round, a registered version per model.

Every call can be repeated: after a kill, the resumed campaign logs the interrupted round again.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlasdi.agent.registry.champion import CAMPAIGN_TAG, ROUND_TAG, champion_of, promote_if_better
from mlasdi.agent.registry.package import Documents
from mlasdi.agent.registry.runs import (
    EXPERIMENT_TAGS,
    RoundFacts,
    Undelivered,
    describe,
    find_run,
    has_run,
    log_metrics,
    log_params,
    milliseconds,
    origin_tags,
    unless_it_exists,
)
from mlasdi.agent.registry.tracking_settings import TrackingSettings
from mlasdi.agent.registry.versions import Versions
from mlasdi.agent.tracking_store import (
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
    from mlflow.entities import Run

_KIND_TAG = "mlasdi.kind"
_NO_FACTS = RoundFacts()


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
        self._config_text = self._card = ""
        self._opened: tuple[MlflowClient, str, str] | None = None

    @property
    def browse_hint(self) -> str:
        """How to view the results: a command for a database, an address for a server."""
        if is_database(self.uri):
            return f"mlflow ui --backend-store-uri {shlex.quote(self.uri)}"
        # MLflow's pages are those of language models otherwise, until its user has chosen "Model training" once.
        run = f"#/experiments/{self._experiment_id}/runs/{self.run_id}?workflowType=machine_learning"
        return f"{self.uri.rstrip('/')}/{run}"

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
    def _versions(self) -> Versions:
        return Versions(self._client, self._experiment_id, self.registered_model, self.campaign_id)

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
    def start(self, config_text: str, params: Mapping[str, Any], description: str = "") -> str:
        """Open the campaign's run, or reopen an existing one, and return its id.

        Args:
            config_text: the validated configuration, saved as the artifact `config.yaml`.
            params: nested settings, logged with dotted names. MLflow keeps the first value of each parameter.
            description: of a new run, in Markdown.
        """
        client = connect(self.uri)
        experiment_id = self._open_experiment(client)
        run = find_run(client, experiment_id, self._tags)
        if run is None:
            run = client.create_run(experiment_id, tags={**origin_tags(), **self._tags}, run_name=self.campaign)
            describe(client, run.info.run_id, description)
        elif run.info.status != "RUNNING":
            client.update_run(run.info.run_id, status="RUNNING")
        log_params(client, run, params)
        client.log_text(run.info.run_id, config_text, "config.yaml")
        self._config_text = config_text
        self._opened = (client, experiment_id, run.info.run_id)
        return run.info.run_id

    @quiet()
    def log_round(
        self,
        round: int,
        metrics: Mapping[str, float],
        params: Mapping[str, Any],
        facts: RoundFacts = _NO_FACTS,
    ) -> str:
        """Log one round as a run nested in the campaign's, and return its id.

        The metrics, and the round's number, are also logged to the campaign's run. Their step is the number of solver
        runs, if that is among them, else the round. A complete round is not changed; an incomplete one is completed and
        keeps the values it has.

        Args:
            facts: when the round took place, and its training set.
        """
        run = self._round_run(round, facts)
        run_id = run.info.run_id
        if run.info.status == "FINISHED":
            return run_id
        log_params(self._client, run, params)
        if facts.training_set is not None:
            facts.training_set.log(self._client, run_id)
        # MLflow keeps all values of an interrupted call, but equal values with equal times count once. Therefore the
        # time is one that a repeated call gives, too.
        ended_at = milliseconds(facts.ended_at)
        when = run.info.start_time if ended_at is None else ended_at
        metrics = {**metrics, **run.data.metrics}
        step = int(metrics.get("solver_runs", round))
        for target, logged in ((run_id, metrics), (self.run_id, {**metrics, "round": round})):
            log_metrics(self._client, target, logged, step=step, timestamp=when)
        self._client.set_terminated(run_id, end_time=ended_at)
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
    ) -> str:
        """Register the saved surrogate of a round as a version of the registered model, and return the version.

        The alias `champion` moves to it if it is better (see `is_better`). A round that is registered already keeps its
        version.

        Args:
            surrogate_folder: with the files of `Surrogate.save`.
            tags: version tags, of which `parameter_box` is required: JSON `{name: [low, high]}` in the order of the
                model's input columns.
            error_estimate: the model's own estimate of its relative error, a fraction; infinite if it is not known.
            card: the model card, Markdown; MLflow shows it as the description of the version. It is saved with the
                model, as is the campaign's configuration.

        Raises:
            ValueError: `parameter_box` is missing.
        """
        if "parameter_box" not in tags:
            raise ValueError(f"version tags need 'parameter_box', got {sorted(tags)}")
        version = self._versions.of_round(round)
        if version is None:
            box, documents = json.loads(tags["parameter_box"]), Documents(card, self._config_text)
            run_id = self._round_run(round).info.run_id
            model = self._versions.log_model(round, run_id, surrogate_folder, box, documents)
            own = {"error_estimate": repr(float(error_estimate)), "size_bytes": str(_size(surrogate_folder))}
            own |= {"campaign": self.campaign}
            version = self._versions.create(round, model, {**tags, **own}, card, by_path=is_database(self.uri))
        self._versions.link(round, version)
        self._card = card
        for run_id in filter(None, (version.run_id, self.run_id)):
            describe(self._client, run_id, card)
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
        version = self._versions.of_round(round)
        if version is None:
            return
        for name, value in tags.items():
            self._client.set_model_version_tag(self.registered_model, version.version, name, value)

    @quiet()
    def add_figures(self, round: int, figures: Sequence[Path]) -> None:
        """Save files with the model of a round, in its folder `figures`, if it is registered."""
        self._versions.add_figures(round, figures)

    @quiet()
    def champion(self) -> str | None:
        """The version that has the alias `champion`, or None."""
        return champion_of(self._client, self.registered_model)

    @quiet()
    def finish(
        self,
        final: Mapping[str, Any],
        artifacts: Sequence[Path],
        status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED",
        description: str = "",
    ) -> None:
        """Log the campaign's final values and files, and close its run.

        Args:
            final: values that a campaign has once, saved as tags `final.NAME`: a metric would be a chart of one point.
            description: sentence with which the description of the run begins; the model card follows.
        """
        for path in artifacts:
            self._client.log_artifact(self.run_id, str(path))
        for name, value in final.items():
            text = f"{value:.6g}" if isinstance(value, float) else str(value)
            self._client.set_tag(self.run_id, f"final.{name}", text)
        if description:
            describe(self._client, self.run_id, "\n\n".join(filter(None, (description, self._card))))
        self._client.set_terminated(self.run_id, status)

    def _open_experiment(self, client: "MlflowClient") -> str:
        """Create, find or restore the experiment; with a database, its artifacts are stored in the root."""
        location = self._artifacts.as_uri() if is_database(self.uri) else None
        with unless_it_exists():
            return client.create_experiment(self.experiment, artifact_location=location, tags=EXPERIMENT_TAGS)
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            raise RuntimeError(f"experiment '{self.experiment}' exists, but cannot be found: was it deleted?")
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
        for name, value in EXPERIMENT_TAGS.items():
            if name not in experiment.tags:  # of earlier versions
                client.set_experiment_tag(experiment.experiment_id, name, value)
        return experiment.experiment_id

    def _round_run(self, round: int, facts: RoundFacts = _NO_FACTS) -> "Run":
        """The run of a round, created if there is none."""
        tags = {CAMPAIGN_TAG: self.campaign_id, _KIND_TAG: "round", ROUND_TAG: str(round)}
        return find_run(self._client, self._experiment_id, tags) or self._client.create_run(
            self._experiment_id,
            start_time=milliseconds(facts.began_at),
            tags={**origin_tags(), **tags, "mlflow.parentRunId": self.run_id},
            run_name=f"round {round}",
        )


def _size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
