"""The whole service in one command: starts it, sends it a video as any client would, shows what happens, stops it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from rich.console import Console

from models.errors import StageFailed
from serve_app.grpc_client import GrpcClient
from serve_app.proto import translation_pb2 as pb
from serve_app.screen import Screen, tables

START_S = 180.0
STOP_S = 30.0


@contextmanager
def running_service(
    config: Path, url: str, environment: dict[str, str], output: BinaryIO | None = None
) -> Iterator[None]:
    """The service as a child process in a group of its own: ready when the body runs, gone after it.

    What it prints goes to `output`, else where this process prints.
    """
    command = [sys.executable, "-m", "serve_app", "serve", "--config", str(config)]
    service = subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True, stdout=output)
    try:
        wait_until_ready(service, f"{url}/readyz")
        yield
    finally:
        stop(service)


def wait_until_ready(service: "subprocess.Popen[bytes]", url: str) -> None:
    """Raises StageFailed when the service ends or is not ready in time."""
    deadline = time.monotonic() + START_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if service.poll() is not None:
            raise StageFailed("serve", "the service did not start; it says why above")
        try:
            with opener.open(url, timeout=10) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.3)
    raise StageFailed("serve", f"the service was not ready within {START_S:.0f} s")


def stop(service: "subprocess.Popen[bytes]") -> None:
    service.send_signal(signal.SIGTERM)
    try:
        service.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(service.pid, signal.SIGKILL)
        service.wait()


def follow(
    client: GrpcClient, session: str, video: Path, target: str, screen: Screen, **options: str
) -> pb.TranslationResult:
    """Sends a job and draws its snapshots until it has ended. Raises CallFailed with the service's own sentence."""
    for snapshot in client.translate(session, str(video), target, **options):
        lines = [(line.timestamp, line.level, line.message) for line in snapshot.log_entries]
        screen.show(snapshot.stage, snapshot.progress_percent, lines)
    screen.finish()
    return client.result(session)


def doors(config: Path) -> tuple[str, str]:
    """The addresses of the HTTP door and of the gRPC door that `config` asks for, or Serve's own, on this machine."""
    content = yaml.safe_load(config.read_text())
    http, grpc = (content.get(name) or {} for name in ("http_options", "grpc_options"))
    scheme = "https" if http.get("ssl_certfile") else "http"
    return f"{scheme}://127.0.0.1:{http.get('port', 8000)}", f"127.0.0.1:{grpc.get('port', 9000)}"


def run_demo(video: Path, target: str, out: Path, config: Path, console: Console) -> dict[str, Any]:
    """Dubs `video` through a service of its own and leaves the dub, both SRT files and the report in `out`.

    Returns the files and the seconds it took. Where the console is quiet, what the service prints goes to stderr.
    """
    began = time.monotonic()
    http, grpc = doors(config)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dubserve-") as folder:
        roots = {name: str(Path(folder, name)) for name in ("UPLOADS_DIR", "ARTIFACTS_DIR", "TEMP_WORK_DIR")}
        upload = Path(roots["UPLOADS_DIR"], video.name)
        upload.parent.mkdir()
        shutil.copy(video, upload)
        with running_service(config, http, roots, sys.stderr.buffer if console.quiet else None):
            console.print(f"service ready after {time.monotonic() - began:.1f} s")
            session = f"demo-{uuid.uuid4().hex[:8]}"
            with GrpcClient(grpc) as client, Screen(console) as screen:
                result = follow(client, session, upload, target, screen)
            report = collect(result, Path(roots["ARTIFACTS_DIR"]), session, video.stem, out)
    console.print(*tables(report, result.processing_time_seconds))
    seconds, files = round(time.monotonic() - began, 1), [str(path) for path in sorted(out.iterdir())]
    console.print(f"[green]done[/green] in {seconds} s, start and stop of the service included:")
    for path in files:
        console.print(f"  {path}", markup=False, highlight=False)
    return {"seconds": seconds, "files": files}


def collect(result: pb.TranslationResult, artifacts: Path, session: str, stem: str, out: Path) -> Path:
    """Copies a job's files to `out` under the video's own name; returns the report's path there."""
    report = out / f"{stem}_report.json"
    copies = {
        Path(result.output_path): out / f"{stem}_translated.mp4",
        Path(result.original_srt): out / f"{stem}_subtitles.srt",
        Path(result.translated_srt): out / f"{stem}_translated_subtitles.srt",
        artifacts / f"{session}_report.json": report,
        artifacts / f"{session}_report.html": report.with_suffix(".html"),
    }
    for source, copy in copies.items():
        shutil.copy(source, copy)
    return report
