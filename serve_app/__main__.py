"""The command line: dub · serve · submit · demo · jobs · tenants · keys · usage.

Exit codes: 0 done, 2 where the caller can mend it (an option, the video), 130 after Ctrl-C, 1 for everything else.
"""

import asyncio
import filecmp
import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from configs.app import AppSettings, JobSettings, Roots
from configs.pipeline import Subtitles
from models.errors import DubError, InvalidJob
from serve_app import tenancy
from serve_app.jobs.job import Request, languages
from serve_app.jobs.workspace import disk_space, safe_id
from serve_app.media.ffmpeg import whole
from serve_app.tenancy import shelf

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Self-hosted video translation, served.",
)
console = Console()
INTERRUPTED = 130
errors = Console(stderr=True)

REPOSITORY = Path(__file__).resolve().parent.parent
MAX_STEM = 220
"""Bytes; file systems take names of 255, and the longest ending of ours has 28."""

Video = Annotated[Path, typer.Argument(help="the video", exists=True, dir_okay=False, resolve_path=True)]
To = Annotated[str, typer.Option("--to", help="language of the dub: en hy ru es fr de it pt zh ja; or several: es,fr")]
From = Annotated[str, typer.Option("--from", help="language of the video; left out: listen for it")]
Voice = Annotated[str, typer.Option(help="male, female or neutral")]
Transcript = Annotated[
    Path | None,
    typer.Option(
        help="SRT or WebVTT with what is said; nothing is recognised then",
        exists=True,
        dir_okay=False,
        resolve_path=True,
    ),
]
Config = Annotated[Path | None, typer.Option(help="default: serve_config.yaml here, else the one of this installation")]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON and nothing else")]


