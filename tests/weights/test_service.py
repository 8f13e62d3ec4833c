"""The real models behind the real Serve application; judged by the output file, not by what the service says of it."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import grpc
import imageio_ffmpeg
import numpy as np
import pyloudnorm
import pytest
from scipy.signal import correlate

from configs.engines import AsrSettings, VadSettings
from configs.pipeline import PipelineSettings
from models.asr.faster_whisper import FasterWhisper
from models.registry import load
from models.segment import Audio, Clip, Span
from serve_app.doors.detect import detect_language
from serve_app.local import in_thread
from serve_app.media.audio import resample
from serve_app.proto import translation_pb2 as pb
from serve_app.proto.translation_pb2_grpc import TranslationServiceStub
from tests.bench.oldvoice import leak_db, leaks
from tests.collector import Collector, collecting
from tests.collector import Span as Trace
from tests.service import Service, service

RATE = 48_000
REAL = {
    "engines": {
        "asr": {"model": "tiny.en"},
        "translation": {"artifacts": ["models/demo/*"]},
        "tts": {"engines": ["piper", "espeak"]},
    }
}
CUE = re.compile(r"(\d+):(\d+):(\d+),(\d+) --> (\d+):(\d+):(\d+),(\d+)")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Service]:
    telemetry = {"otlp_endpoint": collector.url, "otlp_every_s": 0.2}
    with service(tmp_path_factory.mktemp("real"), {**REAL, "telemetry": telemetry}) as running:
        yield running


@dataclass
class Dub:
    source: Path
    result: pb.TranslationResult
    snapshots: list[pb.TranslationProgress]
    report: dict[str, list[dict[str, object]]]


def dub(served: Service, session: str, source: Path) -> Dub:
    """Exactly what the API does: a plain channel, no metadata, the result right after the stream has ended."""
    with grpc.insecure_channel(served.grpc_url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = TranslationServiceStub(channel)
        asked = pb.TranslationRequest(session_id=session, file_path=str(source), source_lang="en", target_lang="es")
        snapshots = list(stub.TranslateVideo(asked))
        result = stub.GetTranslationResult(pb.ResultRequest(session_id=session))
    report = json.loads((served.artifacts / f"{session}_report.json").read_text())
    return Dub(source, result, snapshots, report)


@pytest.fixture(scope="module")
def jfk(served: Service, media: Path) -> Dub:
    video = served.uploads / "president's speech.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30000/1001:duration=11"]
    sound = ["-i", str(media / "jfk.flac"), "-ac", "2", "-c:a", "aac"]
    codec = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-shortest"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *picture, *sound, *codec, str(video)], check=True)
    return dub(served, "jfk", video)


@pytest.fixture(scope="module")
def narration(served: Service, talk: Path) -> Dub:
    return dub(served, "talk", Path(shutil.copy(talk, served.uploads / "talk.mp4")))


@pytest.fixture(params=["jfk", "narration"])
def dubbed(request: pytest.FixtureRequest) -> Dub:
    found: Dub = request.getfixturevalue(request.param)
    return found


def sound(path: Path | str) -> Audio:
    """The whole sound track at 48 kHz, mono."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)


