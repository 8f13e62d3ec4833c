"""The jobs of the service on this machine, of all tenants, by its database: for its operator, and without its doors.

What is asked of a job lies in its row, where the workers look within a second, so steering works from here too. It
answers what `serve_app.client.Client` answers, so that a command need not know which of the two it speaks to.
"""

import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from configs.app import JobSettings, Roots
from models.errors import JobNotFound
from serve_app import answers
from serve_app.answers import Change, Job, Result, Segment
from serve_app.doors import wire
from serve_app.doors.desk import offered
from serve_app.doors.http import control_of
from serve_app.doors.listing import once_more
from serve_app.jobs.edits import Editor
from serve_app.jobs.quotas import film_of, weigh
from serve_app.jobs.store import Store

TICK_S = 0.5


class Here:
    """Use as a context manager. Raises the errors that the service would answer with."""

    def __init__(self) -> None:
        self._roots = Roots.from_environment()
        settings = JobSettings()
        self._store = Store(self._roots.database_url.get_secret_value(), settings)
        self._editor = Editor(self._store.database, self._roots.artifacts, settings.max_queued)

    def __enter__(self) -> Self:
        self._store.create()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._store.close()

    def jobs(self, limit: int = 50) -> list[Job]:
        return [answers.job(wire.job_json(job, [])) for job in self._store.jobs(limit=limit)]

    def job(self, job_id: str) -> Job:
        return answers.job(wire.job_json(self._store.job(job_id), self._store.logs(job_id)))

    def progress(self, job_id: str) -> Iterator[Job]:
        while True:
            yield (snapshot := self.job(job_id))
            if snapshot.ended:
                return
            time.sleep(TICK_S)

    def control(self, job_id: str, action: str) -> Job:
        self._store.control(job_id, control_of(action))
        return self.job(job_id)

    def retry(self, job_id: str) -> Job:
        request = once_more(self._store.job(job_id))
        self._store.submit(request, weigh(request, self._roots.artifacts), film_of(request.path))
        return self.job(job_id)

    def segments(self, job_id: str, target: str = "") -> list[Segment]:
        return [answers.segment(row) for row in self._editor.segments(self._store.job(job_id), target)]

    def change(self, job_id: str, changes: Iterable[Change], target: str = "") -> list[Segment]:
        asked = {change.id: change.asked() for change in changes}
        self._editor.change(self._store.job(job_id), target, asked)
        return [segment for segment in self.segments(job_id, target) if segment.id in asked]

    def redub(self, job_id: str) -> Job:
        self._editor.redub(self._store.job(job_id))
        return self.job(job_id)

    def result(self, job_id: str) -> Result:
        """`artifacts` are paths here."""
        job = self._store.job(job_id)
        wire.result(job)
        assert job.result is not None, "wire.result has raised otherwise"
        files = {name: str(path) for name, path in offered(self._roots.artifacts, job).items() if path.is_file()}
        row: dict[str, Any] = {**wire.result_json(job.result), "artifacts": files}
        return answers.result(row)

    def download(self, job_id: str, folder: str | Path, names: Iterable[str] = ()) -> list[Path]:
        there, place = self.result(job_id).artifacts, Path(folder)
        wanted = list(names) or list(there)
        if missing := [name for name in wanted if name not in there]:
            raise JobNotFound(f"this job has no file {missing[0]}; it has: {', '.join(there)}")
        place.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copy(there[name], place / name)) for name in wanted]
