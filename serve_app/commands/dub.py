"""`dubserve dub`: one video in this process, without a service. The results are named after the video."""

import asyncio
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from configs.pipeline import Subtitles
from models.translation.pairs import check
from serve_app.commands import terminal
from serve_app.commands.options import AsJson, Config, From, To, Transcript, Video, Voice, config_file, settings_of
from serve_app.commands.terminal import quiet, show, told
from serve_app.jobs.job import Request, languages

MAX_STEM = 220
"""Bytes; file systems take names of 255, and the longest ending of ours has 28."""


def dub(
    video: Video,
    to: To,
    source: From = "",
    out: Annotated[Path, typer.Option(help="folder for the results")] = Path("out"),
    subtitles: Annotated[Subtitles | None, typer.Option(help="default: as configured")] = None,
    voice: Voice = "",
    transcript: Transcript = None,
    audio_track: Annotated[int, typer.Option(help="of several, counted from 1; 0: as configured", min=0)] = 0,
    keep_audio: Annotated[bool | None, typer.Option(help="the other audio tracks stay in the film")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Dub one video in this process, without a service.

    The results are named after the video; those of an earlier dub under the same name are replaced.

    Example: dubserve dub talk.mp4 --to es --subtitles soft
    """
    with told("interrupted; the same command goes on where this one stopped"):
        from serve_app.local import dub_file  # the engines take seconds to import

        settings = settings_of(config_file(config))
        first, *also = languages(to)
        check(*filter(None, (source, first, *also)))
        told_by = str(transcript or "")
        request = Request(job_of(video), str(video), source, first, voice, subtitles, transcript=told_by, also=(*also,))
        request = replace(request, audio_track=audio_track, keep_audio=keep_audio)
        result = asyncio.run(dub_file(request, settings, out.resolve(), quiet(as_json)))
        result = renamed(result, request.job_id, video.stem)
        show(result if as_json else drawn(result), as_json)


def drawn(result: dict[str, Any]) -> dict[str, Any]:
    """Draws the tables of each language; returns what is left to say: where the dub and its report lie."""
    from serve_app.screen import tables

    made = {"": result, **result["further"]}
    for one in made.values():
        terminal.console.print(*tables(Path(one["report"]), one["processing_s"]))
        one["report"] = Path(one["report"]).with_suffix(".html")  # the same, for people
    return {f"{name} {to}".strip(): one[name] for to, one in made.items() for name in ("output", "report")}


def job_of(video: Path) -> str:
    """The id under which the dub of this file is begun and gone on with: any name will do, and no two are alike."""
    return f"dub-{hashlib.sha256(os.fsencode(video)).hexdigest()[:16]}"


def renamed(result: dict[str, Any], job_id: str, stem: str) -> dict[str, Any]:
    """Names the files of a job after its video; returns its result with the new paths."""
    if len(os.fsencode(stem)) > MAX_STEM:
        return result
    files = list(Path(result["output"]).parent.glob(f"{job_id}_*"))
    moved = {str(path): str(path.replace(path.with_name(stem + path.name.removeprefix(job_id)))) for path in files}
    further = {language: _moved(one, moved) for language, one in result["further"].items()}
    return {**_moved(result, moved), "further": further}


def _moved(result: dict[str, Any], moved: dict[str, str]) -> dict[str, Any]:
    return {name: moved.get(value, value) if isinstance(value, str) else value for name, value in result.items()}
