"""Secrets come from a variable, or from the file that another one names, and are shown nowhere."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.app import Roots
from configs.environment import UnfitEnvironment, secret
from serve_app.__main__ import app

URL = "postgresql://dub:hunter2@db/dub"


@pytest.fixture(autouse=True)
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UPLOADS_DIR", "ARTIFACTS_DIR", "TEMP_WORK_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("DATABASE_URL", "WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


def test_a_secret_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("DATABASE_URL", f"{URL}\n"), ("WEBHOOK_SECRET", " s3cret\r\n")):
        (tmp_path / name).write_text(content)
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    found = Roots.from_environment()
    assert found.database_url.get_secret_value() == URL
    assert found.webhook_secret is not None and found.webhook_secret.get_secret_value() == "s3cret"
    assert "hunter2" not in repr(found) + str(found) + found.model_dump_json() and "s3cret" not in repr(found)


def test_it_is_not_handed_on_in_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text(URL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL_FILE", "url")
    handed = Roots.from_environment().as_environment()
    assert "hunter2" not in str(handed)
    assert handed["DATABASE_URL_FILE"] == str(tmp_path / "url")
    monkeypatch.chdir("/")
    for name, value in handed.items():
        monkeypatch.setenv(name, value)
    assert Roots.from_environment().database_url.get_secret_value() == URL


def test_what_is_wrong_with_it_is_told_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hunter2"
    monkeypatch.setenv("WEBHOOK_SECRET_FILE", str(path))
    with pytest.raises(UnfitEnvironment, match="WEBHOOK_SECRET_FILE names cannot be read") as caught:
        secret("WEBHOOK_SECRET")
    assert "hunter2" not in str(caught.value)
    path.write_text(" \n")
    with pytest.raises(UnfitEnvironment, match="is empty"):
        secret("WEBHOOK_SECRET")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UnfitEnvironment, match="cannot be read"):
        secret("WEBHOOK_SECRET")
    monkeypatch.setenv("WEBHOOK_SECRET", "hunter2")
    with pytest.raises(UnfitEnvironment, match="both set") as caught:
        secret("WEBHOOK_SECRET")
    assert "hunter2" not in str(caught.value)


def test_the_command_line_says_it_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "nothing"))
    told = CliRunner().invoke(app, ["tenants", "list"], env=dict(os.environ))
    assert told.exit_code == 2 and "DATABASE_URL_FILE" in told.stderr and "Traceback" not in told.output
