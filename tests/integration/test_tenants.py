"""Keys, limits and usage through both doors of the real service."""

import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import pytest

from configs.app import AppSettings
from serve_app.deployments.ingress import Ingress, Refused
from serve_app.doors.access import Access
from serve_app.jobs.database import Database
from serve_app.jobs.tenants import Tenant, Tenants
from serve_app.proto import translation_pb2 as pb
from serve_app.proto.translation_pb2_grpc import TranslationServiceStub
from tests.service import Service

METHODS = pb.DESCRIPTOR.services_by_name["TranslationService"].methods


@pytest.fixture(scope="module")
def tenants(served: Service) -> Iterator[Tenants]:
    database = Database(f"sqlite:///{served.work / '.jobs.sqlite'}")
    yield Tenants(database)
    database.close()


@pytest.fixture(scope="module")
def keys(tenants: Tenants) -> dict[str, str]:
    names = {"ann": Tenant("ann"), "ben": Tenant("ben"), "full": Tenant("full", queued=0)}
    return {name: tenants.issue(tenants.add(tenant).name) for name, tenant in names.items()}


@pytest.fixture(scope="module")
def done(served: Service, keys: dict[str, str], short_talk: Path) -> str:
    """The id of a job of ann's that has completed."""
    folder = served.uploads / "tenants" / "ann"
    folder.mkdir(parents=True)
    video = shutil.copy(short_talk, folder)
    with served.client() as client:
        client.key = keys["ann"]
        client.priority = 5
        last = list(client.translate("of-ann", str(video), "es", "en"))[-1]
        assert last.status == "completed" and client.result("of-ann").status == "completed"
    return "of-ann"


@pytest.fixture(scope="module")
def stub(served: Service) -> Iterator[TranslationServiceStub]:
    with grpc.insecure_channel(served.grpc_url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield TranslationServiceStub(channel)


def call(stub: TranslationServiceStub, name: str, job_id: str, authorization: str) -> grpc.RpcError | None:
    """Calls a method about a job; the error that it ended with."""
    message = next(method.input_type for method in METHODS if method.name == name)
    values = {"session_id": job_id, "action": "cancel", "file_path": "/nowhere.mp4", "target_lang": "es"}
    asked = getattr(pb, message.name)(**{k: v for k, v in values.items() if k in message.fields_by_name})
    try:
        answer = getattr(stub, name)(asked, metadata=[("authorization", authorization)], timeout=60)
        list(answer) if name == "TranslateVideo" else answer
    except grpc.RpcError as error:
        return error
    return None


@pytest.mark.parametrize("name", [method.name for method in METHODS])
def test_a_wrong_key_is_refused_on_every_call(stub: TranslationServiceStub, done: str, name: str) -> None:
    for authorization in ("Bearer dub_1_wrong", "Basic eDp5"):
        error = call(stub, name, done, authorization)
        assert error is not None and error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert "Bearer" in error.details() or "operator" in error.details()


@pytest.mark.parametrize("who", ["ben", "nobody"])
def test_a_job_of_ann_is_there_for_nobody_else(
    served: Service, stub: TranslationServiceStub, keys: dict[str, str], done: str, who: str
) -> None:
    key = f"Bearer {keys.get(who, 'none')}"
    for name in ("GetTranslationResult", "CancelTranslation", "ControlTranslation", "GetAIInsights"):
        error, unknown = call(stub, name, done, key), call(stub, name, "unknown", key)
        assert error is not None and unknown is not None
        assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, unknown.details()), name
    error, unusable = call(stub, "TranslateVideo", done, key), call(stub, "TranslateVideo", "../x", key)
    assert error is not None and unusable is not None
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, unusable.details())
    with served.http() as http:
        assert http.get(f"/v1/jobs/{done}", headers={"authorization": key}).status_code == 404


def test_beyond_a_limit_both_doors_say_at_once_when_to_come_again(
    served: Service, stub: TranslationServiceStub, keys: dict[str, str]
) -> None:
    took = []
    for number in range(10):
        began = time.monotonic()
        error = call(stub, "TranslateVideo", f"over-{number}", f"Bearer {keys['full']}")
        took.append(time.monotonic() - began)
        assert error is not None and error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(error.trailing_metadata())["retry-after"] == "30"
    assert min(took) < 0.1  # the others wait for the processor, which this machine shares
    with served.http() as http:
        headers = {"authorization": f"Bearer {keys['full']}"}
        answer = http.post("/v1/jobs", data={"target_lang": "es", "path": "/x.mp4"}, headers=headers)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    assert answer.json()["error"]["code"] == "resource_exhausted"


