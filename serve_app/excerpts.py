"""Previews of half a minute each, one after the other, while the rest of the film is still being dubbed.

Each is a true cut of what the film will be: the same mix of the same clips, the same subtitles at the same times, only
small, and encoded in haste. The one thing that is not known yet is the loudness of the whole, so the voice is brought
to the wanted loudness instead; that differs from the finished film by a decibel or two, and never between two previews.

They cost little and can be switched off: one is made at a time, by a decoder and an encoder of one thread each, which
take what others leave of the processor, from a place in the film that is sought and not read up to. What is not done
when the film is, is left out; and of a film that is written soon, because it is short or its pictures are copied,
nothing is begun once all of it is dubbed: only what an earlier run has made is shown. They belong to the first language
of a job. Whatever goes wrong with them, the job goes on.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from configs.pipeline import PipelineSettings, PreviewSettings
from configs.pipeline import Subtitles as Mode
from models.errors import DubError
from models.segment import Segment, Span
from serve_app.cues import Cue
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import PREVIEWS, Workspace, key
from serve_app.media import ffmpeg
from serve_app.media.ass import Look
from serve_app.media.master import OVERSHOOT_DB, Master
from serve_app.media.mix import CHANNELS, mixed
from serve_app.media.mp4 import AAC, FONTS, lay_out
from serve_app.media.music import Piece
from serve_app.media.probe import Source
from serve_app.quality import end_of_dub
from serve_app.stages.mux import RESTORE_DB
from serve_app.stages.subtitle import write

STAGE = "video_combination"
AROUND_S = 15.0  # sentences so near to an excerpt decide how its subtitles are laid out
LEAST_S = 1.0  # a rest that is shorter belongs to the one before it
FORM = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "28", "-pix_fmt", "yuv420p", "-threads", "1")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """`start` and `end` in seconds of the film; `id` is the name by which clients know it."""

    id: str
    start: float
    end: float


def excerpts(duration: float, rules: PreviewSettings) -> Iterator[Excerpt]:
    """Those of a film; a film of less than two has none."""
    if not rules.segments or duration < 2 * rules.segment_s:
        return
    for number in range(rules.most_segments):
        start, end = number * rules.segment_s, (number + 1) * rules.segment_s
        if duration - end < LEAST_S:
            yield Excerpt(f"seg_{number + 1:03}", start, duration)
            return
        yield Excerpt(f"seg_{number + 1:03}", start, end)


@dataclass(slots=True)
class Excerpts:
    """Makes them while the block lasts; of a film that is written `soon`, only while something is left to be dubbed.

    `cues` lays out the subtitles of some segments, `replaced` tells which of them the dub takes the place of, and
    `music` gives what stays of the original under those.
    """

    source: Source
    windows: Sequence[Span]
    rooms: PipelineSettings
    mode: Mode
    look: Look
    workspace: Workspace
    scratch: Path
    report: Report
    cues: Callable[[list[Segment]], Sequence[Cue]]
    replaced: Callable[[list[Segment]], list[Segment]]
    music: Callable[[list[Segment]], Awaitable[list[Piece]]]
    soon: bool = False
    _taken: int = 0
    _segments: list[Segment] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    def add(self, done: Mapping[int, list[Segment]]) -> None:
        """These windows are dubbed; those behind a gap wait until it is closed."""
        while self._taken in done:
            self._segments += done[self._taken]
            self._taken += 1
        self._news.set()

    @property
    def _ready(self) -> float:
        """Up to where the film is dubbed, in seconds."""
        return self.windows[self._taken].start if self._taken < len(self.windows) else self.source.duration

    async def __aenter__(self) -> Self:
        self.report.describe(preview_ids=())  # what is there may be of an earlier run
        self._task = asyncio.create_task(self._make_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None, "made when the block was entered"
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _make_all(self) -> None:
        made: list[str] = []
        try:
            for excerpt in excerpts(self.source.duration, self.rooms.preview):
                while self._ready < excerpt.end:
                    self._news.clear()
                    await self._news.wait()
                late = self.soon and self._taken == len(self.windows)
                if not await self._make(excerpt, late):
                    return
                made.append(excerpt.id)
                self.report.describe(preview_ids=tuple(made))
        except (DubError, OSError) as error:
            log.warning("no more previews of this film", exc_info=error)
            message = f"There are no previews of parts after the first {len(made)}: one could not be made"
            self.report.log(STAGE, message, "warning")

    async def _make(self, excerpt: Excerpt, late: bool) -> bool:
        """Whether it is there; when it is too `late`, only what was made before is."""
        near = [s for s in self._segments if _touches(s, excerpt, AROUND_S)]
        shown = [] if self.mode == "none" else within(self.cues(near), excerpt)
        spoken = [s for s in self.replaced(near) if _touches(s, excerpt, 1.0)]
        heard = [moved(s, -excerpt.start) for s in spoken]
        music = [replace(piece, start=piece.start - excerpt.start) for piece in await self.music(spoken)]
        height = self.rooms.preview.segment_height
        made_from = key(self.source, excerpt, heard, music, shown, self.rooms.mux, height, self.look)
        name = f"{PREVIEWS}/{excerpt.id}"
        if await asyncio.to_thread(self.workspace.load, name, made_from) is not None:
            return True
        if late:
            return False
        out = self.workspace.path(f"{name}.mp4")
        await asyncio.to_thread(self.scratch.mkdir, parents=True, exist_ok=True)
        captions = await asyncio.to_thread(self._captions, shown)
        await self._write(excerpt, heard, music, captions, out)
        await asyncio.to_thread(self.workspace.save, name, made_from, excerpt.id, files=[out])
        return True

    def _captions(self, shown: list[Cue]) -> Path | None:
        subtitles = self.scratch / "excerpt.srt"
        write(shown, subtitles, self.look)
        return lay_out(self.scratch, subtitles.with_suffix(".ass"), self.rooms.mux.fonts)

    async def _write(
        self, excerpt: Excerpt, heard: list[Segment], music: list[Piece], captions: Path | None, out: Path
    ) -> None:
        rules, source = self.rooms.mux, self.source
        length = excerpt.end - excerpt.start
        part = replace(source, origin=source.origin + excerpt.start, duration=length)
        sound = mixed(
            part,
            heard,
            rate=rules.sample_rate,
            fade_s=rules.duck_fade_s,
            stage=STAGE,
            stall_s=self.rooms.stall_s,
            music=music,
            share=rules.music,
        )
        pcm = ["-f", "f32le", "-ar", str(rules.sample_rate), "-ac", str(CHANNELS), "-i", "pipe:0"]
        film, pictures = self._pictures(part, captions)
        aac = [word for option, value in AAC.items() for word in (f"-{option}", str(value))]
        sounds = ["-map", "1" if film else "0", "-af", self._level(bool(heard)), *aac, "-b:a", "96k"]
        form = ["-t", f"{length:.6f}", "-map_chapters", "-1", "-map_metadata", "-1", "-movflags", "+faststart"]
        with ffmpeg.whole(out) as draft:
            await ffmpeg.run(
                [*film, *pcm, *pictures, *sounds, *form, "-f", "mp4", ffmpeg.file_url(draft)],
                stage=STAGE,
                stall_s=self.rooms.stall_s,
                stdin=sound,
                cwd=self.scratch,
                patient=True,
            )

    def _pictures(self, part: Source, captions: Path | None) -> tuple[list[str], list[str]]:
        """The film as an input, and what becomes of its pictures; nothing for sound alone."""
        if part.video_index is None:
            return [], []
        height = min(self.rooms.preview.segment_height, part.height) // 2 * 2
        filters = [f"scale=-2:{height}"] + ([f"ass={captions.name}:fontsdir={FONTS}"] if captions else [])
        film = ffmpeg.source(part.path, "-threads", "1", "-ss", f"{part.origin:.6f}", formats=part.container)
        return film, ["-map", f"0:{part.video_index}", "-vf", ",".join(filters), *FORM]

    def _level(self, dubbed: bool) -> str:
        """The voice at the loudness that is wanted for the whole; an original that stays, stays as loud as it is."""
        rules = self.rooms
        gain = RESTORE_DB + (rules.mux.lufs - rules.speak.lufs if dubbed else 0.0)
        return Master(gain, rules.mux.peak_db - OVERSHOOT_DB, None).filters(rules.mux.sample_rate)


def _touches(segment: Segment, excerpt: Excerpt, around: float) -> bool:
    start = min(segment.start, segment.start if segment.place is None else segment.place)
    end = max(segment.end, end_of_dub(segment) or 0.0)
    return start < excerpt.end + around and end > excerpt.start - around


def moved(segment: Segment, by: float) -> Segment:
    place = None if segment.place is None else segment.place + by
    return replace(segment, start=segment.start + by, end=segment.end + by, place=place, words=())


def within(cues: Sequence[Cue], excerpt: Excerpt) -> list[Cue]:
    """What of them is shown in an excerpt, in its own time."""
    first, last = excerpt.start, excerpt.end
    return [
        replace(cue, start=max(cue.start, first) - first, end=min(cue.end, last) - first)
        for cue in cues
        if cue.start < last and cue.end > first
    ]
