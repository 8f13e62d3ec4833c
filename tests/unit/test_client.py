"""The Python client: against the real door, and against services that break in the middle of an answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from models.errors import InvalidJob, JobNotFound, NotAllowed, UnsupportedLanguage, WrongState
from serve_app import async_client
from serve_app.client import KEEP, AsyncClient, Change, Client, JobFailed, ServiceFailed, Unreachable
from serve_app.jobs.tenants import Tenant, Tenants
from tests.door import FILM, Door, opened

Act = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened(tmp_path_factory.mktemp("door")) as door:
        yield door


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_client, "PAUSE_S", 0.01)


# -- the real door -----------------------------------------------------------------------------------------------------


def test_a_video_goes_in_with_all_that_was_asked(real: Door, tmp_path: Path) -> None:
    (tmp_path / "talk.mp4").write_bytes(FILM)
    (tmp_path / "talk.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello.\n")
    with Client(real.url) as client:
        assert client.ready()
        sent = client.submit(
            tmp_path / "talk.mp4", ["es", "fr"], source="en", voice="female", subtitles="soft",
            transcript=tmp_path / "talk.srt", priority=7, title="A talk", audio_track=2,
        )  # fmt: skip
        asked = real.store.job(sent.id).request
        assert (asked.targets, asked.source_lang, asked.voice_gender) == (("es", "fr"), "en", "female")
        assert (asked.subtitles, asked.priority) == ("soft", 7)
        assert (asked.title, asked.audio_track, sent.title) == ("A talk", 2, "A talk")
        assert Path(asked.path).read_bytes() == FILM and Path(asked.transcript).read_text().startswith("1\n")
        assert not sent.ended and (sent.status, sent.target_langs) == ("processing", ("es", "fr"))
        assert sent.id in [job.id for job in client.jobs()]
        again = client.submit(asked.path, "es", there=True)
        assert real.store.job(again.id).request.path == asked.path
        for job in (sent, again):
            assert client.control(job.id, "cancel").id == job.id
            assert real.store.job(job.id).state == "cancelled"


def test_a_completed_job_gives_all_that_it_has(real: Door, tmp_path: Path) -> None:
    real.complete("whole")
    with Client(real.url) as client:
        snapshots = list(client.progress("whole"))
        assert [one.status for one in snapshots] == ["completed"] and snapshots[0].progress.percent == 100.0
        assert [line.message for line in snapshots[0].log] == ["Using [b] a voice"]
        assert client.wait("whole").id == "whole"
        made = client.result("whole")
        assert (made.duration_s, made.output_bytes) == (5.0, len(FILM)) and made.quality.lufs is None
        files = client.download("whole", tmp_path / "dubs")
        assert sorted(path.name for path in files) == sorted(made.artifacts)
        assert (tmp_path / "dubs" / "translated.mp4").read_bytes() == FILM
        assert [path.name for path in client.download("whole", tmp_path / "one", ["report.json"])] == ["report.json"]
        assert client.insights("whole")[0].title == "Job accepted"
        assert client.usage()["tenant"] == "anonymous"


def test_segments_are_changed_and_dubbed_again(real: Door) -> None:
    real.complete("edited")
    with Client(real.url) as client:
        first, second = client.segments("edited")
        assert (first.text, second.translation, second.flags) == ("Good morning.", "Bienvenidos [b].", ("long",))
        [changed] = client.change("edited", [Change(1, translation="¡Buenas!", skip=True)])
        assert changed.edit == {"text": None, "translation": "¡Buenas!", "voice": None, "skip": True}
        [changed] = client.change("edited", [Change(1, skip=None)])
        assert changed.edit == {"text": None, "translation": "¡Buenas!", "voice": None, "skip": None}
        assert client.redub("edited").status == "processing"
        with pytest.raises(WrongState, match="under way"):
            client.redub("edited")


def test_a_field_that_is_not_named_is_not_sent() -> None:
    assert Change(1, text=None, skip=False).asked() == {"text": None, "skip": False}
    assert Change(1, voice=KEEP).asked() == {}


def test_refusals_are_our_errors_with_the_services_sentence(real: Door, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"x")
    with Client(real.url) as client:
        with pytest.raises(JobNotFound, match="no job"):
            client.job("nothing")
        with pytest.raises(JobNotFound):
            list(client.progress("nothing"))
        with pytest.raises(UnsupportedLanguage, match="'xx'"):
            client.submit(tmp_path / "x.mp4", "xx")
        with pytest.raises(FileNotFoundError):
            client.submit(tmp_path / "y.mp4", "es")
        with pytest.raises(JobNotFound):
            client.download("nothing", tmp_path, ["translated.mp4"])
        with pytest.raises(InvalidJob, match="one of pause, resume and cancel"):
            client.control("nothing", "stop")
    with Client(real.url, key="dub_wrong") as client, pytest.raises(NotAllowed) as refused:
        client.jobs()
    assert refused.value.code == "unauthenticated"
    assert [path.name for path in tmp_path.iterdir()] == ["x.mp4"]


def test_a_failed_job_is_an_error_that_has_the_job(real: Door) -> None:
    real.fail("mute")
    with Client(real.url) as client:
        with pytest.raises(JobFailed, match="nobody says anything") as failed:
            client.wait("mute")
        assert client.retry("mute").state == "waiting"
        with pytest.raises(WrongState, match="failed or was cancelled"):
            client.retry("mute")
    assert (failed.value.code, failed.value.job.id, failed.value.job.status) == ("no_speech", "mute", "failed")


def test_a_key_shows_its_tenants_jobs_alone(real: Door) -> None:
    tenants = Tenants(real.store.database)
    key = tenants.issue(tenants.add(Tenant("ann")).name)
    real.complete("not-anns")
    with Client(real.url, key) as client:
        assert client.jobs() == []
        with pytest.raises(JobNotFound):
            client.result("not-anns")


async def test_several_calls_at_once_on_one_loop(real: Door) -> None:
    real.complete("loop")
    async with AsyncClient(real.url) as client:
        jobs = await asyncio.gather(*(client.job("loop") for _ in range(5)), client.wait("loop"))
    assert {job.status for job in jobs} == {"completed"}


def test_nothing_answers() -> None:
    with Client("http://127.0.0.1:9", first_s=0.05) as client:
        assert not client.ready()
        for call in (client.jobs, lambda: client.submit(__file__, "es"), lambda: list(client.progress("x"))):
            with pytest.raises(Unreachable, match="dubserve serve"):
                call()


# -- services that break -----------------------------------------------------------------------------------------------


class Script:
    """A service that plays one act for each request, and remembers what was asked."""

    def __init__(self, *acts: Act) -> None:
        self.acts, self.asked = list(acts), list[web.Request]()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        await request.read()
        return await self.acts.pop(0)(request)


@asynccontextmanager
async def playing(*acts: Act) -> AsyncIterator[tuple[AsyncClient, Script]]:
    script = Script(*acts)
    runner = web.ServerRunner(web.Server(script))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with AsyncClient(f"http://127.0.0.1:{port}", patience_s=5.0, first_s=5.0) as client:
            yield client, script
    finally:
        await runner.cleanup()


def job(status: str = "processing", percent: float = 0.0) -> dict[str, Any]:
    """With a field that this client does not know."""
    row = {"id": "j", "status": status, "state": "running", "message": "", "progress": {"percent": percent, "new": 1}}
    return row | {"newer": True}


def answers(body: Any, status: int = 200, **headers: str) -> Act:
    async def act(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return act


def says(text: str, status: int) -> Act:
    async def act(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status)

    return act


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def tells(*rows: dict[str, Any], breaks: bool = False) -> Act:
    async def act(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(b": a comment\n\nevent: other\ndata: {}\n\n")
        for row in rows:
            await stream.write(f"event: progress\ndata: {json.dumps(row)}\n\n".encode())
        if breaks:
            assert request.transport is not None
            request.transport.abort()
        return stream

    return act


AWAY = says("Path '/v1/jobs' not found", 404), says("Service unavailable", 503), hangs_up


async def test_a_stream_that_breaks_is_taken_up_again() -> None:
    acts = (tells(job(percent=10.0), breaks=True), *AWAY, tells(job(percent=20.0)), tells(job("completed", 100.0)))
    async with playing(*acts) as (client, script):
        heard = [one.progress.percent async for one in client.progress("j")]
    assert (heard, script.acts) == ([10.0, 20.0, 100.0], [])


async def test_who_waits_hears_how_it_ended() -> None:
    row = job("cancelled") | {"state": "cancelled"}
    async with playing(tells(job()), tells(row)) as (client, _):
        with pytest.raises(JobFailed, match="was cancelled") as failed:
            await client.wait("j")
    assert failed.value.code == "cancelled"


async def test_questions_are_asked_again_while_the_service_is_away() -> None:
    async with playing(*AWAY, answers([job()])) as (client, script):
        assert [one.id for one in await client.jobs()] == ["j"]
    assert len(script.asked) == 4


async def test_an_upload_that_may_have_arrived_is_not_sent_again(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(FILM)
    async with playing(hangs_up) as (client, script):
        with pytest.raises(Unreachable, match="look at the jobs"):
            await client.submit(tmp_path / "x.mp4", "es")
    assert len(script.asked) == 1


async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with playing(*[says("away", 503)] * 1000) as (client, _):
        client._first_s = 0.1
        with pytest.raises(Unreachable):
            await client.jobs()


async def test_a_refusal_says_when_to_come_back() -> None:
    refusal = {"error": {"code": "resource_exhausted", "message": "enough for today"}}
    broken = {"error": {"code": "internal", "message": "it broke"}}
    unfit = {"error": {"code": "invalid_request", "message": "check id"}}
    acts = (
        answers(refusal, 429, **{"retry-after": "30"}), answers(broken, 500), answers(unfit, 422)
    )  # fmt: skip
    async with playing(*acts) as (client, _):
        with pytest.raises(NotAllowed, match="enough") as limit:
            await client.redub("j")
        with pytest.raises(ServiceFailed, match="it broke"):
            await client.jobs()
        with pytest.raises(InvalidJob, match="check id") as wrong:
            await client.jobs()
    assert (limit.value.code, limit.value.retry_after, wrong.value.code) == (
        "resource_exhausted",
        30.0,
        "invalid_request",
    )


def gives(content: bytes, first: int, etag: str, sends: int, status: int = 200) -> Act:
    """`content` from byte `first` on, of which only `sends` arrive."""

    async def act(request: web.Request) -> web.StreamResponse:
        rest = content[first:]
        stream = web.StreamResponse(status=status, headers={"etag": etag, "content-length": str(len(rest))})
        await stream.prepare(request)
        await stream.write(rest[:sends])
        if sends < len(rest):
            await stream.drain()
            await asyncio.sleep(0.05)
            assert request.transport is not None
            request.transport.close()
        return stream

    return act


async def test_a_download_that_breaks_is_gone_on_with(tmp_path: Path) -> None:
    acts = (gives(FILM, 0, '"a"', 4000), says("away", 503), gives(FILM, 4000, '"a"', 10**6, 206))
    async with playing(*acts) as (client, script):
        [path] = await client.download("j", tmp_path, ["translated.mp4"])
    assert path.read_bytes() == FILM
    last = script.asked[-1].headers
    assert (last["range"], last["if-range"]) == ("bytes=4000-", '"a"')
    assert [path.name for path in tmp_path.iterdir()] == ["translated.mp4"]


async def test_a_file_that_changed_meanwhile_is_begun_anew(tmp_path: Path) -> None:
    other = bytes(reversed(FILM))
    async with playing(gives(FILM, 0, '"a"', 4000), gives(other, 0, '"b"', 10**6)) as (client, _):
        [path] = await client.download("j", tmp_path, ["../../translated.mp4"])
    assert path == tmp_path / "translated.mp4" and path.read_bytes() == other
