"""The two doors: the routes from their OpenAPI, the calls from the .proto with its comments."""

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docs.describing.markdown import REPOSITORY, code, page, table


def http() -> str:
    schema = openapi()
    intro = """
The routes of port 8000, as `/openapi.json` describes them to machines. A key goes into the header
`authorization: Bearer …`. Every error has one shape, `{"error": {"code", "message"}}`; [errors](errors.md) lists the
codes. On the routes below `/v1/audio` errors have OpenAI's shape.
"""
    found = [(path, verb, one) for path, verbs in schema["paths"].items() for verb, one in verbs.items()]
    operations = sorted(found, key=place)
    overview = table(
        ("", "", ""),
        [
            (code(verb.upper()), f"[{path}](#{anchor(verb, path)})", one.get("summary", ""))
            for path, verb, one in operations
        ],
    )
    return page("HTTP", intro, overview, *(operation(schema, *one) for one in operations))


def place(operation: tuple[str, str, dict[str, Any]]) -> tuple[bool, str, int]:
    """Jobs first, since everybody is after them; then by address, and what makes a thing before what shows it."""
    path, verb, _ = operation
    return not path.startswith("/v1/jobs"), path, ("post", "get", "patch", "delete").index(verb)


def openapi() -> dict[str, Any]:
    """That of the real door, over an empty store in a folder that is gone afterwards."""
    from tests.door import described

    with tempfile.TemporaryDirectory() as folder:
        return described(Path(folder))


def to(verb: str, path: str) -> str:
    return f"[{path}](#{anchor(verb, path)})"


def anchor(verb: str, path: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", f"{verb}{path}".lower().replace("{", "").replace("}", "")).strip("-")


def operation(schema: dict[str, Any], path: str, verb: str, one: dict[str, Any]) -> str:
    head = f"## {verb.upper()} {path} {{ #{anchor(verb, path)} }}\n\n{one.get('summary', '')}"
    rows = [
        (
            code(p["name"]),
            p["in"],
            kind(schema, p["schema"]),
            p.get("description") or p["schema"].get("description", ""),
        )
        for p in one.get("parameters", [])
    ]
    for media, body in one.get("requestBody", {}).get("content", {}).items():
        rows += list(fields(schema, body["schema"], media))
    parts = [head, table(("field", "in", "type", ""), rows) if rows else ""]
    answers = ", ".join(code(status) for status in one.get("responses", {}) if status != "422")
    return "\n\n".join(part for part in (*parts, f"Answers {answers}." if answers else "") if part)


def fields(schema: dict[str, Any], body: dict[str, Any], media: str) -> Iterable[tuple[str, str, str, str]]:
    """Rows of a body: the fields of a form or an object, or of the objects in a list."""
    shape = resolved(schema, body)
    where = {"multipart/form-data": "form", "application/x-www-form-urlencoded": "form"}.get(media, "body")
    if shape.get("type") == "array":
        shape, where = resolved(schema, shape["items"]), f"{where}, each"
    for name, one in shape.get("properties", {}).items():
        needed = " (required)" if name in shape.get("required", ()) else ""
        yield code(name), where, kind(schema, one), one.get("description", "") + needed


def resolved(schema: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    found = one.get("$ref")
    if found is None and len(one.get("allOf", ())) == 1:
        return resolved(schema, one["allOf"][0])
    return schema["components"]["schemas"][found.rpartition("/")[2]] if found else one


def kind(schema: dict[str, Any], one: dict[str, Any]) -> str:
    one = resolved(schema, one)
    if "anyOf" in one:
        return " or ".join(kind(schema, option) for option in one["anyOf"] if option.get("type") != "null")
    if "enum" in one:
        return ", ".join(code(value) for value in one["enum"])
    if one.get("type") == "array":
        return f"list of {kind(schema, one.get('items', {}))}"
    if one.get("format") == "binary" or one.get("contentMediaType"):
        return "file"
    return str(one.get("const") or one.get("type", "any"))


PROTO = REPOSITORY / "serve_app/proto/translation.proto"
RPC = re.compile(r"rpc (\w+)\((\w+)\) returns \((stream )?(\w+)\);")
MESSAGE = re.compile(r"((?:^//[^\n]*\n)*)^message (\w+) \{\n(.*?)^\}", re.M | re.S)
FIELD = re.compile(r"^\s*((?:repeated )?\w+) (\w+) = (\d+);(?:\s*//\s*(.*))?$", re.M)


def grpc() -> str:
    text = PROTO.read_text("utf-8")
    calls = [(code(name), link(taken), stream + link(answered)) for name, taken, stream, answered in RPC.findall(text)]
    intro = f"""
Package `translation`, service `TranslationService`, port 50051, no TLS, no metadata needed. A key goes into the
metadata as `authorization: Bearer …`, and `priority`, a whole number, can stand beside it. The file itself is
`serve_app/proto/translation.proto`; server reflection and `grpc.health.v1.Health` are there, too.

{table(("call", "takes", "answers"), calls)}
"""
    return page("gRPC", intro, *(message(*found) for found in MESSAGE.findall(text)))


def link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


def message(comment: str, name: str, body: str) -> str:
    said = " ".join(line.strip("/ ") for line in comment.splitlines())
    rows = [(number, code(field), kind, note) for kind, field, number, note in FIELD.findall(body)]
    return f"## {name}\n\n{said}\n\n{table(('', 'field', 'type', ''), rows)}"
