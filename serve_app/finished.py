"""The finished video of one target, kept until its job's row says that it is there.

Encoding is the longest single step of a job, and between its end and the row lie a report, a lease to be confirmed and
a file to be moved: a run that dies there would encode again. So the video is made in the workspace, under a name that
holds the hash of all that went in, and given on as a second name of the same file: moving that one away leaves this one
where it was, and costs no disk. Where a file cannot have two names it is copied.

To know what went in, every clip of the dub is read once; to trust what is there, the video is.
"""

import asyncio
import errno
import os
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from configs.pipeline import MuxSettings, Subtitles
from models.artifact import digest
from models.segment import Segment
from serve_app.jobs.workspace import Workspace, key
from serve_app.media.probe import Source
from serve_app.stages.mux import Mixed

LINKLESS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


def ingredients(
    source: Source, dubbed: Sequence[Segment], subtitles: Path, mode: Subtitles, settings: MuxSettings, target: str
) -> str:
    """The key of a video: everything that it is made from. Blocks."""
    film = Path(source.path).stat()
    clips = [digest(Path(segment.dub)) for segment in dubbed if segment.dub]
    text = subtitles.read_text("utf-8")
    return key(source, film.st_size, film.st_mtime_ns, dubbed, clips, text, mode, settings, target)


async def finished(
    workspace: Workspace, target: str, made_from: str, out: Path, make: Callable[[Path], Awaitable[Mixed]]
) -> Mixed:
    """The video of `made_from` at `out`: the one that is kept, else what `make` writes to the path it is given.

    Raises what `make` raises, and OutOfSpace.
    """
    video = workspace.path("finished", f"{target}-{made_from[:16]}.mp4")
    known = await asyncio.to_thread(_known, workspace, video, made_from)
    if known is None:
        await asyncio.to_thread(_forget, workspace, target)
        known = await make(video)
        await asyncio.to_thread(workspace.save, f"finished/{video.stem}", made_from, asdict(known), files=[video])
    await asyncio.to_thread(_second_name, video, out)
    return known


def _known(workspace: Workspace, video: Path, made_from: str) -> Mixed | None:
    try:
        row = workspace.load(f"finished/{video.stem}", made_from)
        return None if row is None else Mixed(**row)
    except TypeError:  # another version wrote it
        return None


def _forget(workspace: Workspace, target: str) -> None:
    """A target has one video: those of other settings and edits make room."""
    for old in workspace.path("finished", target).parent.glob(f"{target}-*"):
        old.unlink(missing_ok=True)


def _second_name(video: Path, out: Path) -> None:
    out.unlink(missing_ok=True)
    try:
        os.link(video, out)
    except OSError as error:
        if error.errno not in LINKLESS:
            raise
        shutil.copyfile(video, out)
