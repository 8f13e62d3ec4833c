"""The music of a film, taken out from behind its voices where the dub speaks; elsewhere the original stays whole.

That is the work of an engine, and for most of them the most expensive work of a whole job. So it is done in pieces
(`media.music`), each window's when it is dubbed, while others are still being recognised; the preview and the film find
them made. A piece is kept in the job's workspace under all that it was made from: a resumed job, another target and a
new edit find it there, and one that is damaged is made again.

An engine that fails costs the music and never the job: without a piece the original is ducked, as where there is no
engine. A few pieces that fail are passed over; then, or when it gives no answer at all, it is not asked again. The next
attempt asks for what is missing.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from configs.pipeline import PipelineSettings
from models.errors import DubError, Stalled
from models.segment import SEPARATION_RATE, Segment, Stereo
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Workspace, key
from serve_app.media import ffmpeg, music
from serve_app.media.mix import ducked
from serve_app.media.music import Piece
from serve_app.media.probe import Source
from serve_app.media.track import sound
from serve_app.stages import room

STAGE = "video_combination"
PATIENCE = 3
"""Pieces that may fail before the engine is given up."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Accompaniment:
    """Of one job. `made_from` is the key of the film's sound and of the engine; None in place of an engine: no music.

    Meant for one event loop; whoever asks for the same piece at the same time waits for it.
    """

    separate: Callable[[Stereo], Awaitable[Stereo]] | None
    source: Source
    made_from: str
    rooms: PipelineSettings
    workspace: Workspace
    report: Report
    seconds: float = 0.0
    _known: dict[int, Piece | None] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _failures: int = 0

    async def under(self, segments: Sequence[Segment]) -> list[Piece]:
        """The music under these segments and their dubs, in pieces; without those that could not be made.

        Raises OutOfSpace, and StageFailed when the film cannot be read.
        """
        if self.separate is None or not self.rooms.mux.music:
            return []
        spans = await asyncio.to_thread(ducked, segments, self.rooms.mux.duck_fade_s)
        with room(self.report, STAGE):
            pieces = [await self._piece(number) for number in music.numbers(spans)]
        return [piece for piece in pieces if piece is not None]

    def tell(self) -> None:
        """One line on what was done for the music, if anything was."""
        if kept := sum(piece is not None for piece in self._known.values()):
            level = f"The music stays under the dub at {100 * self.rooms.mux.music:.0f} % of its level"
            took = f"taking it from the voices took {self.seconds:.1f} s"
            self.report.log(STAGE, f"{level}, in {kept} pieces of {music.PIECE_S:.0f} s; {took}", pieces=kept)

    async def _piece(self, number: int) -> Piece | None:
        async with self._turn:
            if number not in self._known:
                self._known[number] = await self._kept_or_made(number)
            return self._known[number]

    async def _kept_or_made(self, number: int) -> Piece | None:
        rate = self.rooms.mux.sample_rate
        made_from = key(self.made_from, rate, number, music.PIECE_S, music.RAMP_S, music.CONTEXT_S)
        name = f"music/{number:05}"
        path = self.workspace.path(f"{name}.flac")
        if await asyncio.to_thread(self.workspace.load, name, made_from) is None:
            made = await self._made(number)
            if made is None:
                return None
            await asyncio.to_thread(music.keep, path, made, rate)
            await asyncio.to_thread(self.workspace.save, name, made_from, number, files=[path])
        return Piece(str(path), music.covered(number).start, made_from)

    async def _made(self, number: int) -> Stereo | None:
        """What the engine makes of the sound around a piece; None where it fails, or was given up."""
        if self.separate is None or self._failures >= PATIENCE:
            return None
        original = await self._original(number)
        began = time.monotonic()
        try:
            return _sound(await self.separate(original), original)
        except Exception as error:
            log.warning("no music for piece %d", number, exc_info=error)
            self._failures = PATIENCE if isinstance(error, Stalled) else self._failures + 1
            self._complain(number, str(error) if isinstance(error, DubError) else "the engine is out of order")
            return None
        finally:
            self.seconds += time.monotonic() - began

    async def _original(self, number: int) -> Stereo:
        """The sound that is taken apart for a piece; silent before the film and after it."""
        span = music.heard(number)
        part = replace(self.source, origin=self.source.origin + span.start, duration=span.duration)
        decoded = ffmpeg.pcm(
            sound(part, SEPARATION_RATE), stage=STAGE, stall_s=self.rooms.stall_s, rate=SEPARATION_RATE, channels=2
        )
        async with aclosing(decoded) as chunks:
            parts = [chunk async for chunk in chunks]
        whole = np.concatenate([np.zeros((0, 2), np.float32), *parts])
        samples = round(span.duration * SEPARATION_RATE)
        return np.pad(whole[:samples], ((0, max(0, samples - len(whole))), (0, 0))).T

    def _complain(self, number: int, reason: str) -> None:
        span = music.covered(number)
        where = f"from {max(0.0, span.start):.0f} to {span.end:.0f} s"
        if self._failures >= PATIENCE:
            where += ", nor where it is missing later"
        self.report.log(STAGE, f"Under the dub there is no music {where}: {reason}", "warning")


def _sound(made: Any, original: Stereo) -> Stereo:
    """What the engine gave, if it is sound in the shape of the original. Raises ValueError."""
    if np.shape(made) != original.shape or not np.all(np.isfinite(made)):
        raise ValueError("an engine of the separation shelf gave back something else than sound")
    return np.asarray(made, np.float32)
