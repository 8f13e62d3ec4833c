"""The Python client: `Client`, and `AsyncClient` for code with an event loop. This is the way to drive the service.

    from serve_app.client import Client

    with Client("http://localhost:8000") as client:
        job = client.submit("talk.mp4", to="es")
        for snapshot in client.progress(job.id):
            print(snapshot.progress.percent, snapshot.message)
        client.download(job.id, "dubs")

It speaks HTTP, the richer of the two doors. Errors are those of `models.errors`, with the service's own sentence and
code, and beside them `Unreachable`, `ServiceFailed` and `JobFailed`. `serve_app.async_client` tells how it retries, and
does the work: `Client` makes the same calls on a loop in a thread of its own, so there is one way to ask. That costs a
thread for each open client. (`serve_app.grpc_client` is another thing: what the API in front does, for tests.)
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar, Unpack

from anyio.from_thread import BlockingPortal, start_blocking_portal

from serve_app.answers import KEEP, Change, Job, JobFailed, Options, Result, Segment, ServiceFailed, Unreachable
from serve_app.async_client import AsyncClient
from serve_app.jobs.job import Insight

__all__ = ["KEEP", "AsyncClient", "Change", "Client", "Insight", "Job", "JobFailed", "Options", "Result", "Segment"]
__all__ += ["ServiceFailed", "Unreachable"]

T = TypeVar("T")


class Client:
    """Use as a context manager. Takes what AsyncClient takes; each method is its namesake's twin, and raises as it."""

    def __init__(
        self, url: str = "http://localhost:8000", key: str = "", patience_s: float = 60.0, first_s: float = 5.0
    ) -> None:
        self._asking = AsyncClient(url, key, patience_s, first_s)
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None

    @property
    def url(self) -> str:
        return self._asking.url

    def __enter__(self) -> Self:
        self._portal = self._stack.enter_context(start_blocking_portal())
        self._stack.enter_context(self._portal.wrap_async_context_manager(self._asking))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _run(self, call: Callable[..., Awaitable[T]], *args: Any, **options: Any) -> T:
        assert self._portal is not None, "use the client in a with statement"
        return self._portal.call(partial(call, *args, **options))

    def submit(self, video: str | Path, to: str | Sequence[str], **options: Unpack[Options]) -> Job:
        return self._run(self._asking.submit, video, to, **options)

    def jobs(self, limit: int = 50) -> list[Job]:
        return self._run(self._asking.jobs, limit)

    def job(self, job_id: str) -> Job:
        return self._run(self._asking.job, job_id)

    def progress(self, job_id: str) -> Iterator[Job]:
        snapshots = self._asking.progress(job_id)
        try:
            while (snapshot := self._run(anext, snapshots, None)) is not None:
                yield snapshot
        finally:
            self._run(snapshots.aclose)

    def wait(self, job_id: str) -> Job:
        return self._run(self._asking.wait, job_id)

    def control(self, job_id: str, action: str) -> Job:
        return self._run(self._asking.control, job_id, action)

    def retry(self, job_id: str) -> Job:
        return self._run(self._asking.retry, job_id)

    def insights(self, job_id: str) -> list[Insight]:
        return self._run(self._asking.insights, job_id)

    def segments(self, job_id: str, target: str = "") -> list[Segment]:
        return self._run(self._asking.segments, job_id, target)

    def change(self, job_id: str, changes: Iterable[Change], target: str = "") -> list[Segment]:
        return self._run(self._asking.change, job_id, changes, target)

    def redub(self, job_id: str) -> Job:
        return self._run(self._asking.redub, job_id)

    def result(self, job_id: str) -> Result:
        return self._run(self._asking.result, job_id)

    def download(self, job_id: str, folder: str | Path, names: Iterable[str] = ()) -> list[Path]:
        return self._run(self._asking.download, job_id, folder, names)

    def usage(self, since: str = "", until: str = "") -> dict[str, Any]:
        return self._run(self._asking.usage, since, until)

    def ready(self) -> bool:
        return self._run(self._asking.ready)
