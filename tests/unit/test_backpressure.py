"""Long answers in pieces, held back while Serve has enough; `test_slow_clients` has clients that are slow indeed."""

import asyncio
from collections import deque
from typing import Any

import pytest
from ray.serve._private.http_util import MessageQueue

from serve_app.doors.backpressure import PIECE, WAITING, Backpressure, patient

Message = dict[str, Any]


def serves() -> tuple[Any, "deque[Message]"]:
    """Serve's `send`, as its replicas have it, and what waits behind it."""
    result_queue = MessageQueue()

    async def enqueue(item: Any) -> None:
        result_queue.put_nowait(item)

    return enqueue, result_queue._message_queue


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE + 7])
@pytest.mark.parametrize("more", [True, False])
async def test_nothing_of_a_body_is_lost(size: int, more: bool) -> None:
    send, waiting = serves()
    body = bytes(index % 251 for index in range(size))
    await patient(send)({"type": "http.response.body", "body": body, "more_body": more})
    assert b"".join(message["body"] for message in waiting) == body
    assert [message["more_body"] for message in waiting] == [True] * (len(waiting) - 1) + [more]
    assert max(len(message["body"]) for message in waiting) <= PIECE


async def test_more_is_sent_only_when_something_was_taken() -> None:
    send, waiting = serves()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(4 * WAITING * PIECE), "more_body": False})

    work = asyncio.create_task(Backpressure(app)({"type": "http"}, None, send))  # type: ignore[arg-type]
    taken = list[Message]()
    while not work.done() or waiting:
        await asyncio.sleep(0.1)
        assert len(waiting) <= WAITING
        taken += [waiting.popleft() for _ in range(min(len(waiting), 10))]
    await work
    assert taken[0]["type"] == "http.response.start" and len(taken) == 1 + 4 * WAITING


async def test_who_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.doors.backpressure.PATIENCE_S", 0.3)
    send, waiting = serves()
    with pytest.raises(ConnectionAbortedError):
        await patient(send)({"type": "http.response.body", "body": bytes(2 * WAITING * PIECE)})
    assert len(waiting) == WAITING


def test_another_release_of_serve_is_noticed_at_once() -> None:
    async def send(message: Any) -> None:
        del message

    with pytest.raises(LookupError, match="release of Ray Serve"):
        patient(send)
