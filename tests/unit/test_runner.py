"""One claimed job under its lease: how it ends well, fails, is cancelled, paused, or taken away."""

import asyncio
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Never

import pytest
from sqlalchemy.exc import OperationalError

from configs.app import AppSettings, Roots
from models.errors import StageFailed
from serve_app.engines import Models
from serve_app.jobs.job import Control, Job, Request, State
from serve_app.jobs.runner import Runner
from serve_app.jobs.store import Store
from serve_app.local import models
from tests.unit.test_pipeline import ECHO

SETTINGS = AppSettings.model_validate({**ECHO, "jobs": {"lease_s": 1.0, "renew_s": 0.05, "retry_s": 0.01}})


class House:
    def __init__(self, folder: Path, talk: Path, url: str) -> None:
        self.roots = Roots(
            uploads=folder / "uploads",
            artifacts=folder / "artifacts",
            work=folder / "work",
            database_url=url,
        )
        for root in (self.roots.uploads, self.roots.artifacts, self.roots.work):
            root.mkdir()
        self.video = Path(shutil.copy(talk, self.roots.uploads))
        self.store = Store(self.roots.database_url.get_secret_value(), SETTINGS.jobs)
        self.store.create()
        self.runner = Runner(self.store, self.engines, SETTINGS, self.roots, "me")

    async def engines(self) -> Models:
        return models(SETTINGS.engines)

    def submit(self, path: Path | None = None) -> None:
        self.store.submit(Request("job", str(path or self.video), "en", "es", subtitles="none"))

    async def ran(self, runner: Runner) -> None:
        """One attempt, once the pause after the one before is over."""
        async with asyncio.timeout(20):
            while await runner.run_next() is None:
                await asyncio.sleep(0.005)

    async def until(self, reached: Callable[[Job], bool]) -> Job:
        async with asyncio.timeout(20):
            while not reached(job := self.store.job("job")):
                await asyncio.sleep(0.02)
        return job


@pytest.fixture
def house(tmp_path: Path, short_talk: Path, url: str) -> Iterator[House]:
    house = House(tmp_path, short_talk, url)
    yield house
    house.store.close()


async def test_a_job_completes_and_keeps_its_workspace_for_a_while(house: House) -> None:
    house.submit()
    assert await house.runner.run_next() == "job"
    job = house.store.job("job")
    assert (job.state, job.progress.percent) == (State.COMPLETED, 100.0)
    assert job.result is not None and Path(job.result.output).is_file()
    assert house.store.logs("job") and house.store.insights("job")
    assert (house.roots.work / "job" / "listen.json").is_file()
    assert await house.runner.run_next() is None


async def test_a_failure_is_told_in_the_row_and_the_log(house: House) -> None:
    bad = house.roots.uploads / "bad.mp4"
    bad.write_bytes(b"no video" * 100)
    house.submit(bad)
    await house.runner.run_next()
    job = house.store.job("job")
    assert (job.state, job.error_code) == (State.FAILED, "unreadable_media")
    assert house.store.logs("job")[-1].message == job.error


async def test_a_path_outside_the_roots_is_never_opened(house: House) -> None:
    house.submit(Path("/etc/passwd"))
    await house.runner.run_next()
    assert house.store.job("job").error_code == "path_not_allowed"


@pytest.mark.parametrize(("wish", "state"), [(Control.CANCEL, State.CANCELLED), (Control.PAUSE, State.PAUSED)])
async def test_cancel_and_pause_stop_the_run(house: House, wish: Control, state: State) -> None:
    house.submit()
    run = asyncio.create_task(house.runner.run_next())
    await house.until(lambda job: job.progress.stage_number >= 3)
    house.store.control("job", wish)
    await asyncio.wait_for(run, 5)
    assert house.store.job("job").state is state
    assert (house.roots.work / "job" / "extract.json").is_file()  # what was done stays done


async def test_a_runner_that_is_stopped_gives_the_job_back(house: House) -> None:
    house.submit()
    run = asyncio.create_task(house.runner.run_next())
    await house.until(lambda job: job.progress.stage_number >= 3)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    job = house.store.job("job")
    assert (job.state, job.attempts) == (State.WAITING, 0)


