"""What a job of the service waits for and when, noted in the Driver itself: a line of JSON for each wait.

A benchmark's config names this module as the engine of voice detection. It gives the product's own, and being imported
in every Driver it puts a stop-watch around what a job can wait for: the pipeline as a whole, a call of an engine, and a
child process. The rest of the pipeline's time is the service's own: events, threads, files, the store.
"""

import json
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.engines import VadSettings
from models.vad.silero import SileroVad
from serve_app import dubbing
from serve_app.engines import Models
from serve_app.excerpts import Excerpts
from serve_app.hearing import speakers
from serve_app.jobs import runner
from serve_app.media import audio, ffmpeg
from serve_app.stages import prepare

VARIABLE = "BENCH_JOURNAL"
ENGINE = "tests.bench.journal:Vad"
JOB: ContextVar[str] = ContextVar("job", default="")
PURPOSE: ContextVar[str] = ContextVar("purpose", default="")
"""What a child works for when it is not the film itself: one of the previews."""

VERBS = {"detect": "vad", "recognize": "asr", "translate": "translation", "speak": "tts"}
VOICES = "voices"
"""How men's and women's voices are told apart, which no replica does: `models.speaker.gender`, in a thread."""

ENGINES = (*VERBS.values(), VOICES)
PIPELINE = "pipeline"
PROBE = "probe"
STRETCH = "stretch"
CHILDREN = (PROBE, "sound", STRETCH, "video", "preview", "excerpt")
"""What ffmpeg is run for, and the child in which its libraries look into the file."""

Patch = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Wait:
    """Unix seconds. `what` is an engine's shelf, one of CHILDREN, or PIPELINE for the whole attempt."""

    job: str
    pid: int
    what: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def read(path: Path) -> list[Wait]:
    return [Wait(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


class Vad(SileroVad):
    def __init__(self, settings: VadSettings) -> None:
        super().__init__(settings)
        watch()


def watch() -> None:
    """Puts the stop-watches in, once in a process."""
    if runner.dub is not _dub:
        runner.dub = _dub
        prepare.look = _looked
        speakers.introduced = _introduced
        ffmpeg._process = _process
        audio._filtered = _filtered
        dubbing.preview = _for("preview", dubbing.preview)
        Excerpts._make = _for("excerpt", Excerpts._make)  # type: ignore[method-assign]


dub, look, introduced = runner.dub, prepare.look, speakers.introduced
process, filtered = ffmpeg._process, audio._filtered


async def _dub(request: Any, models: Models, *rest: Any) -> Any:
    JOB.set(request.job_id)
    verbs = {verb: _asked(getattr(models, verb), shelf) for verb, shelf in VERBS.items()}
    with noted(PIPELINE):
        return await dub(request, replace(models, **verbs), *rest)


async def _looked(*args: Any) -> Any:
    with noted(PROBE):
        return await look(*args)


def _introduced(*args: Any) -> Any:
    with noted(VOICES):
        return introduced(*args)


def _filtered(*args: Any) -> Any:
    with noted(STRETCH):
        return filtered(*args)


def _asked(verb: Callable[[Any], Awaitable[Any]], shelf: str) -> Callable[[Any], Awaitable[Any]]:
    async def asked(item: Any) -> Any:
        with noted(shelf):
            return await verb(item)

    return asked


@asynccontextmanager
async def _process(args: Sequence[str], **options: Any) -> AsyncIterator[Any]:
    drawn = "libx264" in args or "copy" in args
    with noted(PURPOSE.get() or ("video" if drawn else "sound")):
        async with process(args, **options) as child:
            yield child


def _for(purpose: str, work: Patch) -> Patch:
    async def done(*args: Any, **options: Any) -> Any:
        token = PURPOSE.set(purpose)
        try:
            return await work(*args, **options)
        finally:
            PURPOSE.reset(token)

    return done


@contextmanager
def noted(what: str) -> Iterator[None]:
    began = time.time()
    try:
        yield
    finally:
        line = {"job": JOB.get(), "pid": os.getpid(), "what": what, "began": began, "ended": time.time()}
        _write(json.dumps(line).encode() + b"\n")


_lock = threading.Lock()


def _write(line: bytes) -> None:
    with _lock:
        handle = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
