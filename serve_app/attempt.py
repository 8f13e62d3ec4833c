"""One attempt at a job, from the request to files where everybody reads them: around the straight line of `pipeline`.

Whatever an attempt makes for others lies in a folder of its own until its `confirm` has returned, so that two attempts
that are alive at the same time, one without knowing that it lost its lease, cannot mix their files. What earlier
attempts left in theirs is removed first: whoever still works there may write nothing any more.
"""

import asyncio
import re
import shutil
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from configs.app import AppSettings
from serve_app.engines import Models
from serve_app.jobs.edits import Rows
from serve_app.jobs.job import Request, Result
from serve_app.jobs.memory import Memory
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Artifacts, Workspace, disk_space, key
from serve_app.media.ffmpeg import whole
from serve_app.pipeline import Line
from serve_app.stages.translate import Once
from serve_app.stall import watched
from serve_app.takes import Takes

ATTEMPT = re.compile(r"attempt-(\d+)-[0-9a-f]{8}")


async def nobody_else() -> None:
    """The `confirm` of a run that has no rival."""


async def dub(
    request: Request,
    models: Models,
    settings: AppSettings,
    workspace: Workspace,
    files: Artifacts,
    report: Report,
    confirm: Callable[[], Awaitable[object]] = nobody_else,
    edits: Rows | None = None,
    fence: int = 0,
) -> Result:
    """Dubs `request.path` into `files`, with the `edits` of its owner, as the attempt of this `fence`.

    Raises a DubError; every other error of a room comes out as StageFailed. A dub that is not good enough to be
    delivered leaves its reports and subtitles all the same.
    """
    await asyncio.to_thread(clear, workspace.folder, fence)
    said, spoken = [await asyncio.to_thread(Memory, workspace.path(f"{name}.jsonl")) for name in ("said", "spoken")]
    translator, voices = (key(engine.what()) for engine in (settings.engines.translation, settings.engines.tts))
    models = watched(models, settings.pipeline.engine_stall_s)
    once = replace(  # equal sentences of a job are translated once, and said once
        models,
        translate=Once(models.translate, said, translator),
        speak=Takes(models.speak, workspace.path("takes"), spoken, voices),
    )
    own = workspace.path(f"attempt-{fence}-{uuid.uuid4().hex[:8]}", "out")
    try:
        line = Line(request, once, settings, workspace, own, files, report, edits or {})
        result = await line.run()
        line.same_input()
        await confirm()
        await asyncio.to_thread(publish, own, files.output.parent, films=line.refused is None)
    finally:
        await asyncio.to_thread(shutil.rmtree, own.parent, ignore_errors=True)
    if line.refused:
        raise line.refused
    return result


def clear(folder: Path, fence: int) -> None:
    """Removes the folders of attempts before the one of this `fence`, never that of a later one."""
    for attempt in folder.glob("attempt-*"):
        named = ATTEMPT.fullmatch(attempt.name)
        if (int(named[1]) if named else 0) < fence:  # an older release gave them no number
            shutil.rmtree(attempt, ignore_errors=True)


def publish(drafts: Path, folder: Path, films: bool = True) -> None:
    """Moves finished files to where everybody reads them, each whole or not at all; `films` too, or without them."""
    for draft in drafts.iterdir():
        if draft.suffix == ".mp4" and not films:
            continue
        try:
            draft.replace(folder / draft.name)
        except OSError:  # another disk
            with whole(folder / draft.name) as copy, disk_space():
                shutil.copyfile(draft, copy)
