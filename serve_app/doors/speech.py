"""OpenAI's speech route over the tts shelf: `POST /v1/audio/speech`, text in, a sound file out, in the same call.

What its clients insist on is taken: any model name, and OpenAI's own voices, which are women's, men's or nobody's in
particular as OpenAI describes them. A voice may also be `female`, `male` or `neutral`, or name a language before that
(`es-female`), since their API has no field for the language; ours is `language`. Where neither says, the script does:
Russian for Cyrillic, Armenian, Japanese where there is kana and Chinese for its characters alone, else English.

A long text is said sentence by sentence and joined with a breath between, so no engine is asked for minutes at once.
No engine takes a speed quite at its word (espeak, asked for 4, speaks 2.4 times as fast), so the longest sentence is
said at the voice's own speed too, as a measure, and what is missing is stretched.

Nothing is kept. `instructions` are taken and change nothing; a stream of events is refused.
"""

import asyncio
import subprocess
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from fastapi import FastAPI
from fastapi.responses import Response
from pydantic import BaseModel, Field, StringConstraints

from configs.pipeline import LANGUAGES, SpeakSettings
from models.errors import InvalidJob, StageFailed, UnsupportedLanguage
from models.segment import Audio, Speech, Utterance
from models.translation.sentences import sentences
from models.tts.plausible import sayable
from serve_app.doors.uploads import TooLarge
from serve_app.media import audio, ffmpeg
from serve_app.spending import count

Say = Callable[[Utterance], Awaitable[Speech]]
Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

URL = "/v1/audio/speech"
BYTES = 64 * 1024
"""What the body of a call may hold."""
MAX_CHARACTERS = 4096
"""As in OpenAI's API."""
BREATH_S = 0.25
RATE = 24_000
"""Hz of everything that is sent; `pcm` has no header to say so, and OpenAI's is the same."""
ENCODE_S = 60.0

GENDERS = {
    "alloy": "neutral", "ash": "male", "ballad": "male", "coral": "female", "echo": "male", "fable": "male",
    "nova": "female", "onyx": "male", "sage": "female", "shimmer": "female", "verse": "male", "marin": "female",
    "cedar": "male", "female": "female", "male": "male", "neutral": "neutral",
}  # fmt: skip

SCRIPTS = {"CYRILLIC": "ru", "ARMENIAN": "hy", "HIRAGANA": "ja", "KATAKANA": "ja", "CJK": "zh"}
"""What a text is taken for by the first word of its letters' Unicode names."""
LETTERS_A_SIGN = 3
"""So many letters of an alphabet say as much as one Chinese character or kana, about."""

FORMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "mp3": ("audio/mpeg", ("-c:a", "libmp3lame", "-q:a", "4", "-f", "mp3")),
    "opus": ("audio/ogg", ("-c:a", "libopus", "-b:a", "48k", "-f", "ogg")),
    "aac": ("audio/aac", ("-c:a", "aac", "-b:a", "96k", "-f", "adts")),
    "flac": ("audio/flac", ("-c:a", "flac", "-f", "flac")),
    "wav": ("audio/wav", ("-c:a", "pcm_s16le", "-f", "wav")),
    "pcm": ("audio/pcm", ("-c:a", "pcm_s16le", "-f", "s16le")),
}


