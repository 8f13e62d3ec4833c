"""The HTTP door alone, on a port of its own: real routes, desk, store and files, no engines behind them."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import SecretStr

from configs.app import AppSettings, JobSettings, Roots
from serve_app.jobs.job import LogLine, Progress, Quality, Request, Result
from serve_app.jobs.store import Store
from serve_app.jobs.workspace import artifacts
from tests.service import free_port
from tests.unit.test_http import door

FILM = bytes(range(256)) * 40
SEGMENTS = [
    {"id": 1, "start": 0.9, "end": 2.0, "text": "Good morning.", "translation": "Buenos días.", "flags": []},
    {"id": 2, "start": 3.0, "end": 4.5, "text": "Welcome [b].", "translation": "Bienvenidos [b].", "flags": ["long"]},
]


@dataclass(frozen=True)
class Door:
    url: str
    store: Store
    roots: Roots

    def complete(self, job_id: str) -> None:
        """Brings a job, which is submitted unless it is there, to its end, with FILM and SEGMENTS as its results."""
        video = self.roots.uploads / f"{job_id}.mp4"
        video.write_bytes(FILM)
        self.store.submit(Request(job_id, str(video), "en", "es"))
        job = self.store.claim("driver")
        assert job is not None and job.id == job_id
        files = artifacts(self.roots.artifacts, job_id)
        files.output.write_bytes(FILM)
        files.report.write_text(json.dumps({"segments": SEGMENTS}))
        line = LogLine("2026-11-24T01:02:03.000000Z", "info", "tts", "Using [b] a voice")
        self.store.renew(job_id, job.fence, Progress(percent=50.0, stage="tts"), [line])
        self.store.complete(job_id, job.fence, Result(str(files.output), "", "", "", 5.0, len(FILM), 1, 2.0, Quality()))

    def fail(self, job_id: str) -> None:
        self.store.submit(Request(job_id, "/x.mp4", "en", "es"))
        job = self.store.claim("driver")
        assert job is not None and job.id == job_id
        self.store.fail(job_id, job.fence, "no_speech", "nobody says anything in this video")


async def ready() -> dict[str, bool]:
    return {"store": True}


def described(folder: Path) -> dict[str, Any]:
    """The OpenAPI of the door, with its database in `folder`."""
    store = Store(f"sqlite:///{folder / 'jobs.sqlite'}", JobSettings())
    store.create()
    try:
        roots = Roots(uploads=folder, artifacts=folder, work=folder, database_url=SecretStr(""))
        return door(store, roots, AppSettings(), ready).openapi()
    finally:
        store.close()


@contextmanager
def opened(folder: Path, anonymous: bool = True) -> Iterator[Door]:
    """Files and database lie where a command in `folder` looks for them."""
    folders = {name: folder / "var" / name for name in ("uploads", "artifacts", "work")}
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    database = f"sqlite:///{folders['work'] / '.jobs.sqlite'}"
    roots = Roots(**folders, database_url=SecretStr(database))
    store = Store(database, JobSettings())
    store.create()

    api = door(store, roots, AppSettings.model_validate({"ingress": {"anonymous": anonymous}}), ready)
    port = free_port()
    config = uvicorn.Config(api, host="127.0.0.1", port=port, log_level="error", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        assert server.started
        yield Door(f"http://127.0.0.1:{port}", store, roots)
    finally:
        server.should_exit = True
        thread.join()
        store.close()
