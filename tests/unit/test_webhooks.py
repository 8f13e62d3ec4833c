"""Deliveries to a real server on this machine: what it gets, how often, and where nothing is ever sent."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from pydantic import SecretStr
from sqlalchemy import select

from configs.app import AppSettings, JobSettings, Roots, WebhookSettings
from models.errors import ArtifactMissing, InvalidJob
from serve_app.jobs.deliveries import Outbox
from serve_app.jobs.job import Control, Quality, Request, Result, State
from serve_app.jobs.store import Store
from serve_app.jobs.tables import deliveries
from serve_app.jobs.webhooks import Webhooks, check_address, signing_key
from tests.unit.test_http import door, nothing, refused

KEY = b"a secret of the test"
HERE = WebhookSettings.model_validate({"allowed_networks": ["127.0.0.0/8"], "timeout_s": 0.5, "tries": 3})
NOWHERE = WebhookSettings.model_validate({"timeout_s": 0.5, "tries": 1})


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Receiver:
    """A web server whose next answers are given; an answer of 0 never comes."""

    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""
    location: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.got.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        status = self.answers.pop(0) if self.answers else 200
        if not status:
            await asyncio.sleep(30)
        return web.Response(
            status=status, headers={"location": self.location} if self.location else {}, body=b"x" * 10**6
        )


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", lambda request: receiver.answer(request))
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


class House:
    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.store = Store(url, JobSettings(), self.clock)
        self.store.create()

    def sender(self, settings: WebhookSettings = HERE) -> Webhooks:
        return Webhooks(Outbox(self.store.database, settings, self.clock), settings, KEY, self.clock)

    def end(self, webhook: str, state: State = State.COMPLETED, name: str = "job", tenant: str = "a") -> None:
        self.store.submit(Request(name, "/x.mp4", "en", "es", tenant=tenant, also=("fr",), webhook=webhook))
        job = self.store.claim("driver")
        assert job is not None
        if state is State.COMPLETED:
            self.store.complete(name, job.fence, Result("/o", "", "", "/r", 12.5, 1, 1, 1.0, Quality()))
        elif state is State.FAILED:
            self.store.fail(name, job.fence, "no_speech", "nothing was said")
        else:
            self.store.control(name, Control.CANCEL)
            self.store.cancelled(name, job.fence)

    def rows(self) -> list[Any]:
        with self.store.database.read() as connection:
            return list(connection.execute(select(deliveries).order_by(deliveries.c.created_at)))


@pytest.fixture
def house(url: str) -> Iterator[House]:
    house = House(url)
    yield house
    house.store.close()


async def sent(sender: Webhooks) -> int:
    """Tries what is due and has a place, and waits for what comes of it."""
    begun = await sender.begin()
    await asyncio.gather(*begun, return_exceptions=True)
    return len(begun)


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
async def test_the_end_of_a_job_is_told_once_and_signed(house: House, receiver: Receiver, state: State) -> None:
    house.end(receiver.url, state)
    assert await sent(house.sender()) == 1
    [(headers, body)] = receiver.got
    told = json.loads(body)
    assert (told["event"], told["job_id"], told["status"]) == (f"job.{state}", "job", str(state))
    assert told["target_langs"] == ["es", "fr"] and told["created_at"] == "2027-01-15T08:00:00.000000Z"
    wanted = {"code": "no_speech", "message": "nothing was said"} if state is State.FAILED else None
    assert told["error"] == wanted and told["duration_s"] == (12.5 if state is State.COMPLETED else None)
    assert headers["content-type"] == "application/json" and headers["webhook-id"] == told["id"]
    assert headers["webhook-timestamp"] == "1800000000"
    signed = f"{told['id']}.1800000000.".encode() + body
    digest = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert await sent(house.sender()) == 0
    [row] = house.rows()
    assert (row.due_at, row.delivered_at, row.tries, row.error) == (None, house.clock.now, 1, "")


async def test_a_failure_is_tried_again_later_under_the_same_id_with_a_new_signature(
    house: House, receiver: Receiver
) -> None:
    house.end(receiver.url)
    receiver.answers = [500, 200]
    sender = house.sender()
    assert await sent(sender) == 1
    [row] = house.rows()
    assert row.error == "it answered with 500" and row.delivered_at is None
    assert 7.5 <= row.due_at - house.clock.now <= 12.5
    assert await sent(sender) == 0
    house.clock.now += 13
    assert await sent(sender) == 1
    one, two = (headers for headers, _ in receiver.got)
    assert one["webhook-id"] == two["webhook-id"] and one["webhook-signature"] != two["webhook-signature"]
    [row] = house.rows()
    assert row.delivered_at == house.clock.now and row.error == "" and row.tries == 2


async def test_tries_are_bounded_and_pauses_grow(house: House, receiver: Receiver) -> None:
    house.end(receiver.url)
    receiver.answers = [503] * 10
    pauses = []
    for _ in range(HERE.tries):
        assert await sent(house.sender()) == 1
        [row] = house.rows()
        pauses.append((row.due_at or house.clock.now) - house.clock.now)
        house.clock.now += 10_000
    assert await sent(house.sender()) == 0
    assert len(receiver.got) == 3 and pauses[1] > 2 * pauses[0] and pauses[2] == 0
    assert house.rows()[0].delivered_at is None


async def test_a_receiver_that_has_gone_is_not_asked_again(house: House, receiver: Receiver) -> None:
    house.end(receiver.url)
    receiver.answers = [410]
    await sent(house.sender())
    assert house.rows()[0].due_at is None and house.rows()[0].delivered_at is None


async def test_a_receiver_that_never_answers_is_left_after_the_time_limit(house: House, receiver: Receiver) -> None:
    house.end(receiver.url)
    receiver.answers = [0]
    async with asyncio.timeout(5):
        await sent(house.sender())
    [row] = house.rows()
    assert row.error == "it did not answer within 0.5 s" and row.due_at > house.clock.now


async def test_nobody_listening_is_a_failure_too(house: House) -> None:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    house.end(f"http://127.0.0.1:{port}/hook")
    await sent(house.sender())
    assert house.rows()[0].error == "no connection could be made to it"


async def test_two_replicas_do_not_send_the_same_delivery(house: House, receiver: Receiver) -> None:
    for number in range(12):
        house.end(receiver.url, name=f"job-{number}")
    counts = await asyncio.gather(*(sent(house.sender()) for _ in range(4)))
    while await sent(house.sender()):
        pass
    assert sum(counts) >= 1
    ids = [headers["webhook-id"] for headers, _ in receiver.got]
    assert len(ids) == len(set(ids)) == 12


async def test_a_replica_that_dies_leaves_the_delivery_due(house: House, receiver: Receiver) -> None:
    house.end(receiver.url)
    [claimed] = Outbox(house.store.database, HERE, house.clock).claim()
    assert await sent(house.sender()) == 0
    house.clock.now += 2 * HERE.timeout_s + 11
    assert await sent(house.sender()) == 1
    Outbox(house.store.database, HERE, house.clock).failed(claimed, "too late to say so")
    assert house.rows()[0].delivered_at is not None and house.rows()[0].error == ""


async def test_the_loop_sends_and_outlives_a_database_that_is_away(
    house: House, receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = HERE.model_copy(update={"every_s": 0.01})
    outbox = Outbox(house.store.database, settings, house.clock)
    real, away = outbox.claim, [True]
    monkeypatch.setattr(outbox, "claim", lambda held: real(held) if not away or not away.pop() else 1 / 0)
    loop = asyncio.create_task(Webhooks(outbox, settings, KEY, house.clock).run())
    house.end(receiver.url)
    async with asyncio.timeout(5):
        while not receiver.got:
            await asyncio.sleep(0.01)
    loop.cancel()
    assert "webhooks could not be sent" in caplog.text


async def test_one_that_cannot_be_written_down_holds_up_no_other(
    house: House, receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.end(receiver.url, name="one")
    house.clock.now += 1
    house.end(receiver.url, name="two")
    outbox = Outbox(house.store.database, HERE, house.clock)
    real, broken = outbox.delivered, [True]
    monkeypatch.setattr(outbox, "delivered", lambda one: real(one) if not broken or not broken.pop() else 1 / 0)
    assert await sent(Webhooks(outbox, HERE, KEY, house.clock)) == 2
    assert sum(row.delivered_at is not None for row in house.rows()) == 1
    assert "could not be written down" in caplog.text
    house.clock.now += 2 * HERE.timeout_s + 11
    assert await sent(house.sender()) == 1
    assert all(row.delivered_at is not None for row in house.rows())


async def test_a_slow_receiver_delays_no_other_tenant(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds its answers back until the other tenant has got all of its own."""
    got, opened = receiver.got, asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if request.query["of"] == "slow":
            await opened.wait()
        got.append(({}, request.query["of"].encode()))
        return web.Response()

    for number in range(20):
        house.end(f"{receiver.url}?of=slow", name=f"slow-{number}", tenant="slow")
    house.clock.now += 1
    for number in range(9):
        house.end(f"{receiver.url}?of=quick", name=f"quick-{number}", tenant="quick")
    settings = HERE.model_copy(update={"at_once": 6, "for_one": 4, "timeout_s": 30.0, "every_s": 0.01})
    monkeypatch.setattr(receiver, "answer", answer)
    loop = asyncio.create_task(house.sender(settings).run())
    async with asyncio.timeout(20):
        while len(got) < 9:
            await asyncio.sleep(0.01)
        assert {who for _, who in got} == {b"quick"}
        opened.set()
        while sum(row.delivered_at is not None for row in house.rows()) < 29:
            await asyncio.sleep(0.01)
    loop.cancel()


