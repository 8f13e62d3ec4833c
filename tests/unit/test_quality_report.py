"""The report that a job leaves is the one that the reference describes, field by field."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from configs.app import AppSettings
from docs.reference import FOLDER
from models.segment import Alternative, Segment
from serve_app import local
from serve_app.attempt import dub
from serve_app.doors import wire
from serve_app.jobs.job import Quality, Request, Result
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Workspace, artifacts
from serve_app.quality_report import figures, segment_row
from serve_app.report_schema import QualityReport
from tests.unit.test_pipeline import ECHO

SCHEMA = json.loads((FOLDER / "report.schema.json").read_text("utf-8"))


async def test_a_real_report_is_what_the_schema_says_and_nothing_besides(tmp_path: Path, short_talk: Path) -> None:
    settings = AppSettings.model_validate(ECHO)
    engines, place = local.models(settings.engines), artifacts(tmp_path, "job")
    request, report = Request("job", str(short_talk), "en", "es", subtitles="none"), Report("job")
    result = await dub(request, engines, settings, Workspace(tmp_path / "work", "job"), place, report)
    facts: dict[str, Any] = json.loads(Path(result.report).read_text())

    jsonschema.validate(facts, SCHEMA)
    assert QualityReport.model_validate(facts).version == 3
    contract = wire.quality(result)
    assert contract is not None
    for field in contract.DESCRIPTOR.fields:
        assert facts["quality"][field.name] == pytest.approx(getattr(contract, field.name))
    assert facts["quality"]["coverage"] > 50 and facts["quality"]["tempo"] == 100
    assert {row["engine"] for row in facts["segments"]} == {"echo"} and facts["segments"][0]["retries"] == []
    assert set(facts["stage_seconds"]) == set(wire.STAGES)

    for row in (facts, facts["quality"], facts["segments"][0], facts["gates"][0], facts["log"][0], facts["output"]):
        row["surprise"] = 1
        with pytest.raises(jsonschema.ValidationError, match="surprise"):
            jsonschema.validate(facts, SCHEMA)
        with pytest.raises(ValidationError, match="surprise"):
            QualityReport.model_validate(facts)
        del row["surprise"]


def test_a_segment_names_its_engine_and_its_place() -> None:
    other = Alternative("Hola a todos.", 1.2, -0.3, ("length",))
    said = Segment(1, 1.0, 3.0, "Hello.", translation="Hola.", alternatives=(other,), speech="1.wav", spoken=2.2)
    row = segment_row(said).model_dump()
    assert (row["engine"], row["voice"], row["dub_end"], row["spoken_at_all"]) == (None, None, None, True)
    assert list(row["alternatives"]) == [asdict(other)]
    heard = Segment(1, 1.0, 3.0, "Hello.", spoken=2.2, place=1.5, tempo=1.1, voice="espeak:es+m3")
    row = segment_row(heard).model_dump()
    assert (row["engine"], row["voice"], row["spoken_at_all"]) == ("espeak", "espeak:es+m3", False)
    assert row["dub_end"] == pytest.approx(3.5)


def test_every_figure_of_the_contract_is_in_a_report() -> None:
    measured = Quality(90.0, 80.0, 70.0, True, -23.0, 1.02, 3)
    told = wire.quality(Result("", "", "", "", 1.0, 1, 1, 1.0, measured))
    assert told is not None
    row = figures(measured).model_dump()
    assert {field.name: getattr(told, field.name) for field in told.DESCRIPTOR.fields} == pytest.approx(
        {field.name: row[field.name] for field in told.DESCRIPTOR.fields}
    )
    assert {name: row[name] for name in asdict(measured)} == asdict(measured)
