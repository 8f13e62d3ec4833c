"""One target of a job: what was recognised becomes speech and subtitles in one other language, and a video of its own.

Three rooms for each window as it comes (translate → speak → sync), two for all of them in order (subtitle → mux), and
the report. Everything here lies in a folder of its own in the workspace, so targets do not touch each other's work.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, groupby, takewhile
from pathlib import Path

from configs.pipeline import PipelineSettings
from configs.pipeline import Subtitles as Mode
from models.errors import BelowQuality, DubError, StageFailed
from models.segment import Segment, Span
from models.tts.plausible import sayable
from serve_app.backcheck import understanding
from serve_app.captions import Captions
from serve_app.excerpts import Excerpts
from serve_app.film import Film
from serve_app.finished import finished, ingredients
from serve_app.hearing.listen import undubbed
from serve_app.hearing.windows import free_time
from serve_app.jobs.edits import Edits
from serve_app.jobs.job import Request, Result
from serve_app.jobs.workspace import Artifacts, key
from serve_app.media.mp4 import copyable
from serve_app.preview import length, preview
from serve_app.retakes import Judge
from serve_app.stages import room
from serve_app.stages.mux import Dub, Mixed, mux
from serve_app.stages.speak import speak
from serve_app.stages.sync import sync
from serve_app.stages.translate import translate
from serve_app.steps import Steps
from serve_app.verdict import verdict

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Dubbing:
    """`request` asks for this target alone; `dubbable` are the languages from which a way leads here.

    `refused` says, once it has finished, that the dub is not good enough to be delivered.
    """

    film: Film
    request: Request
    drafts: Artifacts
    files: Artifacts
    dubbable: frozenset[str]
    edits: Edits
    steps: Steps
    done: dict[int, list[Segment]] = field(default_factory=dict)
    ends: dict[int, float] = field(default_factory=dict)
    showing: asyncio.Task[None] | None = None
    refused: BelowQuality | None = None

    @property
    def target(self) -> str:
        return self.request.target_lang

    @property
    def mode(self) -> Mode:
        return self.request.subtitles or self.rooms.mux.subtitles

    @property
    def captions(self) -> Captions:
        rooms, languages = self.rooms, (self.film.language, self.target)
        return Captions(self.film.source, *languages, self.mode, rooms.subtitle, rooms.mux.fonts)

    @property
    def rooms(self) -> PipelineSettings:
        return self.film.settings.pipeline

    # -- window by window ------------------------------------------------------------------------------------------

    async def window(self, number: int, window: Span, segments: list[Segment], made_from: str) -> None:
        """Three rooms for what was recognised in one window; `made_from` is the key of that."""
        self.done[number] = await self._window(number, window, segments, made_from)
        self.ends[number] = window.end
        self.show()
        await self.film.music.under(self.replaced(self.done[number]))

    async def _window(self, number: int, window: Span, segments: list[Segment], made_from: str) -> list[Segment]:
        ask, engines, rooms = self.request, self.film.settings.engines, self.rooms
        name = f"windows/{number:04}/{self.target}"
        segments = self.edits.heard(segments)
        texts = [(segment.id, segment.text) for segment in segments if segment.edited]
        what = (engines.translation.what(), rooms.translate, self.dubbed(segments), texts)
        made_from = key(made_from, self.target, *what)
        work = self.translate(segments)
        segments = await self.steps.take("translation", f"{name}/translate", made_from, work)
        segments = self.edits.translated(segments)

        if not any(self.speaks(segment) for segment in segments):  # subtitles over the original sound
            return self.unspoken(segments)
        own = {segment.id: segment for segment in segments if not self.speaks(segment)}
        segments = [replace(segment, translation="") if segment.id in own else segment for segment in segments]
        rules, lead_s = rooms.sync, rooms.recognize.near_s + rooms.sync.start_slack_s + rooms.sync.keep_pause_s
        free = free_time(window, self.film.speech, lead_s)
        clips = self.film.workspace.path(name, f"clips-{key(engines.tts.what())[:8]}")  # other engines, other voices
        edited = [(s.id, s.edited, s.translation, s.wanted_voice) for s in segments if s.edited]
        made_from = key(
            made_from, ask.voice_gender, engines.tts.what(), rooms.speak.what(), free, edited, *self.listening()
        )
        work = speak(
            segments,
            language=self.target,
            gender=ask.voice_gender,
            say=self.film.models.speak,
            folder=clips,
            settings=rooms.speak,
            report=self.film.report,
            until=free.end,
            judge=self.judge(),
        )
        segments = await self.steps.take("tts", f"{name}/speak", made_from, work, all_said)

        made_from = key(made_from, rules, free)
        work = sync(segments, window=free, folder=clips, settings=rules, report=self.film.report)
        segments = await self.steps.take("audio_sync", f"{name}/sync", made_from, work, all_said)
        return [own.get(segment.id, segment) for segment in segments]

    def judge(self) -> Judge | None:
        """Who listens to the dub; None where that is not wanted, or the recogniser does not hear its language."""
        if not self.listening():
            return None
        return Judge(understanding(self.film.ears, self.target), self.rooms.quality.min_match)

    def listening(self) -> tuple[object, ...]:
        """What the back-check depends on; empty without one."""
        rules, hears = self.rooms.quality, self.film.models.hears
        listens = rules.back_check and (hears is None or self.target in hears)
        return (rules.min_match, self.film.settings.engines.asr.what()) if listens else ()

    def dubbed(self, segments: Sequence[Segment]) -> frozenset[str]:
        """The languages of these segments that can be translated."""
        return self.dubbable & {segment.language or self.film.language for segment in segments}

    async def translate(self, segments: Sequence[Segment]) -> list[Segment]:
        """Each run of one language by its own models; one from which no way leads keeps its words."""
        translated: list[Segment] = []
        for source, run in groupby(segments, key=lambda segment: segment.language or self.film.language):
            if source not in self.dubbable:
                undubbed(source, self.target, self.film.report)
            translated += await translate(
                list(run),
                source=source if source in self.dubbable else self.target,
                target=self.target,
                translate=self.film.models.translate,
                settings=self.rooms.translate,
                report=self.film.report,
            )
        return translated

    def speaks(self, segment: Segment) -> bool:
        """Whether the dub says it: not what is in the target's language already, nor what nobody can translate.

        Nor what its owner wants to be skipped.
        """
        return segment.language in self.dubbable - {self.target} and "skip" not in segment.edited

    def replaced(self, segments: list[Segment]) -> list[Segment]:
        """Those whose original sound goes: where there is nothing to say instead, it stays."""
        return [segment for segment in segments if self.speaks(segment) and (segment.translation or segment.dub)]

    def unspoken(self, segments: list[Segment]) -> list[Segment]:
        for stage in ("tts", "audio_sync"):
            self.steps.count(stage)
        return segments

    def show(self) -> None:
        """Begins the preview, once, when all windows are done up to the first one that is dubbed."""
        begun = list(takewhile(self.done.__contains__, count()))
        last = next((number for number in begun if any(segment.dub for segment in self.done[number])), None)
        if last is not None and self.showing is None and self.target not in self.request.also:
            segments = [segment for number in begun[: last + 1] for segment in self.done[number]]
            self.showing = asyncio.create_task(self.preview(segments, self.ends[last]))  # while the next ones are made

    async def preview(self, segments: list[Segment], ready: float) -> None:
        """Shows the first seconds while the rest is being made. Whatever goes wrong with that, the job goes on."""
        out = self.files.early_preview
        seconds = length(segments, self.film.source.duration, ready, self.rooms)
        if seconds is None or (self.film.report.snapshot().early_preview and out.exists()):
            return
        folder = self.drafts.output.parent.with_name("preview")
        try:
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            begun = [s for s in segments if min(s.start, s.start if s.place is None else s.place) < seconds]
            shown = await asyncio.to_thread(self.captions.beginning, begun, seconds, folder / "preview.srt")
            await preview(await self.dub(self.replaced(begun), shown), seconds, out, folder, self.rooms)
        except (DubError, OSError) as error:
            log.warning("no early preview", exc_info=error)
            self.film.report.log("video_combination", "There is no early preview: it could not be made", "warning")
            return
        self.film.report.describe(early_preview=str(out))
        self.film.report.log("video_combination", f"An early preview shows the first {seconds:.0f} s", "success")

    async def shown_early(self) -> None:
        """Returns when the early preview is there, if there is to be one: the film would take its processor."""
        if self.showing is not None:
            await self.showing

    @contextlib.asynccontextmanager
    async def previews(self, windows: Sequence[Span]) -> AsyncIterator[Excerpts]:
        """They are made while the block lasts."""
        try:
            async with self.excerpts(windows) as excerpts:
                yield excerpts
        finally:
            if self.showing is not None:
                self.showing.cancel()
                await asyncio.wait({self.showing})

    def excerpts(self, windows: Sequence[Span]) -> Excerpts:
        """Makes the previews of the parts of the film."""
        return Excerpts(
            source=self.film.source,
            windows=windows,
            rooms=self.rooms,
            mode=self.mode,
            look=self.captions.look(self.target),
            workspace=self.film.workspace,
            scratch=self.drafts.output.parent.with_name("excerpts"),
            report=self.film.report,
            cues=lambda segments: self.captions.cues(segments, self.film.source.duration),
            replaced=self.replaced,
            music=self.film.music.under,
            soon=self.film.source.duration < self.rooms.preview.short_s
            or (self.mode != "burn" and copyable(self.film.source)),
        )

    # -- all windows in order --------------------------------------------------------------------------------------

    async def finish(self) -> Result:
        """Subtitles, the video and the report. Raises StageFailed when nothing at all could be spoken."""
        segments = [segment for number in sorted(self.done) for segment in self.done[number]]
        for number in self.edits.missed(segments):
            message = f"The edit of segment {number} was left out: something else is heard there now"
            self.film.report.log("translation", message, level="warning", chunk_id=number)
        dubbed = [segment for segment in segments if self.speaks(segment)]
        if any(sayable(s.translation or "") for s in dubbed) and not any(segment.speech for segment in dubbed):
            raise StageFailed("tts", "no speech engine could say any of it; its log says why", transient=True)
        subtitles = await self.subtitle(segments)
        mixed = await self.mux(self.replaced(segments), subtitles)
        return await asyncio.to_thread(self.conclude, segments, dubbed, mixed)

    async def subtitle(self, segments: list[Segment]) -> Path:
        """Writes the subtitle files and returns the one to show over the dub."""
        with room(self.film.report, "subtitle_generation"):
            unmet = await asyncio.to_thread(self.captions.write, segments, self.drafts)
            for complaint in unmet:
                self.film.report.log("subtitle_generation", complaint, level="warning")
        self.film.report.finish("subtitle_generation")
        return self.captions.shown(self.drafts)

    async def mux(self, dubbed: list[Segment], subtitles: Path) -> Mixed:
        dub = await self.dub(dubbed, subtitles)
        with room(self.film.report, "video_combination"):
            rules, stall_s, report = self.rooms.mux, self.rooms.stall_s, self.film.report
            if self.request.keep_audio is not None:
                rules = rules.model_copy(update={"keep_audio": self.request.keep_audio})
            made_from = await asyncio.to_thread(ingredients, dub, rules)
            work = self.drafts.output.parent.with_name("mux")

            async def make(out: Path) -> Mixed:
                return await mux(dub, out, work, rules, stall_s, report)

            mixed = await finished(self.film.workspace, self.target, made_from, self.drafts.output, make)
        self.film.report.finish("video_combination")
        return mixed

    async def dub(self, spoken: list[Segment], subtitles: Path) -> Dub:
        music = await self.film.music.under(spoken)
        return Dub(self.film.source, spoken, subtitles, self.mode, self.target, music)

    def conclude(self, segments: list[Segment], dubbed: list[Segment], mixed: Mixed) -> Result:
        """Measures what came out and writes the report."""
        quality, self.refused = verdict(self.film, self.request, self.drafts, segments, dubbed, mixed)
        return Result(
            output=str(self.files.output),
            original_srt=str(self.files.original_srt),
            translated_srt=str(self.files.translated_srt),
            report=str(self.files.report),
            duration_s=mixed.duration,
            output_bytes=mixed.bytes,
            original_bytes=self.film.source.size,
            processing_s=self.film.report.snapshot().elapsed_s,
            quality=quality,
        )


def all_said(segments: list[Segment]) -> bool:
    """Whether everything that can be said was."""
    return all(segment.speech or not sayable(segment.translation or "") for segment in segments)