def test_places_go_to_whoever_holds_fewest(house: House) -> None:
    for tenant in ("a", "b", "c"):
        for number in range(4):
            house.end("http://example.com", name=f"{tenant}-{number}", tenant=tenant)
        house.clock.now += 1
    settings = HERE.model_copy(update={"at_once": 5, "for_one": 2})
    outbox = Outbox(house.store.database, settings, house.clock)
    claims = [[one.tenant for one in outbox.claim(["a", "a", "b"])], [one.tenant for one in outbox.claim()]]
    assert [sorted(tenants) for tenants in claims] == [["b", "c"], ["a", "a", "b", "b", "c"]]
    assert outbox.claim(["a"] * 5) == []


def test_only_ends_are_told_and_only_where_it_was_wished(house: House) -> None:
    house.end("", name="silent")
    house.store.submit(Request("job", "/x.mp4", "en", "es", webhook="http://example.com"))
    job = house.store.claim("driver")
    assert job is not None
    house.store.release("job", job.fence)
    house.store.control("job", Control.PAUSE)
    assert house.rows() == []
    house.store.control("job", Control.CANCEL)
    assert [json.loads(row.body)["event"] for row in house.rows()] == ["job.cancelled"]
    house.store.control("job", Control.CANCEL)
    assert len(house.rows()) == 1


