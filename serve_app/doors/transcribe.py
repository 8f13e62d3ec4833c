"""Sound in, segments out, while the caller waits: the rooms that listen, without a job around them.

They are the very rooms that a dubbed video passes, so what is heard here is what a job would hear: where speech is,
in which language, cut at its pauses, sentences from words. What a job has besides is missing: there are no checkpoints,
nothing outlives the call, and a language that the caller names is believed. Speech that fits into one clip is heard
once, its language and its words together, where a job would let several samples vote first: half the work, and an
answer where the vote would be split; the price is that a short recording is in one language.

The sound is decoded by ffmpeg in a child process and lies on the disk while it is worked on, 32 kB a second; so memory
does not grow with its length. A damaged file is heard as far as it can be decoded.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from configs.app import AppSettings
from configs.pipeline import PipelineSettings, RecognizeSettings
from models.errors import NoSpeech, StageFailed, UnreadableMedia
from models.segment import RECOGNITION_RATE, Clip, Segment, Sentence, Span, Transcript
from models.translation.pairs import Pair, route
from serve_app.doors.uploads import TooLarge, copy
from serve_app.hearing.languages import Hear, Spoken, hear, identify
from serve_app.hearing.speech import duration, listen, read
from serve_app.hearing.windows import clips, windows
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import disk_space
from serve_app.media import ffmpeg
from serve_app.phrases import UNSPACED
from serve_app.spending import count
from serve_app.stages import room
from serve_app.stages.recognize import STAGE, recognize
from serve_app.stages.translate import Once, translate


@dataclass(frozen=True, slots=True)
class Ears:
    """The engines that listen, one item in and one out; `hears` are the recogniser's languages, None for any."""

    detect: Callable[[Clip], Awaitable[list[Span]]]
    recognize: Callable[[Clip], Awaitable[Transcript]]
    hears: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Transcription:
    """Segments ascend in time; without speech there are none, and the language is what was told, maybe empty."""

    language: str
    duration: float  # seconds
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        return ("" if self.language in UNSPACED else " ").join(segment.text for segment in self.segments)


async def decode(file: Path, wav: Path, max_s: float, settings: PipelineSettings) -> Path:
    """Writes the sound of `file` to `wav`, 16 kHz mono, sample 0 at the track's beginning.

    Raises UnreadableMedia when there is none to be had, or when it lasts longer than `max_s` seconds.
    """
    opened = ffmpeg.source(file, formats=",".join(settings.prepare.containers))
    even = f"aresample={RECOGNITION_RATE}:async=1:first_pts=0"  # gaps between packets become silence
    form = ["-vn", "-sn", "-dn", "-t", f"{max_s + 1:.3f}", "-af", even, "-ac", "1", "-c:a", "pcm_s16le", "-f", "wav"]
    try:
        await ffmpeg.run([*opened, *form, ffmpeg.file_url(wav)], stage=STAGE, stall_s=settings.stall_s)
    except StageFailed as failure:
        raise failure if failure.transient else unreadable() from failure
    length = await asyncio.to_thread(duration, wav)
    if not length:
        raise unreadable()
    if length > max_s:
        raise UnreadableMedia(f"the recording lasts longer than the {max_s / 60:g} minutes that are accepted; split it")
    return wav


def unreadable() -> UnreadableMedia:
    return UnreadableMedia("the file holds no sound that can be read; send flac, mp3, mp4, m4a, ogg, wav or webm")


async def transcribe(wav: Path, language: str, ears: Ears, settings: PipelineSettings, report: Report) -> Transcription:
    """What is said in a WAV of 16 kHz; `language` is an ISO-639-1 code, or "" to detect it.

    Raises UnsupportedLanguage for one that the recogniser does not hear, or when nobody can tell which one it is.
    """
    with room(report, STAGE):
        length = await asyncio.to_thread(duration, wav)
        count(audio_s=length)
        try:
            speech = await listen(wav, ears.detect)
        except NoSpeech:
            return Transcription(language, length, ())
        spoken, recognizer, rules = Spoken(language), ears.recognize, settings.recognize
        if language:
            rules = rules.model_copy(update={"languages": "one"})
        else:
            spoken, recognizer = await listened(wav, speech, ears, rules, report)
        gate = asyncio.Semaphore(settings.windows.at_once)

        async def one(number: int, window: Span) -> list[Segment]:
            async with gate:
                numbered = number * 1000 + 1
                return await recognize(wav, window, speech, spoken, recognizer, rules, numbered, report)

        async with asyncio.TaskGroup() as group:
            cuts = windows(speech, length, settings.windows)
            tasks = [group.create_task(one(number, window)) for number, window in enumerate(cuts)]
    return Transcription(spoken.language, length, tuple(segment for task in tasks for segment in task.result()))


