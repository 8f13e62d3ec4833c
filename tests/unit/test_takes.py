"""The same thing is said once in a job, whoever asks and however often the job comes back."""

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs.pipeline import SpeakSettings
from models.errors import StageFailed
from models.segment import Segment, Speech, Utterance
from serve_app.jobs.memory import Memory
from serve_app.jobs.report import Report
from serve_app.media import audio
from serve_app.stages.speak import speak
from serve_app.takes import Takes

RATE = 22_050
HELLO = Utterance("Dos perros corren.", "es")


class Engine:
    """Says a tone, and counts what it was asked; while it is `away` it fails."""

    def __init__(self) -> None:
        self.asked: Counter[Utterance] = Counter()
        self.away = False

    async def __call__(self, utterance: Utterance) -> Speech:
        self.asked[utterance] += 1
        await asyncio.sleep(0.01)
        if self.away:
            raise StageFailed("tts", "no speech engine could say it")
        seconds = len(utterance.text) / 15 / utterance.rate
        sound = 0.3 * np.sin(np.arange(round(seconds * RATE)) / 20)
        return Speech(sound.astype(np.float32), RATE, "piper:anna", ("edge is offline",), ("busy, asked again",))


def takes(engine: Engine, folder: Path, made_from: str = "piper") -> Takes:
    folder.mkdir(exist_ok=True)
    return Takes(engine, folder, Memory(folder / "spoken.jsonl"), made_from)


async def room(say: Takes, folder: Path, **settings: object) -> list[Segment]:
    rows = [Segment(n, 3.0 * n, 3.0 * n + 1.6, "words", translation=HELLO.text) for n in range(4)]
    rules = SpeakSettings.model_validate({"asks": 1, **settings})
    return await speak(
        rows, language="es", gender="", say=say, folder=folder, settings=rules, report=Report("job"), until=12.0
    )


async def test_four_equal_sentences_are_one_call_and_four_equal_clips(tmp_path: Path) -> None:
    engine = Engine()
    done = await room(takes(engine, tmp_path / "takes"), tmp_path / "clips")
    assert engine.asked == {HELLO: 1}
    assert len({Path(segment.speech or "").read_bytes() for segment in done}) == 1
    assert [segment.id for segment in done] == [0, 1, 2, 3]


async def test_clips_by_other_rules_are_made_of_what_was_said(tmp_path: Path) -> None:
    engine = Engine()
    await room(takes(engine, tmp_path / "takes"), tmp_path / "clips")
    notes = [path.read_text() for path in sorted((tmp_path / "clips").glob("*.json"))]
    await room(takes(engine, tmp_path / "takes"), tmp_path / "clips", at_once=4)
    assert [path.read_text() for path in sorted((tmp_path / "clips").glob("*.json"))] == notes
    [quiet, *_] = await room(takes(engine, tmp_path / "takes"), tmp_path / "clips", lufs=-30.0)
    assert audio.loudness(*audio.read(quiet.speech or "")) == pytest.approx(-30, abs=1)
    assert engine.asked == {HELLO: 1}


async def test_another_attempt_gets_the_very_same_take(tmp_path: Path) -> None:
    engine = Engine()
    first = await takes(engine, tmp_path)(HELLO)
    again = await takes(engine, tmp_path)(HELLO)
    assert np.array_equal(first.audio, again.audio) and engine.asked == {HELLO: 1}
    assert replace(first, audio=again.audio) == again
    assert (again.voice, again.failed, again.tried) == ("piper:anna", ("edge is offline",), ("busy, asked again",))


@pytest.mark.parametrize(
    "other",
    [{"text": "Otra cosa."}, {"language": "pt"}, {"gender": "male"}, {"rate": 1.2}, {"avoid": ("piper",)}],
)
async def test_whatever_is_asked_otherwise_is_said_anew(tmp_path: Path, other: dict[str, object]) -> None:
    engine = Engine()
    one = takes(engine, tmp_path)
    for utterance in (HELLO, replace(HELLO, **other)):  # type: ignore[arg-type]
        await one(utterance)
    assert sum(engine.asked.values()) == 2


async def test_other_engines_say_it_anew(tmp_path: Path) -> None:
    engine = Engine()
    for made_from in ("piper", "espeak"):
        await takes(engine, tmp_path, made_from)(HELLO)
    assert engine.asked == {HELLO: 2}


async def test_a_damaged_or_missing_take_is_said_again_and_a_failure_is_not_kept(tmp_path: Path) -> None:
    engine = Engine()
    one = takes(engine, tmp_path)
    engine.away = True
    with pytest.raises(StageFailed):
        await one(HELLO)
    engine.away = False
    await one(HELLO)
    [wav] = tmp_path.glob("*.wav")
    wav.write_bytes(wav.read_bytes()[:-2] + b"\1\1")
    await one(HELLO)
    wav.unlink()
    await one(HELLO)
    assert engine.asked == {HELLO: 4}


@pytest.mark.parametrize("left", [7, [], ["a"], [None, None, None, None]])
async def test_what_another_version_kept_is_said_again(tmp_path: Path, left: object) -> None:
    engine = Engine()
    one = takes(engine, tmp_path)
    await one(HELLO)
    [asked] = one._memory._known
    one._memory.keep(asked, left)
    assert (await one(HELLO)).voice == "piper:anna" and engine.asked == {HELLO: 2}
