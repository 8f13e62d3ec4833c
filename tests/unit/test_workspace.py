"""Checkpoints: what comes back is what was saved, and anything in doubt counts as missing."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import astuple, dataclass
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.pipeline import MuxSettings
from models.errors import InvalidJob, OutOfSpace
from models.segment import Segment, Word, segments_from_json, to_json
from serve_app.jobs.workspace import Workspace, artifacts, key, safe_id, write_atomically, write_json

KEY = key("made", "from", "this")
json_data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "job-1")


@dataclass(frozen=True)
class Nested:
    settings: MuxSettings
    path: Path
    names: frozenset[str]


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


# -- ids and names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("job_id", ["a", "A-1_b.c", "0" * 128, "-x", "_", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"])
def test_ids_that_can_be_folders(job_id: str) -> None:
    assert safe_id(job_id) == job_id


@pytest.mark.parametrize(
    "job_id",
    [
        "",
        ".",
        "..",
        ".hidden",
        "a/b",
        "../a",
        "/a",
        "a\\b",
        "a b",
        "a\n",
        "a\0",
        "é",
        "٣",
        "0" * 129,
        "a_translated",
        "a_bilingual",
    ],
)
def test_ids_that_cannot(job_id: str, tmp_path: Path) -> None:
    for attempt in (safe_id, lambda i: Workspace(tmp_path, i), lambda i: artifacts(tmp_path, i)):
        with pytest.raises(InvalidJob, match="session id"):
            attempt(job_id)


@given(st.text(max_size=140))
def test_no_id_whatever_leads_out_of_the_root(job_id: str) -> None:
    try:
        folder = Workspace(Path("/nowhere"), job_id).folder
    except InvalidJob:
        return
    assert os.path.normpath(folder) == str(folder)
    assert folder.parent == Path("/nowhere")


def test_an_id_that_is_a_file_or_a_link_is_taken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("/")
    for job_id in ("file", "link"):
        with pytest.raises(InvalidJob, match="taken"):
            Workspace(tmp_path, job_id)


def test_the_flat_layout_by_which_readers_look(tmp_path: Path) -> None:
    files = artifacts(tmp_path, "x")
    assert [path.name for path in (files.output, files.early_preview, files.original_srt)] == [
        "x_translated.mp4",
        "x_early_preview.mp4",
        "x_subtitles.srt",
    ]
    assert [path.name for path in (files.translated_srt, files.bilingual_srt, files.report)] == [
        "x_translated_subtitles.srt",
        "x_bilingual_subtitles.srt",
        "x_report.json",
    ]
    assert files.output.parent == tmp_path


def test_no_two_jobs_share_a_name_in_the_flat_layout(tmp_path: Path) -> None:
    names = [path.name.removeprefix("x") for path in astuple(artifacts(tmp_path, "x"))]
    for mine, other in permutations(names, 2):
        if mine.endswith(other):  # x + mine is also (x + beginning of mine) + other
            with pytest.raises(InvalidJob):
                safe_id("x" + mine.removesuffix(other))


# -- paths -----------------------------------------------------------------------------------------------------------


def test_parents_are_made_and_nothing_else(workspace: Workspace) -> None:
    path = workspace.path("windows", "003", "clip.wav")
    assert path == workspace.folder / "windows" / "003" / "clip.wav"
    assert path.parent.is_dir()
    assert not path.exists()


@pytest.mark.parametrize("parts", [("..", "other"), ("a", "..", "..", "b"), ("/etc/passwd",)])
def test_a_path_that_leads_out_is_refused(workspace: Workspace, parts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="leads out"):
        workspace.path(*parts)


# -- checkpoints -----------------------------------------------------------------------------------------------------


@given(json_data)
def test_what_was_saved_comes_back(tmp_path_factory: pytest.TempPathFactory, data: object) -> None:
    workspace = Workspace(tmp_path_factory.getbasetemp(), "any")
    workspace.save("checkpoint", KEY, data)
    assert workspace.load("checkpoint", KEY) == data


def test_segments_come_back_as_they_were(workspace: Workspace) -> None:
    segments = [Segment(1, 0.1, 2.3, "Բարև", (Word(0.1, 0.5, " Բարև", 0.9),), flags=("numbers",))]
    workspace.save("windows/001", KEY, to_json(segments))
    assert segments_from_json(workspace.load("windows/001", KEY)) == segments


def test_missing_or_of_another_key(workspace: Workspace) -> None:
    assert workspace.load("extract", KEY) is None
    workspace.save("extract", KEY, {"a": 1})
    assert workspace.load("extract", key("something else")) is None
    assert workspace.load("other", KEY) is None


def test_every_damage_is_noticed(workspace: Workspace) -> None:
    workspace.save("c", KEY, {"text": "hello", "number": 1})
    file = workspace.folder / "c.json"
    whole = file.read_bytes()
    damaged = [whole[:size] for size in range(0, len(whole), 7)]
    damaged += [
        whole.replace(b"hello", b"hallo"),
        whole.replace(b'"number":1', b'"number":2'),
        b"\xff\xfe",
        b"[]",
        b"1",
    ]
    for content in damaged:
        file.write_bytes(content)
        assert workspace.load("c", KEY) is None, content
    file.write_bytes(whole)
    assert workspace.load("c", KEY) == {"text": "hello", "number": 1}


def test_a_checkpoint_counts_only_while_its_files_are_as_they_were(workspace: Workspace, tmp_path: Path) -> None:
    inside, outside = workspace.path("clips", "1.wav"), tmp_path / "input.mp4"
    for file in (inside, outside):
        for spoil in (lambda f: f.write_bytes(b"soUnd"), lambda f: f.write_bytes(b"sound!"), Path.unlink):
            inside.write_bytes(b"sound")
            outside.write_bytes(b"sound")
            workspace.save("speak", KEY, ["1.wav"], files=[inside, outside])
            os.utime(file, (0, 0))
            assert workspace.load("speak", KEY) == ["1.wav"]
            spoil(file)
            assert workspace.load("speak", KEY) is None


def test_the_folder_may_be_moved(workspace: Workspace, tmp_path: Path) -> None:
    clip = workspace.path("clip.wav")
    clip.write_bytes(b"sound")
    workspace.save("speak", KEY, 1, files=[clip])
    workspace.folder.rename(tmp_path / "moved")
    assert Workspace(tmp_path, "moved").load("speak", KEY) == 1


def test_saving_what_is_not_there_is_an_error(workspace: Workspace) -> None:
    with pytest.raises(FileNotFoundError):
        workspace.save("speak", KEY, 1, files=[workspace.path("never.wav")])
    with pytest.raises(TypeError, match="cannot be kept"):
        workspace.save("speak", KEY, object())
    assert list(workspace.folder.iterdir()) == []


def test_discard_removes_all_of_it_and_may_come_twice(workspace: Workspace, tmp_path: Path) -> None:
    workspace.save("a/b", KEY, 1)
    workspace.discard()
    assert not workspace.folder.exists()
    workspace.discard()
    assert tmp_path.is_dir()


# -- keys ------------------------------------------------------------------------------------------------------------


def test_keys_follow_content_and_not_identity_or_order() -> None:
    thing = Nested(MuxSettings(), Path("/a"), frozenset({"x", "y"}))
    assert key(thing, {"b": 1, "a": 2}) == key(Nested(MuxSettings(), Path("/a"), frozenset("yx")), {"a": 2, "b": 1})
    assert len(key()) == 64


def test_keys_tell_things_apart() -> None:
    things = [
        (Nested(MuxSettings(), Path("/a"), frozenset()),),
        (Nested(MuxSettings(crf=21), Path("/a"), frozenset()),),
        (Nested(MuxSettings(), Path("/b"), frozenset()),),
        ("a", "b"),
        ("b", "a"),
        ("ab",),
        (["a", "b"],),
        (1,),
        ("1",),
        (None,),
        (),
    ]
    assert len({key(*parts) for parts in things}) == len(things)


def test_keys_are_the_same_in_every_process() -> None:
    program = "from serve_app.jobs.workspace import key; print(key({'z', 'a', 'q'}, 'é', 0.1))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert run.stdout.strip() == key({"z", "a", "q"}, "é", 0.1)


def test_what_cannot_be_kept_has_no_key() -> None:
    with pytest.raises(TypeError, match="cannot be kept"):
        key(object())


# -- writing ---------------------------------------------------------------------------------------------------------


def test_files_are_readable_by_others_who_share_the_folder(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", {"path": Path("/x")})
    assert json.loads((tmp_path / "r.json").read_text()) == {"path": "/x"}
    assert (tmp_path / "r.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("call", ["fsync", "fdopen"])
def test_a_full_disk_leaves_the_old_checkpoint_and_no_litter(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    workspace.save("c", KEY, "old")
    monkeypatch.setattr(os, call, no_space)
    with pytest.raises(OutOfSpace, match="disk is full"):
        workspace.save("c", KEY, "new")
    monkeypatch.undo()
    assert workspace.load("c", KEY) == "old"
    assert [file.name for file in workspace.folder.iterdir()] == ["c.json"]


def test_a_full_disk_while_making_a_folder(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "mkdir", no_space)
    with pytest.raises(OutOfSpace):
        workspace.path("a", "b")


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "x", b"")


def test_a_kill_between_two_writes_leaves_a_whole_checkpoint(workspace: Workspace) -> None:
    program = (
        "import sys, itertools, pathlib; from serve_app.jobs.workspace import Workspace\n"
        "w = Workspace(pathlib.Path(sys.argv[1]), 'job-1')\n"
        "for n in itertools.count(): w.save('c', sys.argv[2], [n] * 20000); print(n, flush=True)"
    )
    for _ in range(3):
        command = [sys.executable, "-c", program, str(workspace.folder.parent), KEY]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(3):
                writer.stdout.readline()
            writer.kill()
        data = workspace.load("c", KEY)
        assert data is not None
        assert set(data) == {data[0]}
        assert data[0] >= 2
