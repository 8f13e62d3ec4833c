import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest

from configs.pipeline import SpeakSettings
from models.errors import StageFailed
from models.segment import Alternative, Segment, Speech, Utterance
from serve_app.jobs.report import Report
from serve_app.media import audio
from serve_app.stages.speak import slots, speak

RATE = 22_050


def voice_like(seconds: float, level: float = 0.5) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * 150 * time) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))).astype(np.float32)


class Engine:
    """Says a second for every 15 letters, between silences; refuses what is in `refuse`."""

    def __init__(self, refuse: str = "\0", voice: str = "piper:anna", level: float = 0.5) -> None:
        self.asked: list[Utterance] = []
        self.refuse, self.voice, self.level = refuse, voice, level
        self.busy = self.most_busy = 0

    async def __call__(self, utterance: Utterance) -> Speech:
        self.asked.append(utterance)
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        await asyncio.sleep(0.01)
        self.busy -= 1
        if self.refuse in utterance.text:
            raise StageFailed("tts", "no speech engine could say it: offline")
        pause = np.zeros(RATE // 3, np.float32)
        sound = voice_like(len(utterance.text) / 15 / utterance.rate, self.level)
        return Speech(np.concatenate([pause, sound, pause]), RATE, self.voice)


def segment(number: int, start: float, end: float, text: str | None) -> Segment:
    return Segment(number, start, end, "original", translation=text)


async def run(segments, engine, folder, report=None, **settings):
    return await speak(
        segments,
        language="es",
        gender="",
        say=engine,
        folder=folder,
        settings=SpeakSettings(**settings),
        report=report or Report("job"),
    )


async def test_a_clip_is_trimmed_and_at_its_loudness(tmp_path):
    engine = Engine()
    (done,) = await run([segment(3, 1, 3.1, "Dos perros corren por el campo.")], engine, tmp_path)
    sound, rate = audio.read(done.speech)
    assert done.speech == str(tmp_path / "3.wav") and done.voice == "piper:anna"
    assert done.spoken == pytest.approx(len(sound) / rate, abs=1e-3)
    assert done.spoken == pytest.approx(31 / 15, abs=0.1)
    assert audio.loudness(sound, rate) == pytest.approx(-23, abs=2)
    assert engine.asked == [Utterance("Dos perros corren por el campo.", "es", "neutral", 1.0)]


@pytest.mark.parametrize("level", [0.01, 0.99])
async def test_quiet_and_loud_engines_come_out_alike_with_headroom(tmp_path, level):
    (done,) = await run([segment(1, 0, 4, "Una frase para medir.")], Engine(level=level), tmp_path)
    sound, rate = audio.read(done.speech)
    assert audio.loudness(sound, rate) == pytest.approx(-23, abs=2)
    assert audio.true_peak_db(sound, rate) <= -1


async def test_a_clip_too_long_for_its_slot_is_asked_for_again_faster(tmp_path):
    engine = Engine()
    text = "x" * 45
    (done,) = await run([segment(1, 0, 2.6, text)], engine, tmp_path)
    assert engine.asked[1].rate == pytest.approx(3 / 2.6, rel=0.02)
    assert done.spoken == pytest.approx(2.6, abs=0.1)


async def test_a_clip_much_shorter_than_its_original_is_asked_for_again_slower(tmp_path):
    engine = Engine()
    (done,) = await run([segment(1, 0, 3.3, "x" * 45)], engine, tmp_path)
    assert [utterance.rate for utterance in engine.asked] == [1.0, pytest.approx(3 / 3.3, rel=0.02)]
    assert done.spoken == pytest.approx(3.3, abs=0.1)


async def test_the_last_slot_reaches_to_the_end_that_is_given():
    assert slots([segment(1, 0, 2, ""), segment(2, 3, 4, "")], until=7.5) == [3, 4.5]


LONG, SHORT = "x" * 60, "y" * 30


def wordy(edited=()):
    others = (Alternative("short but wrong", 1.0, -0.1, ("numbers",)), Alternative(SHORT, 2.0, -0.5))
    return replace(segment(7, 0, 2.2, LONG), score=-0.2, alternatives=others, edited=edited)


async def test_where_no_rate_is_enough_a_shorter_translation_that_passes_is_said_and_kept(tmp_path):
    engine, report = Engine(), Report("job")
    (done,) = await run([wordy()], engine, tmp_path, report)
    assert (done.translation, done.score, done.condensed) == (SHORT, -0.5, True)
    assert [other.text for other in done.alternatives] == [LONG, "short but wrong"]
    assert done.alternatives[0].score == -0.2
    assert done.spoken == pytest.approx(2.0, abs=0.25) and {u.text for u in engine.asked} == {LONG, SHORT}
    (line,) = [line for line in report.lines() if line.chunk_id == "7"]
    assert "fewer words" in line.message and line.extra == {"left_out": LONG}
    asked = len(engine.asked)
    assert await run([wordy()], engine, tmp_path, report) == [done] and len(engine.asked) == asked
    assert audio.read(done.speech)[0].size / RATE == pytest.approx(done.spoken, abs=0.01)


async def test_words_that_the_owner_wrote_are_said_as_they_are(tmp_path):
    engine = Engine()
    (done,) = await run([wordy(edited=("translation",))], engine, tmp_path)
    assert (done.translation, done.condensed) == (LONG, False) and {u.text for u in engine.asked} == {LONG}


async def test_the_rate_that_is_asked_for_has_an_end(tmp_path):
    engine = Engine()
    await run([segment(1, 0, 1, "x" * 45)], engine, tmp_path, max_rate=1.2)
    assert [u.rate for u in engine.asked] == [1.0, 1.2]
    await run([segment(2, 0, 9, "x" * 45)], engine, tmp_path, min_rate=0.9)
    assert [u.rate for u in engine.asked[2:]] == [1.0, 0.9]


async def test_when_the_faster_clip_fails_the_first_one_stays(tmp_path):
    engine = Engine()

    async def only_slowly(utterance):
        if utterance.rate > 1:
            raise StageFailed("tts", "no such rate")
        return await engine(utterance)

    (done,) = await run([segment(1, 0, 1, "x" * 45)], only_slowly, tmp_path)
    assert done.spoken == pytest.approx(3.0, abs=0.1)


def test_a_slot_reaches_to_the_next_segment():
    assert slots([segment(1, 0, 2, ""), segment(2, 3, 4, ""), segment(3, 3.5, 6, "")]) == [3, 1, 2.5]
    assert slots([]) == []


async def test_one_failing_segment_stays_silent_and_is_reported(tmp_path):
    report = Report("job")
    segments = [segment(1, 0, 3, "Uno dos tres."), segment(2, 3, 6, "Esto falla."), segment(3, 6, 9, "Cuatro cinco.")]
    report.expect_speech(9)
    done = await run(segments, Engine(refuse="falla"), tmp_path, report)
    assert [s.speech is not None for s in done] == [True, False, True]
    assert (done[1].spoken, done[1].voice) == (None, None)
    (warning,) = [line for line in report.lines() if line.level == "warning"]
    assert "Segment 2" in warning.message and "offline" in warning.message and warning.chunk_id == "2"
    (insight,) = report.insights()
    assert insight.kind == "warning" and insight.data == {"segment": 2}
    assert report.snapshot().percent >= 0.99 * 20


async def test_an_unexpected_error_says_nothing_of_its_inside(tmp_path):
    report = Report("job")

    async def broken(utterance):
        raise RuntimeError("/srv/secret/path.py line 3")

    (done,) = await run([segment(1, 0, 3, "Uno dos.")], broken, tmp_path, report)
    assert done.speech is None
    assert all("secret" not in line.message for line in report.lines())
    assert "out of order" in report.lines()[0].message


@pytest.mark.parametrize("sound", [np.zeros(RATE, np.float32), voice_like(0.1), np.zeros(0, np.float32)])
async def test_silent_and_implausibly_short_clips_are_failures(tmp_path, sound):
    report = Report("job")

    async def say(utterance):
        return Speech(sound, RATE, "piper:anna")

    (done,) = await run([segment(1, 0, 3, "Una frase de varias palabras.")], say, tmp_path, report)
    assert done.speech is None
    assert "piper:anna" in report.lines()[0].message


@pytest.mark.parametrize("text", [None, "", " … "])
async def test_nothing_to_say_is_no_failure(tmp_path, text):
    report, engine = Report("job"), Engine()
    (done,) = await run([segment(1, 0, 3, text)], engine, tmp_path, report)
    assert done.speech is None and not engine.asked and not report.lines()


async def test_what_was_spoken_is_not_spoken_again(tmp_path):
    engine = Engine()
    segments = [segment(1, 0, 3, "Uno dos tres."), segment(2, 3, 6, "Cuatro cinco.")]
    first = await run(segments, engine, tmp_path, asks=1)
    again = await run(segments, engine, tmp_path, asks=1)
    assert again == first and len(engine.asked) == 2
    await run([segment(1, 0, 3, "Otra cosa distinta.")], engine, tmp_path, asks=1)
    assert engine.asked[-1].text == "Otra cosa distinta."


@pytest.mark.parametrize("note", ["{", "[]", json.dumps({"key": "other"})])
async def test_a_damaged_note_costs_one_more_call(tmp_path, note):
    engine = Engine()
    await run([segment(1, 0, 3, "Uno dos tres.")], engine, tmp_path, asks=1)
    (tmp_path / "1.json").write_text(note)
    (done,) = await run([segment(1, 0, 3, "Uno dos tres.")], engine, tmp_path, asks=1)
    assert len(engine.asked) == 2 and done.speech


def flip(wav):
    sound = bytearray(wav.read_bytes())
    sound[len(sound) // 2] ^= 0x40
    wav.write_bytes(sound)


@pytest.mark.parametrize("damage", [lambda wav: wav.write_bytes(b"broken" * 100), flip, lambda wav: wav.unlink()])
async def test_a_damaged_clip_is_spoken_again(tmp_path, damage):
    engine, segments = Engine(), [segment(1, 0, 3, "Uno dos tres."), segment(2, 3, 6, "Cuatro cinco.")]
    first = await run(segments, engine, tmp_path, asks=1)
    whole = (tmp_path / "1.wav").read_bytes()
    damage(tmp_path / "1.wav")
    assert await run(segments, engine, tmp_path, asks=1) == first
    assert (tmp_path / "1.wav").read_bytes() == whole
    assert [utterance.text for utterance in engine.asked[2:]] == ["Uno dos tres."]


async def test_only_a_few_are_asked_for_at_once(tmp_path):
    engine = Engine()
    await run([segment(n, 3 * n, 3 * n + 3, "Uno dos tres.") for n in range(6)], engine, tmp_path, at_once=2)
    assert engine.most_busy == 2


async def test_the_voice_is_named_once_and_a_fallback_too(tmp_path):
    report = Report("job")
    for number, voice in enumerate(["piper:anna", "piper:anna", "espeak:es+f3", "espeak:es+f3"]):
        await run([segment(number, 0, 3, "Uno dos tres.")], Engine(voice=voice), tmp_path, report)
    assert [(line.level, line.message) for line in report.lines()] == [
        ("info", "Using piper voice anna"),
        ("warning", "Fallback: using espeak voice es+f3 where piper voice anna did not speak"),
    ]


async def test_cancelling_stops_asking(tmp_path):
    engine = Engine()
    task = asyncio.create_task(run([segment(n, 0, 3, "Uno dos tres.") for n in range(50)], engine, tmp_path))
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    asked = len(engine.asked)
    await asyncio.sleep(0.05)
    assert len(engine.asked) == asked < 50