async def listened(
    wav: Path, speech: list[Span], ears: Ears, settings: RecognizeSettings, report: Report
) -> tuple[Spoken, Hear]:
    """The language, and a recogniser that has heard a short recording already and does not hear it again."""
    spans = clips(speech, Span(0.0, speech[-1].end), settings.clip_s, settings.max_clip_s)
    if len(spans) > 1:
        return await identify(wav, speech, "", ears.recognize, ears.hears, settings, report), ears.recognize
    whole = await asyncio.to_thread(read, wav, spans[0])
    heard = await hear(whole, ears.recognize)

    async def known(clip: Clip) -> Transcript:
        same = clip.start == whole.start and len(clip.audio) == len(whole.audio)
        return heard if same else await ears.recognize(clip)

    return Spoken(heard.language), known


async def translated(
    heard: Transcription,
    target: str,
    engine: Callable[[Sentence], Awaitable[Sentence]],
    pairs: frozenset[Pair],
    settings: PipelineSettings,
    report: Report,
) -> Transcription:
    """The same in another language: every segment's `text` is what the translation shelf made of it.

    Raises UnsupportedLanguage when no way leads from a language that is spoken to the other.
    """
    once, done = Once(engine), list[Segment]()
    with room(report, "translation"):
        for language, group in groupby(heard.segments, key=lambda segment: segment.language or heard.language):
            route(pairs, language, target)
            done += await translate(
                list(group),
                source=language,
                target=target,
                translate=once,
                settings=settings.translate,
                report=report,
            )
    segments = tuple(replace(s, text=s.translation or "", words=(), language=target) for s in done)
    return Transcription(target, heard.duration, segments)


class Transcriber:
    """Takes uploads, a few at a time; the others wait. Nothing of a call is left on the disk after it.

    The engines are told a key of the upload, so that they can serve it in turn with jobs and other uploads.
    """

    def __init__(
        self,
        settings: AppSettings,
        work: Path,
        detect: Callable[[Clip], Awaitable[list[Span]]],
        recognize: Callable[[Clip, str], Awaitable[Transcript]],
        hears: Callable[[], Awaitable[frozenset[str] | None]],
        translate: Callable[[Sentence, str], Awaitable[Sentence]],
        pairs: Callable[[], Awaitable[frozenset[Pair]]],
    ) -> None:
        self._settings, self._work = settings, work
        self._detect, self._recognize, self._hears = detect, recognize, hears
        self._translate, self._pairs = translate, pairs
        self._gate = asyncio.Semaphore(settings.ingress.audio_at_once)

    @property
    def max_bytes(self) -> int:
        return self._settings.ingress.max_audio_bytes

    def too_large(self) -> TooLarge:
        limit = self.max_bytes / 1024**2
        return TooLarge(f"the recording is larger than the {limit:g} MiB that may be sent; split it or submit a job")

    async def possible(self) -> tuple[frozenset[str] | None, frozenset[Pair]]:
        """Which languages are heard (None: any that can be detected), and which pairs have a model of their own."""
        return await self._hears(), await self._pairs()

    async def transcribe(self, upload: BinaryIO, size: int, language: str) -> Transcription:
        """What is said in an upload of `size` bytes. Raises TooLarge, OutOfSpace, and as `decode` and `transcribe`."""
        async with self._gate, self._folder() as folder:
            wav, caller = await self._decoded(upload, size, folder), folder.name
            ears = Ears(self._detect, lambda clip: self._recognize(clip, caller), await self._hears())
            return await transcribe(wav, language, ears, self._settings.pipeline, Report("audio"))

    async def translate(self, upload: BinaryIO, size: int, target: str) -> Transcription:
        heard = await self.transcribe(upload, size, "")
        pairs, caller = await self._pairs(), uuid4().hex

        async def engine(sentence: Sentence) -> Sentence:
            count(characters_translated=len(sentence.text))
            return await self._translate(sentence, caller)

        return await translated(heard, target, engine, pairs, self._settings.pipeline, Report("audio"))

    async def _decoded(self, upload: BinaryIO, size: int, folder: Path) -> Path:
        if size > self.max_bytes:
            raise self.too_large()
        file = folder / "upload"
        await asyncio.to_thread(copy, upload, file, self.max_bytes)
        return await decode(file, folder / "sound.wav", self._settings.ingress.max_audio_s, self._settings.pipeline)

    @asynccontextmanager
    async def _folder(self) -> AsyncIterator[Path]:
        with disk_space():
            folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=".audio-", dir=self._work))
        try:
            yield folder
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
