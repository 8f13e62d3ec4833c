"""The desk hands out the files of completed jobs alone, and keeps uploads whole or not at all."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from configs.app import AppSettings, JobSettings, Roots
from models.errors import BelowQuality, InvalidJob, JobNotFound, OutOfSpace, PathNotAllowed, StageFailed, WrongState
from serve_app.doors import uploads, wire
from serve_app.doors.access import Caller
from serve_app.doors.desk import Desk
from serve_app.doors.uploads import TooLarge
from serve_app.jobs.job import Control, Progress, Quality, Request, Result
from serve_app.jobs.store import Store
from serve_app.jobs.workspace import artifacts

ME = Caller()


async def nothing(*_: object) -> Any:
    raise AssertionError("no engine is asked here")


class Office:
    """A desk with a real store and real folders."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(f"sqlite:///{folder / 'jobs.sqlite'}", JobSettings())
        self.store.create()
        folders = {name: folder / name for name in ("uploads", "artifacts", "work")}
        for path in folders.values():
            path.mkdir()
        self.roots = Roots(**folders, database_url=SecretStr(""))
        settings = AppSettings.model_validate({"ingress": {"max_upload_bytes": 1000, "detect_timeout_s": 0.2}})
        self.desk = Desk(self.store, settings, self.roots, nothing, nothing, nothing)

    def run(self, job_id: str, target: str, content: bytes) -> None:
        """What a Driver does: files first, the row after them."""
        self.store.submit(Request(job_id, "/x.mp4", "en", target))
        job = self.store.claim("driver")
        assert job is not None
        output = artifacts(self.roots.artifacts, job_id).output
        output.write_bytes(content)
        result = Result(str(output), "", "", "", 1.0, 1, 1, 1.0, Quality())
        self.store.complete(job_id, job.fence, result, Progress())


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.store.close()


def test_files_of_a_completed_job(office: Office) -> None:
    office.run("talk", "es", b"dub")
    assert office.desk.artifact(ME, "talk", "translated.mp4").read_bytes() == b"dub"
    assert office.desk.artifact_names(ME, "talk") == ["translated.mp4"]
    for name in ("report.json", "talk_translated.mp4", "../jobs.sqlite"):
        with pytest.raises(JobNotFound):
            office.desk.artifact(ME, "talk", name)


def test_of_a_dub_that_is_not_good_enough_there_is_all_but_the_film(office: Office) -> None:
    office.store.submit(Request("talk", "/x.mp4", "en", "es"))
    assert office.store.claim("driver") is not None
    files = artifacts(office.roots.artifacts, "talk")
    files.output.write_bytes(b"of an earlier run")
    files.report.write_text("{}")
    office.store.fail("talk", 1, BelowQuality.code, "the dub is below the wanted quality")
    assert office.desk.artifact(ME, "talk", "report.json").read_text() == "{}"
    with pytest.raises(WrongState):
        office.desk.artifact(ME, "talk", "translated.mp4")


def test_previews_of_parts_are_handed_out_as_soon_as_the_job_speaks_of_them(office: Office) -> None:
    office.store.submit(Request("talk", "/x.mp4", "en", "es"))
    job = office.store.claim("driver")
    assert job is not None
    folder = office.roots.work / "talk" / "previews"
    folder.mkdir(parents=True)
    for name in ("seg_001", "seg_002"):
        (folder / f"{name}.mp4").write_bytes(name.encode())
    office.store.renew("talk", job.fence, Progress(preview_ids=("seg_001",)))
    assert office.desk.artifact(ME, "talk", "seg_001.mp4").read_bytes() == b"seg_001"
    for name in ("seg_002.mp4", "../previews/seg_001.mp4"):
        with pytest.raises(WrongState):
            office.desk.artifact(ME, "talk", name)
    assert wire.job_json(office.store.job("talk"), [])["progress"]["previews"] == {
        "seg_001": "/v1/jobs/talk/artifacts/seg_001.mp4"
    }
    (folder / "seg_001.mp4").unlink()
    with pytest.raises(JobNotFound):
        office.desk.artifact(ME, "talk", "seg_001.mp4")


