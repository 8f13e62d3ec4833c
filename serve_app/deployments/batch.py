"""What a call to an engine in another replica may meet: an error as its answer, a wrapped one, a replica that died.

Engines answer each item for itself, so an error is the answer to one item and not to the batch that it was in.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ray import exceptions
from ray.serve.exceptions import RayServeException

from models.errors import DubError, StageFailed
from models.meter import FREE, Cost
from serve_app.doors.wire import unwrap
from serve_app.spending import book
from serve_app.telemetry import traces

TRIES = 5
"""Calls of one item while replicas die under it; Serve itself does not call again."""

BACKOFF_S = 1.0

GONE = (exceptions.RayError, RayServeException)
"""A replica died under the call, or none was there to take it."""


def broken(stage: str, cause: Exception) -> StageFailed:
    error = StageFailed(stage, "the engine met an error that it did not foresee")
    error.__cause__ = cause
    return error


@dataclass(frozen=True, slots=True)
class Billed:
    """An answer, with what its caller has used of the replica since the last one."""

    answer: Any
    cost: Cost


def billed(answer: Any, engine: Any, caller: str) -> Any:
    """The answer as it is where there is nothing to pay: not every engine measures what it uses."""
    cost = engine.meter.take(caller) if hasattr(engine, "meter") else FREE
    return answer if cost == FREE else Billed(answer, cost)


def calling(method: Any, stage: str, traced: bool = False) -> Callable[..., Awaitable[Any]]:
    """A handle's method as the pipeline wants it: errors raised as themselves, dead replicas called again.

    Whoever stops waiting takes the call back: an item that has not begun is taken out of its replica's queue.
    What the answer has cost is booked on the job in whose context this is called. A method that is `traced` is told the
    span that it belongs to.
    """

    async def call(*args: Any) -> Any:
        for attempt in range(1, TRIES + 1):
            response = method.remote(*args, **({"trace": traces.current()} if traced else {}))
            try:
                answer = await response
            except asyncio.CancelledError:
                response.cancel()  # Serve does it by itself only for calls that came to this replica as tasks of Ray
                raise
            except exceptions.RayTaskError as error:
                raise unwrap(error) from None
            except GONE as error:
                if attempt == TRIES:
                    raise StageFailed(stage, "its replicas went away again and again", transient=True) from error
                await asyncio.sleep(BACKOFF_S * 2 ** (attempt - 1))
                continue
            if isinstance(answer, Billed):
                book(answer.cost)
                answer = answer.answer
            if isinstance(answer, DubError):
                raise answer
            return answer
        raise AssertionError("the last try returns or raises")

    return call