# -- where nothing is sent ---------------------------------------------------------------------------------------------


@pytest.fixture
def canary() -> Iterator[socket.socket]:
    """Listens on every address of this machine and wants never to hear anything."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        listening.setblocking(False)
        yield listening


def heard_nothing(canary: socket.socket) -> bool:
    try:
        canary.accept()
    except BlockingIOError:
        return True
    return False


REFUSED = "it lies in a private network, and nothing was sent there"
FORMS = ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0.0.0.0", "[::1]", "[::]"]
FORMS += ["[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "127.0.0.1.", "LOCALHOST", "①②⑦.⓪.⓪.①"]
ODD = ("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1.", "①②⑦.⓪.⓪.①")
"""Spellings that a client may refuse before they are resolved."""


@pytest.mark.parametrize("host", FORMS)
async def test_no_packet_goes_into_a_private_network(tmp_path: Path, canary: socket.socket, host: str) -> None:
    house = House(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    house.end(f"http://{host}:{canary.getsockname()[1]}/hook")
    await sent(house.sender(NOWHERE))
    [row] = house.rows()
    assert heard_nothing(canary)
    assert row.delivered_at is None and row.due_at is None
    assert row.error == REFUSED or (host in ODD and row.error == "no connection could be made to it")
    house.store.close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(
    tmp_path: Path, receiver: Receiver, canary: socket.socket, status: int
) -> None:
    house = House(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    house.end(receiver.url)
    receiver.answers, receiver.location = [status], f"http://127.0.0.1:{canary.getsockname()[1]}/"
    await sent(house.sender())
    assert len(receiver.got) == 1 and heard_nothing(canary)
    assert house.rows()[0].error == f"it answered with {status}, and redirects are not followed"
    house.store.close()


async def test_a_name_is_resolved_once_and_the_checked_address_is_used(
    tmp_path: Path, canary: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = socket.getaddrinfo, []

    def rebinding(host: Any, *args: Any, **more: Any) -> Any:
        if host != "rebind.example":
            return real(host, *args, **more)
        asked.append(host)
        return real("127.0.0.1" if len(asked) % 2 else "192.0.2.1", *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    house = House(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    house.end(f"http://rebind.example:{canary.getsockname()[1]}/")
    await sent(house.sender(NOWHERE))
    assert asked == ["rebind.example"] and heard_nothing(canary)
    assert house.rows()[0].error == REFUSED
    house.store.close()


# -- what a caller may name --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        *(
            "ftp://x/",
            "file:///etc/passwd",
            "http://",
            "x",
            "http://a:b@x/",
            "http://x:99999/",
            "http://x/" + "y" * 2048,
        ),
        *("https://ex ample.com/", "https://127.0.0.1/x", "http://[::1]/", "http://[::ffff:10.0.0.1]/"),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidJob):
        check_address(url)


def test_addresses_that_may_be_named() -> None:
    for url in ("https://example.com/hook?token=1", "http://example.com:8080", "https://[2606:4700::1]/x"):
        check_address(url)
    check_address("http://10.1.2.3:8080/hook", [ip_network("10.0.0.0/8")])


def test_a_secret_is_text_or_base64() -> None:
    assert signing_key(SecretStr("plain text")) == b"plain text"
    assert signing_key(SecretStr("whsec_" + base64.b64encode(b"x" * 24).decode())) == b"x" * 24
    with pytest.raises(ArtifactMissing, match="WEBHOOK_SECRET"):
        signing_key(SecretStr("whsec_!"))


@pytest.mark.parametrize("secret", [None, SecretStr("s")])
async def test_the_http_door_takes_a_webhook_only_with_a_secret(tmp_path: Path, secret: SecretStr | None) -> None:
    folders = {name: tmp_path / name for name in ("uploads", "artifacts", "work")}
    for folder in folders.values():
        folder.mkdir()
    (folders["uploads"] / "x.mp4").write_bytes(b"x")
    roots = Roots(**folders, database_url=SecretStr(""), webhook_secret=secret)
    house = House(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    transport = httpx.ASGITransport(door(house.store, roots, AppSettings(), nothing))
    form = {
        "path": str(folders["uploads"] / "x.mp4"),
        "target_langs": ["es,fr", "de"],
        "webhook": "https://example.com/x",
    }
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as http:
        answer = await http.post("/v1/jobs", data=form)
        bad = await http.post("/v1/jobs", data={**form, "webhook": "ftp://x"})
        both = await http.post("/v1/jobs", data={**form, "target_lang": "es"})
        neither = await http.post("/v1/jobs", data={**form, "target_langs": []})
    refused(bad, 422, "invalid_job")
    assert "target_langs" in refused(both, 422, "invalid_job") and "target_lang" in refused(neither, 422, "invalid_job")
    if secret is None:
        assert "WEBHOOK_SECRET" in refused(answer, 422, "invalid_job")
    else:
        assert answer.status_code == 202 and answer.json()["target_langs"] == ["es", "fr", "de"]
        asked = house.store.job(answer.json()["id"]).request
        assert (asked.webhook, asked.also) == ("https://example.com/x", ("fr", "de"))
        assert "example.com" not in answer.text
        assert await seen(transport, answer.json()["id"], house) == [(1, "it answered with 500", True)]
    house.store.close()


async def seen(transport: httpx.ASGITransport, job: str, house: House) -> list[tuple[int, str, bool]]:
    """Tries, error and whether it is due again, as the owner of a job sees its one delivery."""
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as http:
        assert (await http.get(f"/v1/jobs/{job}/deliveries")).json() == []
        house.store.control(job, Control.CANCEL)
        outbox = Outbox(house.store.database, HERE, house.clock)
        [claimed] = outbox.claim()
        outbox.failed(claimed, "it answered with 500")
        rows = (await http.get(f"/v1/jobs/{job}/deliveries")).json()
        refused(await http.get("/v1/jobs/nobody/deliveries"), 404, "job_not_found")
    return [(row["tries"], row["error"], row["due_at"] is not None) for row in rows]


def test_the_secret_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEBHOOK_SECRET", raising=False)
    roots = Roots.from_environment()
    assert roots.webhook_secret is None and "WEBHOOK_SECRET" not in roots.as_environment()
    monkeypatch.setenv("WEBHOOK_SECRET", "s")
    assert Roots.from_environment().as_environment()["WEBHOOK_SECRET"] == "s"
    assert "'s'" not in repr(Roots.from_environment())
