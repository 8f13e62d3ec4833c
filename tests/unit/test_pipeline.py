"""The straight line with echo engines on a real video: what comes out, what is not done twice, and how it fails."""

import asyncio
import dataclasses
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from configs.app import AppSettings
from configs.pipeline import STAGES
from models.errors import (
    DubError,
    InvalidJob,
    NoSpeech,
    OutOfSpace,
    StageFailed,
    UnreadableTranscript,
    UnsupportedLanguage,
)
from models.segment import Clip, Span, Speech, Transcript, Utterance, Voice
from serve_app.attempt import dub
from serve_app.engines import Models
from serve_app.jobs.job import Request, Result
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Workspace, artifacts
from serve_app.local import models

ECHO = {
    "engines": {
        "vad": {"engine": "echo"},
        "asr": {"engine": "echo"},
        "translation": {"engine": "echo"},
        "tts": {"engines": ["echo"]},
    },
    "pipeline": {"mux": {"x264_preset": "ultrafast"}, "windows": {"min_s": 2, "max_s": 5}},
}
SETTINGS = AppSettings.model_validate(ECHO)
ONE_BY_ONE = AppSettings.model_validate(
    {**ECHO, "pipeline": {**ECHO["pipeline"], "windows": {"min_s": 2, "max_s": 5, "at_once": 1}}}
)


