"""The straight line: eight awaits, one per room, and the windows in which a job flows through the middle four.

`prepare` and `extract` see the whole file. Voice detection then cuts it at long pauses into windows; each passes
recognize → translate → speak → sync on its own, a few at once, the first one first, so that all engines work on one job
at the same time and memory does not grow with its length. `subtitle` and `mux` read them in order.

After each room its answer lies in the job's workspace under a key: a hash of what went in and of the settings that
matter to that room. A resumed job skips what is there; a changed setting redoes only what depends on it.
"""

import asyncio
import contextlib
import shutil
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from configs.app import AppSettings
from configs.pipeline import PipelineSettings
from models.errors import InvalidJob, NoSpeech, StageFailed
from models.segment import Segment, Span, segments_from_json, to_json
from serve_app.engines import Models
from serve_app.hearing import heard as kept
from serve_app.hearing import listen, transcripts
from serve_app.hearing.listen import Heard
from serve_app.hearing.windows import windows
from serve_app.jobs.job import Request, Result
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Artifacts, Workspace, artifacts, disk_space, key, write_json
from serve_app.media.ffmpeg import whole
from serve_app.media.probe import Source
from serve_app.quality import measure, report_json, tell
from serve_app.stages import first, room
from serve_app.stages.extract import extract
from serve_app.stages.mux import Mixed, mux
from serve_app.stages.prepare import prepare
from serve_app.stages.speak import speak
from serve_app.stages.subtitle import subtitle, write
from serve_app.stages.sync import sync
from serve_app.stages.translate import Once, translate


async def nobody_else() -> None:
    """The `confirm` of a run that has no rival."""


async def dub(
    request: Request,
    models: Models,
    settings: AppSettings,
    workspace: Workspace,
    files: Artifacts,
    report: Report,
    confirm: Callable[[], Awaitable[object]] = nobody_else,
) -> Result:
    """Dubs `request.path` into `files`. Raises a DubError; every other error of a room comes out as StageFailed.

    Whatever an attempt makes for others lies in a folder of its own until `confirm` has returned, so that two attempts
    that are alive at the same time, one without knowing that it lost its lease, cannot mix their files.
    """
    once = replace(models, translate=Once(models.translate))  # equal sentences of a job are translated once
    own = workspace.path(f"attempt-{uuid.uuid4().hex[:8]}", "out")
    drafts = artifacts(own, request.job_id)
    try:
        line = Line(request, once, settings, workspace, drafts, files, report)
        result = await line.run()
        line.same_input()
        await confirm()
        await asyncio.to_thread(publish, own, files.output.parent)
    finally:
        await asyncio.to_thread(shutil.rmtree, own.parent, ignore_errors=True)
    return result


def publish(drafts: Path, folder: Path) -> None:
    """Moves finished files to where everybody reads them, each whole or not at all."""
    for draft in drafts.iterdir():
        try:
            draft.replace(folder / draft.name)
        except OSError:  # another disk
            with whole(folder / draft.name) as copy, disk_space():
                shutil.copyfile(draft, copy)