def length(path: Path | str) -> float:
    """Seconds from the first to the end of the last picture, by its packets."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        ends = [float((p.pts + p.duration) * stream.time_base) for p in container.demux(stream) if p.pts is not None]
    return max(ends)


def cues(path: str) -> list[tuple[float, float, list[str]]]:
    found = []
    for number, block in enumerate(Path(path).read_text(encoding="utf-8").strip().split("\n\n"), 1):
        index, times, *lines = block.splitlines()
        match = CUE.fullmatch(times)
        assert int(index) == number and match, block
        h1, m1, s1, ms1, h2, m2, s2, ms2 = map(int, match.groups())
        found.append((h1 * 3600 + m1 * 60 + s1 + ms1 / 1000, h2 * 3600 + m2 * 60 + s2 + ms2 / 1000, lines))
    return found


def picture(path: Path | str, time: float) -> np.ndarray:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= time:
                return frame.to_ndarray(format="gray").astype(np.float32)
    raise AssertionError(f"no picture at {time} s")


@pytest.mark.parametrize("engine", ["recognize", "translate"])
def test_one_trace_leads_from_the_call_to_the_batches_of_an_engine(
    narration: Dub, collector: Collector, engine: str
) -> None:
    """A batch is linked to whatever it has answered. Each process sends its spans for itself, when it has some."""
    for _ in range(200):
        asked = [
            span for span in collector.named(engine) if above(collector, span)[-2:] == ["attempt", "TranslateVideo"]
        ]
        batches = [span for span in collector.named("batch") if {one.id for one in asked} & {span.parent, *span.links}]
        if batches:
            break
        time.sleep(0.05)
    assert batches and all(span.seconds > 0 and span.facts["dub.batch.size"] > 0 for span in batches)


def above(collector: Collector, span: Trace) -> list[str]:
    found = collector.parent(span)
    return [found.name, *above(collector, found)] if found else []


def test_the_stream_ends_well(dubbed: Dub) -> None:
    assert dubbed.snapshots[-1].status == "completed"
    percents = [snapshot.progress for snapshot in dubbed.snapshots]
    assert percents == sorted(percents) and percents[-1] == 100.0


def test_streams_and_duration(dubbed: Dub) -> None:
    with av.open(dubbed.result.output_path) as container:
        kinds = [(stream.type, stream.codec_context.name) for stream in container.streams]
        rate = float(container.streams.video[0].average_rate or 0)
    assert kinds == [("video", "h264"), ("audio", "aac")]
    assert abs(length(dubbed.result.output_path) - length(dubbed.source)) <= 1 / rate + 1e-3
    assert abs(len(sound(dubbed.result.output_path)) / RATE - length(dubbed.source)) <= 1 / rate + 0.03
    head = Path(dubbed.result.output_path).read_bytes()
    assert head.find(b"moov") < head.find(b"mdat")  # playable before it is whole


def test_loudness_as_a_listener_measures_it(dubbed: Dub) -> None:
    with av.open(dubbed.result.output_path) as container:
        resampler = av.AudioResampler("fltp", "stereo", RATE)
        frames = [out.to_ndarray() for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    stereo = np.concatenate(frames, axis=1).T
    assert pyloudnorm.Meter(RATE).integrated_loudness(stereo) == pytest.approx(-23, abs=1)
    assert 20 * np.log10(np.abs(stereo).max()) <= -0.9
    assert dubbed.result.quality_metrics.avg_lufs == pytest.approx(-23, abs=1)


def test_the_old_voice_is_gone(dubbed: Dub) -> None:
    """How much of the original is in the output while somebody speaks: the share that correlates with it.

    Under -20 dB. Two voices that have nothing in common come to 6 % by chance.
    """
    before, after = sound(dubbed.source), sound(dubbed.result.output_path)
    for row in dubbed.report["segments"]:
        span = slice(int(float(str(row["start"])) * RATE), int(float(str(row["end"])) * RATE))
        old, new = before[span], after[span]
        new = np.pad(new, (0, len(old) - len(new)))
        share = np.abs(correlate(new, old, "same", "fft"))[len(old) // 2 - 960 : len(old) // 2 + 960].max()
        assert share / float(np.dot(old, old)) < 0.1, row["text"]
    kept = np.abs(correlate(before, before, "same", "fft")).max() / float(np.dot(before, before))
    assert kept > 0.9  # the measure does see the original where it is


def test_of_the_old_voice_less_than_forty_decibels_are_left(narration: Dub) -> None:
    spans = [Span(float(str(row["start"])), float(str(row["end"]))) for row in narration.report["segments"]]
    before, after = sound(narration.source), sound(narration.result.output_path)
    assert leak_db(before, after, RATE, spans) < -40
    assert leak_db(before, before, RATE, spans) == pytest.approx(0, abs=1)


def test_no_syllable_of_the_old_voice_comes_through_beside_its_sentence(narration: Dub) -> None:
    """Not of the president's speech, whose hall is as loud as a syllable."""
    before, after = sound(narration.source), sound(narration.result.output_path)
    assert leaks(before, after, RATE) == []
    assert len(leaks(before, before, RATE)) > 100  # the measure does see it where it is


