"""The straight line of one attempt: eight rooms, and the windows in which a job flows through the middle four.

`prepare` and `extract` see the whole file. Voice detection then cuts it at long pauses into windows; each passes
recognize → translate → speak → sync on its own, a few at once, the first one first, so that all engines work on one job
at the same time and memory does not grow with its length. `subtitle` and `mux` read them in order.

A job hears its film once, however many languages it is dubbed into; what one of them takes is in `dubbing`. After each
room its answer lies in the job's workspace, see `steps`: a resumed job skips what is there, and a changed setting
redoes only what depends on it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from configs.app import AppSettings
from configs.pipeline import STAGES, PipelineSettings
from models.errors import BelowQuality, InvalidJob, NoSpeech
from models.segment import Clip, Span, Transcript
from serve_app.accompaniment import Accompaniment
from serve_app.dubbing import Dubbing
from serve_app.engines import Models
from serve_app.excerpts import Excerpts
from serve_app.film import Film
from serve_app.hearing import heard as kept
from serve_app.hearing import listen, transcripts
from serve_app.hearing.listen import Heard
from serve_app.hearing.windows import windows
from serve_app.jobs.edits import Edits, Rows
from serve_app.jobs.job import Request, Result
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Artifacts, Workspace, artifacts, key
from serve_app.media.probe import Source
from serve_app.stages import first, room
from serve_app.stages.extract import extract
from serve_app.stages.prepare import prepare
from serve_app.stages.recognize import said
from serve_app.steps import Steps

EACH_TARGET = STAGES[STAGES.index("translation") :]
"""What is done again for every language that a job is dubbed into."""


@dataclass(slots=True)
class Line:
    """One job on its way through the rooms.

    `begun`: the recogniser has some of the first window. `refused`: a dub is not good enough, so none is delivered.
    """

    request: Request
    models: Models
    settings: AppSettings
    workspace: Workspace
    drafts: Path
    files: Artifacts
    report: Report
    edits: Rows
    input: tuple[int, ...] = ()
    ears: Callable[[Clip], Awaitable[Transcript]] = field(init=False)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    dubbable: dict[str, frozenset[str]] = field(default_factory=dict)
    segments_total: int = 0
    segments_done: int = 0
    refused: BelowQuality | None = None

    def __post_init__(self) -> None:
        self.ears = self.models.recognize

    @property
    def rooms(self) -> PipelineSettings:
        return self.settings.pipeline

    async def run(self) -> Result:
        source = await self.prepare()
        wav = await self.extract(source)
        heard = await self.listen(source, wav)
        cuts = await asyncio.to_thread(windows, heard.speech, source.duration, self.rooms.windows)
        self.report.repeat(EACH_TARGET, len(self.request.targets))
        film = self.film(source, heard)
        dubbings = [self.dubbing(film, target, len(cuts)) for target in self.request.targets]
        async with dubbings[0].previews(cuts) as excerpts:
            if not await self.through_windows(cuts, source, wav, heard, dubbings, excerpts):
                raise NoSpeech("nothing intelligible was said; choose another audio track or a larger speech model")
            await dubbings[0].shown_early()
            self.same_input()
            film.music.tell()
            result, *others = [await dubbing.finish() for dubbing in dubbings]
        self.refused = next((dubbing.refused for dubbing in dubbings if dubbing.refused), None)
        return replace(result, further=dict(zip(self.request.also, others, strict=True)))

    def film(self, source: Source, heard: Heard) -> Film:
        made_from = key(source, self.input[1:], self.settings.engines.separation.what())
        music = Accompaniment(self.models.separate, source, made_from, self.rooms, self.workspace, self.report)
        return Film(
            source=source,
            models=self.models,
            settings=self.settings,
            workspace=self.workspace,
            report=self.report,
            language=heard.spoken.language,
            speech=heard.speech,
            ears=self.ears,
            music=music,
        )

    def dubbing(self, film: Film, target: str, windows: int) -> Dubbing:
        further = target if target in self.request.also else ""
        return Dubbing(
            film,
            request=replace(self.request, target_lang=target),
            drafts=artifacts(self.drafts, self.request.job_id, further),
            files=artifacts(self.files.output.parent, self.request.job_id, further),
            dubbable=self.dubbable[target],
            edits=Edits(self.edits, target),
            steps=Steps(self.workspace, self.report, windows),
        )

    # -- the whole file --------------------------------------------------------------------------------------------

    async def prepare(self) -> Source:
        with room(self.report, "initialization"):
            self.drafts.mkdir(parents=True, exist_ok=True)
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
                self.report.describe(early_preview="", preview_ids=())  # what may be there belongs to another film
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
                recognize=kept.transcripts(self.ask, self.workspace, sound),
            )
            made_from = key(sound, rules, engines.speaker.what(), self.request.source_lang, cues)
            heard = await asyncio.to_thread(self.heard, made_from)
            if heard is None:
                heard = await self.hear(wav, cues)
                if not heard.cast.makeshift:  # else the next attempt asks who speaks once more
                    await asyncio.to_thread(self.workspace.save, "listen", made_from, listen.to_json(heard))
            for target in self.request.targets:
                found = listen.dubbable(heard.spoken, target, self.models.pairs, self.report)
                self.dubbable[target] = found
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

    async def through_windows(
        self,
        cuts: list[Span],
        source: Source,
        wav: Path,
        heard: Heard,
        dubbings: list[Dubbing],
        excerpts: Excerpts,
    ) -> int:
        """How many segments there are."""
        self.report.expect_speech(sum(span.duration for span in heard.speech))
        gate = asyncio.Semaphore(self.rooms.windows.at_once)
        whole_file = key(source, self.input[1:], heard.spoken, heard.cast, heard.cues)
        steps = Steps(self.workspace, self.report, len(cuts))
        self.begun.clear()

        async def one(number: int, window: Span) -> int:
            async with gate:
                count = await self.window(number, window, wav, heard, key(whole_file, window), steps, dubbings)
            excerpts.add(dubbings[0].done)
            return count

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(number, window)) for number, window in enumerate(cuts)]
        except BaseExceptionGroup as failed:
            raise first(failed) from failed
        return sum(task.result() for task in tasks)

    async def window(
        self, number: int, window: Span, wav: Path, heard: Heard, made_from: str, steps: Steps, dubbings: list[Dubbing]
    ) -> int:
        """Each key holds the one before: what changes upstream is redone downstream."""
        engines, rules = self.settings.engines, self.rooms.recognize
        made_from = key(made_from, engines.vad.what(), engines.asr.what(), rules)
        if number:
            await self.begun.wait()  # the early preview shows the first one, which would be behind them otherwise
        work = said(wav, window, heard, self.models.recognize, rules, number * 1000 + 1, self.report)
        segments = await steps.take("transcription", f"windows/{number:04}/recognize", made_from, work)
        self.begun.set()
        self.count(total=len(segments))
        for dubbing in dubbings:
            await dubbing.window(number, window, segments, made_from)
        self.count(done=len(segments))
        return len(segments)

    async def ask(self, clip: Clip) -> Transcript:
        self.begun.set()
        return await self.ears(clip)

    def count(self, total: int = 0, done: int = 0) -> None:
        self.segments_total += total
        self.segments_done += done
        self.report.describe(segments_total=self.segments_total, segments_done=self.segments_done)


def identity(path: str) -> tuple[int, ...]:
    """What changes when a file is replaced or written to. Raises InvalidJob when it is gone."""
    try:
        facts = Path(path).stat()
    except OSError as error:
        raise InvalidJob("the video is not there any more; upload it and submit it again") from error
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
