"""An engine that is asked and never answers is noticed.

How long an answer may take nobody can say: a clip waits in the engine's queue behind those of other jobs, on a small
machine for minutes. But engines serve their jobs in turn, so while one works at all, each of its jobs gets an answer
now and then, however many others wait. So what is bounded is not the wait for an answer but the silence: an engine that
gave none of a job's calls an answer for `engine_stall_s` is taken for stuck, and the job fails at that stage with a
fault that may pass. It begins again from its checkpoints, elsewhere or later. An error is an answer.

The replica that holds the engine has a `Pulse` of its own, over all jobs and with half the patience: one whose engine
is silent while anybody waits is unhealthy, and Serve puts another in its place, to which the same calls go again.

What it costs: a job that asks only once is noticed no sooner than the bound, and a single answer that honestly takes
longer than the bound is given up; the setting is for the slowest engine on the largest piece, not for the average.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from models.errors import Stalled
from serve_app.engines import Models

STAGES = {
    "detect": "transcription",
    "diarize": "transcription",
    "recognize": "transcription",
    "translate": "translation",
    "speak": "tts",
    "separate": "video_combination",
}
"""The stage of the wire in which a verb is waited for."""


def watched(models: Models, stall_s: float) -> Models:
    """The engines of one job, each of which raises Stalled after `stall_s` seconds of silence."""
    verbs = {name: getattr(models, name) for name in STAGES}
    calls: dict[str, Any] = {
        name: Watched(verb, STAGES[name], stall_s).call for name, verb in verbs.items() if verb is not None
    }
    return replace(models, **calls)


class Watched:
    """One verb; `call` is it, and raises Stalled, after which the answer is not waited for any more."""

    def __init__(self, verb: Callable[[Any], Awaitable[Any]], stage: str, stall_s: float) -> None:
        self._verb = verb
        self._stage = stage
        self._stall_s = stall_s
        self._heard = 0.0

    async def call(self, item: Any) -> Any:
        answer = asyncio.ensure_future(self._verb(item))
        asked = time.monotonic()
        try:
            while not answer.done():
                silence = time.monotonic() - max(self._heard, asked)
                if silence > self._stall_s:
                    raise Stalled(self._stage, f"its engine gave no answer for {self._stall_s:g} s; try again")
                await asyncio.wait({answer}, timeout=self._stall_s - silence + 0.01)
            self._heard = time.monotonic()
            return await answer
        finally:
            answer.cancel()


class Pulse:
    """Whether an engine that somebody waits for gives signs of life. Thread-safe."""

    def __init__(self, stage: str, stall_s: float) -> None:
        self._stage = stage
        self._stall_s = stall_s
        self._lock = threading.Lock()
        self._waiting = 0
        self._heard = 0.0

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Around one call; an error is an answer, and a caller who goes away has none."""
        with self._lock:
            self._heard = time.monotonic() if self._waiting == 0 else self._heard
            self._waiting += 1
        try:
            yield
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._heard = time.monotonic()
            raise
        else:
            self._heard = time.monotonic()
        finally:
            with self._lock:
                self._waiting -= 1

    def check(self) -> None:
        """Raises Stalled when there was silence for `stall_s` seconds while somebody waited."""
        if self._waiting and time.monotonic() - self._heard > self._stall_s:
            raise Stalled(self._stage, f"the engine of this replica gave no answer for {self._stall_s:g} s")


def beating(verb: Callable[[list[Any]], list[Any]], pulse: Pulse) -> Callable[[list[Any]], list[Any]]:
    """An engine's verb that is heard: its thread counts as waiting even when its caller has gone."""

    def heard(items: list[Any]) -> list[Any]:
        with pulse.asked():
            return verb(items)

    return heard
