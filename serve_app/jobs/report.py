"""What the rooms say while they work: how far they are, what they decided, and why.

One `Report` per attempt, fed by rooms (from the event loop or from threads) and emptied by whoever runs the job: the
Driver writes it into the store, the command line draws it. Stages overlap, because windows of the video flow through
the rooms on their own; so each stage has its own fraction, the percentage is their weighted sum, and the stage that is
shown is the earliest one that has not finished.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from configs.pipeline import STAGES
from serve_app.jobs.job import Insight, LogLine, Progress

WEIGHTS = dict(zip(STAGES, (5, 10, 15, 20, 20, 15, 5, 10), strict=True))
"""Share of each stage in the overall percentage: the spans by which the web page lights its steps."""


SECONDS_PER_SECOND = dict(zip(STAGES, (0.0, 0.01, 0.1, 0.01, 0.02, 0.01, 0.0, 0.3), strict=True))
"""Work per second of video, on two cores with the embedded models; a job's own pace corrects it once it is known."""


class Report:
    """Thread-safe; every reader sees percentages that only grow."""

    def __init__(
        self,
        job_id: str,
        start: Progress | None = None,
        lines: Sequence[LogLine] = (),
        insights: Sequence[Insight] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`start`, `lines` and `insights` are what earlier attempts have left: time spent adds up, nothing is lost."""
        self._job_id = job_id
        self._clock = clock
        self._lock = threading.Lock()
        self._base = start or Progress()
        self._fractions = dict.fromkeys(STAGES, 0.0)
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._began_at = clock()
        self._birth = self._began_at - self._base.elapsed_s
        self._speech_s = 0.0
        self._times = dict.fromkeys(STAGES, 1)
        self._passed: Counter[str] = Counter()
        self._lines = list(lines)
        self._insights = list(insights)
        self._taken = (len(self._lines), len(self._insights))
        self._last = datetime.min.replace(tzinfo=UTC)
        self._percent = self._base.percent

    # -- how far ---------------------------------------------------------------------------------------------------

    def begin(self, stage: str) -> None:
        with self._lock:
            self._began.setdefault(stage, self._clock())

    def fraction(self, stage: str, value: float) -> None:
        """`stage` has come so far, 0–1, in this pass; what is less than before is ignored."""
        self.begin(stage)
        with self._lock:
            come = (self._passed[stage] + value) / self._times[stage]
            self._fractions[stage] = max(self._fractions[stage], min(1.0, come))

    def advance(self, stage: str, seconds: float) -> None:
        """`stage` has worked off so many more seconds of speech."""
        self.begin(stage)
        with self._lock:
            if self._speech_s > 0 and self._fractions[stage] < 0.99:
                share = seconds / self._speech_s / self._times[stage]
                self._fractions[stage] = min(0.99, self._fractions[stage] + share)

    def finish(self, stage: str) -> None:
        self.fraction(stage, 1.0)
        with self._lock:
            self._passed[stage] += 1
            if self._passed[stage] >= self._times[stage]:
                self._ended.setdefault(stage, self._clock())

    def repeat(self, stages: Iterable[str], times: int) -> None:
        """Each of `stages` is gone through so often, once for each target; the last pass finishes it."""
        with self._lock:
            self._times.update(dict.fromkeys(stages, times))

    def describe(self, **facts: Any) -> None:
        """Fields of `Progress` that rooms learn on the way: duration_s, hardware, segments_total, early_preview, …"""
        with self._lock:
            self._base = replace(self._base, **facts)

    def expect_speech(self, seconds: float) -> None:
        """How much speech the middle rooms will have to work off in all."""
        with self._lock:
            self._speech_s = seconds

    def stage_seconds(self) -> dict[str, float]:
        """Wall seconds of each stage, over all attempts; windows overlap, so stages share seconds."""
        with self._lock:
            return self._stage_seconds(self._clock())

    def _eta(self, now: float) -> float:
        """Seconds to go: what the stages should still take, stretched by how long they took so far."""
        work = {stage: self._times[stage] * SECONDS_PER_SECOND[stage] * self._base.duration_s for stage in STAGES}
        done = sum(work[stage] * self._fractions[stage] for stage in STAGES)
        total = sum(work.values())
        pace = (now - self._began_at) / done if done > 0.1 * total else 1.0
        return (total - done) * min(10.0, max(0.1, pace))

    def _stage_seconds(self, now: float) -> dict[str, float]:
        earlier = self._base.stage_seconds
        spent = {s: self._ended.get(s, now) - began for s, began in self._began.items()}
        return {s: earlier.get(s, 0.0) + spent.get(s, 0.0) for s in STAGES if s in earlier or s in spent}

    # -- what was decided ------------------------------------------------------------------------------------------

    def log(self, stage: str, message: str, level: str = "info", chunk_id: str = "", **extra: Any) -> None:
        with self._lock:
            self._lines.append(LogLine(self._stamp(), level, stage, message, chunk_id, extra))

    def insight(self, kind: str, title: str, description: str, impact: str = "medium", **data: Any) -> None:
        with self._lock:
            number = len(self._insights) + 1
            stamp = self._stamp()
            self._insights.append(
                Insight(f"{self._job_id}-{stamp}-{number}", kind, title, description, impact, stamp, data)
            )

    def lines(self) -> list[LogLine]:
        with self._lock:
            return list(self._lines)

    def insights(self) -> list[Insight]:
        with self._lock:
            return list(self._insights)

    def drain(self) -> tuple[list[LogLine], list[Insight]]:
        """Log lines and insights since the last call."""
        with self._lock:
            lines, insights = self._lines[self._taken[0] :], self._insights[self._taken[1] :]
            self._taken = (len(self._lines), len(self._insights))
            return lines, insights

    def snapshot(self) -> Progress:
        with self._lock:
            now = self._clock()
            stage = next((s for s in STAGES if s not in self._ended), STAGES[-1])
            fraction = self._fractions[stage]
            percent = sum(WEIGHTS[s] * self._fractions[s] for s in STAGES)
            self._percent = max(self._percent, min(percent, 99.9))
            elapsed = now - self._birth
            return replace(
                self._base,
                percent=self._percent,
                stage=stage,
                stage_percent=100 * fraction,
                stage_elapsed_s=now - self._began.get(stage, now),
                stage_seconds=self._stage_seconds(now),
                elapsed_s=elapsed,
                eta_s=self._eta(now),
                position_s=fraction * self._base.duration_s,
            )

    def _stamp(self) -> str:
        """The current UTC time, always later than the one before: equal stamps would collapse on the page."""
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