@contextmanager
def told(interrupted: str = "interrupted") -> Iterator[None]:
    """Errors of our tree become one red sentence and an exit code; Ctrl-C becomes the sentence `interrupted`."""
    try:
        yield
    except DubError as error:
        errors.print(Text.assemble((error.code, "red"), f": {error}"), soft_wrap=True)
        raise typer.Exit(2 if mendable(error) else 1) from None
    except KeyboardInterrupt:
        errors.print(Text(interrupted), soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None


def mendable(error: DubError) -> bool:
    """Whether the caller can mend it, be it found here or by the service."""
    from serve_app.client import CallFailed  # gRPC takes a moment to import

    if isinstance(error, CallFailed):
        return error.status.name == "INVALID_ARGUMENT"
    return isinstance(error, InvalidJob)


def config_file(given: Path | None) -> Path:
    here = Path("serve_config.yaml")
    return given or (here if here.is_file() else REPOSITORY / "serve_config.yaml")


def settings_of(config: Path) -> AppSettings:
    """`args:` of a config file. Raises InvalidJob with the first fault."""
    try:
        return AppSettings.model_validate(yaml.safe_load(config.read_text())["applications"][0]["args"])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidJob(f"{config.name}: {place}: {first['msg']}") from error
    except (OSError, yaml.YAMLError, LookupError, TypeError) as error:
        raise InvalidJob(
            f"{config.name} is not a config file of this service; compare it with serve_config.yaml"
        ) from error


@app.command()
def serve(
    config: Config = None,
    verbose: Annotated[bool, typer.Option(help="show what Ray and the replicas print")] = False,
) -> None:
    """Run the service on this machine until Ctrl-C."""
    with told():
        chosen = config_file(config)
        settings_of(chosen)
        os.environ.update(Roots.from_environment().as_environment())
        from serve_app.deployments.cluster import serve_until_stopped  # Ray takes seconds to import

        serve_until_stopped(chosen, lambda line: console.print(line, markup=False, highlight=False), verbose)


@app.command()
def dub(
    video: Video,
    to: To,
    source: From = "",
    out: Annotated[Path, typer.Option(help="folder for the results")] = Path("out"),
    subtitles: Annotated[Subtitles | None, typer.Option(help="default: as configured")] = None,
    voice: Voice = "",
    transcript: Transcript = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Dub one video in this process, without a service.

    The results are named after the video; those of an earlier dub under the same name are replaced.

    Example: dubserve dub talk.mp4 --to es --subtitles soft
    """
    with told("interrupted; the same command goes on where this one stopped"):
        from serve_app.local import dub_file  # the engines take seconds to import
        from serve_app.screen import tables

        settings = settings_of(config_file(config))
        first, *also = languages(to)
        told_by = str(transcript or "")
        request = Request(job_of(video), str(video), source, first, voice, subtitles, transcript=told_by, also=(*also,))
        quiet = Console(quiet=True) if as_json else console
        result = asyncio.run(dub_file(request, settings, out.resolve(), quiet))
        result = renamed(result, request.job_id, video.stem)
        if not as_json:
            made = {"": result, **result["further"]}
            for one in made.values():
                console.print(*tables(Path(one["report"]), one["processing_s"]))
                one["report"] = Path(one["report"]).with_suffix(".html")  # the same, for people
            result = {f"{name} {to}".strip(): one[name] for to, one in made.items() for name in ("output", "report")}
        show(result, as_json)


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


@app.command()
def submit(
    video: Video,
    to: To,
    source: From = "",
    voice: Voice = "",
    transcript: Transcript = None,
    url: Annotated[str, typer.Option(help="host:port of the gRPC door")] = "localhost:50051",
    session: Annotated[str, typer.Option(help="id of the job; give the same again to attach or resume")] = "",
    key: Annotated[str, typer.Option(envvar="DUBSERVE_KEY", help="of a tenant; left out: nobody's in particular")] = "",
    priority: Annotated[int, typer.Option(min=-100, max=100, help="among your own jobs; higher goes first")] = 0,
    as_json: AsJson = False,
) -> None:
    """Send one video to a running service and follow it.

    The service reads files in its uploads folder (UPLOADS_DIR) only, or with a key in that of its tenant; a video from
    elsewhere is copied there first.
    """
    from serve_app.client import Client
    from serve_app.demo import follow
    from serve_app.screen import Screen

    session = session or uuid.uuid4().hex
    with told(f"interrupted; a job that was sent goes on, and --session {session} shows it again"):
        uploads = shelf(key, Roots.from_environment())
        if not video.is_relative_to(uploads):
            video = uploaded(video, uploads / f"{safe_id(session)}{video.suffix}", url)
        if transcript and not transcript.is_relative_to(uploads):
            transcript = uploaded(transcript, uploads / f"{safe_id(session)}{transcript.suffix}", url)
        quiet = Console(quiet=True) if as_json else console
        with Client(url, key=key, priority=priority) as client, Screen(quiet) as screen:
            options = {"source": source, "gender": voice, "transcript": str(transcript or "")}
            result = follow(client, session, video, to, screen, **options)
        show({"session": session, "output": result.output_path, "seconds": result.processing_time_seconds}, as_json)


def uploaded(video: Path, copy: Path, url: str) -> Path:
    """A copy of `video` that the service may read; made once a service answers, and never over another video."""
    from serve_app.client import Client

    with Client(url) as client:
        client.wait()
    if copy.exists():
        if not filecmp.cmp(video, copy, shallow=False):
            raise InvalidJob("this session has another video already; choose another --session, or leave it out")
        return copy
    with disk_space(), whole(copy) as draft:
        shutil.copyfile(video, draft)
    return copy


@app.command()
def demo(
    video: Annotated[Path, typer.Argument(help="the video")] = REPOSITORY / "tests/data/talk.mp4",
    to: To = "es",
    out: Annotated[Path, typer.Option(help="folder for the results")] = Path("out/demo"),
    config: Config = None,
) -> None:
    """Start the service, dub a video through its gRPC door, show everything, stop it."""
    from serve_app.demo import run_demo

    with told():
        chosen = config_file(config)
        settings_of(chosen)
        run_demo(video.resolve(), to, out, chosen, console)


@app.command()
def jobs(
    limit: Annotated[int, typer.Option(help="how many, newest first")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the jobs of the service on this machine."""
    from serve_app.doors.wire import job_json
    from serve_app.jobs.store import Store

    with told():
        store = Store(Roots.from_environment().database_url.get_secret_value(), JobSettings())
        store.create()
        found = [job_json(job, []) for job in store.jobs(limit=limit)]
        store.close()
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    table = Table("id", "status", "to", "percent", "message")
    for job in found:
        percent = f"{job['progress']['percent']:.0f}"
        cells = (job["id"], job["status"], job["target_lang"], percent, job["message"])
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)


app.add_typer(tenancy.tenants, name="tenants")
app.add_typer(tenancy.keys, name="keys")
app.command("usage")(tenancy.usage)


def show(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    for name, value in result.items():
        console.print(f"{name}: {value}", markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    try:
        app()
    except SystemExit as end:
        if (
            end.code == INTERRUPTED
        ):  # a thread deep in an engine cannot be asked to stop; what is worth keeping is on disk
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise


if __name__ == "__main__":
    main()
