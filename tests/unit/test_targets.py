"""Several targets in one job: heard once, dubbed into each, told apart by their names."""

import dataclasses
import json
from itertools import pairwise
from pathlib import Path, PurePath

import pytest

from models.errors import UnsupportedLanguage
from models.segment import Utterance
from serve_app.doors.desk import proper
from serve_app.jobs.job import Quality, Request, Result, languages
from serve_app.jobs.report import Report
from serve_app.jobs.tables import job_from, new_row, request_json
from serve_app.jobs.workspace import artifact_of, artifacts
from tests.unit.test_pipeline import Bench


@pytest.fixture
def bench(tmp_path: Path, short_talk: Path) -> Bench:
    bench = Bench(tmp_path, short_talk)
    bench.request = dataclasses.replace(bench.request, also=("fr", "de"))
    return bench


async def test_one_film_is_heard_once_and_dubbed_into_each(bench: Bench) -> None:
    alone = Bench(bench.folder / "alone", Path(bench.request.path))
    await alone.run()
    result = await bench.run()
    assert bench.calls["recognize"] == alone.calls["recognize"] and bench.calls["detect"] == alone.calls["detect"]
    assert bench.calls["translate"] == 3 * alone.calls["translate"]
    assert bench.calls["speak"] == 3 * alone.calls["speak"]
    assert list(result.further) == ["fr", "de"]
    assert Path(result.output).name == "job_translated.mp4" and "[es]" in Path(result.translated_srt).read_text()
    for language, one in result.further.items():
        assert Path(one.output).name == f"job_translated.{language}.mp4"
        assert Path(one.output).stat().st_size == one.output_bytes > 10_000
        assert f"[{language}]" in Path(one.translated_srt).read_text()
        report = json.loads(Path(one.report).read_text())
        assert report["target_language"] == language
        assert all(f"[{language}]" in row["translation"] for row in report["segments"])
        assert one.original_srt == result.original_srt and one.quality.duration_match
    await bench.run()
    assert bench.calls == {}


async def test_a_target_that_joins_later_shares_what_was_heard(bench: Bench) -> None:
    bench.request = dataclasses.replace(bench.request, also=())
    await bench.run()
    first = bench.calls["speak"]
    bench.request = dataclasses.replace(bench.request, target_lang="fr", also=("es",))
    result = await bench.run()
    assert bench.calls["recognize"] == 0 and bench.calls["speak"] == first  # French alone
    assert Path(result.further["es"].output).name == "job_translated.es.mp4"


async def test_progress_grows_over_all_targets_and_ends_with_the_last(bench: Bench) -> None:
    seen: list[tuple[str, float, float]] = []

    async def speak(utterance: Utterance) -> object:
        look()
        return await echo(utterance)

    def look() -> None:
        now = bench.report.snapshot()
        seen.append((now.stage, now.percent, now.stage_percent))

    echo, bench.models = bench.models.speak, dataclasses.replace(bench.models, speak=speak)  # type: ignore[arg-type]
    await bench.run()
    look()
    assert all(one[1] <= two[1] for one, two in pairwise(seen))
    assert seen[-1] == ("video_combination", 99.9, 100.0)
    assert bench.report.snapshot().segments_done == bench.report.snapshot().segments_total >= 3
    titles = [insight.title for insight in bench.report.insights()]
    assert sum("segments dubbed" in title for title in titles) == 3
    assert any("(fr)" in title for title in titles)


def test_a_stage_that_is_repeated_ends_with_its_last_pass() -> None:
    report = Report("job")
    report.repeat(["tts", "video_combination"], 2)
    report.expect_speech(10.0)
    report.advance("tts", 10.0)
    report.fraction("video_combination", 0.5)
    parts = {name: report._fractions[name] for name in ("tts", "video_combination")}
    assert parts == {"tts": 0.5, "video_combination": 0.25}
    report.finish("video_combination")
    report.fraction("video_combination", 0.5)
    assert report._fractions["video_combination"] == 0.75
    assert "video_combination" not in report._ended
    report.finish("video_combination")
    assert report._fractions["video_combination"] == 1.0 and "video_combination" in report._ended


async def test_a_further_target_without_a_model_is_refused_before_any_work(bench: Bench) -> None:
    engines = dataclasses.replace(bench.models, pairs=frozenset({("en", "es"), ("en", "fr")}))
    with pytest.raises(UnsupportedLanguage, match="en to de"):
        await bench.run(engines=engines)
    assert bench.calls == {}


def test_every_file_of_a_further_target_is_its_jobs_and_no_others() -> None:
    names = {
        language: {getattr(files, field.name).name for field in dataclasses.fields(files)}
        for language in ("", "fr", "de")
        for files in [artifacts(Path(), "x", language)]
    }
    assert len(names["fr"] & names["de"]) == len({"x_subtitles.srt", "x_early_preview.mp4"})
    for found in names.values():
        assert {artifact_of(PurePath(name))[0] for name in found} == {"x"}
    assert artifact_of(PurePath("x_translated_subtitles.fr.vtt")) == ("x", False)
    assert artifact_of(PurePath("x_translated.xx.mp4")) == ("", False)


def test_targets_survive_the_row() -> None:
    request = Request("a", "/u/a.mp4", "en", "es", also=("fr",))
    row = {**new_row(request, 1.0), "fence": 0, "attempts": 0, "error_code": "", "error": "", "edits": None}
    assert job_from({**row, "result": None}).request == request
    assert request_json(request) == row["request"]
    one = Result("/o", "/a", "/b", "/r", 1.0, 2, 3, 4.0, Quality(lip_sync=1.0))
    both = dataclasses.replace(one, further={"fr": one})
    assert job_from({**row, "result": dataclasses.asdict(both)}).result == both


def test_languages_come_apart_once_and_in_order() -> None:
    assert languages("ES, fr", "de", "es") == ("es", "fr", "de")
    assert languages("", " ,") == ("",)


def test_both_doors_take_several_languages_in_one_word() -> None:
    asked = proper(Request("a", "/u/a.mp4", "en", "ES, fr", also=("de", "es")))
    assert asked.targets == ("es", "fr", "de")
    with pytest.raises(UnsupportedLanguage, match="xx"):
        proper(Request("a", "/u/a.mp4", "en", "es,xx"))
