"""The settings, with the descriptions, defaults and bounds of their fields."""

import re
from collections.abc import Iterable
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from configs.app import AppSettings
from docs.describing.markdown import code, page, table, told

ENVIRONMENT = (
    ("UPLOADS_DIR", "where videos are uploaded to and read from; `./var/uploads` when unset"),
    ("ARTIFACTS_DIR", "where results are left; `./var/artifacts` when unset"),
    ("TEMP_WORK_DIR", "checkpoints, clips and the default database; `./var/work` when unset"),
    ("DATABASE_URL", "the job store, `postgresql://user@host/name`; SQLite in the work folder when unset"),
    ("WEBHOOK_SECRET", "signs webhooks; without it none are sent"),
    ("DATABASE_URL_FILE, WEBHOOK_SECRET_FILE", "the same two in files, of which these are the paths"),
    ("GRPC_TLS_CERT_FILE, GRPC_TLS_KEY_FILE", "PEM files; with both, the gRPC door has a second port with TLS"),
    ("GRPC_TLS_CLIENT_CA_FILE", "whoever signs the clients there: with it, each of them needs a certificate"),
    ("GRPC_TLS_ADDRESS", "where that port listens; `[::]:50052` when unset"),
    ("DUBSERVE_URL, DUBSERVE_KEY", "for the command line: the address of the service, and the key of a tenant"),
    ("HF_TOKEN, HF_HUB_OFFLINE", "for the model hub's client"),
)


def config() -> str:
    intro = f"""
`args:` in `serve_config.yaml` says *what* is asked of each part; this page lists all of it. `deployments:` in the same
file says *where and how many*, in [Ray Serve's words](https://docs.ray.io/en/latest/serve/production-guide/config.html).
Roots and secrets come from the environment. An unknown field is an error when the service starts.

```yaml
applications:
  - args:
      engines: {{asr: {{model: Systran/faster-whisper-small}}}}
      pipeline: {{mux: {{subtitles: soft}}}}
```

## Environment

{table(("variable", ""), [(", ".join(code(one) for one in name.split(", ")), what) for name, what in ENVIRONMENT])}
"""
    return page("Config", intro, *settings(AppSettings, ""))


def settings(model: type[BaseModel], path: str) -> Iterable[str]:
    nested = {name: inner for name, field in model.model_fields.items() if (inner := section(field))}
    plain = [(name, field) for name, field in model.model_fields.items() if name not in nested]
    if plain:
        intro = "" if model.__doc__ is None or model.__doc__ == BaseModel.__doc__ else told(model.__doc__)
        rows = [(code(name), code(shape(field)), code(initial(field)), meaning(name, field)) for name, field in plain]
        yield f"## {path}\n\n{intro}\n\n{table(('field', 'type', 'default', ''), rows)}"
    for name, inner in nested.items():
        yield from settings(inner, f"{path}.{name}".strip("."))


def section(field: FieldInfo) -> type[BaseModel] | None:
    found = field.annotation
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def shape(field: FieldInfo) -> str:
    return plain_name(field.annotation)


def plain_name(kind: Any) -> str:
    if isinstance(kind, UnionType):
        return " or ".join(plain_name(one) for one in get_args(kind))
    if kind is type(None):
        return "null"
    text = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    text = re.sub(r"typing\.Annotated\[(\w+),.*?\)\]", r"\1", text)
    return re.sub(r"(typing|ipaddress|pydantic\.networks)\.", "", text).replace(", ...", "")


def initial(field: FieldInfo) -> object:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return list(value)
    return "null" if value is None else '""' if value == "" else f"{value:g}" if isinstance(value, float) else value


UNITS = {"_s": "seconds", "_bytes": "bytes", "_mb": "MiB", "_db": "dB", "lufs": "LUFS", "_cps": "characters a second"}


def meaning(name: str, field: FieldInfo) -> str:
    """The description; without one the unit, which the name ends with. Then the bounds."""
    unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
    bounds = {"Gt": "above", "Ge": "at least", "Lt": "below", "Le": "at most"}
    limits = [
        f"{words} {getattr(one, type(one).__name__.lower()):g}"
        for one in field.metadata
        if (words := bounds.get(type(one).__name__))
    ]
    return "; ".join(filter(None, (field.description or unit, ", ".join(limits))))