def test_a_dub_that_was_cancelled_does_not_answer_for_the_next(office: Office) -> None:
    """Cancelled when the files lay there already, then asked for in another language."""
    office.store.submit(Request("talk", "/x.mp4", "en", "es"))
    assert office.store.claim("driver") is not None
    artifacts(office.roots.artifacts, "talk").output.write_bytes(b"spanish")
    office.store.control("talk", Control.CANCEL)
    with pytest.raises(WrongState):
        office.desk.artifact(ME, "talk", "translated.mp4")
    office.store.cancelled("talk", 1)
    with pytest.raises(WrongState):
        office.desk.artifact(ME, "talk", "translated.mp4")
    office.store.submit(Request("talk", "/x.mp4", "en", "fr"))
    with pytest.raises(WrongState):
        office.desk.artifact(ME, "talk", "translated.mp4")
    office.run("talk", "fr", b"french")
    assert office.desk.artifact(ME, "talk", "translated.mp4").read_bytes() == b"french"


async def test_a_video_that_was_replaced_after_its_job_failed_is_another_film(office: Office) -> None:
    video = office.roots.uploads / "talk.mp4"
    asked = Request("talk", str(video), "en", "es")
    for content, begins_at in ((b"first", 0.0), (b"first", 40.0), (b"second", 0.0)):
        if not video.exists() or video.read_bytes() != content:
            video.write_bytes(content)
        assert (await office.desk.take(ME, asked)).progress.percent == begins_at
        job = office.store.claim("driver")
        assert job is not None
        office.store.fail("talk", job.fence, "no_speech", "nothing was said", Progress(percent=40.0))


def test_files_without_a_job(office: Office) -> None:
    artifacts(office.roots.artifacts, "stray").output.write_bytes(b"dub")
    with pytest.raises(JobNotFound):
        office.desk.artifact(ME, "stray", "translated.mp4")


async def test_uploads_are_kept_whole_or_not_at_all(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = await office.desk.uploads.receive(ME, "a", "my talk.MP4", io.BytesIO(b"x" * 1000))
    assert (kept.name, kept.stat().st_size) == ("a.MP4", 1000)
    assert (await office.desk.uploads.receive(ME, "b", "x.m/p\0", io.BytesIO(b"x"))).name == "b"
    monkeypatch.setattr(uploads, "CHUNK", 300)
    with pytest.raises(TooLarge, match="MiB"):
        await office.desk.uploads.receive(ME, "c", "x.mp4", io.BytesIO(b"x" * 1001))
    with pytest.raises(InvalidJob):
        await office.desk.uploads.receive(ME, "../c", "x.mp4", io.BytesIO(b"x"))
    assert sorted(path.name for path in office.roots.uploads.iterdir()) == ["a.MP4", "b"]


async def test_a_disk_that_takes_no_upload(office: Office) -> None:
    office.roots.uploads.rmdir()
    with pytest.raises(OutOfSpace):
        await office.desk.uploads.receive(ME, "a", "x.mp4", io.BytesIO(b"x"))


async def test_readable_paths(office: Office) -> None:
    video = office.roots.uploads / "x.mp4"
    with pytest.raises(InvalidJob, match="no file"):
        await office.desk.uploads.readable(ME, str(video))
    video.write_bytes(b"x")
    assert await office.desk.uploads.readable(ME, str(video)) == video
    with pytest.raises(PathNotAllowed):
        await office.desk.uploads.readable(ME, "/etc/passwd")


async def test_insights_begin_with_the_acceptance(office: Office) -> None:
    await office.desk.take(ME, Request("talk", "/x.mp4", "", "es"))
    [insight] = await office.desk.insights(ME, "talk")
    assert (insight.id, insight.title) == ("talk-accepted", "Job accepted")
    assert "from detected language to es" in insight.description


async def test_a_language_that_takes_too_long(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = office.roots.uploads / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(slow))

    async def hears() -> None:
        return None

    office.desk._hears = hears
    with pytest.raises(StageFailed, match="within"):
        await office.desk.detect(ME, str(slow))
