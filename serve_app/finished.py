"""The finished video of one target, kept until its job's row says that it is there.

Encoding is the longest single step of a job, and between its end and the row lie a report, a lease to be confirmed and
a file to be moved: a run that dies there would encode again. So the video gets a second name in the workspace, one that
holds the hash of all that went in: moving the first one away leaves this one where it was, and costs no disk. Where a
file cannot have two names it is copied.

An attempt makes its video in its own folder and looks at that one alone. Another that is alive without knowing that it
lost its lease may take the kept one away at any moment, and costs the next attempt some time at worst.

To know what went in, every clip of the dub is read once; to trust what is there, the video is.
"""

import asyncio
import errno
import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from configs.pipeline import MuxSettings
from models.artifact import digest
from serve_app.jobs.workspace import Workspace, disk_space, key
from serve_app.stages.mux import Dub, Mixed

LINKLESS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


def ingredients(dub: Dub, settings: MuxSettings) -> str:
    """The key of a video: everything that it is made from. Blocks."""
    film = Path(dub.source.path).stat()
    clips = [digest(Path(segment.dub)) for segment in dub.segments if segment.dub]
    text = dub.subtitles.read_text("utf-8") if dub.subtitles else ""
    what = (dub.segments, clips, dub.music, text, dub.mode, settings, dub.language)
    return key(dub.source, film.st_size, film.st_mtime_ns, *what)


async def finished(
    workspace: Workspace, target: str, made_from: str, out: Path, make: Callable[[Path], Awaitable[Mixed]]
) -> Mixed:
    """The video of `made_from` at `out`: the one that is kept, else what `make` writes there, which is kept then.

    Raises what `make` raises, and OutOfSpace.
    """
    video = workspace.path("finished", f"{target}-{made_from[:16]}.mp4")
    known = await asyncio.to_thread(_known, workspace, video, made_from, out)
    if known is None:
        known = await make(out)
        await asyncio.to_thread(_keep, workspace, target, video, made_from, out, known)
    return known


def _known(workspace: Workspace, video: Path, made_from: str, out: Path) -> Mixed | None:
    try:
        row = workspace.load(f"finished/{video.stem}", made_from)
        known = None if row is None else Mixed(**row)
        if known is not None:
            _second_name(video, out)
    except (TypeError, FileNotFoundError):  # another version wrote it, or another attempt took it away just now
        return None
    return known


def _keep(workspace: Workspace, target: str, video: Path, made_from: str, out: Path, made: Mixed) -> None:
    """A target has one video: those of other settings and edits make room."""
    for old in video.parent.glob(f"{target}-*"):
        if old.stem != video.stem:
            old.unlink(missing_ok=True)
    draft = out.parent.with_name(f"kept-{video.name}")
    _second_name(out, draft)
    draft.replace(video)
    with suppress(FileNotFoundError):  # another attempt took it away
        workspace.save(f"finished/{video.stem}", made_from, asdict(made), files=[video])


def _second_name(video: Path, other: Path) -> None:
    other.unlink(missing_ok=True)
    try:
        os.link(video, other)
    except OSError as error:
        if error.errno not in LINKLESS:
            raise
        with disk_space():
            shutil.copyfile(video, other)