async def test_a_runner_that_lost_its_lease_writes_nothing_more(house: House) -> None:
    house.submit()
    run = asyncio.create_task(house.runner.run_next())
    await house.until(lambda job: job.progress.stage_number >= 3)
    late = Store(house.roots.database_url.get_secret_value(), SETTINGS.jobs, clock=lambda: 4e9)
    taken = late.claim("another")
    late.close()
    assert taken is not None and taken.fence == 2
    await asyncio.wait_for(run, 5)
    job = house.store.job("job")
    assert (job.state, job.fence) == (State.RUNNING, 2)
    assert not (house.roots.artifacts / "job_report.json").exists()


async def test_a_database_that_is_away_for_a_moment_ends_no_run(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.submit()
    real, away = house.store.renew, [True, True, False, True]

    def shaky(*args: object) -> Control:
        if away and away.pop(0):
            raise OperationalError("UPDATE jobs", {}, Exception("the database is away"))
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(house.store, "renew", shaky)
    await house.runner.run_next()
    assert house.store.job("job").state is State.COMPLETED
    assert away == []
    lines = [(line.timestamp, line.message) for line in house.store.logs("job", 100)]
    assert "Detected" in lines[0][1] and len(lines) == len(set(lines))  # nothing lost, nothing twice


async def test_a_run_that_came_further_begins_to_count_anew(house: House) -> None:
    """Two faults at one place and a third one behind it are not three at one place."""
    house.submit()
    places = iter(("recognize", "recognize", "speak"))
    real = await house.engines()

    async def away(_: object) -> Never:
        raise StageFailed("transcription", "its replicas went away", transient=True)

    async def engines() -> Models:
        return dataclasses.replace(real, **{next(places): away})

    runner = Runner(house.store, engines, SETTINGS, house.roots, "me")
    for _ in range(SETTINGS.jobs.attempts):
        await house.ran(runner)
        assert house.store.job("job").state is State.WAITING


async def test_a_fault_that_may_pass_is_tried_again_and_not_forever(house: House) -> None:
    house.submit()
    calls = 0

    async def flaky() -> Models:
        nonlocal calls
        calls += 1
        raise StageFailed("transcription", "its replicas went away", transient=True)

    runner = Runner(house.store, flaky, SETTINGS, house.roots, "me")
    for attempt in range(1, SETTINGS.jobs.attempts):
        await house.ran(runner)
        assert (house.store.job("job").state, house.store.job("job").attempts) == (State.WAITING, attempt)
    await house.ran(runner)
    job = house.store.job("job")
    assert (job.state, job.error_code, calls) == (State.FAILED, "stage_failed", SETTINGS.jobs.attempts)
    house.submit()
    await house.runner.run_next()
    assert house.store.job("job").state is State.COMPLETED


async def test_engines_that_nobody_can_reach_are_not_waited_for_for_ever(house: House) -> None:
    async def never() -> Models:
        await asyncio.Event().wait()
        raise AssertionError

    house.submit()
    pipeline = SETTINGS.pipeline.model_copy(update={"engine_stall_s": 0.1})
    await Runner(house.store, never, SETTINGS.model_copy(update={"pipeline": pipeline}), house.roots, "me").run_next()
    assert house.store.job("job").state is State.WAITING
    assert "no engine is there" in house.store.logs("job")[-1].message


async def test_a_second_attempt_knows_what_the_first_did(house: House) -> None:
    house.submit()
    run = asyncio.create_task(house.runner.run_next())
    await house.until(lambda job: job.progress.stage_number >= 4)
    house.store.control("job", Control.PAUSE)
    await run
    spent = house.store.job("job").progress.elapsed_s
    house.store.control("job", Control.RUN)
    await house.runner.run_next()
    job = house.store.job("job")
    assert job.result is not None and job.result.processing_s > spent > 0
    told = json.loads(Path(job.result.report).read_text())["log"]
    assert [line["message"] for line in told][:1] == [house.store.logs("job", 100)[0].message]
