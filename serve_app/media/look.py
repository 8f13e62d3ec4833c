"""A look into a stranger's file (`probe`), in a child process with limits, at the price of a third of a second.

A file that crashes libav, or makes it take all memory, must not end the process that works for others, and a thread,
unlike a child, cannot be stopped.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from configs.pipeline import PrepareSettings
from models.errors import StageFailed, UnreadableMedia
from serve_app.media import limits
from serve_app.media.probe import Source

logger = logging.getLogger(__name__)


async def look(
    path: str | Path, settings: PrepareSettings, language: str = "", stage: str = "initialization"
) -> Source:
    """`probe` of an absolute path in a child process, which is gone when this returns, is cancelled or fails.

    Raises UnreadableMedia, also for a file that ends the child or takes it too long; StageFailed(stage, …) when the
    child cannot do its work.
    """
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "serve_app.media.probe", str(path), settings.model_dump_json(), language),
        stdout=pipe,
        stderr=pipe,
        env=limits.environment(),
        cwd=Path(__file__).parents[2],  # where `-m` finds this very code, installed or not
        start_new_session=True,  # and nothing that asks for a fork, which stops the loop of a large process for long
    )
    try:
        async with asyncio.timeout(settings.look_s):
            answer, complaint = await child.communicate()
    except TimeoutError:
        raise UnreadableMedia("the file takes too long to look into; convert it to mp4 and try again") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await asyncio.shield(child.communicate())  # asyncio sees the end only of a child whose pipes are empty
    return _answered(child.returncode, answer, complaint, stage)


def _answered(code: int | None, answer: bytes, complaint: bytes, stage: str) -> Source:
    if code is not None and code < 0:
        raise UnreadableMedia("the file is damaged in a way that no reader survives; convert it and try again")
    if code != 0:
        logger.error("the child that reads headers ended with %s: %s", code, complaint.decode(errors="replace"))
        raise StageFailed(stage, "the file could not be looked into; the operator finds why in the log")
    found = json.loads(answer)
    if "unreadable" in found:
        raise UnreadableMedia(found["unreadable"])
    return Source(**{**found["source"], "other_audio": tuple(found["source"]["other_audio"])})
