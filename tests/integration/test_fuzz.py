"""Whatever is sent to either door: an answer of the kind that was promised, and the same processes afterwards.

What may be sent is read from the service's own descriptions: the operations, parameters and forms of /openapi.json, and
the methods and messages of the contract. The examples are the same in each run.
"""

import json
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import grpc
import httpx
import psutil
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_app.proto import translation_pb2 as pb
from tests.integration.test_tenants import METHODS
from tests.service import Service
from tests.unit.test_every_route import TELLTALE


def bounded(examples: int) -> settings:
    return settings(max_examples=examples, suppress_health_check=list(HealthCheck))


STRANGE = st.sampled_from(
    ["", " ", "\0", "..", "../../etc/passwd", "%00", "%2e%2e%2f", "null", "[]", "{}", "-1", "0", "NaN", "1e400", "true",
     "9" * 400, "x" * 5000, "es", "en-es", "é😀", "\u202e\ufeff",
     "'; DROP TABLE jobs; --", "<script>", "$(id)", "a\r\nb"]
)  # fmt: skip
WORDS = STRANGE | st.text(max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


def replicas(served: Service) -> set[int]:
    """The processes of the deployments and of the two doors."""
    found = set()
    for process in psutil.process_iter():
        try:
            name = " ".join(process.cmdline())
            ours = re.search(r"ray::(ServeReplica|ProxyActor|ServeController)", name)
            if ours and process.environ().get("TEMP_WORK_DIR") == str(served.work):
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module", autouse=True)
def unharmed(served: Service) -> Iterator[None]:
    before = replicas(served)
    assert len(before) >= 6, "four deployments, the doors and their controller"
    yield
    gone = before - replicas(served)
    assert not gone, "a process did not survive"
    with served.http() as http:
        assert http.get("/readyz").json()["ready"]


# -- HTTP --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def http(served: Service) -> Iterator[httpx.Client]:
    with served.http() as client:
        yield client


@pytest.fixture(scope="module")
def operations(http: httpx.Client) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Method, path, description, and the schemas that descriptions refer to."""
    described = http.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    found = [
        (method.upper(), path, what, schemas)
        for path, methods in sorted(described["paths"].items())
        for method, what in sorted(methods.items())
    ]
    assert len(found) > 20
    return found


def like(schema: dict[str, Any], schemas: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a schema describes, more or less."""
    if "$ref" in schema:
        return like(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if options := schema.get("anyOf"):
        return st.one_of(*(like(one, schemas) for one in options))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return st.fixed_dictionaries(
            {}, optional={n: like(p, schemas) for n, p in schema.get("properties", {}).items()}
        )
    if kind == "array":
        return st.lists(like(schema.get("items", {}), schemas), max_size=3)
    plain = {"integer": st.integers(-5, 200), "number": st.floats(), "boolean": st.booleans(), "null": st.none()}
    return plain.get(str(kind), WORDS)


def written(value: Any) -> str:
    """As a form or an address says it."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace").decode()


@st.composite
def calls(draw: st.DrawFn, operation: tuple[str, str, dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """What httpx sends for one operation."""
    method, path, what, schemas = operation

    def value(schema: dict[str, Any]) -> Any:
        return draw(st.one_of(like(schema, schemas), WORDS, JSON))

    address = re.sub(r"{\w+}", lambda _: quote(written(draw(WORDS)), safe="") or "x", path)
    query = {
        one["name"]: written(value(one.get("schema", {})))
        for one in what.get("parameters", ())
        if one["in"] == "query" and draw(st.booleans())
    }
    asked: dict[str, Any] = {"method": method, "url": address, "params": query}
    for kind, body in what.get("requestBody", {}).get("content", {}).items():
        if draw(st.integers(0, 5)) == 0:  # what nobody has described
            types = st.sampled_from([kind, "text/plain", "multipart/form-data", "multipart/form-data; boundary=b", "%"])
            asked |= {"content": draw(st.binary(max_size=300)), "headers": {"content-type": draw(types)}}
        elif kind == "application/json":
            asked["content"] = json.dumps(value(body["schema"]))
            asked["headers"] = {"content-type": kind}
        else:
            form = draw(like(body["schema"], schemas))
            asked |= {"data": {}, "files": {}}
            for name, said in form.items():
                if name in ("file", "transcript") and draw(st.integers(0, 5)):
                    asked["files"][name] = (written(draw(WORDS)), draw(st.binary(max_size=200)))
                else:
                    asked["data"][name] = [written(x) for x in said] if isinstance(said, list) else written(said)
    return asked


@bounded(250)
@given(data=st.data())
def test_no_request_ends_in_a_fault_of_ours(
    http: httpx.Client, operations: list[tuple[str, str, dict[str, Any], dict[str, Any]]], data: st.DataObject
) -> None:
    asked = data.draw(calls(data.draw(st.sampled_from(operations))))
    with http.stream(**asked) as answer:
        assert answer.status_code < 500 or answer.status_code == 503, (answer.status_code, answer.read())
        if answer.status_code >= 400:
            text = answer.read().decode("utf-8", "replace")
            assert "error" in json.loads(text) and not TELLTALE.search(text.replace("openapi.json", "")), text


HEADS = st.sampled_from(
    [b"GET /v1/jobs HTTP/1.1\r\n", b"POST /v1/jobs HTTP/1.1\r\n", b"GET ", b"PRI * HTTP/2.0\r\n\r\n", b""]
)
LINES = st.sampled_from(
    [b"host: x\r\n", b"content-length: 99999999999999999999\r\n", b"content-length: -1\r\n",
     b"transfer-encoding: chunked\r\n", b"expect: 100-continue\r\n", b": \r\n", b"a" * 70_000 + b": b\r\n",
     b"upgrade: websocket\r\nconnection: upgrade\r\n", b"\r\n"]
)  # fmt: skip


@bounded(100)
@given(head=HEADS, lines=st.lists(LINES, max_size=4), rest=st.binary(max_size=200))
def test_what_is_no_request_at_all_is_refused_or_not_answered(
    served: Service, head: bytes, lines: list[bytes], rest: bytes
) -> None:
    host, _, port = served.http_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 20) as line:
        line.settimeout(20)
        try:
            line.sendall(head + b"".join(lines) + rest)
            line.shutdown(socket.SHUT_WR)
            said = line.recv(4096)
        except OSError:  # it has hung up on us
            return
    if said.startswith(b"HTTP/1.1 "):
        assert not re.match(rb"HTTP/1\.1 5(?!03)", said), said


# -- gRPC --------------------------------------------------------------------------------------------------------------

SERVICE = pb.DESCRIPTOR.services_by_name["TranslationService"].full_name
EXPECTED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNAUTHENTICATED", "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED", "UNIMPLEMENTED", "UNAVAILABLE"}  # fmt: skip

METADATA = st.lists(
    st.tuples(
        st.sampled_from(["authorization", "priority", "application", "request_id", "multiplexed_model_id", "x-any"]),
        st.text("aZ09 -_.:/=~", max_size=30) | st.sampled_from(["Bearer ", "Bearer x", "-1", "99999999999999999999"]),
    ),
    max_size=3,
)


@pytest.fixture(scope="module")
def channel(served: Service) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.grpc_url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield channel


def ended(channel: grpc.Channel, method: Any, sent: bytes, metadata: list[tuple[str, str]]) -> tuple[str, str]:
    """How a call with these bytes has ended."""
    name = f"/{SERVICE}/{method.name}"
    try:
        if method.name == "TranslateVideo":
            for _ in channel.unary_stream(name)(sent, metadata=metadata, timeout=120):
                pass
        else:
            channel.unary_unary(name)(sent, metadata=metadata, timeout=120)
    except grpc.RpcError as error:
        return error.code().name, error.details() or ""
    return "OK", ""


@st.composite
def messages(draw: st.DrawFn, method: Any) -> bytes:
    message = getattr(pb, method.input_type.name)()
    for field in method.input_type.fields:
        if not draw(st.booleans()):
            continue
        if field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, written(draw(WORDS)))
        elif field.type == FieldDescriptor.TYPE_BOOL:
            setattr(message, field.name, draw(st.booleans()))
        else:
            setattr(message, field.name, draw(st.integers(-(2**31), 2**31 - 1)))
    sent: bytes = message.SerializeToString()
    return sent


@bounded(150)
@given(method=st.sampled_from(list(METHODS)), data=st.data(), metadata=METADATA)
def test_no_message_ends_in_a_fault_of_ours(
    channel: grpc.Channel, method: Any, data: st.DataObject, metadata: list[tuple[str, str]]
) -> None:
    code, said = ended(channel, method, data.draw(messages(method)), metadata)
    assert code in EXPECTED and not TELLTALE.search(said.replace("etc/passwd", "")), (code, said)


@bounded(150)
@given(method=st.sampled_from(list(METHODS)), sent=st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused(channel: grpc.Channel, method: Any, sent: bytes) -> None:
    code, said = ended(channel, method, sent, [])
    assert code in EXPECTED and not TELLTALE.search(said), (code, said)


def test_a_message_that_is_far_too_large_is_refused(channel: grpc.Channel) -> None:
    large = pb.ResultRequest(session_id="x" * (8 * 1024**2)).SerializeToString()
    code, _ = ended(channel, next(one for one in METHODS if one.name == "GetTranslationResult"), large, [])
    assert code == "RESOURCE_EXHAUSTED"
