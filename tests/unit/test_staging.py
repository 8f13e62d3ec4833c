"""An artifact's folder is there whole or not at all, whatever happens on the way: real children are killed here."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from export import staging
from export.staging import staged
from models.artifact import MANIFEST, File, Manifest, damaged, digest, read
from models.errors import ArtifactMissing, OutOfSpace

REPOSITORY = Path(__file__).parents[2]

WRITER = """
import sys, time, os, signal
from itertools import count
from pathlib import Path
from export import staging
from tests.unit.test_staging import fill
out, mode = Path(sys.argv[1]), sys.argv[2]
if mode == "torn":
    staging._exchange = lambda one, other: False
    rename = Path.rename
    def torn(self, target):
        if self.parent.name == staging.NEW and Path(target).parent == out.parent and not out.exists():
            print("between", flush=True)
            time.sleep(60)
        return rename(self, target)
    Path.rename = torn
for turn in count():
    with staging.staged(out) as stage:
        fill(stage, b"%d" % turn * 1000, ("a.onnx", "b.onnx") if turn % 2 else ("a.onnx", "b.onnx", "c.onnx"))
        if mode == "middle":
            print("middle", flush=True)
            time.sleep(60)
    print("turn", flush=True)
"""


def fill(folder: Path, content: bytes, names: tuple[str, ...] = ("a.onnx", "b.onnx")) -> None:
    for name in names:
        (folder / name).write_bytes(content)
    files = {name: File(bytes=len(content), sha256=digest(folder / name)) for name in names}
    facts = {"kind": "translation", "source": "x", "revision": "1", "quantisation": "none", "created": "2026-01-01"}
    (folder / MANIFEST).write_text(Manifest.model_validate(facts | {"files": files}).model_dump_json(), "utf-8")


def make(out: Path, content: bytes, names: tuple[str, ...] = ("a.onnx", "b.onnx")) -> None:
    with staged(out) as stage:
        fill(stage, content, names)


def scratches(parent: Path) -> list[Path]:
    return list(parent.glob(f"{staging.PREFIX}*"))


@contextmanager
def writer(out: Path, mode: str, until: str) -> Iterator["subprocess.Popen[str]"]:
    """A child that replaces `out` again and again, once it has said `until`."""
    command = [sys.executable, "-c", WRITER, str(out), mode]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        try:
            while child.stdout.readline().strip() != until:
                assert child.poll() is None
            yield child
        finally:
            child.kill()


def test_what_was_filled_stands_there_and_nothing_else(tmp_path: Path) -> None:
    make(tmp_path / "new" / "en-de", b"one")
    assert damaged(read(tmp_path / "new" / "en-de")) == []
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "en-de"]


def test_an_error_on_the_way_leaves_the_old_one(tmp_path: Path) -> None:
    make(tmp_path / "en-de", b"old")
    with pytest.raises(ValueError, match="on the way"), staged(tmp_path / "en-de") as stage:
        (stage / "a.onnx").write_bytes(b"half")
        raise ValueError("on the way")
    assert (tmp_path / "en-de" / "a.onnx").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "en-de"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_the_old_files_go_and_those_of_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool
) -> None:
    if not exchanges:
        monkeypatch.setattr(staging, "_exchange", lambda one, other: False)
    out = tmp_path / "en-de"
    make(out, b"old", ("a.onnx", "gone.onnx"))
    (out / "README.md").write_text("mine", "utf-8")
    (out / ".manifest.json.part").write_text("half", "utf-8")
    make(out, b"new")
    assert {path.name for path in out.iterdir()} == {"a.onnx", "b.onnx", MANIFEST, "README.md"}
    assert (out / "README.md").read_text("utf-8") == "mine"
    assert (out / "a.onnx").read_bytes() == b"new"
    assert scratches(tmp_path) == []


def test_a_half_written_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "en-de").mkdir()
    (tmp_path / "en-de" / "a.onnx").write_bytes(b"hal")
    (tmp_path / "en-de" / MANIFEST).write_text('{"kind": ', "utf-8")
    make(tmp_path / "en-de", b"whole")
    assert damaged(read(tmp_path / "en-de")) == []


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    make(tmp_path / "far" / "en-de", b"old")
    (tmp_path / "near").symlink_to(tmp_path / "far" / "en-de")
    make(tmp_path / "near", b"new")
    assert (tmp_path / "near").is_symlink()
    assert (tmp_path / "far" / "en-de" / "a.onnx").read_bytes() == b"new"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("replaces", [True, False])
def test_a_killed_run_leaves_the_old_one_or_none_and_the_next_run_clears(
    tmp_path: Path, number: signal.Signals, replaces: bool
) -> None:
    out = tmp_path / "en-de"
    if replaces:
        make(out, b"old")
    with writer(out, "middle", until="middle") as child:
        child.send_signal(number)
        assert child.wait(20) != 0
    assert out.exists() == replaces
    if replaces:
        assert damaged(read(out)) == []
        assert (out / "a.onnx").read_bytes() == b"old"
    make(tmp_path / "other", b"next")
    assert scratches(tmp_path) == []


def test_killed_at_any_moment_of_replacing_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "en-de"
    seen = set()
    for attempt in range(6):
        with writer(out, "replace", until="turn") as child:
            time.sleep(0.013 * attempt)
            child.kill()
            child.wait(20)
        artifact = read(out)
        assert damaged(artifact) == []
        assert {path.name for path in out.iterdir()} == {MANIFEST, *artifact.manifest.files}
        seen.add((out / "a.onnx").read_bytes())
    assert len(seen) > 1


def test_killed_between_two_renames_the_old_one_comes_back_with_the_next_run(tmp_path: Path) -> None:
    out = tmp_path / "en-de"
    make(out, b"old")
    with writer(out, "torn", until="between") as child:
        child.kill()
        child.wait(20)
    assert not out.exists()
    make(tmp_path / "other", b"next")
    assert (out / "a.onnx").read_bytes() == b"old"
    assert damaged(read(out)) == []
    assert scratches(tmp_path) == []


def test_a_failure_between_two_renames_puts_the_old_one_back_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "en-de", b"old")
    monkeypatch.setattr(staging, "_exchange", lambda one, other: False)
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.parent.name == staging.NEW:
            raise OSError(errno.ENOTEMPTY if (tmp_path / "en-de").exists() else errno.EIO, "no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="no"):
        make(tmp_path / "en-de", b"new")
    assert (tmp_path / "en-de" / "a.onnx").read_bytes() == b"old"
    assert scratches(tmp_path) == []


def test_the_scratch_of_a_living_run_is_left_alone(tmp_path: Path) -> None:
    with staged(tmp_path / "one") as stage:
        make(tmp_path / "two", b"two")
        assert stage.is_dir()
        fill(stage, b"one")
    assert read(tmp_path / "one").folder.is_dir()
    assert read(tmp_path / "two").folder.is_dir()


def test_where_folders_cannot_be_locked_nothing_is_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{staging.PREFIX}dead").mkdir()

    def refuses(held: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(staging.fcntl, "flock", refuses)
    make(tmp_path / "en-de", b"one")
    assert scratches(tmp_path) == [tmp_path / f"{staging.PREFIX}dead"]


def test_a_file_and_a_folder_of_folders_are_no_place_for_an_artifact(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(ArtifactMissing, match="file is a file; give --out a folder"):
        make(tmp_path / "file", b"x")
    (tmp_path / "home" / "things").mkdir(parents=True)
    with pytest.raises(ArtifactMissing, match="home holds other folders; give --out a folder of the artifact's own"):
        make(tmp_path / "home", b"x")
    with pytest.raises(ArtifactMissing, match="the folder for en-de cannot be written; give --out one that can"):
        make(tmp_path / "file" / "deep" / "en-de", b"x")


def test_a_full_disk_is_named_however_deep_it_is_wrapped(tmp_path: Path) -> None:
    def fails(stage: Path) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise ArtifactMissing("the checkpoint is incomplete") from error

    with (
        pytest.raises(OutOfSpace, match=r"the disk is full.*make room and export en-de again"),
        staged(tmp_path / "en-de") as stage,
    ):
        fails(stage)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where one may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("nothing may be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_leaves_the_old_one(small_disk: Path) -> None:
    out = small_disk / "en-de"
    make(out, b"old")
    with pytest.raises(OutOfSpace, match="the disk is full"):
        make(out, b"new" * 300_000)
    assert damaged(read(out)) == []
    assert (out / "a.onnx").read_bytes() == b"old"
    assert list(small_disk.iterdir()) == [out]
