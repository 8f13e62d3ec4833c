"""What is cleaned up, what never is, and what happens when somebody else moves at the same time."""

import asyncio
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import OperationalError

from configs.app import CleanupSettings, JobSettings, Roots
from serve_app.jobs import cleanup, oblivion, trash
from serve_app.jobs.cleanup import Cleanup
from serve_app.jobs.job import Control, Request, State
from serve_app.jobs.store import Store
from serve_app.jobs.tables import attempts, calls, deliveries, jobs, logs, usage
from serve_app.jobs.workspace import artifact_of, artifacts
from tests.unit.test_store import RESULT

DAY = 24 * 3600.0
SETTINGS = CleanupSettings(
    workspaces_s=3 * DAY, previews_s=7 * DAY, uploads_s=30 * DAY, artifacts_s=90 * DAY, grace_s=DAY
)
NAMES = [
    "translated.mp4",
    "early_preview.mp4",
    "subtitles.srt",
    "subtitles.vtt",
    "translated_subtitles.srt",
    "report.json",
]


DUE = (("told", None), ("due", 1e12))
LINE = {"timestamp": "", "level": "info", "stage": "tts", "message": "said", "chunk_id": "", "extra": {}}


class Clock:
    """Real time, and days on top."""

    def __init__(self) -> None:
        self.days = 0.0

    def __call__(self) -> float:
        return time.time() + self.days * DAY