@dataclass(slots=True)
class Line:
    """One job on its way through the rooms."""

    request: Request
    models: Models
    settings: AppSettings
    workspace: Workspace
    drafts: Artifacts
    files: Artifacts
    report: Report
    input: tuple[int, ...] = ()
    dubbable: frozenset[str] = frozenset()
    windows_passed: Counter[str] = field(default_factory=Counter)
    segments_total: int = 0
    segments_done: int = 0

    @property
    def rooms(self) -> PipelineSettings:
        return self.settings.pipeline

    async def run(self) -> Result:
        source = await self.prepare()
        wav = await self.extract(source)
        heard = await self.listen(source, wav)
        language = heard.spoken.language
        segments = await self.through_windows(source, wav, heard)
        if not segments:
            raise NoSpeech("nothing intelligible was said; choose another audio track or a larger speech model")
        dubbed = [segment for segment in segments if self.speaks(segment)]
        if dubbed and not any(segment.speech for segment in dubbed):
            raise StageFailed(
                "tts", "no speech engine could say any of it; the log of the job says why", transient=True
            )
        subtitles = await self.subtitle(segments, source, language)
        mixed = await self.mux(dubbed, source, subtitles)
        return await asyncio.to_thread(self.conclude, segments, dubbed, source, language, mixed)

    # -- the whole file --------------------------------------------------------------------------------------------

    async def prepare(self) -> Source:
        with room(self.report, "initialization"):
            self.drafts.output.parent.mkdir(parents=True, exist_ok=True)
            source = await prepare(
                self.request,
                self.rooms.prepare,
                self.workspace.folder,
                self.models.hears,
                self.models.pairs,
                self.report,
            )
        self.input = identity(source.path)
        self.report.finish("initialization")
        return source

    def same_input(self) -> None:
        """Raises InvalidJob when the video is not the one that was begun with: the dub would belong to another film."""
        if identity(self.request.path) != self.input:
            raise InvalidJob("the video was replaced while it was being dubbed; submit it again")

    async def extract(self, source: Source) -> Path:
        wav = self.workspace.path("speech.wav")
        with room(self.report, "audio_extraction"):
            made_from = key(source, self.input[1:])
            if await asyncio.to_thread(self.workspace.load, "extract", made_from) is None:
                await extract(source, wav, self.rooms.extract, self.rooms.stall_s, self.report)
                await asyncio.to_thread(self.workspace.save, "extract", made_from, wav.name, files=[wav])
        self.report.finish("audio_extraction")
        return wav

    async def listen(self, source: Source, wav: Path) -> Heard:
        """Where speech is, in which language, and by whom."""
        engines, rules = self.settings.engines, self.rooms.recognize
        with room(self.report, "transcription"):
            cues = await self.cues(source)
            sound = key(source, self.input[1:], engines.vad.what(), engines.asr.what())
            self.models = replace(
                self.models,
                detect=kept.detections(self.models.detect, self.workspace, sound),
                recognize=kept.transcripts(self.models.recognize, self.workspace, sound),
            )
            made_from = key(sound, rules, engines.speaker.what(), self.request.source_lang, cues)
            heard = await asyncio.to_thread(self.heard, made_from)
            if heard is None:
                heard = await self.hear(wav, cues)
                await asyncio.to_thread(self.workspace.save, "listen", made_from, listen.to_json(heard))
            self.dubbable = listen.dubbable(heard.spoken, self.request.target_lang, self.models.pairs, self.report)
        return heard

    async def cues(self, source: Source) -> list[transcripts.Cue] | None:
        """What the transcript of the job says; None without one."""
        if not self.request.transcript:
            return None
        cues = await asyncio.to_thread(transcripts.read, Path(self.request.transcript))
        return transcripts.fitting(cues, source.duration)

    async def hear(self, wav: Path, cues: list[transcripts.Cue] | None) -> Heard:
        given, models, settings = self.request.source_lang, self.models, self.settings
        if cues is not None:
            return await listen.follow(wav, cues, given, models, settings, self.report)
        return await listen.hear(wav, given, models, settings, self.report)

    def heard(self, made_from: str) -> Heard | None:
        """The checkpoint of `listen`; None without one, or with one that another version wrote."""
        row = self.workspace.load("listen", made_from)
        try:
            return None if row is None else listen.from_json(row)
        except (TypeError, KeyError):
            return None

    # -- window by window ------------------------------------------------------------------------------------------

    async def through_windows(self, source: Source, wav: Path, heard: Heard) -> list[Segment]:
        cuts = await asyncio.to_thread(windows, heard.speech, source.duration, self.rooms.windows)
        self.report.expect_speech(sum(span.duration for span in heard.speech))
        gate = asyncio.Semaphore(self.rooms.windows.at_once)
        whole_file = key(source, self.input[1:], heard.spoken, heard.cast, heard.cues)

        async def one(number: int, window: Span) -> list[Segment]:
            async with gate:
                return await self.window(number, window, wav, heard, key(whole_file, window), of=len(cuts))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(number, window)) for number, window in enumerate(cuts)]
        except BaseExceptionGroup as failed:
            raise first(failed) from failed
        return [segment for task in tasks for segment in task.result()]

    async def window(
        self, number: int, window: Span, wav: Path, heard: Heard, made_from: str, of: int
    ) -> list[Segment]:
        """Four rooms for one window. Each key holds the one before: what changes upstream is redone downstream."""
        ask, engines, rooms, models, report = self.request, self.settings.engines, self.rooms, self.models, self.report
        name = f"windows/{number:04}"
        clips = self.workspace.path(name, f"clips-{key(engines.tts.what())[:8]}")  # other engines, other voices
        clips.mkdir(exist_ok=True)

        made_from = key(made_from, engines.vad.what(), engines.asr.what(), rooms.recognize)
        work = heard.segments(wav, window, models, self.settings, number * 1000 + 1, report)
        segments = await self.step("transcription", f"{name}/recognize", made_from, work, of)
        self.count(total=len(segments))

        made_from = key(made_from, ask.target_lang, engines.translation.what(), rooms.translate, self.dubbable)
        work = self.translate(segments, heard.spoken.language)
        segments = await self.step("translation", f"{name}/translate", made_from, work, of)

        if not any(self.speaks(segment) for segment in segments):  # subtitles over the original sound
            return await self.unspoken(segments, of)
        own = {segment.id: segment for segment in segments if not self.speaks(segment)}
        segments = [replace(segment, translation="") if segment.id in own else segment for segment in segments]
        made_from = key(made_from, ask.voice_gender, engines.tts.what(), rooms.speak.what())
        work = speak(
            segments,
            language=ask.target_lang,
            gender=ask.voice_gender,
            say=models.speak,
            folder=clips,
            settings=rooms.speak,
            report=report,
        )
        segments = await self.step("tts", f"{name}/speak", made_from, work, of)

        made_from = key(made_from, rooms.sync)
        work = sync(segments, window=window, folder=clips, settings=rooms.sync, report=report)
        segments = await self.step("audio_sync", f"{name}/sync", made_from, work, of)
        self.count(done=len(segments))
        return [own.get(segment.id, segment) for segment in segments]

    async def translate(self, segments: Sequence[Segment], language: str) -> list[Segment]:
        """Each run of one language by its own models; one from which no way leads keeps its words."""
        translated: list[Segment] = []
        for source, run in groupby(segments, key=lambda segment: segment.language or language):
            target = self.request.target_lang
            translated += await translate(
                list(run),
                source=source if source in self.dubbable else target,
                target=target,
                translate=self.models.translate,
                settings=self.rooms.translate,
                report=self.report,
            )
        return translated

    def speaks(self, segment: Segment) -> bool:
        """Whether the dub says it: not what is in the target's language already, nor what nobody can translate."""
        return segment.language in self.dubbable - {self.request.target_lang}

    async def step(
        self, stage: str, name: str, made_from: str, work: Coroutine[None, None, list[Segment]], of: int
    ) -> list[Segment]:
        """One room's answer for one window: from its checkpoint, else worked out and kept."""
        with room(self.report, stage), contextlib.closing(work):  # it may never be started
            segments = await asyncio.to_thread(self.kept, name, made_from)
            if segments is not None:
                for segment in segments:
                    self.report.advance(stage, segment.duration)
            else:
                segments = await work
                sounds = [Path(p) for s in segments for p in (s.speech, s.dub) if p]
                await asyncio.to_thread(self.workspace.save, name, made_from, to_json(segments), files=sounds)
        self.pass_window(stage, of)
        return segments

    def kept(self, name: str, made_from: str) -> list[Segment] | None:
        """The segments of a checkpoint; None without one, or with one that another version wrote."""
        rows = self.workspace.load(name, made_from)
        try:
            return None if rows is None else segments_from_json(rows)
        except (TypeError, KeyError):
            return None

    async def unspoken(self, segments: list[Segment], of: int) -> list[Segment]:
        for stage in ("tts", "audio_sync"):
            self.pass_window(stage, of)
        self.count(done=len(segments))
        return segments

    def pass_window(self, stage: str, of: int) -> None:
        self.windows_passed[stage] += 1
        if self.windows_passed[stage] == of:
            self.report.finish(stage)

    def count(self, total: int = 0, done: int = 0) -> None:
        self.segments_total += total
        self.segments_done += done
        self.report.describe(segments_total=self.segments_total, segments_done=self.segments_done)

    # -- all windows in order --------------------------------------------------------------------------------------

    async def subtitle(self, segments: list[Segment], source: Source, language: str) -> Path:
        """Writes the subtitle files and returns the one to show over the dub."""
        with room(self.report, "subtitle_generation"):
            tracks = await asyncio.to_thread(
                subtitle,
                segments,
                source_lang=language,
                target_lang=self.request.target_lang,
                duration=source.duration,
                frame_rate=source.frame_rate,
                settings=self.rooms.subtitle,
            )
            for complaint in tracks.unmet:
                self.report.log("subtitle_generation", complaint, level="warning")
            for cues, path in (
                (tracks.original, self.drafts.original_srt),
                (tracks.translated, self.drafts.translated_srt),
                (tracks.bilingual, self.drafts.bilingual_srt),
            ):
                await asyncio.to_thread(write, cues, path)
        self.report.finish("subtitle_generation")
        return self.drafts.translated_srt

    async def mux(self, dubbed: list[Segment], source: Source, subtitles: Path) -> Mixed:
        self.same_input()
        with room(self.report, "video_combination"):
            mixed = await mux(
                source,
                dubbed,
                subtitles,
                self.request.subtitles or self.rooms.mux.subtitles,
                self.drafts.output,
                self.drafts.output.parent.with_name("mux"),
                self.rooms.mux,
                self.rooms.stall_s,
                self.report,
                self.request.target_lang,
            )
        self.report.finish("video_combination")
        return mixed

    def conclude(
        self, segments: list[Segment], dubbed: list[Segment], source: Source, language: str, mixed: Mixed
    ) -> Result:
        """Measures what came out and writes the report."""
        quality = measure(dubbed, source, mixed, self.rooms)
        tell(self.report, segments, dubbed, quality)
        write_json(
            self.drafts.report, report_json(self.request, source, language, segments, mixed, quality, self.report)
        )
        return Result(
            output=str(self.files.output),
            original_srt=str(self.files.original_srt),
            translated_srt=str(self.files.translated_srt),
            report=str(self.files.report),
            duration_s=mixed.duration,
            output_bytes=mixed.bytes,
            original_bytes=source.size,
            processing_s=self.report.snapshot().elapsed_s,
            quality=quality,
        )


def identity(path: str) -> tuple[int, ...]:
    """What changes when a file is replaced or written to. Raises InvalidJob when it is gone."""
    try:
        facts = Path(path).stat()
    except OSError as error:
        raise InvalidJob("the video is not there any more; upload it and submit it again") from error
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
