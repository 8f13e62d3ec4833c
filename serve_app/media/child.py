"""A child process that works on a film: in a group of its own, with limits, watched, and gone when nobody waits for it.

A film of fifteen hours is as welcome as a clip of ten seconds, so the limit of time grows with the film and is a wide
one; sooner, a run that shows no sign of life for `stall_s` is ended. Signs of life are the output time that it reports
and the bytes that it reads: only the latter move while a large mp4 is rearranged for fast start.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import psutil

from models.errors import StageFailed, Stalled
from serve_app.media import limits
from serve_app.spending import CHILDREN

log = logging.getLogger(__name__)

WALL_S = 6 * 3600.0
"""Of a run, to which comes a share of what it works on: `ffmpeg.SLOWEST`."""

TICK_S = 0.5
"""Between two looks for signs of life."""


class Pulse:
    """When the child last showed a sign of life, and how far it is."""

    def __init__(self, duration: float | None, on_progress: Callable[[float], None] | None) -> None:
        self._duration = duration
        self._on_progress = on_progress
        self._sign: tuple[str, int] = ("", 0)
        self._position = ""
        self._since = time.monotonic()

    def hear(self, line: str) -> None:
        key, _, value = line.partition("=")
        if key != "out_time_us" or not value.lstrip("-").isdigit():
            return
        self._position = value
        if self._duration and self._on_progress:
            self._on_progress(min(1.0, max(0.0, int(value) / 1e6 / self._duration)))

    def still_for(self, pid: int) -> float:
        """Seconds since the last change of position or of bytes read."""
        sign = (self._position, _bytes_read(pid))
        if sign != self._sign:
            self._sign, self._since = sign, time.monotonic()
        return time.monotonic() - self._since


class Tail:
    """The end of the log: for the operator's debug log and to tell failures apart, never for the caller's eyes."""

    def __init__(self, on_log: Callable[[str], None] | None = None) -> None:
        self._on_log = on_log
        self._lines: deque[str] = deque(maxlen=40)

    def hear(self, line: str) -> None:
        self._lines.append(line)
        if self._on_log:
            self._on_log(line)

    def mentions(self, phrases: Sequence[str]) -> bool:
        return any(phrase in line for line in self._lines for phrase in phrases)

    def __str__(self) -> str:
        return "\n".join(self._lines)


@contextlib.asynccontextmanager
async def process(
    command: Sequence[str], feed: bool, cwd: Path | None = None, wall_s: float = WALL_S, patient: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A child whose whole process group is gone when the block is left, however it is left."""
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *limits.confined(limits.working(wall_s), command, patient),
        stdin=pipe if feed else null,
        stdout=pipe,
        stderr=pipe,
        cwd=cwd,
        env=limits.environment(),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(reap(process))
        CHILDREN.ended()


async def reap(process: asyncio.subprocess.Process) -> None:
    """Wait for a killed child. asyncio does not see the end of one whose pipes were not read to theirs."""
    for stream in (process.stdout, process.stderr):
        while stream is not None and await stream.read(65536):
            pass
    await process.wait()


async def outlive(
    process: asyncio.subprocess.Process, helpers: list[asyncio.Task[None]], pulse: Pulse, stage: str, stall_s: float
) -> None:
    """Wait for the end of the child; the failure of a helper or a stall ends the wait."""
    ended = asyncio.create_task(process.wait())
    try:
        while not ended.done():
            tick = min(TICK_S, stall_s / 4)
            done, _ = await asyncio.wait({ended, *helpers}, timeout=tick, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
            if not ended.done() and pulse.still_for(process.pid) > stall_s:
                raise stalled(stage, stall_s)
    finally:
        await cancel([ended])


async def feed(process: asyncio.subprocess.Process, blocks: AsyncGenerator[bytes, None]) -> None:
    """Write `blocks`. When the child closes its end first, its exit status says why."""
    pipe = cast(asyncio.StreamWriter, process.stdin)
    try:
        async with contextlib.aclosing(blocks):
            async for block in blocks:
                pipe.write(block)
                await pipe.drain()
        pipe.close()
        await pipe.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        log.debug("a child closed its input early")


async def lines(stream: asyncio.StreamReader | None, hear: Callable[[str], None]) -> None:
    """Hear each line of `stream`; a line of any length is cut rather than kept."""
    stream = cast(asyncio.StreamReader, stream)
    rest = b""
    while block := await stream.read(65536):
        *whole, rest = (rest + block).replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            hear(line.decode(errors="replace").strip()[:2000])
        rest = rest[-65536:]
    if rest.strip():
        hear(rest.decode(errors="replace").strip()[:2000])


async def block(stream: asyncio.StreamReader, size: int, stage: str, stall_s: float, until: float) -> bytes:
    left = until - time.monotonic()
    try:
        return await asyncio.wait_for(stream.readexactly(size), min(left, stall_s))
    except asyncio.IncompleteReadError as end:
        return end.partial
    except TimeoutError:
        raise (too_much(stage) if left < stall_s else stalled(stage, stall_s)) from None


async def cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _bytes_read(pid: int) -> int:
    try:
        return int(psutil.Process(pid).io_counters().read_chars)
    except (psutil.Error, AttributeError):
        return 0


def stalled(stage: str, stall_s: float) -> Stalled:
    return Stalled(stage, f"media processing made no progress for {stall_s:g} seconds; try again")


def too_much(stage: str) -> StageFailed:
    return StageFailed(stage, "media processing needs more than this service allows for one video; split the video")