class House:
    """Jobs with all the files that they leave behind."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        roots = {name: folder / name for name in ("uploads", "artifacts", "work")}
        for root in roots.values():
            root.mkdir()
        self.roots = Roots(**roots, database_url=SecretStr(url))
        self.clock = Clock()
        self.store = Store(url, JobSettings(), self.clock)
        self.store.create()

    def job(self, name: str, state: State) -> None:
        self.upload(f"{name}.mp4")
        self.store.submit(Request(name, str(self.roots.uploads / f"{name}.mp4"), "en", "es"))
        self.files(name)
        if state is State.WAITING:
            return
        if state is State.PAUSED:
            self.store.control(name, Control.PAUSE)
            return
        job = self.store.claim("driver")
        assert job is not None and job.id == name
        if state is State.COMPLETED:
            self.store.complete(name, job.fence, RESULT)
        elif state is State.FAILED:
            self.store.fail(name, job.fence, "no_speech", "nothing was said")
        elif state is State.CANCELLED:
            self.store.cancelled(name, job.fence)

    def upload(self, name: str, size: int = 10_000) -> Path:
        path = self.roots.uploads / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"x" * size)
        return path

    def files(self, name: str) -> None:
        for part in ("speech.wav", "windows/0001/clip.wav", "previews/seg_001.mp4"):
            path = self.roots.work / name / part
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * 10_000)
        for part in NAMES:
            (self.roots.artifacts / f"{name}_{part}").write_bytes(b"x")

    def sweep(self, settings: CleanupSettings = SETTINGS) -> Counter[str]:
        return Cleanup(self.store, self.roots, settings, self.clock).sweep()

    def tree(self, name: str = "") -> set[str]:
        """All files below a folder of this house."""
        top = self.folder / name
        return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_symlink() or path.is_file()} - {
            "jobs.sqlite"
        }


@pytest.fixture
def house(tmp_path: Path, url: str) -> Iterator[House]:
    folder = tmp_path / "house"
    folder.mkdir()
    house = House(folder, url)
    yield house
    house.store.close()


# -- what goes and when ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.WAITING, State.RUNNING, State.PAUSED])
def test_nothing_of_a_live_job_goes_however_old_it_is_and_whoever_holds_its_lease(house: House, state: State) -> None:
    house.job("a", state)
    before = house.tree()
    house.clock.days = 1000  # the lease of the running one has run out long ago
    assert house.sweep() == {}
    assert house.tree() == before


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_everything_of_an_ended_job_goes_on_its_own_date(house: House, state: State) -> None:
    house.job("a", state)
    before = house.tree()
    house.clock.days = 2.9
    assert house.sweep() == {} and house.tree() == before
    house.clock.days = 3.1
    removed = house.sweep()
    assert removed["workspaces"] == 1 and removed["bytes"] >= 20_000
    assert house.tree("work") == {"a/previews/seg_001.mp4"}
    house.clock.days = 7.1
    removed = house.sweep()
    assert (removed["workspaces"], removed["artifacts"]) == (1, 1) and 10_000 <= removed["bytes"] < 20_000
    assert not (house.roots.work / "a").exists()
    assert house.tree("artifacts") == {f"a_{name}" for name in NAMES if "preview" not in name}
    house.clock.days = 30.1
    assert house.sweep()["uploads"] == 1
    assert house.tree("uploads") == set()
    house.clock.days = 90.1
    assert house.sweep()["artifacts"] == 5
    assert house.tree() == set()
    assert house.sweep() == {}
    assert house.store.job("a").state is state


def test_a_video_that_lost_its_name_in_the_workspace_is_as_old_as_before(house: House) -> None:
    house.clock.days = -91
    house.job("a", State.COMPLETED)
    video = artifacts(house.roots.artifacts, "a").output
    kept = house.roots.work / "a" / "finished.mp4"
    os.link(video, kept)
    for path in house.roots.artifacts.iterdir():
        os.utime(path, (house.clock(), house.clock()))
    house.clock.days = 0
    kept.unlink()  # now its other date is that of today
    house.sweep()
    assert house.tree("artifacts") == set()


def test_a_completed_job_keeps_previews_and_nothing_it_could_resume_from(house: House) -> None:
    house.job("a", State.COMPLETED)
    house.clock.days = 0.9
    assert house.sweep() == {}
    house.clock.days = 1.1
    assert house.sweep()["workspaces"] == 1
    assert house.tree("work") == {"a/previews/seg_001.mp4"}


def test_previews_may_go_before_the_rest(house: House) -> None:
    house.job("a", State.FAILED)
    house.clock.days = 0.5
    house.sweep(CleanupSettings(previews_s=3600.0))
    assert house.tree("work") == {"a/speech.wav", "a/windows/0001/clip.wav"}


def rows(house: House) -> dict[str, int]:
    with house.store.database.read() as connection:
        named = (jobs, logs, attempts, deliveries, usage, calls)
        return {table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in named}


def test_rows_go_on_their_date_and_that_of_a_job_after_its_files(house: House) -> None:
    forgetful = SETTINGS.model_copy(update={"rows_s": 60 * DAY})
    house.job("a", State.FAILED)
    with house.store.database.write() as connection:
        told = {"url": "http://x", "body": "", "created_at": house.clock(), "tries": 1}
        connection.execute(insert(deliveries), [{"id": n, "job_id": "a", "due_at": due, **told} for n, due in DUE])
        connection.execute(insert(logs).values(job_id="a", number=1, **LINE))
        connection.execute(insert(usage).values(job_id="a", tenant="anonymous", at=house.clock()))
        connection.execute(insert(calls).values(tenant="a", route="/x", at=house.clock()))
        connection.execute(update(jobs).where(jobs.c.id == "a").values(stored_bytes=10_000))
    house.job("b", State.WAITING)
    whole = {"jobs": 2, "logs": 1, "attempts": 1, "deliveries": 2, "usage": 1, "calls": 1}
    house.clock.days = 59
    house.sweep(forgetful)
    assert rows(house) == whole
    house.clock.days = 61
    assert house.sweep(forgetful)["histories"] == 1
    assert rows(house) == {**whole, "logs": 0, "attempts": 0, "deliveries": 1, "calls": 0}
    assert house.store.job("a").state is State.FAILED and house.store.logs("a") == []
    house.clock.days = 91
    house.sweep(forgetful)  # now its files are gone; one delivery is still due
    assert rows(house)["jobs"] == 2
    with house.store.database.write() as connection:
        connection.execute(update(deliveries).values(due_at=None))
    assert house.sweep(forgetful)["jobs"] == 1
    assert rows(house) == {**dict.fromkeys(whole, 0), "jobs": 1}
    assert house.store.job("b").state is State.WAITING and house.sweep(forgetful) == {}


def test_more_rows_than_one_transaction_takes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oblivion, "BATCH", 2)
    for number in range(5):
        house.store.submit(Request(f"job-{number}", "/nowhere.mp4", "en", "es"))
        job = house.store.claim("driver")
        assert job is not None
        house.store.fail(job.id, job.fence, "no_speech", "nothing was said")
    house.clock.days = 2
    removed = house.sweep(CleanupSettings(rows_s=DAY))
    assert (removed["histories"], removed["jobs"]) == (5, 5) and rows(house)["jobs"] == 0


def test_null_keeps_for_ever(house: House) -> None:
    house.job("a", State.FAILED)
    before = house.tree()
    house.clock.days = 10_000
    forever = dict.fromkeys(("workspaces_s", "previews_s", "uploads_s", "artifacts_s"))
    assert house.sweep(CleanupSettings.model_validate(forever)) == {}
    assert house.tree() == before


def test_by_default_results_and_files_that_no_job_named_stay(house: House) -> None:
    house.job("a", State.COMPLETED)
    library = house.upload("films/one.mp4")
    house.clock.days = 10_000
    house.sweep(CleanupSettings())
    assert library.exists()
    assert house.tree("artifacts") == {f"a_{name}" for name in NAMES if "preview" not in name}
    assert house.tree("uploads") == {"films/one.mp4"}
    assert house.sweep(CleanupSettings(unnamed_uploads_s=DAY))["uploads"] == 1
    assert house.tree("uploads") == set()


def test_a_video_stays_while_any_job_needs_it_by_whatever_name(house: House) -> None:
    house.job("a", State.FAILED)
    (house.folder / "door").symlink_to(house.roots.uploads)
    transcript = house.upload("a.srt")
    house.store.submit(
        Request("b", f"{house.folder}/door/../uploads/a.mp4", "en", "fr", transcript=f"{house.folder}/door/a.srt")
    )
    house.clock.days = 100
    house.sweep()
    assert house.tree("uploads") == {"a.mp4", "a.srt"}
    job = house.store.claim("driver")
    assert job is not None
    house.store.fail("b", job.fence, "no_speech", "nothing was said")
    house.clock.days = 120
    house.sweep()
    assert transcript.exists()  # b may be submitted again
    house.clock.days = 131
    assert house.sweep()["uploads"] == 2
    assert house.tree("uploads") == set()


def test_a_result_that_another_job_dubs_stays(house: House) -> None:
    house.job("a", State.COMPLETED)
    result = artifacts(house.roots.artifacts, "a").output
    house.store.submit(Request("b", str(result), "es", "fr"))
    house.clock.days = 200
    house.sweep()
    assert result.exists()
    assert house.tree("artifacts") == {"a_translated.mp4"}


def test_half_uploads_and_scratch_of_killed_processes_go_after_the_grace_time(house: House) -> None:
    house.upload("big.mp4.part")
    for name in (".audio-xyz", f"{trash.PREFIX}1"):
        (house.roots.work / name).mkdir()
        (house.roots.work / name / "sound.wav").write_bytes(b"x")
    house.clock.days = 0.9
    assert house.sweep() == {}
    house.clock.days = 1.1
    removed = house.sweep()
    assert (removed["uploads"], removed["strays"]) == (1, 2)
    assert house.tree() == set()


def test_a_workspace_of_no_job_goes_after_the_grace_time_and_what_is_none_never(house: House) -> None:
    house.files("orphan")
    house.files("busy")
    (house.roots.work / "mine" / "photos").mkdir(parents=True)
    (house.roots.work / "mine" / "photos" / "cat.jpg").write_bytes(b"x")
    house.clock.days = 1.1
    later = house.clock()
    os.utime(house.roots.work / "busy" / "windows" / "0001" / "clip.wav", (later, later))
    assert house.sweep()["strays"] == 1
    assert {path.name for path in house.roots.work.iterdir()} == {"busy", "mine"}
    assert "orphan_translated.mp4" in house.tree("artifacts")  # no row says when it ended


def test_the_other_folders_are_left_alone_where_they_lie_inside(house: House) -> None:
    inner = house.roots.model_copy(
        update={"work": house.roots.uploads / "work", "artifacts": house.roots.uploads / "x"}
    )
    for root in (inner.work / "a", inner.artifacts):
        root.mkdir(parents=True)
        (root / "a_translated.mp4").write_bytes(b"x")
    outer = house.roots.model_copy(update={"work": house.folder})
    (house.roots.uploads / "windows").mkdir()
    (house.roots.uploads / "windows" / "film.mp4").write_bytes(b"x")
    house.clock.days = 1000
    for roots, settings in ((inner, CleanupSettings(unnamed_uploads_s=2000 * DAY)), (outer, CleanupSettings())):
        assert Cleanup(house.store, roots, settings, house.clock).sweep() == {}
    Cleanup(house.store, inner, CleanupSettings(unnamed_uploads_s=DAY), house.clock).sweep()
    assert house.tree("uploads") == {"work/a/a_translated.mp4", "x/a_translated.mp4"}
    same = inner.model_copy(update={"uploads": inner.artifacts})
    Cleanup(house.store, same, CleanupSettings(unnamed_uploads_s=DAY), house.clock).sweep()
    assert house.tree("uploads/x") == {"a_translated.mp4"}


# -- links -----------------------------------------------------------------------------------------------------------


def test_no_link_is_followed_and_none_removed_but_with_its_workspace(house: House) -> None:
    treasure = house.folder / "treasure"
    (treasure / "windows").mkdir(parents=True)
    (treasure / "a_translated.mp4").write_bytes(b"gold")
    house.job("a", State.FAILED)
    (house.roots.work / "a" / "link").symlink_to(treasure)
    (house.roots.work / "linked").symlink_to(treasure)
    (house.roots.uploads / "linked").symlink_to(treasure)
    (house.roots.uploads / "film.mp4").symlink_to(treasure / "a_translated.mp4")
    (house.roots.artifacts / "a_bilingual_subtitles.srt").symlink_to(treasure / "a_translated.mp4")
    house.clock.days = 1000
    house.sweep(CleanupSettings(unnamed_uploads_s=DAY, artifacts_s=DAY))
    assert house.tree("treasure") == {"a_translated.mp4"}
    links = {"work/linked", "uploads/linked", "uploads/film.mp4", "artifacts/a_bilingual_subtitles.srt"}
    assert house.tree() - {"treasure/a_translated.mp4"} == links


def test_a_folder_that_is_exchanged_for_a_link_at_the_last_moment_leads_nowhere(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    treasure = house.folder / "treasure"
    treasure.mkdir()
    (treasure / "film.mp4").write_bytes(b"gold")
    house.upload("films/film.mp4")
    house.clock.days = 10
    real = trash.Trash.take

    def exchanged(self: trash.Trash, name: Path) -> bool:
        (house.roots.uploads / "films").rename(house.folder / "away")
        (house.roots.uploads / "films").symlink_to(treasure)
        return real(self, name)

    monkeypatch.setattr(trash.Trash, "take", exchanged)
    assert house.sweep(CleanupSettings(unnamed_uploads_s=DAY))["uploads"] == 0
    assert (treasure / "film.mp4").read_bytes() == b"gold"


# -- others at the same time -----------------------------------------------------------------------------------------


def during(monkeypatch: pytest.MonkeyPatch, house: House, act: Callable[[], object]) -> None:
    """Does `act` after things were chosen and before the store is held still."""
    real = house.store.still

    def still() -> object:
        act()
        return real()

    monkeypatch.setattr(house.store, "still", still)


def test_a_job_that_comes_back_in_the_meantime_keeps_everything(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.job("a", State.FAILED)
    house.clock.days = 1000
    before = house.tree()
    request = house.store.job("a").request
    during(monkeypatch, house, lambda: house.store.submit(request))
    assert house.sweep() == {}
    assert house.tree() == before


def test_a_row_that_appears_for_a_stray_saves_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.files("a")
    house.clock.days = 10
    before = house.tree()
    during(monkeypatch, house, lambda: house.store.submit(Request("a", "/in.mp4", "en", "es")))
    assert house.sweep() == {}
    assert house.tree() == before


def test_files_may_vanish_under_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.job("a", State.FAILED)
    house.files("orphan")
    house.upload("b.mp4")
    house.clock.days = 1000

    def vanish() -> None:
        for root in (house.roots.work, house.roots.uploads, house.roots.artifacts):
            for path in root.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    during(monkeypatch, house, vanish)
    assert house.sweep(CleanupSettings(unnamed_uploads_s=DAY, artifacts_s=DAY)) == {}
    assert house.tree() == set()


def test_four_sweeps_at_once_remove_everything_once(house: House) -> None:
    for number in range(12):
        house.job(f"job-{number}", State.FAILED)
    house.clock.days = 1000
    found: list[Counter[str]] = []
    threads = [threading.Thread(target=lambda: found.append(house.sweep())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    found.append(house.sweep())  # by this clock the folders of the others were abandoned while they were at work
    total = sum(found, Counter())
    assert (total["workspaces"], total["uploads"], total["artifacts"]) == (12, 12, 12 * len(NAMES))
    assert house.tree() == set()


def test_what_cannot_be_moved_is_told_and_the_rest_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house.job("a", State.FAILED)
    house.job("b", State.FAILED)
    house.clock.days = 4
    real, refused = os.rename, []

    def rename(name: str, *rest: object, **options: int) -> None:
        if name == "a" or (name == "speech.wav" and not refused):
            refused.append(name)
            raise PermissionError(13, "Permission denied")
        real(name, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "rename", rename)
    assert house.sweep()["workspaces"] == 2
    assert refused and "Permission denied" in caplog.text
    assert house.tree("work") == {"a/speech.wav", "a/previews/seg_001.mp4", "b/previews/seg_001.mp4"}


def test_what_cannot_be_taken_apart_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house.job("a", State.FAILED)
    house.clock.days = 4

    def unlink(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", unlink)
        house.sweep()
    assert "Permission denied" in caplog.text
    house.clock.days = 5.5
    assert house.sweep()["strays"] == 1  # the next one finds what it left
    assert house.tree("work") == {"a/previews/seg_001.mp4"}


def test_a_folder_that_is_away_does_not_keep_the_others(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.job("a", State.FAILED)
    shutil.rmtree(house.roots.artifacts)
    house.clock.days = 1000
    assert set(house.sweep()) == {"workspaces", "uploads", "bytes"}
    assert "could not be cleaned up" in caplog.text


async def test_the_loop_goes_on_when_the_store_was_away(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house.job("a", State.FAILED)
    house.clock.days = 1000
    real, away = house.store.endings, [True]

    def endings(ids: list[str]) -> object:
        if away and away.pop():
            raise OperationalError("SELECT", {}, Exception("the database is away"))
        return real(ids)

    monkeypatch.setattr(house.store, "endings", endings)
    settings = SETTINGS.model_copy(update={"every_s": 0.01})
    loop = asyncio.create_task(Cleanup(house.store, house.roots, settings, house.clock).run())
    async with asyncio.timeout(10):
        while "MB freed" not in caplog.text:
            await asyncio.sleep(0.01)
    loop.cancel()
    await asyncio.wait([loop])
    assert "could not be cleaned up" in caplog.text
    assert "1 uploads, 1 workspaces" in caplog.text and house.tree() == set()


def test_more_things_than_one_moment_holds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "BATCH", 2)
    for number in range(5):
        house.job(f"job-{number}", State.FAILED)
    house.clock.days = 1000
    removed = house.sweep()
    assert (removed["workspaces"], removed["uploads"], removed["artifacts"]) == (5, 5, 5 * len(NAMES))
    assert house.tree() == set()


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("a_translated.mp4", ("a", False)),
        ("a_translated_subtitles.srt", ("a", False)),
        ("a_translated_subtitles.vtt", ("a", False)),
        ("a_translated_subtitles.ass", ("a", False)),
        ("a_subtitles_subtitles.srt", ("a_subtitles", False)),
        ("a_report_report.json", ("a_report", False)),
        ("a_early_preview.mp4", ("a", True)),
        ("_translated.mp4", ("", False)),
        (".a_translated.mp4", ("", False)),
        ("holiday.mp4", ("", False)),
        ("below/a_translated.mp4", ("", False)),
    ],
)
def test_whose_artifact_a_file_is(name: str, owner: tuple[str, bool]) -> None:
    assert artifact_of(Path(name)) == owner
