"""The HTTP door over a real desk and store: every refusal has one shape, and large bodies never reach the disk."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from configs.app import AppSettings, JobSettings, Roots
from serve_app.doors.access import FORM_BYTES, Access
from serve_app.doors.desk import Desk
from serve_app.doors.http import Ready, build_api, satisfiable
from serve_app.doors.speech import Announcer
from serve_app.doors.transcribe import Transcriber
from serve_app.jobs.job import Control, Quality, Request, Result
from serve_app.jobs.store import Store
from serve_app.jobs.tenants import Tenants
from serve_app.jobs.workspace import artifacts

LIMIT = 1000
CONTENT = bytes(range(256)) * 4
Finish = Callable[[str], Path]


async def nothing(*_: object) -> Any:
    raise AssertionError("no engine is asked here")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path / 'jobs.sqlite'}", JobSettings())
    store.create()
    yield store
    store.close()


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    folders = {name: tmp_path / name for name in ("uploads", "artifacts", "work")}
    for folder in folders.values():
        folder.mkdir()
    return Roots(**folders, database_url=SecretStr(""))


def door(store: Store, roots: Roots, settings: AppSettings, ready: Ready) -> FastAPI:
    transcriber = Transcriber(settings, roots.work, *[nothing] * 5)
    access = Access(Tenants(store.database), settings.ingress.anonymous)
    desk, announcer = (
        Desk(store, settings, roots, nothing, nothing, nothing),
        Announcer(nothing, settings.pipeline.speak),
    )
    return build_api(desk, access, ready, transcriber, announcer, settings)


@pytest.fixture
async def http(store: Store, roots: Roots) -> AsyncIterator[httpx.AsyncClient]:
    settings = AppSettings.model_validate({"ingress": {"max_upload_bytes": LIMIT}})

    async def ready() -> dict[str, bool]:
        return {"store": True}

    api = door(store, roots, settings, ready)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://door") as client:
        yield client


@pytest.fixture
def finish(store: Store, roots: Roots) -> Finish:
    """Brings a job to its end, with CONTENT as its video; returns the video's path."""

    def run(job_id: str) -> Path:
        store.submit(Request(job_id, "/x.mp4", "en", "es"))
        job = store.claim("driver")
        assert job is not None and job.id == job_id
        output = artifacts(roots.artifacts, job_id).output
        output.write_bytes(CONTENT)
        store.complete(job_id, job.fence, Result(str(output), "", "", "", 1.0, 1, 1, 1.0, Quality()))
        return output

    return run


def refused(answer: httpx.Response, status: int, code: str) -> str:
    """Checks the shape of a refusal; returns its sentence."""
    assert answer.status_code == status
    body = answer.json()
    assert list(body) == ["error"] and sorted(body["error"]) == ["code", "message"]
    assert body["error"]["code"] == code
    sentence: str = body["error"]["message"]
    assert sentence and "detail" not in sentence
    return sentence


# -- uploads -----------------------------------------------------------------------------------------------------------


