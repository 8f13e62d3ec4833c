"""Where room is short nothing is claimed and nothing fails: jobs wait, know why, and go on when there is room."""

import asyncio
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from configs.app import AppSettings, JobSettings
from models.errors import OutOfSpace, StageFailed
from serve_app import machine
from serve_app.engines import Models
from serve_app.jobs import admission
from serve_app.jobs.admission import Admission, Headroom, headroom
from serve_app.jobs.job import Control, Request, State
from serve_app.jobs.runner import MAX_BACKOFF_S, Runner, backoff
from tests.unit.test_pipeline import ECHO
from tests.unit.test_runner import House

SETTINGS = AppSettings.model_validate({**ECHO, "jobs": {"retry_s": 0.2, "space_s": 0.2, "renew_s": 0.05}})
BOUNDS = {"max_load": 4.0, "min_free_gpu_bytes": 5 * 10**8}
PLENTY = Headroom(memory=1 << 40, disk=1 << 50, load=0.0)


@pytest.fixture
def house(tmp_path: Path, short_talk: Path, url: str) -> Iterator[House]:
    house = House(tmp_path, short_talk, url)
    house.submit()
    yield house
    house.store.close()


def messages(house: House) -> list[str]:
    return [line.message for line in house.store.logs("job", 100)]


SHORT = {
    "of disk": dataclasses.replace(PLENTY, disk=10**6),
    "of memory": dataclasses.replace(PLENTY, memory=10**6),
    "of a GPU's memory": dataclasses.replace(PLENTY, gpu=10**6),
    "processes": dataclasses.replace(PLENTY, load=9.0),
}


@pytest.mark.parametrize("lack", SHORT)
async def test_without_room_nothing_is_claimed_and_the_job_knows_why_once(
    house: House, monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    now = [SHORT[lack]]
    monkeypatch.setattr(admission, "headroom", lambda roots, gpus: now[0])
    settings = SETTINGS.model_copy(update={"jobs": SETTINGS.jobs.model_copy(update=BOUNDS)})
    drivers = [Runner(house.store, house.engines, settings, house.roots, name) for name in "ab"]
    for driver in drivers * 3:
        assert await driver.run_next() is None
    job = house.store.job("job")
    assert (job.state, job.fence, job.attempts) == (State.WAITING, 0, 0)
    [told] = messages(house)
    assert told.startswith("Waiting for room on the server:") and lack in told
    now[0] = PLENTY
    assert await drivers[0].run_next() == "job"
    assert house.store.job("job").state is State.COMPLETED


async def test_only_the_head_of_the_queue_is_told(house: House) -> None:
    for number in range(40):
        house.store.submit(Request(f"job-{number}", str(house.video), "en", "es"))
    before = house.store.job("job").updated_at
    short = Admission(house.store, JobSettings(), house.roots, lambda roots: SHORT["of disk"])
    assert await short.refuses() and await short.refuses()
    assert len(messages(house)) == 1 and house.store.job("job").updated_at > before  # its streams see it
    told = [job.id for job in house.store.jobs(limit=100) if house.store.logs(job.id)]
    assert len(told) == 20


def test_the_machine_is_read_and_so_is_a_container(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = headroom(house.roots)
    assert whole.memory > 0 and whole.disk > 0 and whole.load >= 0
    group = tmp_path / "cgroup"
    group.mkdir()
    monkeypatch.setattr(machine, "CGROUP", group)
    for name, text in {"max": "1000", "current": "900", "stat": "anon 1\ninactive_file 50\n"}.items():
        (group / f"memory.{name}").write_text(text + "\n")
    assert headroom(house.roots).memory == 150
    (group / "memory.max").write_text("max\n")
    assert headroom(house.roots).memory > 10**6


def test_the_gpu_with_the_least_memory_left_counts_and_is_asked_only_where_wanted(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert headroom(house.roots, gpus=True).gpu is None
    tool.write_text("#!/bin/sh\necho 4000\necho 300\necho '[N/A]'\n")
    tool.chmod(0o755)
    assert headroom(house.roots).gpu is None
    assert headroom(house.roots, gpus=True).gpu == 300 * 2**20


class Broken:
    """Engines whose voice meets `faults`, one after the other, before it speaks."""

    def __init__(self, house: House, *faults: Exception) -> None:
        self.house, self.faults = house, list(faults)

    async def engines(self) -> Models:
        real = await self.house.engines()

        async def speak(item: Any) -> Any:
            if self.faults:
                raise self.faults.pop(0)
            return await real.speak(item)

        return dataclasses.replace(real, speak=speak)


async def test_a_disk_that_fills_up_costs_a_job_time_and_nothing_else(house: House) -> None:
    full = OutOfSpace("the disk is full; free some space and submit the job again")
    broken = Broken(house, *[full] * 1000)
    patient = SETTINGS.model_copy(update={"jobs": SETTINGS.jobs.model_copy(update={"space_s": 1.0})})
    driver = Runner(house.store, broken.engines, patient, house.roots, "me")
    waits = 0
    while (job := house.store.job("job")).state is not State.COMPLETED:
        assert (job.state, job.attempts) == (State.WAITING, 0)
        ran = await driver.run_next() is not None
        waits += ran
        if waits > SETTINGS.jobs.attempts + 1:  # longer than a job that fails is tried
            broken.faults.clear()
        if ran and broken.faults:
            assert await driver.run_next() is None  # its pause: the Driver is free for others
        await asyncio.sleep(0.05)
        assert waits < 60
    assert sum(message.startswith("Waiting for room") for message in messages(house)) == 1


async def test_a_driver_takes_another_job_while_one_waits_to_be_tried_again(house: House) -> None:
    settings = SETTINGS.model_copy(update={"jobs": SETTINGS.jobs.model_copy(update={"retry_s": 60.0})})
    driver = Runner(house.store, Away(house).engines, settings, house.roots, "me")
    house.store.submit(Request("other", str(house.video), "en", "es", subtitles="none"))
    assert await asyncio.wait_for(driver.run_next(), 20) == "job"
    assert (house.store.job("job").state, house.store.unfinished(), house.store.waiting()) == (State.WAITING, 1, 1)
    assert await driver.run_next() == "other"
    assert house.store.job("other").state is State.COMPLETED
    assert await driver.run_next() is None
    house.store.control("job", Control.PAUSE)
    house.store.control("job", Control.RUN)  # whoever cannot wait
    assert await driver.run_next() == "job"
    assert house.store.job("job").state is State.COMPLETED


class Away(Broken):
    """An engine that was away when it was first asked."""

    async def engines(self) -> Models:
        if not self.faults:
            self.faults.append(OSError())
            raise StageFailed("transcription", "its replicas went away", transient=True)
        return await self.house.engines()


async def test_what_the_disk_will_never_hold_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    small = SimpleNamespace(total=10**6, used=0, free=10**6)
    monkeypatch.setattr("serve_app.stages.prepare.shutil", SimpleNamespace(disk_usage=lambda path: small))
    await house.runner.run_next()
    job = house.store.job("job")
    assert (job.state, job.error_code) == (State.FAILED, "invalid_job")
    assert "GB in all" in job.error and "smaller video" in job.error
    assert shutil.disk_usage(house.roots.work).total > 10**6


def test_backoff_doubles_is_jittered_and_bounded() -> None:
    for attempt, middle in ((1, 5.0), (2, 10.0), (3, 20.0), (30, MAX_BACKOFF_S)):
        waits = {backoff(5.0, attempt) for _ in range(100)}
        assert len(waits) > 50 and middle / 2 <= min(waits) and max(waits) <= 1.5 * middle
