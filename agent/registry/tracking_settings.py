"""Settings of the section `tracking`."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mlasdi.agent.tracking_store import check_uri


class TrackingSettings(BaseModel):
    """Settings of the section `tracking`: where a campaign is recorded.

    Attributes:
        uri: MLflow tracking URI, a database or a server; `None`: an SQLite database, `mlflow.db` in the root.
        experiment: MLflow experiment; `None`: the campaign's name.
        registered_model: name in the model registry; `None`: the campaign's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)  # a URI may contain a password

    uri: str | None = None
    experiment: str | None = Field(default=None, min_length=1)
    registered_model: str | None = Field(default=None, pattern=r"^[^/:']+$")

    @field_validator("uri")
    @classmethod
    def _known_scheme(cls, uri: str | None) -> str | None:
        if uri is not None:
            check_uri(uri)
        return uri
