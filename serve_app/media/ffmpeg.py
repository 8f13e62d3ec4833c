"""The one door to ffmpeg: hardened, cancellable, watched.

Every run is a child process (`child`) in a process group of its own, so that cancelling the task that waits for it ends
all of it. Memory, CPU time and the size of files have limits that the kernel keeps (`limits`).

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
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactMissing, DubError, OutOfSpace, StageFailed
from serve_app.media import limits
from serve_app.media.child import WALL_S, Pulse, Tail, block, cancel, feed, lines, outlive, process, too_much

Samples = NDArray[np.float32]
"""Interleaved sound of shape (samples, channels)."""

log = logging.getLogger(__name__)

T = TypeVar("T")

_brood: ContextVar[list[int]] = ContextVar("brood", default=[])  # noqa: B039 - everybody else's, and nobody's to end
"""Where `short` notes its children for whoever may have to end them."""

SLOWEST = 60.0
"""A run may take WALL_S and so many times as long as what it works on."""

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
    pulse = Pulse(duration, on_progress)
    tail = Tail(on_log)
    command = ["-v", verbosity, "-y", "-nostats", "-progress", "pipe:1", "-stats_period", "0.5", *args]
    wall_s += SLOWEST * (duration or 0)
    async with _process(command, feed=stdin is not None, cwd=cwd, wall_s=wall_s, patient=patient) as child:
        readers = [asyncio.create_task(lines(child.stdout, pulse.hear))]
        readers += [asyncio.create_task(lines(child.stderr, tail.hear))]
        feeders = [asyncio.create_task(feed(child, stdin))] if stdin is not None else []
        try:
            async with asyncio.timeout(wall_s) as wall:
                await outlive(child, readers + feeders, pulse, stage, stall_s)
            await asyncio.gather(*readers)
        except TimeoutError:
            if not wall.expired():
                raise
            raise too_much(stage) from None
        finally:
            await cancel(readers + feeders)
    _judge(child.returncode, tail, stage)


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
    tail, until = Tail(), time.monotonic() + wall_s
    size = round(chunk_s * rate) * channels * 4
    form = ["-f", "f32le", "-c:a", "pcm_f32le", "-ar", str(rate), "-ac", str(channels), "pipe:1"]
    async with _process(["-v", "warning", *args, *form], feed=False) as child:
        listener = asyncio.create_task(lines(child.stderr, tail.hear))
        try:
            while raw := await block(cast(asyncio.StreamReader, child.stdout), size, stage, stall_s, until):
                until += SLOWEST * chunk_s
                whole = len(raw) // (4 * channels) * 4 * channels
                yield np.frombuffer(raw[:whole], np.float32).reshape(-1, channels)
            await child.wait()
            await listener
        finally:
            await cancel([listener])
    _judge(child.returncode, tail, stage)


def _process(
    args: Sequence[str], feed: bool, cwd: Path | None = None, wall_s: float = WALL_S, patient: bool = False
) -> contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process]:
    return process([binary(), "-nostdin", "-hide_banner", *args], feed, cwd, wall_s, patient)


def _judge(code: int | None, tail: Tail, stage: str) -> None:
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
        error = too_much(stage)
    else:
        transient = code is None or code < 0 or tail.mentions(_MAY_PASS)
        error = StageFailed(stage, "media processing failed; the file may be damaged", transient=transient)
    raise error