def test_an_early_preview_is_there_before_the_film_and_is_a_cut_of_its_mix(narration: Dub) -> None:
    early = [snapshot for snapshot in narration.snapshots if snapshot.early_preview_available]
    assert early and early[0].status == "processing" and early[0].progress < 96
    assert all(snapshot.early_preview_path == early[0].early_preview_path for snapshot in early)
    assert narration.snapshots[-1].early_preview_available  # a message without it would take it off the page
    path = early[0].early_preview_path
    shown, whole = sound(path), sound(narration.result.output_path)
    assert 10 <= len(shown) / RATE <= 20 and length(path) == pytest.approx(len(shown) / RATE, abs=0.05)
    cut = whole[: len(shown)]
    assert np.dot(shown, cut) / np.linalg.norm(shown) / np.linalg.norm(cut) > 0.99
    time = 6.0
    assert np.abs(picture(path, time) - picture(narration.result.output_path, time)).mean() < 12


def test_subtitles_follow_the_rules(dubbed: Dub) -> None:
    for path in (dubbed.result.original_srt, dubbed.result.translated_srt):
        shown = cues(path)
        assert shown
        for start, end, lines in shown:
            assert 1 <= len(lines) <= 2 and max(map(len, lines)) <= 42
            assert 0.95 <= end - start <= 7.05
            assert sum(map(len, lines)) / (end - start) <= 17.5
        assert all(one[1] < two[0] for one, two in pairwise(shown))
        assert shown[-1][1] <= length(dubbed.source) + 0.05


def test_the_subtitles_are_in_the_picture(narration: Dub) -> None:
    start, end, _ = cues(narration.result.translated_srt)[2]
    middle = (start + end) / 2
    before, after = picture(narration.source, middle), picture(narration.result.output_path, middle)
    change = np.abs(before - after)
    assert change[-110:].max() > 100  # white letters over blue water
    assert change[:300].mean() < 4  # and nothing else is touched


def test_every_word_of_the_speaker_is_there(jfk: Dub, narration: Dub) -> None:
    said = " ".join(line for _, _, lines in cues(jfk.result.original_srt) for line in lines).lower()
    for words in ("my fellow americans", "ask not", "what your country can do for you", "you can do for your country"):
        assert words in said
    text = (Path(__file__).parents[1] / "data" / "talk.txt").read_text()
    heard = " ".join(line for _, _, lines in cues(narration.result.original_srt) for line in lines)
    assert words_of(heard) == words_of(text)


def test_the_dub_says_what_the_subtitles_say(narration: Dub) -> None:
    """A recogniser that knows Spanish listens to the output; a synthetic voice is not understood word for word."""
    audio = resample(sound(narration.result.output_path), RATE, 16_000)
    [transcript] = FasterWhisper(AsrSettings(model="base")).recognize([Clip(audio[: 30 * 16_000], language="es")])
    heard = set(words_of(" ".join(word.text for word in transcript.words)))
    shown = set(words_of(" ".join(line for _, _, lines in cues(narration.result.translated_srt) for line in lines)))
    assert len(heard & shown) >= 0.5 * len(shown), (heard, shown)


async def test_a_multilingual_model_names_the_language(talk: Path) -> None:
    engine = FasterWhisper(AsrSettings(model="base"))
    detect, recognize = in_thread(load("vad", "silero", VadSettings()).detect), in_thread(engine.recognize)
    found = await detect_language(talk, detect, recognize, engine.languages, PipelineSettings())
    assert (found.language, found.confidence > 0.8) == ("en", True)


def test_a_model_of_one_language_does_not_guess(served: Service, narration: Dub) -> None:
    with served.client() as client:
        answer = client.stub.DetectLanguage(pb.LanguageDetectionRequest(file_path=str(narration.source)), timeout=60)
    assert not answer.success and not answer.detected_language and "multilingual" in answer.message


def words_of(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())
