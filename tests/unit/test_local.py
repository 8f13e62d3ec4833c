"""The engines without Ray: how many threads are inside one, whatever its callers do."""

import asyncio
import threading

import pytest

from configs.app import AppSettings
from serve_app import local
from serve_app.local import in_thread
from serve_app.telemetry.about import NOW, about


class Room:
    """A verb that stays until the door opens, and counts who is inside."""

    def __init__(self) -> None:
        self.door = threading.Event()
        self.lock = threading.Lock()
        self.inside = self.most = self.calls = 0

    def verb(self, items: list[int]) -> list[int]:
        with self.lock:
            self.inside, self.calls = self.inside + 1, self.calls + 1
            self.most = max(self.most, self.inside)
        self.door.wait(10)
        with self.lock:
            self.inside -= 1
        return [2 * item for item in items]


async def entered(room: Room, calls: int) -> None:
    async with asyncio.timeout(5):
        while room.calls < calls:
            await asyncio.sleep(0.005)


async def test_an_answer_comes_back_and_an_error_too() -> None:
    assert await in_thread(lambda items: [2 * items[0]])(21) == 42
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda items: [1 // item for item in items])(0)


async def test_a_thread_works_in_the_context_of_its_caller() -> None:
    tell = in_thread(lambda items: [(item, NOW.get().job) for item in items])

    async def ask(job: str) -> tuple[int, str]:
        with about(job=job):
            return await tell(1)

    assert await asyncio.gather(ask("one"), ask("two")) == [(1, "one"), (1, "two")]


async def test_cancelled_callers_leave_their_thread_in_its_place() -> None:
    room = Room()
    double = in_thread(room.verb, at_once=2)
    for calls in (1, 2):
        caller = asyncio.create_task(double(calls))
        await entered(room, calls)
        caller.cancel()
    later = [asyncio.create_task(double(number)) for number in (3, 4)]
    await asyncio.sleep(0.1)
    assert (room.calls, room.inside) == (2, 2)
    room.door.set()
    assert await asyncio.gather(*later) == [6, 8]
    assert (room.calls, room.most) == (4, 2)


async def test_a_caller_that_is_cancelled_in_the_queue_is_not_served() -> None:
    room = Room()
    double = in_thread(room.verb)
    first = asyncio.create_task(double(1))
    await entered(room, 1)
    second = asyncio.create_task(double(2))
    await asyncio.sleep(0.01)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    room.door.set()
    assert await first == 2 and await double(3) == 6
    assert room.calls == 2


async def test_so_many_speak_at_once_as_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room()
    monkeypatch.setattr("models.tts.fallback.FallbackTts.speak", lambda _, items: room.verb(items))
    echo = {"engine": "echo"}
    tts = {"engines": ["echo"], "at_once": 3}
    settings = AppSettings.model_validate({"engines": {"vad": echo, "asr": echo, "translation": echo, "tts": tts}})
    speak = local.models(settings.engines).speak
    callers = [asyncio.create_task(speak(number)) for number in range(5)]  # type: ignore[arg-type]
    await entered(room, 3)
    await asyncio.sleep(0.1)
    assert room.inside == 3
    room.door.set()
    assert sorted(await asyncio.gather(*callers)) == [0, 2, 4, 6, 8]  # type: ignore[type-var]
