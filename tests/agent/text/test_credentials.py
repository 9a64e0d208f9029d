"""Passwords in addresses: refused wherever they are given, and repeated nowhere."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_campaign import SETTINGS, write_config
from typer.testing import CliRunner

from mlasdi.agent.cli.main import app
from mlasdi.agent.config import ConfigError, load_config
from mlasdi.agent.registry import Tracker, TrackingSettings, find, resolve
from mlasdi.agent.text import redacted, refuse_credentials
from mlasdi.agent.text.credentials import holds_credentials
from mlasdi.agent.tracking_store import Store, store_uri

PASSWORD = "hunter2"
WITH_PASSWORD = [
    f"postgresql://me:{PASSWORD}@db/mlflow",
    f"postgresql+psycopg2://me:{PASSWORD}@db:5432/mlflow",
    f"postgresql://db/mlflow?user=me&password={PASSWORD}",
    f"mysql://:{PASSWORD}@db/mlflow",
    f"https://me:{PASSWORD}@mlflow.example.org",
    f"https://{PASSWORD}@mlflow.example.org",
    f"https://mlflow.example.org?access_token={PASSWORD}",
    f"s3://key:{PASSWORD}@bucket/folder",
    f"ftp://me:{PASSWORD}@host",
]
WITHOUT = [
    "sqlite:///mlruns/mlflow.db",
    "sqlite:////home/me@work/a:b.db",
    "postgresql://me@db/mlflow",
    "postgresql://db/mlflow?sslmode=require",
    "http://127.0.0.1:5000",
    "ray://head:10001",
    "models:/burgers1d@champion",
    "package.module:Class",
    "{here}/solver",
    "me:you@home",
]


@pytest.mark.parametrize("address", WITH_PASSWORD)
def test_passwords_are_found_and_refused_without_being_repeated(address: str) -> None:
    assert holds_credentials(address)
    assert PASSWORD not in redacted(f"cannot open {address}, sorry")
    assert redacted(f"cannot open {address}, sorry").endswith(" sorry")
    with pytest.raises(ValueError, match=r"the store contains a password; .* MLFLOW_TRACKING_PASSWORD") as refused:
        refuse_credentials(address, "the store")
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize("address", WITHOUT)
def test_other_addresses_are_left_alone(address: str) -> None:
    assert not holds_credentials(address)
    assert redacted(address) == address


@given(st.text(alphabet="abc/:@?&= .", max_size=40))
def test_what_is_redacted_holds_no_password_any_more(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize("address", WITH_PASSWORD)
def test_every_way_to_a_store_refuses(address: str, tmp_path: Path) -> None:
    ways = (
        lambda: store_uri(address),
        lambda: find(store=address),
        lambda: resolve("models:/x/1", store=Store(address, tmp_path)),
        lambda: TrackingSettings(uri=address),
        lambda: Tracker(TrackingSettings.model_construct(uri=address), tmp_path, "c", "id"),
    )
    for way in ways:
        with pytest.raises(ValueError, match="contains a password") as refused:
            way()
        assert PASSWORD not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


PLACES = {
    "tracking.uri": {"tracking": {"uri": WITH_PASSWORD[0]}},
    "tracking": {"tracking": WITH_PASSWORD[0]},
    "tracking.url": {"tracking": {"url": WITH_PASSWORD[0]}},
    "root": {"root": WITH_PASSWORD[7]},
    "cluster.address": {"cluster": {"address": f"ray://me:{PASSWORD}@head:10001"}},
    "problem.options.argv": {
        "problem": {**SETTINGS["problem"], "options": {"argv": ["./solver", WITH_PASSWORD[4]]}}  # type: ignore[dict-item]
    },
}


@pytest.mark.parametrize("key", PLACES)
def test_a_configuration_with_a_password_is_refused_before_anything_is_written(key: str, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**SETTINGS, "root": str(tmp_path / "mlruns"), **PLACES[key]}))
    for command in ("run", "check", "status", "report"):
        for debug in ([], ["--debug"]):
            result = CliRunner().invoke(app, [command, str(path), "--json", *debug])
            assert result.exit_code == 2
            assert f"{key}: contains a password" in result.stderr
            assert PASSWORD not in result.output
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("override", [f"tracking.uri={WITH_PASSWORD[0]}", f"tracking.uri: {WITH_PASSWORD[0]}"])
def test_overrides_are_not_repeated(override: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load_config(write_config(tmp_path), [override])
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    "command",
    [["models"], ["models", "compare", "models:/x/1", "models:/x/2"], ["predict", "models:/x/1", "--at", "a=1"]],
)
def test_commands_do_not_repeat_a_password(command: list[str]) -> None:
    for address in WITH_PASSWORD:
        result = CliRunner().invoke(app, [*command, "--uri", address, "--debug"])
        assert result.exit_code == 2
        assert PASSWORD not in result.output


def test_the_root_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="root: 's3://bucket/x' is a URL; give a folder"):
        load_config(write_config(tmp_path), ["root=s3://bucket/x"])


LONG = 200_000


@pytest.mark.parametrize(
    "text", ["a" * LONG, "://" * (LONG // 3), "a:/" * (LONG // 3), "?password" * (LONG // 9), "9" * LONG]
)
def test_long_texts_without_passwords_are_left_alone(text: str) -> None:
    """In time linear in their length: a quadratic search would take minutes."""
    assert not holds_credentials(text)
    assert redacted(text) == text


def test_a_password_at_the_end_of_a_long_text_is_found() -> None:
    scheme = "a" * LONG
    assert redacted(f"{scheme}://me:{PASSWORD}@db") == f"{scheme}://me:***@db"
    assert redacted(f"?{'password' * (LONG // 8)}={PASSWORD}") == f"?{'password' * (LONG // 8)}=***"
    assert redacted(f"https://{'u:' * (LONG // 2)}@db") == "https://***@db"
