"""The audio routes are counted, for what they cost and for what a tenant may ask of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import event, insert, text, update

from configs.app import AppSettings, JobSettings, Roots
from models.errors import NotAllowed
from models.segment import Clip, Span, Speech, Transcript, Utterance, Word
from serve_app.doors.access import Access
from serve_app.doors.desk import Desk
from serve_app.doors.http import build_api
from serve_app.doors.speech import Announcer
from serve_app.doors.transcribe import Transcriber
from serve_app.jobs.calls import Calls
from serve_app.jobs.job import Progress, Quality, Request, Result
from serve_app.jobs.quotas import DAY_S
from serve_app.jobs.store import Store
from serve_app.jobs.tables import calls as rows
from serve_app.jobs.tables import tenants
from serve_app.jobs.tenants import Tenant, Tenants
from serve_app.jobs.usage import Line, Total, Usage
from serve_app.spending import Spending
from tests.unit.test_http import nothing, roots

__all__ = ["roots"]

CLOCK = [0.0]
RESULT = Result("/nowhere/o.mp4", "", "", "", 1.0, 1, 1, 1.0, Quality())


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    CLOCK[0] = 1_700_000_000.0
    store = Store(url, JobSettings(), lambda: CLOCK[0])
    store.create()
    yield store
    store.close()


def calls(store: Store, a_minute: int | None = None) -> Calls:
    return Calls(store.database, a_minute, lambda: CLOCK[0])


def complete(store: Store, job_id: str, seconds: float, spent: Spending | None = None) -> None:
    store.submit(Request(job_id, "/in.mp4", "en", "es", tenant="a"))
    job = store.claim("driver")
    assert job is not None
    store.complete(job_id, job.fence, RESULT, Progress(duration_s=seconds), spent=spent)


def test_a_minute_holds_so_many_calls_of_each_tenant(store: Store) -> None:
    counting = calls(store, 2)
    counting.begin("a", "/v1/audio/speech")
    CLOCK[0] += 20
    counting.begin("a", "/v1/audio/speech")
    counting.begin("b", "/v1/audio/speech")
    with pytest.raises(NotAllowed, match="2 such calls a minute") as caught:
        counting.begin("a", "/v1/audio/transcriptions")
    assert caught.value.code == "resource_exhausted" and caught.value.retry_after == 40
    CLOCK[0] += 40
    counting.begin("a", "/v1/audio/transcriptions")
    with pytest.raises(NotAllowed):
        counting.begin("a", "/v1/audio/transcriptions")


def test_calls_of_a_time_that_is_to_come_count_once_it_is_there(store: Store) -> None:
    """As they lie when the clock was set back."""
    counting = calls(store, 1)
    counting.begin("a", "/x")
    CLOCK[0] -= 3600
    counting.begin("a", "/x")
    with pytest.raises(NotAllowed):
        counting.begin("a", "/x")


def test_many_at_once_do_not_pass_together(store: Store) -> None:
    """Of a tenant without a row, which nobody could hold."""

    def begin(_: int) -> bool:
        try:
            return calls(store, 5).begin("anonymous", "/v1/audio/speech") > 0
        except NotAllowed:
            return False

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(begin, range(48))) == 5


def test_a_day_that_is_used_up_is_told_while_somebody_writes(store: Store) -> None:
    Tenants(store.database).add(replace(Tenant("a"), video_minutes_a_day=0))
    with store.database.write() as connection:
        connection.execute(update(tenants).values(weight=2.0))  # held until the end, and on SQLite with everything else
        with pytest.raises(NotAllowed, match="0 minutes of video a day"):
            calls(store, 5).begin("a", "/v1/audio/speech")


def test_calls_go_on_beyond_two_thousand_million(store: Store) -> None:
    counting, many = calls(store), 2**31
    with store.database.write() as connection:
        connection.execute(insert(rows).values(number=many, tenant="a", route="/x", at=CLOCK[0]))
        if store.database.is_postgresql:
            connection.execute(text(f"SELECT setval('calls_number_seq', {many})"))
    counting.end(counting.begin("a", "/x"), Spending(audio_s=1.0))
    assert counting.begin("a", "/x") == many + 2
    assert [line.audio_s for line in Usage(store.database, lambda: CLOCK[0]).calls(0)] == [1.0]


def test_recordings_and_texts_count_on_the_day_beside_films(store: Store) -> None:
    Tenants(store.database).add(replace(Tenant("a"), video_minutes_a_day=10))
    complete(store, "film", 300.0)
    counting = calls(store)
    for spent in (Spending(audio_s=200.0), Spending(characters_spoken=1500)):
        CLOCK[0] += 60
        counting.end(counting.begin("a", "/v1/audio/speech"), spent)
    with pytest.raises(NotAllowed, match="10 minutes of video a day") as caught:
        counting.begin("a", "/v1/audio/speech")
    assert caught.value.retry_after == DAY_S - 120
    with pytest.raises(NotAllowed, match="10 minutes of video a day"):
        store.submit(Request("second", "/in.mp4", "en", "es", tenant="a"))
    counting.begin("b", "/v1/audio/speech")
    CLOCK[0] += DAY_S - 120
    counting.begin("a", "/v1/audio/speech")


def test_usage_has_a_line_for_each_route_and_their_sums(store: Store) -> None:
    counting = calls(store)
    for tenant in ("a", "a", "b"):
        counting.end(counting.begin(tenant, "/v1/audio/translations"), Spending(10.0, 5, 0, 1.0, 0.5))
    counting.end(counting.begin("a", "/v1/audio/speech"), Spending(characters_spoken=7))
    usage = Usage(store.database, lambda: CLOCK[0])
    speech = Line("/v1/audio/speech", "a", CLOCK[0], 0.0, 0.0, 0, 7, 0.0, 0.0)
    assert usage.calls(0, tenant="a") == [speech, Line("/v1/audio/translations", "a", CLOCK[0], 0.0, 20.0, 10, 0, 2, 1)]
    complete(store, "1", 60.0, Spending(50.0, 100, 90, 1.5))
    assert usage.totals(0) == {
        "a": Total(1, 60.0, 70.0, 110, 97, 3.5, 1.0, calls=3),
        "b": Total(0, 0.0, 10.0, 5, 0, 1.0, 0.5, calls=1),
    }


# -- at the door -------------------------------------------------------------------------------------------------------


async def say(utterance: Utterance) -> Speech:
    began = time.process_time()
    while time.process_time() - began < 0.2:  # in this process, as engines that speak do
        await asyncio.sleep(0)
    return Speech(np.full(2400, 0.1, np.float32), 24_000, "echo")


async def detect(clip: Clip) -> list[Span]:
    return [Span(0.0, 1.0)]


async def hear(clip: Clip, caller: str) -> Transcript:
    return Transcript((Word(0.0, 1.0, " hello", 1.0),), "en")


async def every_language() -> None:
    return None


@pytest.fixture
async def door(store: Store, roots: Roots) -> AsyncIterator[httpx.AsyncClient]:
    settings = AppSettings.model_validate({"ingress": {"audio_calls_a_minute": 3}})
    ears = Transcriber(settings, roots.work, detect, hear, every_language, nothing, nothing)
    desk, access = (
        Desk(store, settings, roots, nothing, nothing, nothing),
        Access(Tenants(store.database), anonymous=True),
    )
    api = build_api(desk, access, nothing, ears, Announcer(say, settings.pipeline.speak), settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://door") as client:
        yield client


async def test_what_a_call_used_stands_in_the_usage_of_its_tenant(door: httpx.AsyncClient, wav: Any) -> None:
    spoken = await door.post("/v1/audio/speech", json={"model": "x", "input": "Hello there.", "response_format": "wav"})
    assert spoken.status_code == 200, spoken.text
    recording = {"file": ("sound.wav", wav((0.0, 1.0), duration=3.0).read_bytes())}
    heard = await door.post("/v1/audio/transcriptions", data={"model": "x", "language": "en"}, files=recording)
    assert heard.json()["text"] == "hello"
    told = (await door.get("/v1/usage")).json()
    assert {row["route"]: (row["audio_s"], row["characters_spoken"]) for row in told["calls"]} == {
        "/v1/audio/speech": (0.0, 12),
        "/v1/audio/transcriptions": (pytest.approx(3.0, abs=0.01), 0),
    }
    assert (told["total"]["calls"], told["total"]["jobs"]) == (2, 0)
    assert {row["route"]: row["cpu_s"] for row in told["calls"]}["/v1/audio/speech"] >= 0.2
    table = (await door.get("/v1/usage?format=csv")).text.splitlines()
    assert [line.split(",")[0] for line in table] == ["job_id", "/v1/audio/speech", "/v1/audio/transcriptions"]


async def test_beyond_the_limit_a_body_is_not_even_read(door: httpx.AsyncClient) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("nobody wants this")
        yield b""

    for _ in range(3):
        await door.post("/v1/audio/speech", json={})
    refused = await door.post("/v1/audio/transcriptions", content=never())
    assert refused.status_code == 429 and 0 < int(refused.headers["retry-after"]) <= 60
    assert refused.json()["error"] | {"message": ""} == {
        "message": "", "type": "rate_limit_error", "param": None, "code": "resource_exhausted"
    }  # fmt: skip
    assert (await door.get("/v1/audio/speech")).status_code == 405  # and others are not counted


async def test_a_caller_who_goes_away_is_charged_with_what_was_heard(
    store: Store, door: httpx.AsyncClient, wav: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(*_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("serve_app.doors.transcribe.listen", never)
    recording = {"file": ("sound.wav", wav((0.0, 1.0), duration=3.0).read_bytes())}
    call = asyncio.create_task(door.post("/v1/audio/transcriptions", data={"model": "x"}, files=recording))
    async with asyncio.timeout(20):
        await asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    [line] = Usage(store.database).calls(0)
    assert line.audio_s == pytest.approx(3.0, abs=0.01)


async def test_an_answer_is_given_also_when_its_cost_cannot_be_written_down(
    store: Store, door: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*asked: Any) -> None:
        if asked[2].startswith("UPDATE calls"):
            raise ConnectionError("the database is away")

    event.listen(store.database.engine, "before_cursor_execute", away)
    asked = {"model": "x", "input": "Hello there.", "response_format": "wav"}
    assert (await door.post("/v1/audio/speech", json=asked)).content.startswith(b"RIFF")
    assert "what a call has used could not be written down" in caplog.text
