"""Cancel and pause in each of the eight stages, while it hangs: within five seconds nothing of the job is left running.

Engines hang as engines do, rooms without one where they wait for ffmpeg or for a thread.
"""

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from configs.pipeline import STAGES
from serve_app import captions
from serve_app.engines import Models
from serve_app.jobs.job import Control, State
from serve_app.jobs.runner import Runner
from serve_app.media import ffmpeg
from serve_app.stages import prepare
from tests.unit.test_runner import SETTINGS, House

WITHIN_S = 5.0
VERBS = {"transcription": "recognize", "translation": "translate", "tts": "speak"}
FFMPEGS = {"audio_extraction": "speech.wav", "audio_sync": "atempo", "video_combination": "mix.flac"}
"""A word on the command line of the ffmpeg that a stage waits for."""


@pytest.fixture
def house(tmp_path: Path, short_talk: Path) -> Iterator[House]:
    house = House(tmp_path, short_talk, f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    yield house
    house.store.close()


class Plug:
    """Makes one stage hang until it is pulled; `reached` when somebody waits there."""

    def __init__(self, stage: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._free = threading.Event()
        self._marker = folder / "reached"
        self._patch = patch
        self._verb = VERBS.get(stage, "")
        self.has_child = stage in FFMPEGS
        if stage == "initialization":
            patch.setattr(prepare, "hardware_here", self._hanging(prepare.hardware_here))
        elif stage == "subtitle_generation":
            patch.setattr(captions, "subtitle", self._hanging(captions.subtitle))
        elif self.has_child:
            self._hang_ffmpeg(folder, FFMPEGS[stage])

    @property
    def reached(self) -> bool:
        return self._marker.exists()

    def engines(self, models: Models) -> Models:
        return dataclasses.replace(models, **{self._verb: self._never}) if self._verb else models

    def pull(self) -> None:
        self._free.set()
        self._verb = ""
        self._patch.undo()
        ffmpeg.binary.cache_clear()

    async def _never(self, item: Any) -> Any:
        self._marker.touch()
        await asyncio.Event().wait()

    def _hanging(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def hangs(*args: Any, **named: Any) -> Any:
            self._marker.touch()
            assert self._free.wait(30)
            return real(*args, **named)

        return hangs

    def _hang_ffmpeg(self, folder: Path, word: str) -> None:
        script = folder / "ffmpeg-that-hangs"
        script.write_text(
            f'#!/bin/sh\ncase "$*" in *{word}*) touch {self._marker}; sleep 600;; esac\nexec {ffmpeg.binary()} "$@"\n'
        )
        script.chmod(0o755)
        self._patch.setenv("FFMPEG", str(script))
        ffmpeg.binary.cache_clear()


def children() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [child for child in found if child.name() in ("sleep", "ffmpeg-that-hangs") or "ffmpeg" in child.name()]


def litter(root: Path) -> list[Path]:
    """What nobody will ever look at again."""
    return [path for path in root.rglob("*") if path.name.startswith((".", "attempt-")) or path.suffix == ".part"]


@pytest.mark.parametrize("wish", [Control.CANCEL, Control.PAUSE])
@pytest.mark.parametrize("stage", STAGES)
async def test_it_stops_within_five_seconds_and_leaves_nothing(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, wish: Control
) -> None:
    plug = Plug(stage, tmp_path, monkeypatch)

    async def engines() -> Models:
        return plug.engines(await house.engines())

    runner = Runner(house.store, engines, SETTINGS, house.roots, "me")
    house.submit()
    run = asyncio.create_task(runner.run_next())
    await house.until(lambda job: plug.reached)
    assert bool(children()) is plug.has_child
    asked = time.monotonic()
    house.store.control("job", wish)
    await asyncio.wait_for(run, WITHIN_S)
    while children() and time.monotonic() - asked < WITHIN_S:  # killed, and about to be gone
        await asyncio.sleep(0.02)
    assert not children()
    assert time.monotonic() - asked < WITHIN_S
    assert house.store.job("job").state is (State.CANCELLED if wish is Control.CANCEL else State.PAUSED)
    plug.pull()
    await asyncio.sleep(0.2)  # threads that were left behind find out that nobody wants their answer
    assert litter(house.roots.work) == [] and not list(house.roots.artifacts.iterdir())
    if wish is Control.PAUSE:
        house.store.control("job", Control.RUN)
        assert await house.runner.run_next() == "job"
        assert house.store.job("job").state is State.COMPLETED
