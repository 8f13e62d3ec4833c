"""Places in the queue for jobs that have no row yet, while somebody looks into their videos.

A look takes a third of a second of a processor and few are made at once. Of many jobs that a tenant sends at the same
moment, none would be in the queue before the first look is over: all would be looked into, and the excess be refused
seconds later. So a job takes its place before the look, and counts for whoever comes after it. This holds in one
Ingress; in the end the transaction that writes the row decides.

One tenant never holds all the looks: whoever sends files that are slow to read waits for their own. Nor does a caller
wait for as long as a Driver may look, who has nobody waiting for its answer.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from configs.pipeline import PrepareSettings
from serve_app.jobs.job import Request
from serve_app.jobs.quotas import weigh
from serve_app.jobs.store import Store

LOOKS = 4
"""Videos that are looked into at once, in a child process each; others wait."""
SHARE = 2
"""Of these, one tenant's."""

Look = Callable[[Path, PrepareSettings], Awaitable[object]]


class Places:
    """`look` looks into a video for `look_s` seconds at most; without it none is. `folder` is the artifacts'."""

    def __init__(self, store: Store, folder: Path, settings: PrepareSettings, look: Look | None, look_s: float) -> None:
        self._store = store
        self._folder = folder
        self._settings = settings.model_copy(update={"look_s": min(look_s, settings.look_s)})
        self._look = look
        self._looks = asyncio.Semaphore(LOOKS)
        self._shares = weakref.WeakValueDictionary[str, asyncio.Semaphore]()
        """Of the tenants that look, or wait to."""
        self._taken: dict[str, str] = {}

    async def check(self, tenant: str, incoming: int) -> None:
        """Raises NotAllowed (resource_exhausted) when a job with `incoming` bytes would be refused now."""
        await self._admit(tenant, incoming, dict(self._taken))

    @asynccontextmanager
    async def inspected(self, tenant: str, request: Request) -> AsyncIterator[None]:
        """Around the submission of a video that was looked into.

        Raises as `check`, before the look, and UnreadableMedia for a video that its job would only refuse later.
        """
        size = await asyncio.to_thread(weigh, request, self._folder)
        before = dict(self._taken)
        self._taken[request.job_id] = tenant
        try:
            await self._admit(tenant, size, before)
            if self._look is not None:
                async with self._shares.setdefault(tenant, asyncio.Semaphore(SHARE)), self._looks:
                    await self._look(Path(request.path), self._settings)
            yield
        finally:
            del self._taken[request.job_id]

    async def _admit(self, tenant: str, incoming: int, ahead: dict[str, str]) -> None:
        await asyncio.to_thread(self._store.admit, tenant, incoming, ahead)
