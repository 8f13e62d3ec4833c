"""Progress for many streams from two queries a tick, so any replica can serve any client, and a client can come back.

A stream gets a snapshot at once, then one whenever the job changed, and one per heartbeat when nothing did: a silent
server would be hung up on by its clients' keep-alive.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import suppress

from configs.app import JobSettings
from serve_app.jobs.job import Job, LogLine
from serve_app.jobs.store import Store

logger = logging.getLogger(__name__)

Snapshot = tuple[Job, list[LogLine]]


class Watch:
    """`run()` is the polling loop, one task per process; `follow()` is what a stream iterates over."""

    def __init__(self, store: Store, settings: JobSettings) -> None:
        self._store = store
        self._settings = settings
        self._wanted: Counter[str] = Counter()
        self._seen: dict[str, Snapshot] = {}
        self._changes: dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        while True:
            try:
                await self._tick()
            except Exception:  # the database may be away for a while; streams go on when it is back
                logger.exception("the job store could not be read")
            await asyncio.sleep(self._settings.tick_s)

    async def _tick(self) -> None:
        if not self._wanted:
            return
        self._seen, changed = await asyncio.to_thread(self._look, list(self._wanted), self._seen)
        for job_id in changed:
            if job_id in self._changes:
                self._changes.pop(job_id).set()

    def _look(self, wanted: list[str], seen: dict[str, Snapshot]) -> tuple[dict[str, Snapshot], list[str]]:
        """The latest of each job, and which ones have changed. Only these are read: most wait, and rows are long."""
        versions = self._store.versions(wanted)
        known = {job_id: seen[job_id] for job_id, at in versions.items() if _version(seen.get(job_id)) == at}
        changed = [job_id for job_id in versions if job_id not in known]
        return known | (self._store.snapshots(changed) if changed else {}), changed

    async def follow(self, job_id: str) -> AsyncGenerator[Snapshot, None]:
        """Snapshots of a job until it has ended; the last one shows how. Raises JobNotFound."""
        job = await asyncio.to_thread(self._store.job, job_id)
        latest: Snapshot = (job, await asyncio.to_thread(self._store.logs, job_id))
        self._wanted[job_id] += 1
        try:
            yield latest
            while latest[0].state.live:
                latest = await self._next(job_id, latest)
                yield latest
        finally:
            self._wanted[job_id] -= 1
            if not self._wanted[job_id]:
                del self._wanted[job_id]
                self._changes.pop(job_id, None)

    async def _next(self, job_id: str, latest: Snapshot) -> Snapshot:
        """The first snapshot that is newer than `latest`, or `latest` again at the heartbeat."""

        def newer() -> bool:
            seen = self._seen.get(job_id)
            return seen is not None and seen[0].updated_at > latest[0].updated_at

        # no lock and no condition: a stream may be cancelled at any moment, even twice, and must leave nothing behind
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.heartbeat_s):
                while not newer():
                    await self._changes.setdefault(job_id, asyncio.Event()).wait()
        return self._seen[job_id] if newer() else latest


def _version(snapshot: Snapshot | None) -> float | None:
    return snapshot[0].updated_at if snapshot else None
