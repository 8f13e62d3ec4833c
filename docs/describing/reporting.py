"""The report of a job: a table for each of its objects, made from the JSON Schema of its models, and the schema."""

import json
from typing import Any

from docs.describing.markdown import code, page, table, told

Schema = dict[str, Any]


def report() -> str:
    intro = """
`ID_report.json`, and `ID_report.fr.json` of a further language. Times are seconds of the film, and what could not be
measured is null. Later versions add fields and change none: take no offence at one that you do not know. The same for
programs is the [JSON Schema](report.schema.json) of this version, which knows each of its fields and no other.
"""
    schema = _schema()
    rows = {"": schema} | {path: schema["$defs"][name] for path, name in _objects(schema, schema, "")}
    parts = (
        f"{f'## {path}' if path else ''}\n\n{told(one['description'])}\n\n{_fields(one)}" for path, one in rows.items()
    )
    return page("The report of a job", intro, *parts)


def report_schema() -> str:
    return json.dumps(_schema(), indent=2, ensure_ascii=False) + "\n"


def _schema() -> Schema:
    from serve_app.report_schema import QualityReport

    made = QualityReport.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def _objects(whole: Schema, one: Schema, path: str) -> list[tuple[str, str]]:
    """Where each object lies in the report, and its name in the schema, in the order of the fields."""
    found = []
    for name, field in one["properties"].items():
        place = f"{path}{name}{'[]' if field.get('type') == 'array' else ''}"
        reference = field.get("items", field).get("$ref")
        if reference:
            inner = reference.rpartition("/")[2]
            found += [(place, inner), *_objects(whole, whole["$defs"][inner], f"{place}.")]
    return found


def _fields(one: Schema) -> str:
    rows = [
        (code(name), _shape(field), _unit(field), field.get("description", ""))
        for name, field in one["properties"].items()
    ]
    return table(("field", "type", "unit", ""), rows)


def _shape(field: Schema) -> str:
    if "anyOf" in field:
        return " or ".join(_shape(one) for one in field["anyOf"])
    if "const" in field:
        return f"always {field['const']}"
    if field.get("type") == "array":
        return f"list of {_shape(field['items'])}s"
    return field.get("type", "object")


def _unit(field: Schema) -> str:
    inner = [field, *field.get("anyOf", ()), field.get("items", {}), field.get("additionalProperties", {})]
    return next((one["unit"] for one in inner if isinstance(one, dict) and "unit" in one), "")
