"""Batches across jobs, and one bad item that fails alone.

Serve gathers calls of all running jobs into one list; an exception would fail every caller in it. So a batch that
raises is done again item by item, and an answer is either what the engine gave or the error that this one item met.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ray import exceptions
from ray.serve.exceptions import RayServeException

from models.errors import DubError, StageFailed
from serve_app.wire import unwrap

Item = TypeVar("Item")
Answer = TypeVar("Answer")

TRIES = 5
"""Calls of one item while replicas die under it; Serve itself does not call again."""

BACKOFF_S = 1.0

GONE = (exceptions.RayError, RayServeException)
"""A replica died under the call, or none was there to take it."""


def one_by_one(verb: Callable[[list[Item]], list[Answer]], items: list[Item], stage: str) -> list[Answer | DubError]:
    """`verb` on the whole list; if that raises, on each item alone, errors taking the place of answers."""
    try:
        return list(verb(items))
    except Exception as error:
        if len(items) == 1:
            return [error if isinstance(error, DubError) else broken(stage, error)]
        return [answer for item in items for answer in one_by_one(verb, [item], stage)]


def broken(stage: str, cause: Exception) -> StageFailed:
    error = StageFailed(stage, "the engine met an error that it did not foresee")
    error.__cause__ = cause
    return error


def calling(method: Any, stage: str) -> Callable[..., Awaitable[Any]]:
    """A handle's method as the pipeline wants it: errors raised as themselves, dead replicas called again."""

    async def call(*args: Any) -> Any:
        for attempt in range(1, TRIES + 1):
            try:
                answer = await method.remote(*args)
            except exceptions.RayTaskError as error:
                raise unwrap(error) from None
            except GONE as error:
                if attempt == TRIES:
                    raise StageFailed(stage, "its replicas went away again and again", transient=True) from error
                await asyncio.sleep(BACKOFF_S * 2 ** (attempt - 1))
                continue
            if isinstance(answer, DubError):
                raise answer
            return answer
        raise AssertionError("the last try returns or raises")

    return call
