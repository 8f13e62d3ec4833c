"""Keeps as many tokens with the Drivers as there are jobs that need one.

This loop runs in Ingress's constructor and never inside a request, because Serve cancels every call that a request made
when its client goes away. A token that finds nothing to do returns at once, so too many cost little; a token that was
lost with its replica is replaced at the next tick, which is what lets a job outlive its Driver.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from serve_app.jobs.store import Store

logger = logging.getLogger(__name__)


class Tokens:
    """`spend` sends one token and returns when a Driver has used it up. `news` of a job is not left until the tick."""

    def __init__(
        self, store: Store, spend: Callable[[], Awaitable[object]], tick_s: float, news: asyncio.Event
    ) -> None:
        self._store = store
        self._spend = spend
        self._tick_s = tick_s
        self._news = news
        self._out: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        while True:
            self._news.clear()
            try:
                await self._top_up()
            except Exception:  # the database may be away for a while; jobs go on when it is back
                logger.exception("the job store could not be read")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), self._tick_s)

    async def _top_up(self) -> None:
        wanted = await asyncio.to_thread(self._store.unfinished)
        for _ in range(wanted - len(self._out)):
            task = asyncio.create_task(self._send())
            self._out.add(task)
            task.add_done_callback(self._out.discard)

    async def _send(self) -> None:
        """A token that was lost, or found nothing to do, rests for a tick before another may take its place."""
        try:
            if await self._spend() is not None:
                return
        except Exception:
            logger.warning("a token was lost with its Driver; its job waits for the lease to run out", exc_info=True)
        await asyncio.sleep(self._tick_s)
