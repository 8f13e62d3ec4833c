"""A client that goes away while its upload is taken leaves either a job with its video, or nothing at all."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from configs.app import Roots
from serve_app.doors import uploads
from serve_app.jobs.store import Store
from tests.unit.test_http import http, roots, store

__all__ = ["http", "roots", "store"]


class Gate:
    """A function in the middle of whose work its caller goes away."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self._real = real
        self.inside, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *args: Any) -> Any:
        self.inside.set()
        self.go_on.wait(20)
        return self._real(*args)

    async def left(self, client: httpx.AsyncClient) -> None:
        files = {"file": ("talk.mp4", b"x" * 500)}
        request = asyncio.create_task(client.post("/v1/jobs", files=files, data={"target_lang": "es"}))
        async with asyncio.timeout(20):
            while not self.inside.is_set():
                await asyncio.sleep(0.01)
            request.cancel()
            await asyncio.sleep(0)
            self.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await request


async def test_while_the_file_is_kept(
    http: httpx.AsyncClient, store: Store, roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(uploads.copy)
    monkeypatch.setattr(uploads, "copy", gate)
    await gate.left(http)
    assert list(roots.uploads.iterdir()) == [] and store.jobs() == []


async def test_while_the_job_is_written_down(
    http: httpx.AsyncClient, store: Store, roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(store.submit)
    monkeypatch.setattr(store, "submit", gate)
    await gate.left(http)
    [job] = store.jobs()
    assert [str(path) for path in roots.uploads.iterdir()] == [job.request.path]