class SpeechRequest(BaseModel):
    """The body of a call; fields that are not named here are ignored, as OpenAI's API grows."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    input: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)]
    voice: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, max_length=40)] = "neutral"
    language: Annotated[
        str,
        StringConstraints(strip_whitespace=True, to_lower=True, max_length=3),
        Field(
            description="ISO-639-1 code; without one, and without one in `voice`, the script tells: Cyrillic ru, "
            "Armenian hy, with kana ja, Chinese characters alone zh, all else en"
        ),
    ] = ""
    response_format: Format = "mp3"
    speed: Annotated[float, Field(ge=0.25, le=4.0)] = 1.0
    stream_format: Literal["audio"] = "audio"


@dataclass(frozen=True, slots=True)
class Announcer:
    """Says texts through the tts shelf."""

    say: Say
    settings: SpeakSettings

    async def speak(self, asked: SpeechRequest) -> Audio:
        """Mono at `RATE` Hz and the loudness of a dub. Raises InvalidJob, or StageFailed when no engine can say it."""
        language, gender = told(asked)
        parts = [one for one in sentences(asked.input, language) if sayable(one)]
        if not parts:
            raise InvalidJob("there is nothing to say in this text; send one with letters or digits")
        script = [Utterance(one.strip(), language, gender, asked.speed) for one in parts]
        said = [await self._said(utterance) for utterance in script]
        missing = 1.0 if asked.speed == 1 else await self._missing(script, said)
        return await asyncio.to_thread(self._joined, said, asked.speed, missing)

    async def _said(self, utterance: Utterance) -> Speech:
        speech = await self._trimmed(utterance)
        count(characters_spoken=len(utterance.text))
        return speech

    async def _trimmed(self, utterance: Utterance) -> Speech:
        speech = await self.say(utterance)
        sound = await asyncio.to_thread(audio.trim, speech.audio, speech.sample_rate, self.settings.silence_db)
        return replace(speech, audio=sound)

    async def _missing(self, script: list[Utterance], said: list[Speech]) -> float:
        """How many times as fast the sentences still have to become, by the longest of them."""
        utterance, speech = max(zip(script, said, strict=True), key=lambda pair: pair[1].duration)
        own = await self._trimmed(replace(utterance, rate=1.0))
        took, at_ease = speech.duration, own.duration
        if own.voice != speech.voice or not took * at_ease:  # the pace of another engine, or of silence, tells nothing
            return 1.0
        return utterance.rate * took / at_ease

    def _joined(self, said: list[Speech], speed: float, missing: float) -> Audio:
        breath = np.zeros(round(BREATH_S / speed * missing * RATE), np.float32)
        pieces: list[Audio] = []
        for speech in said:
            level = audio.normalize(speech.audio, speech.sample_rate, self.settings.lufs, self.settings.peak_db)
            pieces += [audio.resample(level, speech.sample_rate, RATE), breath]
        return audio.stretch(np.concatenate(pieces[:-1]), RATE, missing)


def told(asked: SpeechRequest) -> tuple[str, str]:
    """Language and gender. Raises UnsupportedLanguage, or InvalidJob for a voice that nobody has."""
    head, _, tail = asked.voice.partition("-")
    named = head in LANGUAGES
    language, voice = (head, tail) if named else (asked.language or written(asked.input), asked.voice)
    if language not in LANGUAGES:
        raise UnsupportedLanguage(f"a language is one of {', '.join(LANGUAGES)}")
    if voice and voice not in GENDERS:
        raise InvalidJob("a voice is female, male or neutral, with a language in front if you like, as in es-female")
    return language, GENDERS[voice or "neutral"]


def written(text: str) -> str:
    """The language that the script of `text` tells; Chinese characters with kana among them are Japanese."""
    weights = Counter[str]()
    for letter in filter(str.isalpha, text):
        language = SCRIPTS.get(_script(letter), "en")
        weights[language] += LETTERS_A_SIGN if language in ("ja", "zh") else 1
    if weights["ja"]:
        weights["ja"] += weights.pop("zh", 0)
    return max(weights, key=weights.__getitem__, default="en")


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0].partition("-")[0]


def too_large() -> TooLarge:
    return TooLarge(f"send at most {BYTES // 1024} KiB, of which the text may have {MAX_CHARACTERS} characters")


def encoded(sound: Audio, form: Format) -> bytes:
    """A file in the format asked for. Blocks. Raises StageFailed."""
    read = ("-f", "f32le", "-ar", str(RATE), "-ac", "1", "-i", "pipe:0")
    try:
        return ffmpeg.short([*read, *FORMS[form][1], "pipe:1"], timeout_s=ENCODE_S, feed=sound.astype("<f4").tobytes())
    except (OSError, subprocess.SubprocessError) as error:
        raise StageFailed("tts", "the speech could not be encoded", transient=True) from error


def add_speech(api: FastAPI, announcer: Announcer) -> None:
    @api.post(URL, summary="A text spoken, as OpenAI's API gives it", response_class=Response)
    async def speech(asked: SpeechRequest) -> Response:
        sound = await announcer.speak(asked)
        content = await asyncio.to_thread(encoded, sound, asked.response_format)
        return Response(content, media_type=FORMS[asked.response_format][0])
