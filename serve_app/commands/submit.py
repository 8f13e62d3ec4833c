"""`dubserve submit`: one video to a running service, followed until it has ended.

An address that begins with http is that of the HTTP door: the video is uploaded, wherever the service runs. Any other
is host:port of the gRPC door, which wants paths, as the API in front names them: a video from elsewhere is first copied
into the uploads folder, which this machine has to share with the service.
"""

import filecmp
import shutil
import uuid
from pathlib import Path
from typing import Annotated

import typer

from configs.app import Roots
from models.errors import InvalidJob
from serve_app.answers import Options
from serve_app.commands.books import shelf
from serve_app.commands.jobs import followed
from serve_app.commands.options import AsJson, From, Key, To, Transcript, Video, Voice
from serve_app.commands.terminal import quiet, show, told
from serve_app.jobs.job import languages
from serve_app.jobs.workspace import disk_space, safe_id
from serve_app.media.ffmpeg import whole


def submit(
    video: Video,
    to: To,
    source: From = "",
    voice: Voice = "",
    transcript: Transcript = None,
    url: Annotated[
        str, typer.Option(envvar="DUBSERVE_URL", help="host:port of the gRPC door, or http://… to upload the video")
    ] = "localhost:50051",
    session: Annotated[str, typer.Option(help="id of the job; give the same again to attach or resume")] = "",
    key: Key = "",
    priority: Annotated[int, typer.Option(min=-100, max=100, help="among your own jobs; higher goes first")] = 0,
    as_json: AsJson = False,
) -> None:
    """Send one video to a running service and follow it.

    Over gRPC the service reads files in its uploads folder (UPLOADS_DIR) only, or with a key in that of its tenant; a
    video from elsewhere is copied there first. Over HTTP the video is uploaded.

    Example: dubserve submit talk.mp4 --to es,fr --url http://dub.example:8000
    """
    if url.startswith(("http://", "https://")):
        if session:
            raise typer.BadParameter("over HTTP the service gives jobs their ids; leave --session out")
        options = Options(source=source, voice=voice, transcript=transcript, priority=priority)
        upload(video, to, url, key, options, as_json)
        return
    from serve_app.demo import follow
    from serve_app.grpc_client import GrpcClient
    from serve_app.screen import Screen

    session = session or uuid.uuid4().hex
    with told(f"interrupted; a job that was sent goes on, and --session {session} shows it again"):
        uploads = shelf(key, Roots.from_environment())
        if not video.is_relative_to(uploads):
            video = uploaded(video, uploads / f"{safe_id(session)}{video.suffix}", url)
        if transcript and not transcript.is_relative_to(uploads):
            transcript = uploaded(transcript, uploads / f"{safe_id(session)}{transcript.suffix}", url)
        with GrpcClient(url, key=key, priority=priority) as client, Screen(quiet(as_json)) as screen:
            said = {"source": source, "gender": voice, "transcript": str(transcript or "")}
            result = follow(client, session, video, to, screen, **said)
        show({"session": session, "output": result.output_path, "seconds": result.processing_time_seconds}, as_json)


def uploaded(video: Path, copy: Path, url: str) -> Path:
    """A copy of `video` that the service may read; made once a service answers, and never over another video."""
    from serve_app.grpc_client import GrpcClient

    with GrpcClient(url) as client:
        client.wait()
    if copy.exists():
        if not filecmp.cmp(video, copy, shallow=False):
            raise InvalidJob("this session has another video already; choose another --session, or leave it out")
        return copy
    with disk_space(), whole(copy) as draft:
        shutil.copyfile(video, draft)
    return copy


def upload(video: Path, to: str, url: str, key: str, options: Options, as_json: bool) -> None:
    """The same through the HTTP door, which gives the job its id."""
    from serve_app.client import Client

    with told("interrupted; a job that was sent goes on, and `dubserve jobs` shows it"), Client(url, key) as client:
        sent = client.submit(video, languages(to), **options).id
        followed(client, sent, as_json)
        made = client.result(sent)
    output = url.rstrip("/") + made.artifacts["translated.mp4"]
    show({"session": sent, "output": output, "seconds": made.processing_s}, as_json)
    if not as_json:
        show({"files": f"dubserve jobs result {sent} --url {url} --out FOLDER"}, False)
