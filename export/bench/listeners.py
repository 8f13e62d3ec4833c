"""The recognisers under test, behind one verb: a recording in, its text out.

Ours is the service's own way: voice detection, clips cut at silences, the engine behind its queue, word times always,
sentences. faster-whisper's two pipelines get their defaults with a beam of five and voice detection on, so that nobody
decodes silence. All have the same weights in int8 and the same threads, and read the same WAV.

Callers come from threads. Ours shares its batches among them; the two pipelines take one caller after the other, which
is how CTranslate2 serves a model with one worker.
"""

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from configs.engines import AsrSettings, VadSettings
from configs.pipeline import PipelineSettings
from models.registry import load
from models.segment import Clip, Span, Transcript

OURS, WHISPER, BATCHED = "ours", "WhisperModel", "Batched"
WORDS = " + words"
"""Ends the names of rivals that give times of words, as ours always does."""

BEAM = 5
BATCH = 8
"""Clips in one call of the batched pipeline: its default."""


class Listener(Protocol):
    name: str

    def listen(self, path: Path, language: str) -> str:
        """The text of a recording; `language` is an ISO-639-1 code, or "" to detect it."""
        ...


@dataclass(frozen=True, slots=True)
class Pick:
    """How to build a listener, in this process or in a child."""

    kind: str
    model: str
    threads: int
    words: bool = False

    @property
    def name(self) -> str:
        return self.kind + (WORDS if self.words else "")

    def build(self) -> Listener:
        return Ours(self) if self.kind == OURS else Rival(self)


def asr(pick: Pick) -> AsrSettings:
    return AsrSettings(model=pick.model, device="cpu", compute_type="int8", threads=pick.threads)


class Ours:
    name = OURS

    def __init__(self, pick: Pick) -> None:
        settings = asr(pick)
        self._engine = load("asr", settings.engine, settings)
        self._vad = load("vad", VadSettings().engine, VadSettings())
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def listen(self, path: Path, language: str) -> str:
        from serve_app.doors.transcribe import Ears, transcribe
        from serve_app.jobs.report import Report

        ears = Ears(self._detect, self._recognize, self._engine.languages)
        heard = self._run(transcribe(path, language, ears, PipelineSettings(), Report("bench")))
        text: str = heard.text
        return text

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _detect(self, clip: Clip) -> list[Span]:
        [spans] = await asyncio.to_thread(self._vad.detect, [clip])
        found: list[Span] = spans
        return found

    async def _recognize(self, clip: Clip) -> Transcript:
        heard: Transcript = await asyncio.wrap_future(self._engine.submit(clip))
        return heard


class Rival:
    """One of faster-whisper's pipelines; `model` is found as ours finds it."""

    def __init__(self, pick: Pick) -> None:
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        from models.asr.weights import fetch

        self.name = pick.name
        self._options: dict[str, Any] = {"beam_size": BEAM, "vad_filter": True, "word_timestamps": pick.words}
        model = WhisperModel(str(fetch(pick.model)), device="cpu", compute_type="int8", cpu_threads=pick.threads)
        self._pipeline: Any = model
        if pick.kind == BATCHED:
            self._pipeline = BatchedInferencePipeline(model)
            self._options["batch_size"] = BATCH

    def listen(self, path: Path, language: str) -> str:
        segments, _ = self._pipeline.transcribe(str(path), language=language or None, **self._options)
        return " ".join(segment.text.strip() for segment in segments)
