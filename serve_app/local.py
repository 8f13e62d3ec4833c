"""The same engines in this process, without Ray: the twin of app.py, for the command line and for tests."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from configs.app import AppSettings
from configs.engines import EngineSettings, SeparationSettings, SpeakerSettings
from models import golden
from models.registry import load
from models.segment import Clip, Sentence, Stereo, Transcript, Voice
from serve_app.attempt import dub
from serve_app.engines import Models
from serve_app.jobs.job import Request
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Workspace, artifacts
from serve_app.screen import Screen

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Diarizer = Callable[[list[Clip]], list[list[Voice]]]
Separator = Callable[[list[Stereo]], list[Stereo]]


def in_thread(verb: Callable[[list[Item]], list[Answer]], at_once: int = 1) -> Callable[[Item], Awaitable[Answer]]:
    """An engine's verb as an async callable of one item; at most `at_once` threads work in it.

    A thread cannot be cancelled. It belongs to a pool, so one whose caller has gone keeps its place until it is done.
    It works in the context of its caller: what it tells is told of the same job and in the same trace.
    """
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="engine")

    async def one(item: Item) -> Answer:
        work = partial(copy_context().run, verb, [item])
        [answer] = await asyncio.get_running_loop().run_in_executor(pool, work)
        return answer

    return one


def models(settings: EngineSettings) -> Models:
    """Loads one engine per shelf and returns the seam that the pipeline works through."""
    recognizer = load("asr", settings.asr.engine, settings.asr)
    translator = load("translation", settings.translation.engine, settings.translation)

    async def recognize(clip: Clip) -> Transcript:
        heard: Transcript = await asyncio.wrap_future(recognizer.submit(clip))
        return heard

    async def translate(sentence: Sentence) -> Sentence:
        answer: Sentence = await asyncio.wrap_future(translator.submit(sentence))
        return answer

    return Models(
        detect=in_thread(load("vad", settings.vad.engine, settings.vad).detect),
        recognize=recognize,
        translate=translate,
        speak=in_thread(load("tts", "fallback", settings.tts).speak, at_once=settings.tts.at_once),
        hears=recognizer.languages,
        pairs=translator.pairs,
        diarize=diarizing(settings.speaker),
        separate=separating(settings.separation),
    )


def diarizing(
    settings: SpeakerSettings, heard: Callable[[Diarizer], Diarizer] = lambda verb: verb
) -> Callable[[Clip], Awaitable[list[Voice]]] | None:
    """Tells voices apart, or None where nothing is configured for it. Raises ArtifactMissing for half a setting.

    `heard` is put around the engine's verb.
    """
    if settings.engine == "sherpa-onnx" and not (settings.segmentation or settings.embedding):
        return None
    return in_thread(heard(load("speaker", settings.engine, settings).diarize))


def separating(
    settings: SeparationSettings, heard: Callable[[Separator], Separator] = lambda verb: verb
) -> Callable[[Stereo], Awaitable[Stereo]] | None:
    """Takes music from voices, or None where nothing is configured for it.

    `heard` is put around the engine's verb. Raises ArtifactMissing for a model that is not there or takes out no voice.
    """
    if settings.engine == "sherpa-onnx" and not settings.model:
        return None
    engine = load("separation", settings.engine, settings)
    golden.separate(engine)
    return in_thread(heard(engine.separate))


async def dub_file(request: Request, settings: AppSettings, out: Path, console: Console) -> dict[str, Any]:
    """Dubs one file in this process and draws its progress. An interrupted run goes on from its checkpoints."""
    report = Report(request.job_id)
    workspace = Workspace(out / ".work", request.job_id)
    engines = await asyncio.to_thread(models, settings.engines)
    with Screen(console) as screen:
        drawing = asyncio.create_task(draw(report, screen))
        try:
            result = await dub(request, engines, settings, workspace, artifacts(out, request.job_id), report)
            screen.finish()
        finally:
            drawing.cancel()
            with suppress(asyncio.CancelledError):
                await drawing
    workspace.discard()
    return asdict(result)


async def draw(report: Report, screen: Screen) -> None:
    while True:
        now = report.snapshot()
        screen.show(
            now.stage, now.stage_percent, [(line.timestamp, line.level, line.message) for line in report.lines()]
        )
        await asyncio.sleep(0.2)
