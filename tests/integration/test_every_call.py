"""Every call of the gRPC door, as the contract lists them: strange words lead nowhere, faults tell nothing."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from serve_app.deployments.ingress import Ingress, Refused
from serve_app.doors.access import Caller
from serve_app.doors.pace import Pace
from serve_app.proto import translation_pb2 as pb
from serve_app.proto.translation_pb2_grpc import TranslationServiceStub
from tests.integration.test_tenants import METHODS, Context
from tests.service import Service
from tests.unit.test_every_route import TELLTALE

EXPECTED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION}


@pytest.fixture(scope="module")
def stub(served: Service) -> Iterator[TranslationServiceStub]:
    with grpc.insecure_channel(served.grpc_url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield TranslationServiceStub(channel)


def ask(stub: TranslationServiceStub, method: Any, **fields: str) -> tuple[grpc.StatusCode, str]:
    """Calls `method` with those of `fields` that its message has; how it ended and what was said."""
    known = method.input_type.fields_by_name
    message = getattr(pb, method.input_type.name)(**{name: value for name, value in fields.items() if name in known})
    try:
        answer = getattr(stub, method.name)(message, timeout=60)
        said = [one.message for one in answer] if method.name == "TranslateVideo" else [getattr(answer, "message", "")]
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, " ".join(said)


IDS = ["../x", "..", "/etc/passwd", "%2e%2e", "a\0b", "a\nb", "x" * 4096, "", ".jobs"]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_strange_id_leads_nowhere(served: Service, stub: TranslationServiceStub, method: Any) -> None:
    for job_id in IDS:
        code, said = ask(stub, method, session_id=job_id, action="cancel", file_path="/nowhere.mp4", target_lang="es")
        assert code in EXPECTED or method.name == "DetectLanguage", (job_id, code, said)
        assert not TELLTALE.search(said) and str(served.work) not in said, said


@pytest.mark.parametrize("name", ["DetectLanguage", "TranslateVideo"])
def test_a_strange_path_leads_nowhere(served: Service, stub: TranslationServiceStub, name: str) -> None:
    (served.uploads / f"{name}.mp4").symlink_to("/etc/passwd")
    inside = served.uploads
    paths = ("/etc/passwd", "film.mp4", f"{inside}/../../etc/passwd", f"{inside}/%2e%2e/a", f"{inside}/{name}.mp4",
             f"{inside}/a\0b", f"{inside}/{'x' * 4096}", "file:///etc/passwd", str(inside), "")  # fmt: skip
    method = next(method for method in METHODS if method.name == name)
    for number, path in enumerate(paths):
        code, said = ask(stub, method, session_id=f"strange-{number}", file_path=path, target_lang="es")
        assert code is (grpc.StatusCode.OK if name == "DetectLanguage" else grpc.StatusCode.INVALID_ARGUMENT), path
        assert said and "root:" not in said and not TELLTALE.search(said.replace("etc/passwd", "")), said
        assert str(served.work) not in said and str(Path.cwd()) not in said


class Broken(Exception):
    """What goes wrong where nobody foresaw it."""


class Breaking:
    """A desk at which everything fails, once somebody was let in."""

    pace = Pace(None)

    @property
    def calls(self) -> "Breaking":
        return self

    def __getattr__(self, name: str) -> Any:
        return self._break

    def _break(self, *_: object) -> Any:
        raise Broken('File "/srv/app/store.py", line 7: SELECT secret FROM keys')


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_a_fault_that_nobody_foresaw_tells_nothing(method: Any, caplog: pytest.LogCaptureFixture) -> None:
    methods = Ingress.func_or_class
    door = SimpleNamespace(_desk=Breaking())

    async def anyone(_: object) -> Caller:
        return Caller()

    door._caller = anyone
    context = Context()
    asked = partial(getattr(methods, method.name), door)(getattr(pb, method.input_type.name)(action="pause") if
        "action" in method.input_type.fields_by_name else getattr(pb, method.input_type.name)(), context)  # fmt: skip
    if method.name == "TranslateVideo":
        with pytest.raises(Refused):
            await anext(asked)
    else:
        answer = await asked
    said = answer.message if method.name == "DetectLanguage" else context.details
    assert "operator finds the reason" in said and not TELLTALE.search(said)
    assert method.name == "DetectLanguage" or context.code is grpc.StatusCode.INTERNAL
    assert "SELECT secret" in caplog.text
