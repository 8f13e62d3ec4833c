"""Listening without a job: who waits, what is left when a caller goes, and texts in several languages."""

import asyncio
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from configs.app import AppSettings
from configs.pipeline import PipelineSettings
from models.echo import EchoVad
from models.errors import OutOfSpace, StageFailed, UnsupportedLanguage
from models.segment import Clip, Segment, Sentence, Span, Transcript, Word
from serve_app.doors.transcribe import Transcriber, Transcription, translated
from serve_app.jobs.report import Report


class Slow:
    """A recogniser that answers when it is let, and counts who is with it."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.now = self.most = 0

    async def __call__(self, clip: Clip, caller: str) -> Transcript:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.let.wait()
        finally:
            self.now -= 1
        return Transcript((Word(clip.start, clip.end, " Hello.", 0.9),), "en", 1.0)


def transcriber(work: Path, recognize: Any, at_once: int) -> Transcriber:
    settings = AppSettings.model_validate({"ingress": {"audio_at_once": at_once}})
    vad = EchoVad(settings.engines.vad)

    async def detect(clip: Clip) -> list[Span]:
        return vad.detect([clip])[0]

    async def nothing(*_: object) -> Any:
        return None

    return Transcriber(settings, work, detect, recognize, nothing, nothing, nothing)


def tone() -> io.BytesIO:
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(np.arange(8000) / 5), 8000, format="WAV")
    file.seek(0)
    return file


async def until(done: Any) -> None:
    async with asyncio.timeout(20):
        while not done():
            await asyncio.sleep(0.01)


async def test_only_so_many_are_heard_at_once(tmp_path: Path) -> None:
    slow = Slow()
    ears = transcriber(tmp_path, slow, at_once=2)
    calls = [asyncio.create_task(ears.transcribe(tone(), 1, "en")) for _ in range(4)]
    await until(lambda: slow.now == 2)
    assert len(list(tmp_path.iterdir())) == 2
    slow.let.set()
    assert [heard.text for heard in await asyncio.gather(*calls)] == ["Hello."] * 4
    assert slow.most == 2 and list(tmp_path.iterdir()) == []


async def test_a_caller_who_goes_leaves_nothing(tmp_path: Path) -> None:
    slow = Slow()
    ears = transcriber(tmp_path, slow, at_once=1)
    call = asyncio.create_task(ears.transcribe(tone(), 1, "en"))
    await until(lambda: slow.now == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert slow.now == 0 and list(tmp_path.iterdir()) == []
    slow.let.set()
    assert (await ears.transcribe(tone(), 1, "en")).text == "Hello."


async def test_a_language_that_is_told_is_believed(tmp_path: Path) -> None:
    asked: list[str | None] = []

    async def hear(clip: Clip, caller: str) -> Transcript:
        asked.append(clip.language)
        words = (Word(clip.start, clip.end, " Hola.", 0.1),)
        return Transcript(words, clip.language or "es", 0.0, (), "es", 0.99)

    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(np.arange(9 * 8000) / 5), 8000, format="WAV")
    file.seek(0)
    heard = await transcriber(tmp_path, hear, at_once=1).transcribe(file, 1, "en")
    assert {one.language for one in heard.segments} == {"en"} and set(asked) == {"en"}


async def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(OutOfSpace, match="disk"):
        await transcriber(tmp_path, Slow(), at_once=1).transcribe(tone(), 1, "en")


async def test_each_language_is_translated_from_itself() -> None:
    asked: list[tuple[str, str]] = []

    async def engine(sentence: Sentence) -> Sentence:
        asked.append((sentence.source, sentence.text))
        return Sentence(sentence.text, sentence.source, sentence.target, (f"Now {sentence.text}",))

    texts = [("es", "Hola amigo."), ("en", "Yes, my friend."), ("es", "Hola amigo."), (None, "Bien, bien.")]
    segments = tuple(Segment(i, i, i + 1.0, text, language=language) for i, (language, text) in enumerate(texts))
    heard = Transcription("es", 9.0, segments)
    pairs = frozenset({("es", "en")})
    done = await translated(heard, "en", engine, pairs, PipelineSettings(), Report("x"))
    assert [one.text for one in done.segments] == [
        "Now Hola amigo.",
        "Yes, my friend.",
        "Now Hola amigo.",
        "Now Bien, bien.",
    ]
    assert [one.start for one in done.segments] == [0, 1, 2, 3] and done.language == "en"
    assert {source for source, _ in asked} == {"es"}
    with pytest.raises(UnsupportedLanguage, match="es to en"):
        await translated(heard, "en", engine, frozenset(), PipelineSettings(), Report("x"))


async def test_a_translation_engine_that_breaks() -> None:
    async def engine(sentence: Sentence) -> Sentence:
        raise RuntimeError("secret")

    heard = Transcription("es", 1.0, (Segment(1, 0.0, 1.0, "Hola."),))
    with pytest.raises(StageFailed) as caught:
        await translated(heard, "en", engine, frozenset({("es", "en")}), PipelineSettings(), Report("x"))
    assert "secret" not in str(caught.value)


def test_scripts_without_spaces_are_joined_without() -> None:
    parts = (Segment(1, 0.0, 1.0, "こんにちは。"), Segment(2, 1.0, 2.0, "はい。"))
    assert Transcription("ja", 2.0, parts).text == "こんにちは。はい。"
    assert Transcription("es", 2.0, parts).text == "こんにちは。 はい。"
