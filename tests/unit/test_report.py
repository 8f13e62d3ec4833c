"""What readers of a running job may rely on: percentages only grow, stamps never repeat, nothing is told twice."""

import json
import threading
from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest

from configs.pipeline import STAGES
from serve_app.jobs import report as module
from serve_app.jobs.job import Progress
from serve_app.jobs.report import WEIGHTS, Report


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def report(clock: Clock) -> Report:
    return Report("job-1", clock=clock)


def in_threads(work: object, threads: int = 8) -> None:
    running = [threading.Thread(target=work) for _ in range(threads)]  # type: ignore[arg-type]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def test_the_page_lights_its_steps_by_these_spans(report: Report) -> None:
    assert sum(WEIGHTS.values()) == 100
    ends = []
    for stage in STAGES:
        report.finish(stage)
        ends.append(report.snapshot().percent)
    assert ends == [5, 15, 30, 50, 70, 85, 90, 99.9]


def test_the_earliest_unfinished_stage_is_shown_with_its_own_span(report: Report, clock: Clock) -> None:
    report.finish("initialization")
    report.finish("audio_extraction")
    clock.now += 10
    report.fraction("transcription", 0.5)
    report.fraction("tts", 0.25)
    clock.now += 3
    shown = report.snapshot()
    assert (shown.stage, shown.stage_number, shown.stage_percent) == ("transcription", 3, 50.0)
    assert (shown.stage_elapsed_s, shown.elapsed_s) == (3.0, 13.0)
    assert shown.percent == 15 + 7.5 + 5


def test_a_stage_that_has_not_begun_shows_no_time(report: Report, clock: Clock) -> None:
    report.finish("initialization")
    clock.now += 10
    shown = report.snapshot()
    assert (shown.stage, shown.stage_percent, shown.stage_elapsed_s) == ("audio_extraction", 0.0, 0.0)


def test_a_fraction_never_shrinks_nor_passes_one(report: Report) -> None:
    report.fraction("initialization", 0.6)
    report.fraction("initialization", 0.2)
    assert report.snapshot().stage_percent == 60.0
    report.fraction("initialization", -1.0)
    report.fraction("initialization", 7.0)
    assert report.snapshot().percent == 5.0


def test_seconds_of_speech_from_many_threads_all_count(report: Report) -> None:
    report.expect_speech(10_000.0)
    in_threads(lambda: [report.advance("tts", 1.0) for _ in range(500)])
    assert report.snapshot().percent == pytest.approx(WEIGHTS["tts"] * 0.4)


def test_advance_leaves_the_last_step_to_finish(report: Report) -> None:
    report.advance("initialization", 5.0)
    assert report.snapshot().stage_percent == 0.0
    report.expect_speech(10.0)
    report.advance("initialization", 50.0)
    assert (report.snapshot().stage, report.snapshot().stage_percent) == ("initialization", 99.0)
    report.finish("initialization")
    report.advance("initialization", 1.0)
    assert report.snapshot().percent == 5.0


def test_the_estimate_follows_the_pace_of_the_job(report: Report, clock: Clock) -> None:
    report.describe(duration_s=100.0)
    first = report.snapshot().eta_s
    assert first == pytest.approx(45.0)  # as measured on two cores
    for stage in STAGES[:-1]:
        clock.now += 4
        report.finish(stage)
    slow = report.snapshot().eta_s  # 28 s for 15 s of work, and 30 s of work to go
    assert slow == pytest.approx(56.0)
    report.finish(STAGES[-1])
    assert report.snapshot().eta_s == 0.0


def test_a_resumed_job_does_not_fall_behind_what_was_shown(clock: Clock) -> None:
    before = Progress(percent=42.0, early_preview="/p.mp4", preview_ids=("seg_001",))
    report = Report("job-1", start=before, clock=clock)
    report.finish("initialization")
    shown = report.snapshot()
    assert (shown.percent, shown.early_preview, shown.preview_ids) == (42.0, "/p.mp4", ("seg_001",))
    for stage in STAGES[:4]:
        report.finish(stage)
    assert report.snapshot().percent == 50.0


def test_snapshots_survive_json(report: Report) -> None:
    report.describe(hardware={"cpu": "x", "ram_gb": 8}, segments_total=3)
    data = json.loads(json.dumps(asdict(report.snapshot())))
    assert replace(Progress(**data), preview_ids=()) == report.snapshot()


def test_stage_seconds_stop_with_their_stage(report: Report, clock: Clock) -> None:
    report.begin("initialization")
    clock.now += 2
    report.finish("initialization")
    clock.now += 5
    report.finish("initialization")
    report.begin("audio_extraction")
    assert report.stage_seconds() == {"initialization": 2.0, "audio_extraction": 0.0}


def test_stamps_are_fixed_width_and_grow_in_every_thread(report: Report) -> None:
    in_threads(lambda: [report.log("tts", "same words") for _ in range(200)])
    stamps = [line.timestamp for line in report.lines()]
    assert len(set(stamps)) == 1600
    assert stamps == sorted(stamps)
    assert {len(stamp) for stamp in stamps} == {len("2026-01-01T00:00:00.000000Z")}


def test_stamps_grow_when_the_clock_stands_still_or_goes_back(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    class Frozen(datetime):
        moment = datetime(2026, 1, 1, 23, 59, 59, 999_999, UTC)

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return cls.moment

    monkeypatch.setattr(module, "datetime", Frozen)
    report.log("tts", "one")
    report.log("tts", "two")
    Frozen.moment = datetime(2025, 1, 1, tzinfo=UTC)
    report.log("tts", "three")
    assert [line.timestamp for line in report.lines()] == [
        "2026-01-01T23:59:59.999999Z",
        "2026-01-02T00:00:00.000000Z",
        "2026-01-02T00:00:00.000001Z",
    ]


def test_nothing_is_drained_twice(report: Report) -> None:
    report.log("tts", "voice selected", "success", "seg_1", engine="piper")
    report.insight("decision", "Voice", "why", "high", voice="x")
    lines, insights = report.drain()
    assert [(line.level, line.message, line.chunk_id, line.extra) for line in lines] == [
        ("success", "voice selected", "seg_1", {"engine": "piper"})
    ]
    assert [(one.kind, one.title, one.impact, one.data) for one in insights] == [
        ("decision", "Voice", "high", {"voice": "x"})
    ]
    assert report.drain() == ([], [])
    report.log("tts", "later")
    assert [line.message for line in report.drain()[0]] == ["later"]
    assert [line.message for line in report.lines()] == ["voice selected", "later"]


def test_ids_of_insights_are_unique_and_name_the_job(report: Report) -> None:
    for source in (report, Report("job-1")):
        for _ in range(3):
            source.insight("warning", "t", "d")
    ids = [one.id for one in report.insights()]
    assert len(set(ids)) == 3
    assert all(one.startswith("job-1-") for one in ids)


def test_a_second_attempt_adds_to_the_first(clock: Clock) -> None:
    first = Report("job", clock=clock)
    first.log("tts", "Using espeak")
    first.begin("tts")
    clock.now += 3
    second = Report("job", first.snapshot(), first.lines(), first.insights(), clock=clock)
    second.begin("tts")
    clock.now += 2
    second.log("tts", "Going on")
    assert second.stage_seconds() == {"tts": 5.0}
    assert second.snapshot().elapsed_s == 5.0
    assert [line.message for line in second.lines()] == ["Using espeak", "Going on"]
    assert [line.message for line in second.drain()[0]] == ["Going on"]  # the first is in the store already
