"""The one door to ffmpeg: hardened, cancellable, watched.

Every run is a child process in a process group of its own, so that cancelling the task that waits for it ends all of
it. A film of fifteen hours is as welcome as a clip of ten seconds, so the limit of time grows with the film and is a
wide one; sooner, a run that shows no sign of life for `stall_s` is ended. Signs of life are the output time that ffmpeg
reports and the bytes that it reads: only the latter move while a large mp4 is rearranged for fast start. Memory, CPU
time and the size of files have limits that the kernel keeps (`limits`).

Inputs go through `source`, which names a local file whatever characters it is called by, and allows no other protocol
and no other demuxer: a playlist in disguise cannot make ffmpeg fetch a page or read another file. The decoders
themselves are not sandboxed; run the service in a container when strangers may upload.
"""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import imageio_ffmpeg
import numpy as np
import psutil
from numpy.typing import NDArray

from models.errors import ArtifactMissing, DubError, OutOfSpace, StageFailed, Stalled
from serve_app.media import limits
from serve_app.spending import CHILDREN

Samples = NDArray[np.float32]
"""Interleaved sound of shape (samples, channels)."""

log = logging.getLogger(__name__)

T = TypeVar("T")

_brood: ContextVar[list[int]] = ContextVar("brood", default=[])  # noqa: B039 - everybody else's, and nobody's to end
"""Where `short` notes its children for whoever may have to end them."""

WALL_S = 6 * 3600.0
SLOWEST = 60.0
"""A run may take WALL_S and so many times as long as what it works on."""

_TICK_S = 0.5
_NO_SPACE = ("No space left on device", "Disk quota exceeded")
_BEYOND = (-signal.SIGXFSZ, -signal.SIGXCPU)
_NOT_RUN = (126, 127)
"""What the programs in front of it end with when it is not there, or no program."""
_MAY_PASS = ("Input/output error", "Cannot allocate memory", "Resource temporarily unavailable", "Too many open files")


@cache
def binary() -> str:
    """The ffmpeg that is run: FFMPEG of the environment, else the build that imageio-ffmpeg carries."""
    return os.environ.get("FFMPEG") or str(imageio_ffmpeg.get_ffmpeg_exe())


def source(path: str | Path, *options: str, formats: str) -> list[str]:
    """Arguments that open `path` as an input, with `options` in front; `formats` are the demuxers that may read it."""
    guards = [part for name, value in guard(formats).items() for part in (f"-{name}", value)]
    return [*guards, *options, "-i", file_url(path)]


def guard(formats: str) -> dict[str, str]:
    """Input options that keep ffmpeg from any protocol but files and from any demuxer but `formats`."""
    return {"protocol_whitelist": "file", "format_whitelist": formats}


def file_url(path: str | Path) -> str:
    """A name that ffmpeg takes for a file, even when it begins with a dash or holds a colon."""
    return f"file:{Path(path).absolute()}"


@contextlib.contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A draft beside `out` that becomes `out` when the block succeeds and is removed when it does not.

    Drafts have unlike names: two processes that make the same file do not write into each other's.
    """
    draft = out.with_name(f".{uuid.uuid4().hex[:8]}.{out.name}.part")
    try:
        yield draft
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


def short(args: Sequence[str], *, timeout_s: float, feed: bytes = b"") -> bytes:
    """What a run of seconds writes to its standard output, given `feed` on its standard input. Blocks.

    Raises subprocess.SubprocessError when it fails, takes too long or is not there, OSError when no child can be made.
    """
    command = limits.confined(limits.working(timeout_s), [binary(), "-nostdin", "-hide_banner", "-v", "error", *args])
    pipe, brood = subprocess.PIPE, _brood.get()
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, env=limits.environment(), start_new_session=True
    ) as process:
        brood.append(process.pid)
        try:
            out, errors = process.communicate(feed, timeout_s)
        except BaseException:  # a child of the child would hold the pipes open
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            brood.remove(process.pid)
    if process.returncode:
        log.debug("ffmpeg ended with %s:\n%s", process.returncode, errors.decode(errors="replace"))
        raise subprocess.CalledProcessError(process.returncode, "ffmpeg")
    return out


async def in_thread(work: Callable[..., T], *args: Any) -> T:
    """asyncio.to_thread for work that calls `short`: when it is cancelled, so is the child that it waits for."""
    brood: list[int] = []
    token = _brood.set(brood)
    try:
        return await asyncio.to_thread(work, *args)
    finally:
        _brood.reset(token)
        for pid in brood[:]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


async def run(
    args: Sequence[str],
    *,
    stage: str,
    stall_s: float,
    duration: float | None = None,
    on_progress: Callable[[float], None] | None = None,
    on_log: Callable[[str], None] | None = None,
    stdin: AsyncGenerator[bytes, None] | None = None,
    cwd: Path | None = None,
    verbosity: str = "warning",
    wall_s: float = WALL_S,
    patient: bool = False,
) -> None:
    """Run ffmpeg to its end. `on_progress` gets fractions 0–1 of `duration` (seconds), `on_log` each line of the log.

    It may take `wall_s` seconds, and SLOWEST times `duration` more; a `patient` run takes what others leave of the
    processor. Raises StageFailed(stage, …), transient where another try may help; OutOfSpace; and whatever `stdin`
    raises.
    """
    pulse = _Pulse(duration, on_progress)
    tail = _Tail(on_log)
    command = ["-v", verbosity, "-y", "-nostats", "-progress", "pipe:1", "-stats_period", "0.5", *args]
    wall_s += SLOWEST * (duration or 0)
    async with _process(command, feed=stdin is not None, cwd=cwd, wall_s=wall_s, patient=patient) as process:
        readers = [asyncio.create_task(_lines(process.stdout, pulse.hear))]
        readers += [asyncio.create_task(_lines(process.stderr, tail.hear))]
        feeders = [asyncio.create_task(_feed(process, stdin))] if stdin is not None else []
        try:
            async with asyncio.timeout(wall_s) as wall:
                await _outlive(process, readers + feeders, pulse, stage, stall_s)
            await asyncio.gather(*readers)
        except TimeoutError:
            if not wall.expired():
                raise
            raise _too_much(stage) from None
        finally:
            await _cancel(readers + feeders)
    _judge(process.returncode, tail, stage)


async def pcm(
    args: Sequence[str],
    *,
    stage: str,
    stall_s: float,
    rate: int,
    channels: int,
    chunk_s: float = 1.0,
    wall_s: float = WALL_S,
) -> AsyncGenerator[Samples, None]:
    """Decoded sound in chunks of `chunk_s` seconds, shape (samples, channels); the last one may be shorter.

    Close it (contextlib.aclosing) to end the child. It may take as long as `run`, for whatever it has decoded so far,
    and raises alike.
    """
    tail, until = _Tail(), time.monotonic() + wall_s
    size = round(chunk_s * rate) * channels * 4
    form = ["-f", "f32le", "-c:a", "pcm_f32le", "-ar", str(rate), "-ac", str(channels), "pipe:1"]
    async with _process(["-v", "warning", *args, *form], feed=False) as process:
        listener = asyncio.create_task(_lines(process.stderr, tail.hear))
        try:
            while block := await _block(cast(asyncio.StreamReader, process.stdout), size, stage, stall_s, until):
                until += SLOWEST * chunk_s
                whole = len(block) // (4 * channels) * 4 * channels
                yield np.frombuffer(block[:whole], np.float32).reshape(-1, channels)
            await process.wait()
            await listener
        finally:
            await _cancel([listener])
    _judge(process.returncode, tail, stage)


class _Pulse:
    """When ffmpeg last showed a sign of life, and how far it is."""

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


class _Tail:
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
async def _process(
    args: Sequence[str], feed: bool, cwd: Path | None = None, wall_s: float = WALL_S, patient: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A child whose whole process group is gone when the block is left, however it is left."""
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *limits.confined(limits.working(wall_s), [binary(), "-nostdin", "-hide_banner", *args], patient),
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
        await asyncio.shield(_reap(process))
        CHILDREN.ended()


