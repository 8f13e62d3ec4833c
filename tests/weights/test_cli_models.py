"""`dubserve models`: what is here, whether it is whole, and what is said when the hub cannot be reached."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faster_whisper.utils
import huggingface_hub
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from serve_app.__main__ import app
from serve_app.commands import models, terminal
from tests.conftest import REPOSITORY

DEMO = REPOSITORY / "models/demo/en-es"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose config names one exported model, in models/local, and the recogniser of the wheel."""
    monkeypatch.chdir(tmp_path)
    for name in ("console", "errors"):
        monkeypatch.setattr(terminal, name, Console(stderr=name == "errors", width=250, force_terminal=False))
    shutil.copytree(DEMO, tmp_path / "models/local/en-es")
    configure(tmp_path)
    return tmp_path


def configure(home: Path, **engines: Any) -> None:
    args = {"engines": {"translation": {"artifacts": ["models/local/*"]}} | engines}
    (home / "serve_config.yaml").write_text(yaml.safe_dump({"applications": [{"args": args}]}))


def dubserve(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["models", *args])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_what_is_here_and_how_good_it_is(home: Path) -> None:
    configure(home, tts={"piper_voices": {"es": "/nowhere/es.onnx", "de": "de_DE-thorsten-medium"}})
    shown = dubserve("list").stdout
    assert "9.0 MB" in shown and "chrF 42.3–54.8, 82% as its checkpoint" in shown and "int8" in shown
    rows = {row["name"]: row for row in json.loads(dubserve("list", "--json").stdout)}
    manifest = json.loads((DEMO / "manifest.json").read_bytes())
    assert rows["en-es"]["scores"] == manifest["scores"] and rows["en-es"]["languages"] == "en-es"
    assert rows["en-es"]["bytes"] == sum(file["bytes"] for file in manifest["files"].values())
    assert (rows["tiny.en"]["kind"], rows["tiny.en"]["languages"], rows["tiny.en"]["state"]) == ("asr", "en", "here")
    assert rows["/nowhere/es.onnx"]["state"] == models.MISSING


def test_a_recogniser_that_is_not_here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faster_whisper.utils, "download_model", unreachable)
    configure(home, asr={"model": "large-v3"})
    row = json.loads(dubserve("list", "--json").stdout)[-1]
    assert row["name"] == "large-v3" and "models pull large-v3" in row["state"] and row["languages"] == "many"


def test_whole_models_give_their_golden_answers() -> None:
    rows = json.loads(dubserve("verify", "--json").stdout)
    assert rows == [
        {"name": "en-es", "kind": "translation", "fault": ""},
        {"name": "tiny.en", "kind": "asr", "fault": ""},
    ]


def test_a_flipped_byte_and_a_short_file_are_found(home: Path) -> None:
    victim = home / "models/local/en-es/words.npy"
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    [row] = json.loads(dubserve("verify", "en-es", "--json", code=terminal.FAILED).stdout)
    assert "words.npy changed" in row["fault"] and "python -m export translation" in row["fault"]
    victim.write_bytes(content[:-1])
    [row] = json.loads(dubserve("verify", "en-es", "--json", code=terminal.FAILED).stdout)
    assert "cut short" in row["fault"]
    assert "cut short" in dubserve("list").stdout


def test_weights_that_say_something_else_are_found(home: Path) -> None:
    """Whole by its checksums, and not the model that it was."""
    place = home / "models/local/en-es/manifest.json"
    manifest = json.loads(place.read_bytes())
    manifest["golden"] = [[text, "xyzzy plugh"] for text, _ in manifest["golden"]]
    place.write_text(json.dumps(manifest))
    [row] = json.loads(dubserve("verify", "en-es", "--json", code=terminal.FAILED).stdout)
    assert "golden sentences" in row["fault"]


def test_names_that_are_not_there() -> None:
    assert "no model en-fr" in dubserve("verify", "en-fr", code=terminal.USAGE).stderr


# -- pull --------------------------------------------------------------------------------------------------------------


def unreachable(*_: object, **__: object) -> str:
    raise OSError("no route to host")


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faster_whisper.utils, "download_model", unreachable)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    for name in ("small", "es_ES-davefx-medium"):
        refused = dubserve("pull", name, "--json", code=terminal.FAILED)
        assert refused.stdout == "" and refused.stderr.startswith(
            f"artifact_missing: {name} is not here; the model hub"
        )
        assert "docs/offline.md" in refused.stderr
    assert (REPOSITORY / "docs/offline.md").is_file()


def test_what_is_pulled_is_shown_with_its_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, local_files_only: bool) -> str:
        assert name == "small"
        folder = home / "hub" / name
        if not local_files_only:
            folder.mkdir(parents=True)
            (folder / "model.bin").touch()
        return str(folder)

    monkeypatch.setattr(faster_whisper.utils, "download_model", download)
    [row] = json.loads(dubserve("pull", "small", "--json").stdout)
    assert row == {"name": "small", "setting": "engines.asr: {model: small}", "folder": str(home / "hub/small")}


def test_a_pair_is_exported_by_the_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    codes = [0, 1]

    def run(command: Sequence[str], **_: object) -> "subprocess.CompletedProcess[bytes]":
        commands.append(list(command[1:]))
        return subprocess.CompletedProcess(command, codes.pop(0))

    monkeypatch.setattr(subprocess, "run", run)
    [row] = json.loads(dubserve("pull", "en-de", "--json").stdout)
    assert row["folder"] == "models/local" and commands == [["-m", "export", "translation", "--pair", "en-de"]]
    assert "en-de was not exported" in dubserve("pull", "en-de", code=terminal.FAILED).stderr
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    assert "dubserve[export]" in dubserve("pull", "en-de", code=terminal.FAILED).stderr
    assert "'xx'" in dubserve("pull", "en-xx", code=terminal.USAGE).stderr