def test_usage_of_a_job_is_what_its_owner_reads(served: Service, keys: dict[str, str], done: str) -> None:
    with served.http() as http:
        headers = {"authorization": f"Bearer {keys['ann']}"}
        told = http.get("/v1/usage", headers=headers).json()
        [line] = told["jobs"]
        assert line["job_id"] == done and told["total"]["jobs"] == 1
        assert line["video_s"] > 9 and line["audio_s"] > 3 and line["characters_translated"] > 20
        assert 0.2 < line["cpu_s"] < 120 and line["gpu_s"] == 0
        assert http.get("/v1/usage", headers={"authorization": f"Bearer {keys['ben']}"}).json()["jobs"] == []


def test_a_revoked_key_ends_within_seconds(served: Service, tenants: Tenants) -> None:
    key = tenants.issue("ben")

    def status(http: httpx.Client) -> int:
        return http.get("/v1/jobs", headers={"authorization": f"Bearer {key}"}).status_code

    with served.http() as http:
        assert status(http) == 200
        tenants.revoke(key.split("_")[1])
        deadline = time.monotonic() + 8
        while status(http) != 401:
            assert time.monotonic() < deadline
            time.sleep(0.3)


def test_a_stream_ends_with_its_key(
    served: Service, stub: TranslationServiceStub, tenants: Tenants, keys: dict[str, str], short_talk: Path
) -> None:
    key = tenants.issue("ben")
    folder = served.uploads / "tenants" / "ben"
    folder.mkdir(parents=True, exist_ok=True)
    video = shutil.copy(short_talk, folder)
    metadata = [("authorization", f"Bearer {key}")]
    asked = pb.TranslationRequest(session_id="of-ben", file_path=str(video), target_lang="es", source_lang="en")
    stream = stub.TranslateVideo(asked, metadata=metadata, timeout=60)
    next(stream)
    pause = pb.ControlTranslationRequest(session_id="of-ben", action="pause")
    assert stub.ControlTranslation(pause, metadata=metadata, timeout=60).is_paused
    tenants.revoke(key.split("_")[1])
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with served.http() as http:
        headers = {"authorization": f"Bearer {keys['ben']}"}
        deadline = time.monotonic() + 60
        while (state := http.get("/v1/jobs/of-ben", headers=headers).json()["state"]) in ("waiting", "running"):
            assert time.monotonic() < deadline, "the pause never took effect"
            time.sleep(0.2)
        assert state == "paused"  # the job is its tenant's
        http.post("/v1/jobs/of-ben/cancel", headers=headers)


def test_to_be_told_a_language_counts_and_has_the_limits_of_the_day(
    served: Service, stub: TranslationServiceStub, tenants: Tenants, keys: dict[str, str], done: str
) -> None:
    video = served.uploads / "tenants" / "ann" / "talk.mp4"
    asked = pb.LanguageDetectionRequest(file_path=str(video))
    metadata = [("authorization", f"Bearer {keys['ann']}")]
    assert stub.DetectLanguage(asked, metadata=metadata, timeout=60).detected_language == "en"
    with served.http() as http:
        told = http.get("/v1/usage", headers=dict(metadata)).json()
    [line] = told["calls"]
    assert line["route"] == "DetectLanguage" and line["audio_s"] > 3 and line["cpu_s"] > 0
    assert told["total"]["calls"] == told["total"]["jobs"] == 1
    tenants.change("ann", video_minutes_a_day=0)
    with pytest.raises(grpc.RpcError) as caught:
        stub.DetectLanguage(asked, metadata=metadata, timeout=60)
    tenants.change("ann", video_minutes_a_day=None)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(dict(caught.value.trailing_metadata())["retry-after"]) > 0


class Context:
    """What a method of the gRPC door sees of a call that brings `metadata`."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self.metadata = metadata
        self.code: grpc.StatusCode | None = None

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.metadata

    def peer(self) -> str:
        return "ipv4:127.0.0.1:4711"

    def auth_context(self) -> dict[str, Any]:
        return {}

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details


class Closed:
    """A desk at which nobody answers."""

    def __getattr__(self, name: str) -> Any:
        return self._refuse

    def _refuse(self, *_: object) -> Any:
        raise AssertionError("asked before it was known who calls")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_where_nobody_may_be_anonymous_every_call_needs_a_key(tenants: Tenants, method: Any) -> None:
    """Over the contract's own list, with a desk that must not be asked before it is known who calls."""
    methods = Ingress.func_or_class
    door = SimpleNamespace(_access=Access(tenants, anonymous=False), _desk=Closed(), _settings=AppSettings())
    door._caller = partial(methods._caller, door)
    context = Context()
    asked = getattr(methods, method.name)(door, getattr(pb, method.input_type.name)(), context)
    if method.name == "TranslateVideo":
        with pytest.raises(Refused):
            await anext(asked)
    else:
        await asked
    assert context.code is grpc.StatusCode.UNAUTHENTICATED and "wants a key" in context.details
