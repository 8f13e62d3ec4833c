"""One room's answer for one window: from its checkpoint, else worked out and kept.

A key is a hash of what went in and of the settings that matter to the room, and holds the key of the step before it; so
a resumed job skips what is there, and what changes upstream is redone downstream.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from models.segment import Segment, segments_from_json, to_json
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Workspace
from serve_app.stages import room


@dataclass(slots=True)
class Steps:
    """`windows` is how many of them a stage has to see before it has finished."""

    workspace: Workspace
    report: Report
    windows: int
    passed: Counter[str] = field(default_factory=Counter)

    async def take(
        self,
        stage: str,
        name: str,
        made_from: str,
        work: Coroutine[None, None, list[Segment]],
        complete: Callable[[list[Segment]], bool] = lambda _: True,
    ) -> list[Segment]:
        """The segments after `stage`; `name` is that of the checkpoint, `made_from` its key.

        What is not `complete` goes on and is not kept: the next attempt has another try at what is missing.
        """
        with room(self.report, stage), contextlib.closing(work):  # it may never be started
            segments = await asyncio.to_thread(self._kept, name, made_from)
            if segments is not None:
                for segment in segments:
                    self.report.advance(stage, segment.duration)
            else:
                segments = await work
                sounds = [Path(p) for s in segments for p in (s.speech, s.dub) if p]
                if complete(segments):
                    await asyncio.to_thread(self.workspace.save, name, made_from, to_json(segments), files=sounds)
        self.count(stage)
        return segments

    def count(self, stage: str) -> None:
        """One more window is through."""
        self.passed[stage] += 1
        if self.passed[stage] == self.windows:
            self.report.finish(stage)

    def _kept(self, name: str, made_from: str) -> list[Segment] | None:
        """The segments of a checkpoint; None without one, or with one that another version wrote."""
        rows = self.workspace.load(name, made_from)
        try:
            return None if rows is None else segments_from_json(rows)
        except (TypeError, KeyError):
            return None