class Bench:
    """One job's folder, with engines whose calls are counted."""

    def __init__(self, folder: Path, video: Path) -> None:
        self.folder = folder
        self.request = Request("job", str(video), "en", "es", subtitles="none")
        self.calls: Counter[str] = Counter()
        self.report = Report("job")
        echo = models(SETTINGS.engines)
        verbs = {
            name: self.counted(name, getattr(echo, name)) for name in ("detect", "recognize", "translate", "speak")
        }
        self.models = dataclasses.replace(echo, **verbs)

    def counted(self, name: str, verb: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
        async def call(item: Any) -> Any:
            self.calls[name] += 1
            return await verb(item)

        return call

    async def run(self, settings: AppSettings = SETTINGS, engines: Models | None = None) -> Result:
        self.calls.clear()
        self.report = Report("job")
        return await dub(
            self.request,
            engines or self.models,
            settings,
            Workspace(self.folder / "work", "job"),
            artifacts(self.folder, "job"),
            self.report,
        )


@pytest.fixture
def bench(tmp_path: Path, short_talk: Path) -> Bench:
    return Bench(tmp_path, short_talk)


async def test_the_whole_line(bench: Bench) -> None:
    result = await bench.run()
    report = json.loads(Path(result.report).read_text())
    assert Path(result.output).stat().st_size == result.output_bytes > 10_000
    assert abs(result.duration_s - report["input"]["duration"]) <= 1 / 25 + 0.001
    rows = report["segments"]
    assert len(rows) >= 3
    assert [row["start"] for row in rows] == sorted(row["start"] for row in rows)
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(row["translation"] and row["place"] is not None and row["voice"] for row in rows)
    assert all(one["dub_end"] <= two["place"] + 1e-6 for one, two in pairwise(rows))
    assert tuple(report["stage_seconds"]) and set(report["stage_seconds"]) == set(STAGES)
    assert sum(report["stage_seconds"].values()) > 0.1
    assert result.quality.lufs == pytest.approx(-23, abs=1)
    now = bench.report.snapshot()
    assert now.segments_done == now.segments_total == len(rows)
    assert bench.report.insights()


async def test_a_finished_line_does_nothing_twice(bench: Bench) -> None:
    await bench.run()
    assert min(bench.calls[name] for name in ("detect", "recognize", "translate", "speak")) >= 1
    await bench.run()
    assert bench.calls == {}


async def test_another_target_keeps_what_was_heard(bench: Bench) -> None:
    await bench.run()
    bench.request = dataclasses.replace(bench.request, target_lang="fr")
    result = await bench.run()
    assert bench.calls["recognize"] == 0 and bench.calls["translate"] > 0 and bench.calls["speak"] > 0
    assert "[fr]" in Path(result.translated_srt).read_text()


async def test_another_voice_keeps_what_was_translated(bench: Bench) -> None:
    await bench.run()
    bench.request = dataclasses.replace(bench.request, voice_gender="female")
    await bench.run()
    assert bench.calls["translate"] == 0 and bench.calls["speak"] > 0


async def test_a_damaged_clip_is_spoken_again(bench: Bench) -> None:
    await bench.run()
    clips = sorted((bench.folder / "work").rglob("*.wav"))
    spoken = next(path for path in clips if path.stem.isdigit())
    spoken.write_bytes(b"broken" * 100)
    result = await bench.run()
    assert bench.calls["recognize"] == 0
    assert result.quality.duration_match


async def test_what_no_voice_could_say_is_tried_again_and_nothing_else_is(bench: Bench) -> None:
    unsaid: dict[str, str] = {}

    async def hoarse(utterance: Utterance) -> Speech:
        if utterance.text == unsaid.setdefault("text", utterance.text):
            raise StageFailed("tts", "every voice is away", transient=True)
        return await bench.models.speak(utterance)

    one = await bench.run(ONE_BY_ONE, dataclasses.replace(bench.models, speak=hoarse))
    silent = [row["id"] for row in json.loads(Path(one.report).read_text())["segments"] if not row["spoken_at_all"]]
    assert len(silent) == 1
    two = await bench.run(ONE_BY_ONE)
    assert 1 <= bench.calls["speak"] <= 2 and bench.calls["translate"] == 0  # the second to say it faster
    rows = {row["id"]: row for row in json.loads(Path(two.report).read_text())["segments"]}
    assert rows[silent[0]]["spoken_at_all"] and rows[silent[0]]["place"] is not None


async def test_the_preview_shows_the_sentences_that_begin_in_it_and_no_other(bench: Bench) -> None:
    rules = {"min_s": 2.5, "seconds": 3.5, "share": 0.1}
    shown = AppSettings.model_validate({**ECHO, "pipeline": {"preview": rules, "mux": {"x264_preset": "ultrafast"}}})
    bench.request = dataclasses.replace(bench.request, subtitles="soft")
    result = await bench.run(shown)
    rows = json.loads(Path(result.report).read_text())["segments"]
    with av.open(str(bench.folder / "job_early_preview.mp4")) as film:
        end = float(film.streams.video[0].duration * film.streams.video[0].time_base)
        packets = [
            packet for packet in film.demux(film.streams.subtitles[0]) if packet.size > 2 and packet.pts is not None
        ]
        texts = [bytes(packet)[2:].decode() for packet in packets]
    begun = [row for row in rows if row["place"] is not None and row["place"] < end]
    assert 2.5 <= end <= 3.6 and 0 < len(begun) < len(rows)
    assert " ".join(" ".join(texts).split()) == " ".join(" ".join(row["translation"] for row in begun).split())


async def test_a_film_shows_both_languages_where_that_is_wanted(bench: Bench) -> None:
    bench.request = dataclasses.replace(bench.request, subtitles="soft")
    result = await bench.run(AppSettings.model_validate({**ECHO, "pipeline": {"subtitle": {"show": "bilingual"}}}))
    with av.open(result.output) as film:
        packets = [bytes(packet)[2:].decode() for packet in film.demux(film.streams.subtitles[0]) if packet.size > 2]
    rows = json.loads(Path(result.report).read_text())["segments"]
    shown = " ".join(" ".join(packets).split())
    assert rows and all(row["translation"] in shown and row["text"] in shown for row in rows)


async def test_it_goes_on_where_it_was_cancelled(bench: Bench) -> None:
    fresh = Bench(bench.folder / "fresh", Path(bench.request.path))
    await fresh.run(ONE_BY_ONE)
    running = asyncio.create_task(bench.run(ONE_BY_ONE))
    while not (bench.folder / "work/job/windows/0000/es/sync.json").exists():
        await asyncio.sleep(0.005)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    before = bench.calls.copy()
    result = await bench.run(ONE_BY_ONE)
    after = bench.calls
    assert after["detect"] == 0
    for verb in ("recognize", "translate", "speak"):
        assert 0 < after[verb] < fresh.calls[verb], verb  # the first window was not done again
        assert before[verb] + after[verb] <= fresh.calls[verb] + 2, verb  # at most what was under way was lost
    assert Path(result.output).stat().st_size > 10_000


async def test_a_rival_that_lost_its_lease_publishes_nothing(bench: Bench) -> None:
    class LostError(Exception):
        pass

    async def lost() -> None:
        raise LostError

    with pytest.raises(LostError):
        await dub(
            bench.request,
            bench.models,
            SETTINGS,
            Workspace(bench.folder / "work", "job"),
            artifacts(bench.folder, "job"),
            bench.report,
            lost,
        )
    assert not list(bench.folder.glob("job_*"))
    assert not list((bench.folder / "work" / "job").glob("attempt-*"))
    assert (await bench.run()).output_bytes > 10_000


async def test_a_video_that_is_replaced_under_way_is_no_success(bench: Bench, media: Path) -> None:
    video = bench.folder / "film.mp4"
    shutil.copy(bench.request.path, video)
    bench.request = dataclasses.replace(bench.request, path=str(video))
    speak = bench.models.speak

    async def replacing(utterance: Utterance) -> Speech:
        shutil.copy(media / "chaplin.mp4", video)
        return await speak(utterance)

    with pytest.raises(InvalidJob, match="replaced"):
        await bench.run(engines=dataclasses.replace(bench.models, speak=replacing))
    assert not list(bench.folder.glob("job_*"))
    video.unlink()
    with pytest.raises(InvalidJob):
        await bench.run()


async def test_the_same_language_gives_subtitles_and_the_original_sound(bench: Bench) -> None:
    bench.request = dataclasses.replace(bench.request, target_lang="en")
    result = await bench.run()
    assert bench.calls["speak"] == 0
    assert result.quality.lip_sync is None
    assert "-->" in Path(result.original_srt).read_text()
    assert Path(result.output).stat().st_size > 10_000


TRANSCRIPT = """WEBVTT

00:00.900 --> 00:03.000
<v Anna>First of all, hello.

00:03.600 --> 00:05.500
<v Bob>And now for numbers: 10:45.
"""


async def test_a_transcript_replaces_recognition(bench: Bench) -> None:
    told = bench.folder / "talk.vtt"
    told.write_text(TRANSCRIPT)
    bench.request = dataclasses.replace(bench.request, transcript=str(told))
    result = await bench.run()
    assert bench.calls["detect"] == bench.calls["recognize"] == 0
    rows = json.loads(Path(result.report).read_text())["segments"]
    assert [(row["start"], row["end"], row["text"], row["speaker"]) for row in rows] == [
        (0.9, 3.0, "First of all, hello.", "Anna"),
        (3.6, 5.5, "And now for numbers: 10:45.", "Bob"),
    ]
    assert all(row["voice"] for row in rows)
    told.write_text(TRANSCRIPT.replace("hello", "good day"))
    assert "good day" in Path((await bench.run()).original_srt).read_text()


async def test_a_transcript_without_a_language_is_listened_to_for_it(bench: Bench) -> None:
    told = bench.folder / "talk.vtt"
    told.write_text(TRANSCRIPT)
    bench.request = dataclasses.replace(bench.request, transcript=str(told), source_lang="")
    await bench.run()
    assert bench.calls["detect"] == 0 and bench.calls["recognize"] == 1


async def test_a_broken_transcript_is_the_callers_fault(bench: Bench) -> None:
    told = bench.folder / "talk.srt"
    told.write_text("no transcript")
    bench.request = dataclasses.replace(bench.request, transcript=str(told))
    with pytest.raises(UnreadableTranscript):
        await bench.run()


def changing(models: Models, border: float, second: str) -> Models:
    """Hears English before `border` seconds and another language after it."""

    async def recognize(clip: Clip) -> Transcript:
        heard = await models.recognize(clip)
        spoken = "en" if clip.start < border else second
        return dataclasses.replace(heard, language=clip.language or spoken, language_probability=0.95)

    return dataclasses.replace(models, recognize=recognize)


@pytest.mark.parametrize("second", ["es", "fr"])
async def test_parts_that_nobody_has_to_or_can_translate_keep_their_sound(
    bench: Bench, talk: Path, second: str
) -> None:
    bench.request = dataclasses.replace(bench.request, path=str(talk))
    pairs = frozenset({("en", "es")})  # from fr no way leads to es, and es is es already
    engines = dataclasses.replace(changing(bench.models, 13.5, second), pairs=pairs)
    rules = {"min_language_s": 1.0, "language_windows": 3}
    settings = AppSettings.model_validate({**ECHO, "pipeline": {**ECHO["pipeline"], "recognize": rules}})
    result = await bench.run(settings, engines)
    rows = json.loads(Path(result.report).read_text())["segments"]
    assert {row["language"] for row in rows} == {"en", second}
    assert all(row["spoken_at_all"] == (row["place"] is not None) == (row["language"] == "en") for row in rows)
    assert all(row["translation"] == row["text"] for row in rows if row["language"] == second)
    titles = [insight.title for insight in bench.report.insights()]
    assert "Several languages are spoken" in titles and ("A part is not dubbed" in titles) == (second == "fr")


@pytest.mark.parametrize(("second", "dubbed"), [("es", False), ("fr", False), ("de", True)])
async def test_another_language_for_a_while_is_dubbed_where_a_way_leads_from_it(
    bench: Bench, talk: Path, second: str, dubbed: bool
) -> None:
    bench.request = dataclasses.replace(bench.request, path=str(talk), source_lang="en")
    pairs = frozenset({("en", "es"), ("de", "en")})

    async def recognize(clip: Clip) -> Transcript:
        """The votes hear English; then a clip at second 9 to 16 sounds like something else, and so it does alone."""
        nonlocal voting
        voting = voting and not clip.language
        heard = await bench.models.recognize(clip)
        own = second if 9 < (clip.start + clip.end) / 2 < 16 and not voting else "en"
        sure = 0.9 if clip.language == own else 0.5
        words = tuple(dataclasses.replace(word, probability=sure) for word in heard.words)
        if clip.language:
            return Transcript(words, clip.language, 0.0, (), own, 0.95)
        return Transcript(words, own, 0.95)

    voting, rules = True, {"min_language_s": 1.0}
    settings = AppSettings.model_validate({**ECHO, "pipeline": {**ECHO["pipeline"], "recognize": rules}})
    result = await bench.run(settings, dataclasses.replace(bench.models, recognize=recognize, pairs=pairs))
    rows = json.loads(Path(result.report).read_text())["segments"]
    assert {row["language"] for row in rows} == {"en", second}
    assert all(row["spoken_at_all"] == (row["language"] == "en" or dubbed) for row in rows)
    titles = [insight.title for insight in bench.report.insights()]
    assert "Several languages are spoken" not in titles and "Another language for a while" in titles
    assert titles.count("A part is not dubbed") == (second == "fr")


async def test_voices_that_are_told_apart_keep_their_names(bench: Bench) -> None:
    async def diarize(clip: Clip) -> list[Voice]:
        middle = clip.duration / 2
        return [Voice((Span(0.0, middle),), (1.0, 0.0)), Voice((Span(middle, clip.duration),), (0.0, 1.0))]

    result = await bench.run(engines=dataclasses.replace(bench.models, diarize=diarize))
    rows = json.loads(Path(result.report).read_text())["segments"]
    assert [row["speaker"] for row in rows] == sorted(row["speaker"] for row in rows)
    assert {row["speaker"] for row in rows} == {"speaker 1", "speaker 2"}


async def test_what_was_heard_before_a_kill_is_not_heard_again(bench: Bench) -> None:
    recognize = bench.models.recognize
    heard = 0

    async def dying(clip: Clip) -> Transcript:
        nonlocal heard
        heard += 1
        if clip.language and heard > 1:
            raise asyncio.CancelledError
        return await recognize(clip)

    with pytest.raises(asyncio.CancelledError):
        await bench.run(ONE_BY_ONE, dataclasses.replace(bench.models, recognize=dying))
    first = bench.calls.copy()
    assert first["detect"] >= 1 and first["recognize"] >= 1
    await bench.run(ONE_BY_ONE)
    assert bench.calls["detect"] == 0
    names = [path.name for path in (bench.folder / "work/job/heard").iterdir()]
    assert len([name for name in names if name.startswith("words")]) == first["recognize"] + bench.calls["recognize"]


async def test_a_pair_without_a_model_is_refused_before_any_work(bench: Bench) -> None:
    engines = dataclasses.replace(bench.models, pairs=frozenset({("en", "de")}))
    with pytest.raises(UnsupportedLanguage):
        await bench.run(engines=engines)
    assert bench.calls == {}


async def test_speech_without_words_is_no_speech(bench: Bench) -> None:
    async def nothing(clip: Clip) -> Transcript:
        return Transcript((), clip.language or "en", 0.9)

    with pytest.raises(NoSpeech):
        await bench.run(engines=dataclasses.replace(bench.models, recognize=nothing))


@pytest.mark.parametrize(
    ("verb", "stage"),
    [("detect", "transcription"), ("recognize", "transcription"), ("translate", "translation")],
)
async def test_an_engine_that_breaks_names_its_room(bench: Bench, verb: str, stage: str) -> None:
    async def broken(_item: Any) -> Any:
        raise ZeroDivisionError("a secret of the engine")

    with pytest.raises(DubError) as caught:
        await bench.run(engines=dataclasses.replace(bench.models, **{verb: broken}))
    assert isinstance(caught.value, StageFailed)
    assert caught.value.stage == stage
    assert "secret" not in str(caught.value)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk, for real, on which so many KiB are free until `ballast` is removed."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(kib: int) -> Path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
        (folder / "ballast").write_bytes(bytes((64 * 1024 - kib) * 1024))
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], check=False)


@pytest.mark.parametrize("kib", [250, 500, 800, 1500])
async def test_a_full_disk_says_so_and_the_job_works_once_there_is_space(
    bench: Bench, small_disk: Callable[[int], Path], kib: int
) -> None:
    folder = small_disk(kib)
    bench.folder = folder
    settings = AppSettings.model_validate(
        {**ECHO, "pipeline": {**ECHO["pipeline"], "prepare": {"min_free_bytes": 0, "disk_factor": 1}}}
    )
    with pytest.raises(OutOfSpace) as caught:
        await bench.run(settings)
    assert str(folder) not in str(caught.value)
    (folder / "ballast").unlink()
    assert (await bench.run(settings)).output_bytes > 10_000
