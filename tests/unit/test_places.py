"""Many jobs at the same moment: those without a place are refused before anybody looks into their videos."""

import asyncio
from pathlib import Path

import httpx
from fastapi import FastAPI

from configs.app import AppSettings
from configs.pipeline import PrepareSettings
from models.errors import UnreadableMedia
from serve_app.doors.access import Access
from serve_app.doors.desk import Desk
from serve_app.doors.http import build_api
from serve_app.doors.places import SHARE
from serve_app.doors.speech import Announcer
from serve_app.doors.transcribe import Transcriber
from tests.unit import test_access
from tests.unit.test_access import House, nothing, ready

house = test_access.house
LIMIT = 3


class Looker:
    """Looks until it is told what there is to be seen."""

    def __init__(self) -> None:
        self.looked: list[str] = []
        self.limits: set[float] = set()
        self.seen, self.fault = asyncio.Event(), False
        self.quick: set[str] = set()
        """Tenants whose videos are seen at once."""

    async def look(self, video: Path, settings: PrepareSettings) -> None:
        self.looked.append(video.parent.name)
        self.limits.add(settings.look_s)
        if video.parent.name not in self.quick:
            await self.seen.wait()
        if self.fault:
            raise UnreadableMedia("this is no film")


def looked_into(house: House, looker: Looker, tenant: str = "b", **ingress: object) -> httpx.AsyncClient:
    return client(door(house, looker, **ingress), house, tenant)


def door(house: House, looker: Looker, **ingress: object) -> FastAPI:
    settings = AppSettings.model_validate({"ingress": ingress})
    transcriber = Transcriber(settings, house.roots.work, *[nothing] * 5)
    access = Access(house.tenants, anonymous=True)
    desk = Desk(house.store, settings, house.roots, nothing, nothing, nothing, looker.look)
    return build_api(desk, access, ready, transcriber, Announcer(nothing, settings.pipeline.speak), settings)


def client(api: FastAPI, house: House, tenant: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://door", headers=house.key(tenant))


def video(house: House, tenant: str = "b") -> str:
    folder = house.roots.uploads / "tenants" / tenant
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "film.mp4").write_bytes(b"film")
    return str(folder / "film.mp4")


async def flood(http: httpx.AsyncClient, house: House, looker: Looker) -> tuple[list[int], list[int]]:
    """Codes of those that were answered while all looks went on, and of the others."""
    form = {"path": video(house), "target_lang": "es"}
    asked = [asyncio.create_task(http.post("/v1/jobs", data=form)) for _ in range(10 * LIMIT)]
    async with asyncio.timeout(60):
        while sum(one.done() for one in asked) < 9 * LIMIT:
            await asyncio.sleep(0.01)
    at_once = [one.result() for one in asked if one.done()]
    assert all(answer.headers["retry-after"] for answer in at_once)
    later = [one for one in asked if not one.done()]
    looker.seen.set()
    return [one.status_code for one in at_once], [(await one).status_code for one in later]


async def test_what_has_no_place_is_never_looked_into(house: House) -> None:
    house.tenants.change("b", queued=LIMIT)
    looker = Looker()
    async with looked_into(house, looker) as http:
        assert await flood(http, house, looker) == ([429] * 9 * LIMIT, [202] * LIMIT)
        assert len(looker.looked) == LIMIT
        again = await http.post("/v1/jobs", data={"path": video(house), "target_lang": "es"})
        assert again.status_code == 429 and len(looker.looked) == LIMIT


async def test_a_place_is_free_again_when_the_look_finds_no_film(house: House) -> None:
    house.tenants.change("b", queued=LIMIT)
    looker = Looker()
    looker.fault = True
    async with looked_into(house, looker) as http:
        assert await flood(http, house, looker) == ([429] * 9 * LIMIT, [422] * LIMIT)
        looker.fault = False
        form = {"path": video(house), "target_lang": "es"}
        answers = [(await http.post("/v1/jobs", data=form)).status_code for _ in range(LIMIT + 1)]
    assert answers == [202] * LIMIT + [429]


async def test_one_tenants_slow_videos_hold_up_nobody_else(house: House) -> None:
    looker = Looker()
    looker.quick = {"a"}
    api = door(house, looker)
    async with client(api, house, "b") as slow, client(api, house, "a") as other:
        form = {"path": video(house), "target_lang": "es"}
        asked = [asyncio.create_task(slow.post("/v1/jobs", data=form)) for _ in range(8)]
        async with asyncio.timeout(30):
            while len(looker.looked) < SHARE:
                await asyncio.sleep(0.01)
            for _ in range(5):
                answer = await other.post("/v1/jobs", data={"path": video(house, "a"), "target_lang": "es"})
                assert answer.status_code == 202
        assert looker.looked.count("b") == SHARE and not any(one.done() for one in asked)
        looker.seen.set()
        assert [one.status_code for one in await asyncio.gather(*asked)] == [202] * 8


async def test_a_caller_waits_less_long_for_a_look_than_a_job(house: House) -> None:
    looker = Looker()
    looker.seen.set()
    async with looked_into(house, looker, look_s=7.0) as http:
        assert (await http.post("/v1/jobs", data={"path": video(house), "target_lang": "es"})).status_code == 202
    assert looker.limits == {7.0} and PrepareSettings().look_s > 60
