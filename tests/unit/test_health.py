"""gRPC's health service: what it says of which names, and that who watches hears of changes and of nothing else."""

import asyncio

import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse

from models.errors import NotAllowed
from serve_app.doors import health
from serve_app.doors.health import SERVICES, Health

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN


class Parts:
    """Well until told otherwise; counts how often it is asked."""

    def __init__(self) -> None:
        self.well, self.asked = True, 0

    async def ready(self) -> dict[str, bool]:
        self.asked += 1
        await asyncio.sleep(0)
        return {"store": True, "driver": self.well}


async def test_it_knows_the_whole_and_the_service_of_the_contract_by_name() -> None:
    parts = Parts()
    service = Health(parts.ready, every_s=0.0)
    assert SERVICES == ("", "translation.TranslationService")
    assert {name: one.status for name, one in (await service.all()).items()} == dict.fromkeys(SERVICES, SERVING)
    parts.well = False
    assert [(await service.status(name)).status for name in (*SERVICES, "x")] == [NOT_SERVING, NOT_SERVING, UNKNOWN]


async def test_many_who_ask_at_once_are_one_question() -> None:
    parts = Parts()
    service = Health(parts.ready, every_s=60.0)
    await asyncio.gather(*(service.status("") for _ in range(50)))
    assert parts.asked == 1


async def test_who_watches_hears_of_changes_alone() -> None:
    parts = Parts()
    heard: asyncio.Queue[int] = asyncio.Queue()
    service = Health(parts.ready, every_s=0.001)

    async def watch() -> None:
        async for answer in service.watch(""):
            heard.put_nowait(answer.status)

    async def asked_again() -> None:
        before = parts.asked
        while parts.asked < before + 3:
            await asyncio.sleep(0.001)

    watching = asyncio.create_task(watch())
    async with asyncio.timeout(20):
        assert await heard.get() == SERVING
        for well, told in ((False, NOT_SERVING), (True, SERVING)):
            await asked_again()
            assert heard.empty()
            parts.well = well
            assert await heard.get() == told
    watching.cancel()


async def test_a_service_that_nobody_knows_may_be_watched_too() -> None:
    watching = Health(Parts().ready).watch("nobody.Service")
    assert (await anext(watching)).status == UNKNOWN


async def test_streams_are_bounded_since_nobody_is_asked_for_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "WATCHERS", 2)
    service = Health(Parts().ready)
    open_ = [service.watch("") for _ in range(2)]
    for one in open_:
        await anext(one)
    with pytest.raises(NotAllowed) as refused:
        await anext(service.watch(""))
    assert refused.value.code == "resource_exhausted" and refused.value.retry_after
    await open_[0].aclose()  # type: ignore[attr-defined]
    assert (await anext(service.watch(""))).status == SERVING
