import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from configs.app import AppSettings
from configs.pipeline import PipelineSettings, PrepareSettings, PreviewSettings
from models.segment import Clip, Segment, Span, Transcript
from serve_app import dubbing
from serve_app.hearing.speech import read
from serve_app.media.probe import probe
from serve_app.preview import length
from serve_app.stages.mux import mux
from tests.data.media import X264, make, picture
from tests.unit.test_pipeline import ECHO, Bench

SETTINGS = PipelineSettings()


def said(start: float, end: float, place: float | None = None, spoken: float | None = None) -> Segment:
    return Segment(round(start * 10), start, end, "words", place=place, spoken=spoken, tempo=place and 1.0)


@pytest.mark.parametrize(
    ("duration", "ready", "seconds"),
    [
        (19.9, 19.9, None),  # the film itself is there as soon
        (40.0, 9.9, None),  # too little to show
        (40.0, 40.0, 10.0),
        (120.0, 40.0, 20.0),
        (7200.0, 55.0, 30.0),
        (7200.0, 21.0, 21.0),
    ],
)
def test_the_longer_the_film_the_longer_its_preview(duration, ready, seconds):
    assert length([], duration, ready, SETTINGS) == seconds


def test_it_ends_after_a_sentence():
    segments = [said(0, 9.4), said(9.8, 13.0), said(13.5, 18.0)]
    assert length(segments, 60.0, 60.0, SETTINGS) == pytest.approx(13.2)


def test_not_within_a_sentence_of_the_dub():
    segments = [said(0, 10.0, place=0.0, spoken=10.5), said(11.0, 13.0, place=10.6, spoken=2.0)]
    assert length(segments, 60.0, 60.0, SETTINGS) == pytest.approx(13.2)  # at 10.7 the dub of the second speaks


def test_one_long_sentence_is_cut():
    assert length([said(0, 50.0)], 60.0, 60.0, SETTINGS) == 10.0


def test_it_can_be_switched_off():
    off = replace_settings(enabled=False)
    assert length([], 600.0, 60.0, off) is None


def replace_settings(**rules) -> PipelineSettings:
    return SETTINGS.model_copy(update={"preview": PreviewSettings(**rules)})


def test_a_sentence_that_was_not_spoken_counts_as_it_was_heard():
    segments = [replace(said(0, 11.0), place=None), said(12.0, 14.0)]
    assert length(segments, 60.0, 60.0, SETTINGS) == pytest.approx(11.2)


SHOWN = AppSettings.model_validate({**ECHO, "pipeline": {**ECHO["pipeline"], "preview": {"min_s": 2.0}}})


async def test_the_film_waits_for_its_preview(
    tmp_path: Path, short_talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a small machine they would share the processor, and be there at the same time."""
    done = []

    async def slow(*args: object) -> None:
        await asyncio.sleep(0.2)
        done.append("preview")

    async def writing(*args: object, **options: object) -> object:
        done.append("film")
        return await mux(*args, **options)

    monkeypatch.setattr(dubbing, "preview", slow)
    monkeypatch.setattr(dubbing, "mux", writing)
    job = Bench(tmp_path, short_talk)
    await job.run(SHOWN)
    assert done == ["preview", "film"] and job.report.snapshot().early_preview


async def test_the_recogniser_is_given_the_first_window_first(
    tmp_path: Path, talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the preview is behind what it does not show."""
    asked = list[float]()
    job = Bench(tmp_path, talk)

    def slowly_at_first(wav: Path, span: Span, *rest: object) -> Clip:
        time.sleep(0.3 if span.start < 2 else 0.0)
        return read(wav, span, *rest)

    async def recognize(clip: Clip) -> Transcript:
        if clip.language:  # else it is asked which one it is
            asked.append(clip.start)
        return await job.models.recognize(clip)

    monkeypatch.setattr("serve_app.stages.recognize.read", slowly_at_first)
    await job.run(SHOWN, replace(job.models, recognize=recognize))
    assert len(asked) > 2 and asked[0] == min(asked)


async def test_a_job_that_is_stopped_ends_its_preview(
    tmp_path: Path, short_talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), []

    async def endless(*args: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    monkeypatch.setattr(dubbing, "preview", endless)
    run = asyncio.create_task(Bench(tmp_path, short_talk).run(SHOWN))
    await asyncio.wait_for(begun.wait(), 60)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert ended == [1]


async def test_a_film_that_begins_in_silence_has_a_preview_with_its_first_words(tmp_path: Path) -> None:
    sound = "aevalsrc=if(gt(t\\,6)*lt(mod(t\\,4)\\,3)\\,0.3\\,0)*sin(2*PI*440*t):d=20:s=48000"
    path = make(tmp_path / "in.mp4", *picture(20.0), "-f", "lavfi", "-i", sound, *X264, "-c:a", "aac")
    rooms = {
        **ECHO["pipeline"],
        "preview": {"min_s": 2.0, "seconds": 12.0},
        "windows": {"first_s": 4.0, "min_s": 4.0, "max_s": 8.0},
    }
    job = Bench(tmp_path, path)
    result = await job.run(AppSettings.model_validate({**ECHO, "pipeline": rooms}))
    first = json.loads(Path(result.report).read_text())["segments"][0]
    shown = probe(Path(job.report.snapshot().early_preview), PrepareSettings())
    assert first["place"] > 5 and first["dub_end"] < shown.duration < 13
