"""How often one caller may ask for a job."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from configs.app import AppSettings
from models.errors import NotAllowed
from serve_app.deployments.ingress import Ingress, Refused
from serve_app.doors import pace
from serve_app.doors.access import Access, Caller
from serve_app.doors.desk import Desk
from serve_app.doors.pace import Pace
from serve_app.proto import translation_pb2 as pb
from tests.unit import test_access
from tests.unit.test_access import House, nothing

house = test_access.house


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def passed(paced: Pace, caller: Caller, calls: int) -> int:
    """How many of `calls` pass at this moment."""
    count = 0
    for _ in range(calls):
        try:
            paced.check(caller)
        except NotAllowed as error:
            assert error.code == "resource_exhausted" and error.retry_after is not None and error.retry_after >= 1
        else:
            count += 1
    return count


@pytest.mark.parametrize("a_minute", [1, 7, 60, 1000])
def test_so_many_pass_and_after_the_time_that_was_told_one_more(a_minute: int) -> None:
    clock = Clock()
    paced = Pace(a_minute, clock)
    assert passed(paced, Caller("a"), a_minute + 5) == a_minute
    with pytest.raises(NotAllowed) as refused:
        paced.check(Caller("a"))
    clock.now += math.ceil(refused.value.retry_after or 0)
    assert passed(paced, Caller("a"), a_minute) >= 1
    clock.now += 60.0
    assert passed(paced, Caller("a"), a_minute + 5) == a_minute


def test_tenants_and_addresses_are_counted_apart() -> None:
    paced = Pace(3, Clock())
    for caller in (Caller("a", "10.0.0.1"), Caller("b", "10.0.0.1"), Caller(address="1"), Caller(address="2")):
        assert passed(paced, caller, 9) == 3
    assert passed(paced, Caller("a", "10.0.0.9"), 9) == 0


def test_without_a_limit_all_pass() -> None:
    assert passed(Pace(None), Caller(), 1000) == 1000


def test_callers_who_owe_nothing_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "KNOWN", 10)
    clock = Clock()
    paced = Pace(1, clock)
    for number in range(100):
        clock.now += 30
        paced.check(Caller(address=str(number)))
        assert len(paced._paid) <= 10


async def test_a_flood_over_http_is_told_when_to_come_again(house: House) -> None:
    async with house.http(submissions_a_minute=2) as http:
        sent = [
            await http.post("/v1/jobs", data={"target_lang": "es"}, files={"file": ("x", b"x")}, headers=house.key("b"))
            for _ in range(3)
        ]
        assert [answer.status_code for answer in sent] == [202, 202, 429]
        assert sent[-1].json()["error"]["code"] == "resource_exhausted" and int(sent[-1].headers["retry-after"]) > 0
        files = {"file": ("x.mp4", b"x")}
        other = await http.post("/v1/jobs", data={"target_lang": "es"}, files=files, headers=house.key("a"))
        assert other.status_code == 202
        assert (await http.get("/v1/jobs", headers=house.key("b"))).status_code == 200


class Context:
    """What a method of the gRPC door sees of its call."""

    code: Any = None
    details = ""
    trailing: tuple[Any, ...] = ()

    def __init__(self, headers: dict[str, str]) -> None:
        self._headers = headers

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return list(self._headers.items())

    def peer(self) -> str:
        return "ipv4:127.0.0.1:4711"

    def auth_context(self) -> dict[str, Any]:
        return {}

    def set_code(self, code: Any) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, trailing: Any) -> None:
        self.trailing = trailing


async def test_a_flood_over_grpc_likewise(house: House) -> None:
    settings = AppSettings.model_validate({"ingress": {"submissions_a_minute": 1}})
    desk = Desk(house.store, settings, house.roots, nothing, nothing, nothing)
    methods = Ingress.func_or_class
    door = SimpleNamespace(_desk=desk, _settings=settings, _access=Access(house.tenants, anonymous=True))
    door._caller = lambda context: methods._caller(door, context)
    asked = pb.TranslationRequest(session_id="x", file_path="/nowhere.mp4", target_lang="nonsense")
    codes = []
    for _ in range(2):
        context = Context(house.key("a"))
        with pytest.raises(Refused):
            _ = [one async for one in methods.TranslateVideo(door, asked, context)]
        codes.append(context.code.name)
    assert codes == ["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"]
    assert int(dict(context.trailing)["retry-after"]) > 0
