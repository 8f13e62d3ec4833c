"""No call without its caller, and nobody meets another tenant's jobs, files or ids: over every route that there is."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import SecretStr

from configs.app import AppSettings, JobSettings, Roots
from models.errors import NotAllowed
from serve_app.doors import access
from serve_app.doors.access import BELIEVED_S, Access, Caller, is_open
from serve_app.doors.desk import Desk
from serve_app.doors.http import build_api
from serve_app.doors.speech import Announcer
from serve_app.doors.transcribe import Transcriber
from serve_app.jobs.job import Insight, LogLine, Progress, Quality, Request, Result, State
from serve_app.jobs.store import Store
from serve_app.jobs.tenants import Tenant, Tenants
from serve_app.jobs.workspace import artifacts
from serve_app.spending import Spending

STAMP = "2026-01-01T00:00:00.000001Z"


async def nothing(*_: object) -> Any:
    raise AssertionError("no engine is asked here")


async def ready() -> dict[str, bool]:
    return {"store": True}


@dataclass
class House:
    """Two tenants with a key each; `a` has a completed job that is called secret."""

    store: Store
    tenants: Tenants
    roots: Roots
    keys: dict[str, str]

    def api(self, **ingress: Any) -> FastAPI:
        settings = AppSettings.model_validate({"ingress": {"anonymous": False, **ingress}})
        transcriber = Transcriber(settings, self.roots.work, *[nothing] * 5)
        access = Access(self.tenants, settings.ingress.anonymous)
        desk = Desk(self.store, settings, self.roots, nothing, nothing, nothing)
        announcer = Announcer(nothing, settings.pipeline.speak)
        return build_api(desk, access, ready, transcriber, announcer, settings)

    def http(self, **ingress: Any) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.api(**ingress), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://door")

    def key(self, tenant: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[tenant]}"}

    def finish(self, job_id: str, tenant: str) -> None:
        self.store.submit(Request(job_id, "/in.mp4", "en", "es", tenant=tenant))
        job = self.store.claim("driver")
        assert job is not None and job.id == job_id
        files = artifacts(self.roots.artifacts, job_id)
        files.output.write_bytes(b"confidential")
        files.report.write_text("{}")
        line = LogLine(STAMP, "info", "tts", "confidential")
        insight = Insight(f"{job_id}-1", "decision", "confidential", "", "low", STAMP)
        result = Result(str(files.output), "", "", "", 1.0, 1, 1, 1.0, Quality())
        self.store.complete(job_id, job.fence, result, Progress(), [line], [insight], Spending(cpu_s=1.0))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    folders = {name: tmp_path / name for name in ("uploads", "artifacts", "work")}
    for folder in folders.values():
        folder.mkdir()
    store = Store(f"sqlite:///{tmp_path / 'jobs.sqlite'}", JobSettings())
    store.create()
    tenants = Tenants(store.database)
    keys = {name: tenants.issue(tenants.add(Tenant(name)).name) for name in ("a", "b")}
    house = House(store, tenants, Roots(**folders, database_url=SecretStr("")), keys)
    house.finish("secret", "a")
    yield house
    store.close()


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with house.http() as client:
        yield client


VALUES = {"job_id": "secret", "name": "translated.mp4", "action": "cancel", "path": "index.html"}


def calls(house: House) -> list[tuple[str, str]]:
    """Method and address of everything that the door offers, about the job that is a secret."""
    routes = [route for route in house.api().routes if isinstance(route, APIRoute)]
    return sorted((method, route.path_format.format(**VALUES)) for route in routes for method in route.methods)


async def test_every_route_wants_a_key_but_those_that_are_open(house: House, http: httpx.AsyncClient) -> None:
    asked = calls(house)
    assert len(asked) > 15
    key = house.keys["a"]
    revoked = house.tenants.issue("a")
    house.tenants.revoke(revoked.split("_")[1])
    for given in ("", "Bearer", "Bearer none", f"Bearer {key}x", f"Bearer {revoked}", f"Basic {key}", key):
        for method, path in [*asked, ("GET", "/v2/nothing"), ("GET", "/docs")]:
            answer = await http.request(method, path, headers={"authorization": given} if given else {})
            if is_open(path):
                assert answer.status_code < 500 and "confidential" not in answer.text, (method, path)
                continue
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (401, "unauthenticated"), (given, method, path)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "confidential" not in answer.text and str(house.roots.work) not in answer.text


async def test_where_callers_may_be_anonymous_a_wrong_key_is_refused_all_the_same(house: House) -> None:
    async with house.http(anonymous=True) as http:
        for given in ("", "Bearer none", "bearer  NONE".lower()):
            answer = await http.get("/v1/jobs", headers={"authorization": given} if given else {})
            assert (answer.status_code, answer.json()) == (200, [])
        for method, path in calls(house):
            if not is_open(path):
                answer = await http.request(method, path, headers={"authorization": "Bearer dub_1_x"})
                assert answer.status_code == 401, (method, path)


async def test_another_tenants_job_is_not_there(house: House, http: httpx.AsyncClient) -> None:
    concerned = [(method, path) for method, path in calls(house) if "secret" in path]
    assert len(concerned) > 8
    for method, path in concerned:
        other = await http.request(method, path, headers=house.key("b"), **body(method))
        nobody = await http.request(method, path.replace("secret", "nobody"), headers=house.key("b"), **body(method))
        assert other.status_code == 404, (method, path, other.text)
        assert (other.status_code, other.json()) == (nobody.status_code, nobody.json()), (method, path)
    assert house.store.job("secret").result is not None


def body(method: str) -> dict[str, Any]:
    return {"json": []} if method == "PATCH" else {}


async def test_lists_hold_the_callers_own_alone(house: House, http: httpx.AsyncClient) -> None:
    house.finish("open", "b")
    for path in ("/v1/jobs", "/v1/usage", "/v1/usage?format=csv"):
        own = await http.get(path, headers=house.key("b"))
        assert own.status_code == 200 and "open" in own.text and "secret" not in own.text, path
    one = await http.get("/v1/jobs/secret", headers=house.key("a"))
    assert one.status_code == 200 and one.json()["log"][0]["message"] == "confidential"


async def test_usage_of_a_time(house: House, http: httpx.AsyncClient) -> None:
    told = (await http.get("/v1/usage", headers=house.key("a"))).json()
    assert (told["tenant"], told["total"]["jobs"], told["total"]["cpu_s"]) == ("a", 1, 1.0)
    assert [line["job_id"] for line in told["jobs"]] == ["secret"]
    for since, jobs in (
        ("2026-01-01", 1),
        ("2100-01-01T00:00:00Z", 0),
        ("1700000000", 1),
        ("2026-01-01T00:00:00+02:00", 1),
    ):
        told = (
            await http.get("/v1/usage", headers=house.key("a"), params={"since": since, "until": "2100-01-01"})
        ).json()
        assert told["total"]["jobs"] == len(told["jobs"]) == jobs, since
    for wrong in ("yesterday", "1e400", "9" * 30, "-", "0001-01-01", "9999-12-31T23:59:59-23:59", "2100-01-02"):
        answer = await http.get("/v1/usage", headers=house.key("a"), params={"since": wrong})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_job"), wrong
    table = (await http.get("/v1/usage?format=csv", headers=house.key("a"))).text.split("\r\n")
    assert table[0].startswith("job_id,tenant,at") and table[1].startswith("secret,a,2")


class Asked(Tenants):
    """Counts how often the database is asked whose a key is."""

    times = 0

    def owner(self, key: str) -> str:
        self.times += 1
        return super().owner(key)


async def test_a_wrong_key_costs_one_question(house: House) -> None:
    asked, clock = Asked(house.store.database), [0.0]
    known = Access(asked, anonymous=True, clock=lambda: clock[0])
    for questions in (1, 2):
        for _ in range(200):
            with pytest.raises(NotAllowed, match="not known") as refused:
                await known.caller({"authorization": "Bearer dub_1_x"})
            assert refused.value.code == "unauthenticated"
        assert asked.times == questions
        clock[0] += BELIEVED_S
    assert (await known.caller(house.key("a"))).tenant == "a"
    for number in range(2 * access.BELIEVED):
        access.remember(known._refused, str(number), "", clock[0])
    assert len(known._refused) <= access.BELIEVED and (await known.caller(house.key("a"))).tenant == "a"
    assert asked.times == 3


async def test_a_stream_ends_when_its_key_is_revoked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "BELIEVED_S", 0.0)
    house.store.submit(Request("waits", "/in.mp4", "en", "es", tenant="a"))
    async with house.http() as http, asyncio.timeout(60):
        stream = asyncio.create_task(http.get("/v1/jobs/waits/events", headers=house.key("a")))
        await asyncio.wait({stream}, timeout=2 * JobSettings().heartbeat_s)
        assert not stream.done()
        house.tenants.revoke(house.keys["a"].split("_")[1])
        told = await stream
    assert told.text.count("event: progress") >= 1 and '"waiting"' in told.text
    assert house.store.job("waits").state is State.WAITING


async def test_a_stream_goes_on_while_nobody_can_say_whose_key_it_was(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "BELIEVED_S", 0.0)
    known = Access(house.tenants, anonymous=False)
    await known.confirm(house.key("a"))
    with house.store.database.migrating() as connection:
        connection.exec_driver_sql("ALTER TABLE keys RENAME TO away")
    await known.confirm(house.key("a"))
    with pytest.raises(Exception, match="keys"):
        await known.caller(house.key("a"))
    with house.store.database.migrating() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO keys")
    house.tenants.revoke(house.keys["a"].split("_")[1])
    with pytest.raises(NotAllowed):
        await known.confirm(house.key("a"))
    await Access(house.tenants, anonymous=True).confirm({})


# -- files -------------------------------------------------------------------------------------------------------------


async def test_uploads_of_a_tenant_lie_in_its_folder_and_nobody_else_can_name_them(house: House) -> None:
    async with house.http(anonymous=True) as http:
        files = {"file": ("x.mp4", b"mine")}
        answer = await http.post("/v1/jobs", data={"target_lang": "es"}, files=files, headers=house.key("a"))
        job_id = answer.json()["id"]
        mine = house.roots.uploads / "tenants" / "a" / f"{job_id}.mp4"
        assert answer.status_code == 202 and mine.read_bytes() == b"mine"
        assert house.store.job(job_id).request.path == str(mine)
        shared = house.roots.uploads / "shared.mp4"
        shared.write_bytes(b"x")
        link = house.roots.uploads / "link.mp4"
        link.symlink_to(mine)
        through = f"{house.roots.uploads}/tenants/b/../a/{mine.name}"
        result = artifacts(house.roots.artifacts, "secret").output
        for headers, path, status in (
            (house.key("a"), mine, 202),
            (house.key("b"), mine, 422),
            ({}, mine, 422),
            ({}, link, 422),
            (house.key("b"), through, 422),
            (house.key("b"), shared, 422),
            ({}, shared, 202),
            (house.key("b"), result, 422),
            ({}, result, 422),
        ):
            answer = await http.post("/v1/jobs", data={"target_lang": "es", "path": str(path)}, headers=headers)
            assert answer.status_code == status, (headers, path, answer.text)
            assert status == 202 or answer.json()["error"]["code"] == "path_not_allowed"


async def test_results_of_others_are_no_input_where_the_path_is_checked_late(house: House) -> None:
    desk = Desk(house.store, AppSettings(), house.roots, nothing, nothing, nothing)
    result = artifacts(house.roots.artifacts, "secret").output
    with pytest.raises(Exception, match="outside the folders"):
        await desk.take(Caller(), Request("new", str(result), "en", "es"))
    assert (await desk.take(Caller("a"), Request("own", str(result), "en", "es"))).request.tenant == "a"


async def test_an_id_that_is_taken_is_refused_as_one_that_nobody_can_use(house: House) -> None:
    desk = Desk(house.store, AppSettings(), house.roots, nothing, nothing, nothing)
    said = set()
    for job_id in ("secret", "../x", ""):
        with pytest.raises(Exception, match="session id") as caught:
            await desk.take(Caller("b"), Request(job_id, "/in.mp4", "en", "es"))
        said.add((type(caught.value), str(caught.value)))
    assert len(said) == 1
    assert (await desk.take(Caller("a"), Request("secret", "/in.mp4", "en", "es"))).result is not None


# -- limits ------------------------------------------------------------------------------------------------------------


class Body:
    """A form with a file, whose parts are counted when they are read."""

    def __init__(self, size: int) -> None:
        head = b'--b\r\nContent-Disposition: form-data; name="target_lang"\r\n\r\nes\r\n'
        head += b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.mp4"\r\n\r\n'
        self.parts = [head, *[b"x" * 1000] * (size // 1000), b"\r\n--b--\r\n"]
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            self.read += 1
            yield part

    async def post(self, http: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
        form = {"content-type": "multipart/form-data; boundary=b", "content-length": str(sum(map(len, self.parts)))}
        return await http.post("/v1/jobs", content=self, headers={**headers, **form})


async def test_an_upload_beyond_a_limit_is_refused_before_it_is_read(house: House, http: httpx.AsyncClient) -> None:
    house.tenants.change("b", stored_bytes=1_000_000)
    body = Body(2_000_000)
    answer = await body.post(http, house.key("b"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "resource_exhausted")
    assert int(answer.headers["retry-after"]) > 0 and body.read == 0
    assert (await Body(900_000).post(http, house.key("b"))).status_code == 202
    house.tenants.change("b", queued=1, stored_bytes=None)
    body = Body(1000)
    answer = await body.post(http, house.key("b"))
    assert (answer.status_code, answer.headers["retry-after"], body.read) == (429, "30", 0)
    assert (await Body(1000).post(http, house.key("a"))).status_code == 202


async def test_a_job_that_is_dubbed_again_needs_room_in_the_queue(house: House, http: httpx.AsyncClient) -> None:
    house.tenants.change("a", queued=0)
    answer = await http.post("/v1/jobs/secret/redub", headers=house.key("a"))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    assert house.store.job("secret").state.live is False


async def test_what_was_received_for_a_job_that_is_refused_does_not_stay(house: House, http: httpx.AsyncClient) -> None:
    house.tenants.change("b", stored_bytes=10)  # less than the form is allowed to hold besides its file
    answer = await http.post(
        "/v1/jobs", data={"target_lang": "es"}, files={"file": ("x.mp4", b"x" * 11)}, headers=house.key("b")
    )
    assert answer.status_code == 429
    files = {"file": ("x.mp4", b"x"), "transcript": ("x.srt", b"none")}
    answer = await http.post("/v1/jobs", data={"target_lang": "es"}, files=files, headers=house.key("b"))
    assert answer.status_code == 422
    assert list((house.roots.uploads / "tenants" / "b").iterdir()) == []


async def test_a_priority_comes_with_a_job_and_has_bounds(house: House, http: httpx.AsyncClient) -> None:
    files = {"file": ("x.mp4", b"x")}
    form = {"target_lang": "es", "priority": "7"}
    answer = await http.post("/v1/jobs", data=form, files=files, headers=house.key("a"))
    assert house.store.job(answer.json()["id"]).request.priority == 7
    answer = await http.post("/v1/jobs", data={**form, "priority": "101"}, files=files, headers=house.key("a"))
    assert (answer.status_code, "priority" in answer.text) == (422, True)
    desk = Desk(house.store, AppSettings(), house.roots, nothing, nothing, nothing)
    with pytest.raises(Exception, match="priority lies between"):
        await desk.take(Caller("a"), replace(Request("x", "/in.mp4", "en", "es"), priority=-101))


# -- keys --------------------------------------------------------------------------------------------------------------


async def test_a_key_is_believed_for_some_seconds_and_no_longer(house: House) -> None:
    now = [0.0]
    access = Access(house.tenants, False, lambda: now[0])
    header = house.key("a")
    assert await access.caller(header) == Caller("a")
    house.tenants.revoke(house.keys["a"].split("_")[1])
    now[0] = BELIEVED_S - 0.1
    assert await access.caller(header) == Caller("a")
    now[0] = BELIEVED_S + 0.1
    with pytest.raises(NotAllowed):
        await access.caller(header)


async def test_a_refusal_has_openais_shape_on_its_routes(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/audio/transcriptions", headers={"authorization": "Bearer sk-wrong"})
    assert answer.status_code == 401
    assert json.loads(answer.text)["error"]["type"] == "authentication_error"