async def _reap(process: asyncio.subprocess.Process) -> None:
    """Wait for a killed child. asyncio does not see the end of one whose pipes were not read to theirs."""
    for stream in (process.stdout, process.stderr):
        while stream is not None and await stream.read(65536):
            pass
    await process.wait()


async def _outlive(
    process: asyncio.subprocess.Process, helpers: list[asyncio.Task[None]], pulse: _Pulse, stage: str, stall_s: float
) -> None:
    """Wait for the end of the child; the failure of a helper or a stall ends the wait."""
    ended = asyncio.create_task(process.wait())
    try:
        while not ended.done():
            tick = min(_TICK_S, stall_s / 4)
            done, _ = await asyncio.wait({ended, *helpers}, timeout=tick, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
            if not ended.done() and pulse.still_for(process.pid) > stall_s:
                raise _stalled(stage, stall_s)
    finally:
        await _cancel([ended])


async def _feed(process: asyncio.subprocess.Process, blocks: AsyncGenerator[bytes, None]) -> None:
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
        log.debug("ffmpeg closed its input early")


async def _lines(stream: asyncio.StreamReader | None, hear: Callable[[str], None]) -> None:
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


async def _block(stream: asyncio.StreamReader, size: int, stage: str, stall_s: float, until: float) -> bytes:
    left = until - time.monotonic()
    try:
        return await asyncio.wait_for(stream.readexactly(size), min(left, stall_s))
    except asyncio.IncompleteReadError as end:
        return end.partial
    except TimeoutError:
        raise (_too_much(stage) if left < stall_s else _stalled(stage, stall_s)) from None


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _bytes_read(pid: int) -> int:
    try:
        return int(psutil.Process(pid).io_counters().read_chars)
    except (psutil.Error, AttributeError):
        return 0


def _stalled(stage: str, stall_s: float) -> Stalled:
    return Stalled(stage, f"media processing made no progress for {stall_s:g} seconds; try again")


def _too_much(stage: str) -> StageFailed:
    return StageFailed(stage, "media processing needs more than this service allows for one video; split the video")


def _judge(code: int | None, tail: _Tail, stage: str) -> None:
    """Raise what a finished run deserves; a process that was killed from outside (memory) may be tried again."""
    if code == 0:
        return
    if code in _NOT_RUN:
        log.error("%s could not be run:\n%s", binary(), tail)
        raise ArtifactMissing("ffmpeg cannot be run on this server; dubserve doctor says what is missing")
    log.debug("ffmpeg ended with %s in %s:\n%s", code, stage, tail)
    error: DubError
    if tail.mentions(_NO_SPACE):
        error = OutOfSpace("the disk is full; free some space on the server and start the job again")
    elif code in _BEYOND:
        error = _too_much(stage)
    else:
        transient = code is None or code < 0 or tail.mentions(_MAY_PASS)
        error = StageFailed(stage, "media processing failed; the file may be damaged", transient=transient)
    raise error