class Body:
    """A form with one large file, in pieces that are counted as they are asked for."""

    def __init__(self, size: int) -> None:
        head = b'--b\r\nContent-Disposition: form-data; name="target_lang"\r\n\r\nes\r\n'
        head += b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.mp4"\r\n\r\n'
        self.pieces = [head, *[b"x" * 10_000] * (size // 10_000), b"\r\n--b--\r\n"]
        self.asked = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.asked += 1
            yield piece

    async def post(self, http: httpx.AsyncClient, **headers: str) -> httpx.Response:
        headers["content-type"] = "multipart/form-data; boundary=b"
        return await http.post("/v1/jobs", content=self, headers=headers)


async def test_a_body_that_says_it_is_too_large_is_not_read_at_all(http: httpx.AsyncClient) -> None:
    body = Body(FORM_BYTES + 100_000)
    length = str(sum(map(len, body.pieces)))
    sentence = refused(await body.post(http, **{"content-length": length}), 413, "too_large")
    assert "MiB that may be uploaded" in sentence
    assert body.asked == 0


async def test_a_body_that_does_not_say_is_stopped_on_the_way(http: httpx.AsyncClient, roots: Roots) -> None:
    body = Body(FORM_BYTES + 1_000_000)
    refused(await body.post(http), 413, "too_large")
    assert body.asked < len(body.pieces) - 90
    assert list(roots.uploads.iterdir()) == []


async def test_a_file_over_the_limit_in_a_body_within_it(http: httpx.AsyncClient, roots: Roots) -> None:
    refused(await Body(20_000).post(http), 413, "too_large")
    assert list(roots.uploads.iterdir()) == []


async def test_an_upload_within_the_limit_becomes_a_job(http: httpx.AsyncClient, roots: Roots) -> None:
    answer = await http.post("/v1/jobs", data={"target_lang": "es"}, files={"file": ("x.mp4", b"x" * LIMIT)})
    assert answer.status_code == 202
    assert [path.name for path in roots.uploads.iterdir()] == [f"{answer.json()['id']}.mp4"]


# -- refusals ----------------------------------------------------------------------------------------------------------


SRT = b"1\n00:00:01,000 --> 00:00:02,000\nHello.\n"


async def test_a_transcript_comes_with_the_video(http: httpx.AsyncClient, store: Store, roots: Roots) -> None:
    files = {"file": ("talk.mp4", b"x"), "transcript": ("talk.srt", SRT)}
    answer = await http.post("/v1/jobs", data={"target_lang": "es"}, files=files)
    job_id = answer.json()["id"]
    kept = roots.uploads / f"{job_id}.srt"
    assert answer.status_code == 202 and kept.read_bytes() == SRT
    assert store.job(job_id).request.transcript == str(kept)
    form = {"target_lang": "es", "path": str(roots.uploads / f"{job_id}.mp4"), "transcript_path": str(kept)}
    again = await http.post("/v1/jobs", data=form)
    assert store.job(again.json()["id"]).request.transcript == str(kept)


async def test_transcripts_that_are_refused(http: httpx.AsyncClient, roots: Roots) -> None:
    (roots.uploads / "talk.mp4").write_bytes(b"x")
    form = {"target_lang": "es", "path": str(roots.uploads / "talk.mp4")}
    for more, files, code in (
        ({}, {"transcript": ("talk.srt", b"no transcript")}, "unreadable_transcript"),
        ({"transcript_path": "/etc/passwd"}, {}, "path_not_allowed"),
        ({"transcript_path": str(roots.uploads / "talk.mp4")}, {}, "unreadable_transcript"),
        ({"transcript_path": "x"}, {"transcript": ("talk.srt", SRT)}, "invalid_job"),
    ):
        answer = await http.post("/v1/jobs", data={**form, **more}, files=files)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
    assert [path.name for path in roots.uploads.iterdir()] == ["talk.mp4"]


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ({"target_lang": "es", "subtitles": "shiny", "path": "/x"}, "subtitles"),
        ({"subtitles": "shiny", "priority": "first"}, "priority, subtitles"),
    ],
)
async def test_a_form_that_does_not_fit_names_its_fields(
    http: httpx.AsyncClient, form: dict[str, str], fields: str
) -> None:
    sentence = refused(await http.post("/v1/jobs", data=form), 422, "invalid_request")
    assert sentence.startswith(f"check {fields}:")
    assert "shiny" not in sentence and "literal" not in sentence.lower()


async def test_a_query_that_does_not_fit(http: httpx.AsyncClient) -> None:
    for limit in ("many", "-1", "0", "501", "9" * 20):
        refused(await http.get("/v1/jobs", params={"limit": limit}), 422, "invalid_request")


