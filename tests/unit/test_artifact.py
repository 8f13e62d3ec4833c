"""Artifacts: what is read, what is found, and what is said about damage."""

import json
from pathlib import Path

import pytest

from models.artifact import MANIFEST, damaged, digest, find, read
from models.errors import ArtifactMissing


def make(folder: Path, content: bytes = b"weights", **facts: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "encoder.onnx").write_bytes(content)
    file = {"bytes": len(content), "sha256": digest(folder / "encoder.onnx")}
    manifest = {
        "kind": "translation", "source": "Helsinki-NLP/opus-mt-en-de", "revision": "abc", "quantisation": "none",
        "created": "2026-01-01", "source_languages": ["en"], "target_language": "de", "files": {"encoder.onnx": file},
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest | facts), "utf-8")
    return folder


def test_an_artifact_knows_its_pairs_its_files_and_how_it_is_made(tmp_path: Path) -> None:
    artifact = read(make(tmp_path / "romance", source_languages=["es", "fr"], target_language="en"))
    assert artifact.manifest.pairs == {("es", "en"), ("fr", "en")}
    assert artifact.path("encoder.onnx").read_bytes() == b"weights"
    assert artifact.manifest.command.endswith("Helsinki-NLP/opus-mt-en-de --out models/local/es-fr-en")
    assert damaged(artifact) == []


def test_a_missing_folder_names_the_command_and_no_path(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match="python -m export translation Helsinki-NLP") as caught:
        read(tmp_path / "nothing")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "translation"}', '{"surprise": 1}'])
def test_a_damaged_manifest_is_one_sentence(tmp_path: Path, text: str) -> None:
    folder = make(tmp_path / "en-de")
    (folder / MANIFEST).write_text(text, "utf-8")
    with pytest.raises(ArtifactMissing, match="the manifest of en-de is damaged"):
        read(folder)


def test_a_file_cut_short_is_seen_at_load(tmp_path: Path) -> None:
    folder = make(tmp_path / "en-de")
    (folder / "encoder.onnx").write_bytes(b"weig")
    with pytest.raises(ArtifactMissing, match=r"encoder.onnx of en-de is missing or cut short.*opus-mt-en-de"):
        read(folder)
    (folder / "encoder.onnx").unlink()
    with pytest.raises(ArtifactMissing, match="missing or cut short"):
        read(folder)


def test_a_flipped_byte_is_seen_by_the_full_check_only(tmp_path: Path) -> None:
    folder = make(tmp_path / "en-de")
    (folder / "encoder.onnx").write_bytes(b"weightz")
    assert damaged(read(folder)) == ["encoder.onnx"]


def test_a_manifest_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"weights")
    files = {"../secret": {"bytes": 7, "sha256": digest(tmp_path / "secret")}}
    with pytest.raises(ArtifactMissing, match="missing or cut short"):
        read(make(tmp_path / "en-de", files=files))


def test_a_file_that_the_manifest_does_not_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match=r"has no decoder\.onnx"):
        read(make(tmp_path / "en-de")).path("decoder.onnx")


def test_globs_are_looked_up_in_the_working_directory_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "models" / "demo" / "b")
    make(tmp_path / "models" / "demo" / "a", kind="asr")
    (tmp_path / "models" / "demo" / "unfinished").mkdir()
    monkeypatch.chdir(tmp_path)
    assert [artifact.folder.name for artifact in find(("models/demo/*",))] == ["a", "b"]
    assert [artifact.folder.name for artifact in find(("models/demo/*",), kind="translation")] == ["b"]
    assert [artifact.folder.name for artifact in find((f"{tmp_path}/models/*/a",))] == ["a"]
    assert len(find(("models/demo/b", "models/demo/*"))) == 2


def test_else_beside_the_package_where_the_demo_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert ("en", "es") in find(("models/demo/*",))[0].manifest.pairs
    assert find(("models/demo/en-es",))[0].folder.is_absolute()


def test_what_was_named_must_be_there_and_what_was_globbed_need_not(tmp_path: Path) -> None:
    assert find((f"{tmp_path}/*",)) == []
    with pytest.raises(ArtifactMissing, match="there is no model in en-de"):
        find((f"{tmp_path}/en-de",))
