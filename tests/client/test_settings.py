"""Settings: typed, all faults at once, secrets hidden."""

from pathlib import Path

import pytest

from neurobatch.codes import Code
from neurobatch.errors import Broken
from neurobatch.settings import Settings, load_settings, origin


@pytest.fixture(autouse=True)
def _empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROBATCH_HOME", str(tmp_path))


def test_the_store_lies_in_the_data_folder_by_default(tmp_path: Path) -> None:
    assert load_settings().store_url == (tmp_path / "store").as_uri()


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "neurobatch.toml").write_text('port = 1234\nlog_level = "debug"\n[roots]\na = "/a"\n')
    monkeypatch.setenv("NEUROBATCH_PORT", "99")
    settings = load_settings()
    assert (settings.port, settings.log_level, settings.roots) == (99, "debug", {"a": "/a"})
    assert origin("port", settings) == "environment"
    assert origin("log_level", settings) == "file or argument"
    assert origin("host", settings) == "default"


def test_pairs_are_read_from_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROBATCH_ROOTS", "a=/data/a, b=s3://bucket/x=y")
    assert load_settings().roots == {"a": "/data/a", "b": "s3://bucket/x=y"}


def test_all_faults_are_told_together_and_no_secret_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROBATCH_PORT", "many")
    monkeypatch.setenv("NEUROBATCH_TOKENS", "hunter2hunter2")
    with pytest.raises(Broken) as caught:
        load_settings()
    assert caught.value.code is Code.BAD_SETTING
    assert "NEUROBATCH_PORT" in caught.value.detail
    assert "NEUROBATCH_TOKENS" in caught.value.detail
    assert "hunter2" not in str(caught.value)


def test_a_broken_file_is_told_as_a_bad_setting(tmp_path: Path) -> None:
    (tmp_path / "neurobatch.toml").write_text("port = = 3")
    with pytest.raises(Broken, match="settings file"):
        load_settings()


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROBATCH_TOKENS", "ward=hunter2hunter2")
    monkeypatch.setenv("NEUROBATCH_S3_SECRET_KEY", "hunter3")
    assert "hunter" not in repr(load_settings())


def test_every_setting_says_what_it_is() -> None:
    undescribed = [name for name, field in Settings.model_fields.items() if not field.description]
    assert undescribed == []