async def test_a_form_that_cannot_be_read(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    refused(await http.post("/v1/jobs", content=b"no form", headers=headers), 400, "bad_request")


async def test_addresses_that_are_not_there(http: httpx.AsyncClient) -> None:
    refused(await http.get("/v2/jobs"), 404, "not_found")
    answer = await http.delete("/v1/jobs/x")
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"


async def test_unknown_jobs(http: httpx.AsyncClient) -> None:
    for path in ("", "/events", "/result", "/artifacts/translated.mp4", "/insights"):
        refused(await http.get(f"/v1/jobs/nobody{path}"), 404, "job_not_found")


# -- files -------------------------------------------------------------------------------------------------------------


async def get(http: httpx.AsyncClient, ask: str | bytes, **headers: str) -> httpx.Response:
    fields = [(b"range", ask if isinstance(ask, bytes) else ask.encode())]
    fields += [(name.encode(), value.encode()) for name, value in headers.items()]
    return await http.get("/v1/jobs/done/artifacts/translated.mp4", headers=fields)


NOWHERE = ["bytes=1024-", "bytes=-0", "bytes=5-2", "bytes=0-9,2000-3000"]
NO_RANGES = ["bytes", "", "bytes=", "bytes=,", "bytes=-", "bytes=abc", "bytes=--5", "bytes=1-2-3", "bytes=0-9,x"]
STRANGE: list[str | bytes] = ["lines=1-2", f"bytes={'9' * 5000}-", b"bytes=\xb2-5"]


async def test_ranges_that_are_not_there(http: httpx.AsyncClient, finish: Finish) -> None:
    finish("done")
    for ask in [*STRANGE, *NOWHERE, *NO_RANGES]:
        answer = await get(http, ask)
        refused(answer, 416, "range_not_satisfiable")
        assert answer.headers["content-range"] == "bytes */1024"


async def test_ranges_that_are(http: httpx.AsyncClient, finish: Finish) -> None:
    finish("done")
    parts = {
        "bytes=0-0": CONTENT[:1],
        "bytes=1000-": CONTENT[1000:],
        "bytes=1000-99999": CONTENT[1000:],
        "bytes=-10": CONTENT[-10:],
        "bytes=-99999": CONTENT,
        "Bytes= 3-5": CONTENT[3:6],
    }
    answers = {ask: await get(http, ask) for ask in parts}
    assert {ask: answer.content for ask, answer in answers.items()} == parts
    assert {answer.status_code for answer in answers.values()} == {206}


async def test_several_ranges_and_one_for_another_version(http: httpx.AsyncClient, finish: Finish) -> None:
    finish("done")
    answer = await get(http, "bytes=0-9,20-29")
    assert (answer.status_code, answer.content.count(b"Content-Range:")) == (206, 2)
    whole = await get(http, "bytes=5000-", **{"if-range": '"another"'})
    assert (whole.status_code, whole.content) == (200, CONTENT)


def test_an_empty_file_has_no_range() -> None:
    assert not any(satisfiable(part, 0) for part in ("0-", "0-0", "-1"))


async def test_files_of_a_job_that_was_sent_back_are_not_handed_out(
    http: httpx.AsyncClient, finish: Finish, store: Store, roots: Roots
) -> None:
    artifacts(roots.artifacts, "done").output.write_bytes(b"of an earlier run")
    path = "/v1/jobs/done/artifacts/translated.mp4"
    store.submit(Request("done", "/x.mp4", "en", "es"))
    refused(await http.get(path), 409, "wrong_state")
    store.control("done", Control.CANCEL)
    refused(await http.get(path), 409, "wrong_state")
    finish("done")
    assert (await http.get(path)).content == CONTENT


async def test_an_error_that_nobody_foresaw(store: Store, roots: Roots) -> None:
    async def ready() -> dict[str, bool]:
        raise RuntimeError("secret")

    api = door(store, roots, AppSettings(), ready)
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        assert "secret" not in refused(await client.get("/readyz"), 500, "internal")
