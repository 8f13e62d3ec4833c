"""Every route of the HTTP door, as its own description lists them: strange paths lead nowhere, faults tell nothing."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.doors.access import is_open
from tests.unit import test_access
from tests.unit.test_access import House

house = test_access.house
VALUES = {"job_id": "secret", "name": "translated.mp4", "action": "cancel"}

TRICKS = [
    "..",
    "../secret",
    "../../../../etc/passwd",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%252e%252e%252fetc%252fpasswd",
    "..%5c..%5cetc%5cpasswd",
    "%2Fetc%2Fpasswd",
    "secret%00",
    "%00",
    "%ff%fe",
    "secret_translated.mp4",
    ".jobs.sqlite",
    "x" * 4096,
]

ASK_ENGINES = ("/v1/languages",)
"""Routes that ask engines whatever they are sent; there are none here."""

TELLTALE = re.compile(
    r"Traceback|\w+Error\b|Exception|File \"|line \d+|\.py\b|site-packages|sqlite|SELECT|object at 0x|<class"
    r"|/tmp/|/etc/"
)
"""What a caller never reads: Python's words, SQL, and paths of this machine."""


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """The door as tenant `b` meets it, who owns nothing."""
    async with house.http() as client:
        client.headers.update(house.key("b"))
        yield client


async def operations(http: httpx.AsyncClient) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of everything that /openapi.json lists."""
    paths = (await http.get("/openapi.json")).json()["paths"]
    return [(method.upper(), path, what) for path, methods in paths.items() for method, what in methods.items()]


def address(path: str, **others: str) -> str:
    return re.sub(r"{(\w+)}", lambda found: {**VALUES, **others}.get(found[1], "x"), path)


async def test_the_description_knows_every_route_but_those_of_the_console(
    house: House, http: httpx.AsyncClient
) -> None:
    described = {(method, path) for method, path, _ in await operations(http)}
    there = {(m, route.path) for route in house.api().routes for m in getattr(route, "methods", ()) if m != "HEAD"}
    hidden = {path for _, path in there - described}
    assert len(described) > 20
    assert hidden <= {"/", "/console/{name}", "/openapi.json", "/docs-site", "/docs-site/{path:path}"}


async def test_what_is_open_to_everybody_is_this_and_no_more(http: httpx.AsyncClient) -> None:
    opened = {path for _, path, _ in await operations(http) if is_open(address(path))}
    assert opened == {"/healthz", "/readyz", "/v1/session"}


@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick[:30])
async def test_a_strange_path_leads_nowhere(house: House, http: httpx.AsyncClient, trick: str) -> None:
    (house.roots.artifacts / "secret_link.mp4").symlink_to("/etc/passwd")
    for method, path, _ in await operations(http):
        for parameter in re.findall(r"{(\w+)}", path):
            answer = await http.request(method, address(path, **{parameter: trick}))
            assert answer.status_code in (401, 404, 405, 409, 413, 422), (method, path, parameter, answer.text)
            assert "confidential" not in answer.text and "root:" not in answer.text, (method, path)
            assert str(house.roots.uploads.parent) not in answer.text, (method, path)


async def test_a_query_or_body_of_strange_words_leads_nowhere(house: House, http: httpx.AsyncClient) -> None:
    for method, path, what in await operations(http):
        names = [one["name"] for one in what.get("parameters", ()) if one["in"] == "query"]
        for trick in ("../../etc/passwd", "\0", "x" * 4096, "😀", "-1", "1e400", "[]"):
            asked: dict[str, Any] = {"params": dict.fromkeys(names, trick)} if names else {}
            asked |= {"json": {"key": trick, "path": trick}} if method in ("POST", "PATCH", "PUT") else {}
            answer = await http.request(method, address(path), **asked)
            assert answer.status_code < 500 or path in ASK_ENGINES, (method, path, trick, answer.text)
            assert "confidential" not in answer.text and not TELLTALE.search(answer.text.replace("openapi.json", ""))


@pytest.mark.parametrize("named", ["path", "transcript_path"])
async def test_paths_that_a_caller_may_not_name(house: House, http: httpx.AsyncClient, named: str) -> None:
    home = house.roots.uploads / "tenants" / "b"
    home.mkdir(parents=True)
    (home / "link.mp4").symlink_to("/etc/passwd")
    (home / "film.mp4").write_bytes(b"x")
    tricks = ["/etc/passwd", "etc/passwd", "../etc/passwd", f"{home}/../../../etc/passwd", f"{home}/%2e%2e/%2e%2e/a",
              f"{home}/link.mp4", f"{home}/a\0b", f"{home}/{'x' * 4096}", "file:///etc/passwd", "http://localhost/x.mp4",
              f"concat:{home}/film.mp4", str(house.roots.work), str(home)]  # fmt: skip
    for trick in tricks:
        form = {"target_lang": "es", "path": str(home / "film.mp4"), named: trick}
        answer = await http.post("/v1/jobs", data=form)
        assert answer.status_code == 422, (trick, answer.text)
        assert answer.json()["error"]["code"] in ("path_not_allowed", "invalid_job"), trick
        assert not TELLTALE.search(answer.text), answer.text
    assert len(house.store.jobs("b")) == 0


@pytest.mark.parametrize("name", ["it's a talk.mp4", "two words.mp4", "影片 你好.mp4", "-v.mp4", "a%2e%2e.mp4"])
async def test_names_of_people_work(house: House, http: httpx.AsyncClient, name: str) -> None:
    home = house.roots.uploads / "tenants" / "b"
    home.mkdir(parents=True)
    (home / name).write_bytes(b"x")
    by_path = await http.post("/v1/jobs", data={"target_lang": "es", "path": str(home / name)})
    assert by_path.status_code == 202, by_path.text
    assert house.store.job(by_path.json()["id"]).request.path == str(home / name)
    uploaded = await http.post("/v1/jobs", data={"target_lang": "es"}, files={"file": (name, b"x")})
    assert uploaded.status_code == 202, uploaded.text
    kept = Path(house.store.job(uploaded.json()["id"]).request.path)
    assert kept.read_bytes() == b"x" and kept.parent == home and kept.suffix == ".mp4"


class Broken(Exception):
    """What goes wrong where nobody foresaw it."""


async def test_a_fault_that_nobody_foresaw_tells_nothing(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object) -> Any:
        raise Broken('File "/srv/app/store.py", line 7: SELECT secret FROM keys; <class Broken> object at 0x7f')

    statuses = []
    async with house.http(anonymous=True) as http:
        asked = await operations(http)
        for name in ("read", "write", "still"):
            monkeypatch.setattr(house.store.database, name, broken)
        for headers in ({}, house.key("a")):
            for method, path, _ in asked:
                if path in ("/openapi.json", "/v1/jobs/{job_id}/events") and headers:
                    continue
                files = {"file": ("x.wav", b"x")} if method == "POST" else None
                form = {"target_lang": "es", "model": "x"} if files else None
                answer = await http.request(method, address(path), headers=headers, files=files, data=form)
                statuses.append(answer.status_code)
                assert not TELLTALE.search(answer.text.replace("openapi.json", "")), (method, path, answer.text)
                assert "Broken" not in answer.text and "secret FROM" not in answer.text
                if answer.status_code >= 500:
                    assert "operator finds the reason" in answer.json()["error"]["message"], (method, path)
    assert statuses.count(500) > 20  # the fault was met
    assert "SELECT secret" in caplog.text  # and is there for whoever keeps the log
