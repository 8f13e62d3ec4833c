"""For work in threads, which go on when nobody waits for them any more, and leave things behind."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def undivided(work: Awaitable[T]) -> T:
    """Waits for the end of `work` even when cancelled: threads go on anyhow, and leave things behind."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # nobody else will ask for it
        raise
