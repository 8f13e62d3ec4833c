"""OpenAI's audio routes over the same engines: whoever speaks to that API only changes its base URL.

`POST /v1/audio/transcriptions` and `/translations` answer within the call, errors in OpenAI's own shape; long videos
belong into jobs. Any model name is taken, because clients insist on one; the one that listened is named in the header
`openai-model` and by `GET /v1/models`. `temperature`, `prompt` and `chunking_strategy` are taken and change nothing:
sound is always cut by voice detection, and the recogniser has temperatures of its own. A stream is refused.

Translations come from the translation shelf and not from Whisper's own task, which only multilingual models have
learned, the largest best, and which knows no word times: so the pair must have a model here, as it must for a video.

Where our engines have no such figure, a field of `verbose_json` says so in its own way: `tokens` are empty,
`no_speech_prob` is 0 because only speech is listened to, and `avg_logprob` comes from the probabilities of words.
"""

import asyncio
import math
import zlib
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, File, Form, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import StringConstraints

from configs.app import AppSettings
from configs.pipeline import SubtitleSettings
from models.errors import InvalidJob, UnreadableMedia, UnsupportedLanguage
from models.segment import Segment, Word
from serve_app.doors.transcribe import Transcriber, Transcription
from serve_app.doors.uploads import TooLarge
from serve_app.phrases import UNSPACED
from serve_app.stages.subtitle import srt, subtitle, vtt

PREFIX = "/v1/audio/"

Format = Literal["json", "text", "srt", "verbose_json", "vtt"]
Granularity = Literal["word", "segment"]
Code = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, pattern=r"^([A-Za-z]{2,3})?$")]

NAMES = {
    "en": "english", "hy": "armenian", "ru": "russian", "es": "spanish", "fr": "french", "de": "german",
    "it": "italian", "pt": "portuguese", "zh": "chinese", "ja": "japanese",
}  # fmt: skip
"""What OpenAI calls the ten languages; others go by their code."""


class Unfit(InvalidJob):
    """Fields that are right by themselves and do not go together; `param` is the one to change."""

    code = "unsupported_value"

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Ask:
    """The fields that both routes share."""

    file: Annotated[UploadFile, File()]
    model: Annotated[str, Form(min_length=1, max_length=200)]
    response_format: Annotated[Format, Form()] = "json"
    temperature: Annotated[float, Form(ge=0, le=1)] = 0.0


def add_audio(api: FastAPI, transcriber: Transcriber, settings: AppSettings) -> None:
    model = name_of(settings.engines.asr.model)
    shapes = Shapes(model, settings.pipeline.subtitle)

    @api.post(f"{PREFIX}transcriptions", summary="What is said in a recording, as OpenAI's API gives it")
    async def transcriptions(
        ask: Annotated[Ask, Depends()],
        language: Annotated[Code, Form()] = "",
        stream: Annotated[bool, Form()] = False,
        wanted: Annotated[tuple[Granularity, ...], Form(alias="timestamp_granularities[]")] = (),
    ) -> Response:
        if stream:
            raise Unfit("the text comes whole, when all of it was heard; leave out stream", "stream")
        if "word" in wanted and ask.response_format != "verbose_json":
            raise Unfit("times of words come with response_format verbose_json alone", "timestamp_granularities")
        heard = await transcriber.transcribe(ask.file.file, ask.file.size or 0, language)
        return await asyncio.to_thread(shapes.answer, heard, "transcribe", ask, wanted or ("segment",))

    @api.post(f"{PREFIX}translations", summary="The same in English, whatever is spoken")
    async def translations(ask: Annotated[Ask, Depends()]) -> Response:
        heard = await transcriber.translate(ask.file.file, ask.file.size or 0, "en")
        return await asyncio.to_thread(shapes.answer, heard, "translate", ask, ("segment",))

    @api.get("/v1/models", summary="The model that listens, as OpenAI's API lists models")
    async def models() -> dict[str, Any]:
        row = {"id": model, "object": "model", "created": 0, "owned_by": "dubserve"}
        return {"object": "list", "data": [row]}


def name_of(model: str) -> str:
    """The name of a model without the folder it lies in."""
    return Path(model).name if model.startswith(("/", ".", "~")) else model


# -- answers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shapes:
    """The five ways to say what was heard. Some hours of it take a second or two to lay out."""

    model: str
    subtitles: SubtitleSettings

    def answer(self, heard: Transcription, task: str, ask: Ask, wanted: tuple[str, ...]) -> Response:
        headers = {"openai-model": self.model}
        if ask.response_format == "text":
            return PlainTextResponse(f"{heard.text}\n", headers=headers)
        if ask.response_format in ("srt", "vtt"):
            return PlainTextResponse(self.cues(heard, ask.response_format), headers=headers)
        usage = {"type": "duration", "seconds": math.ceil(heard.duration)}
        body: dict[str, Any] = {"text": heard.text, "usage": usage}
        if ask.response_format == "verbose_json":
            body |= verbose(heard, task, ask.temperature, wanted)
        return JSONResponse(body, headers=headers)

    def cues(self, heard: Transcription, form: str) -> str:
        """Subtitles by the rules that those of a video follow."""
        tracks = subtitle(
            heard.segments,
            source_lang=heard.language,
            target_lang=heard.language,
            duration=heard.duration,
            frame_rate=0.0,
            settings=self.subtitles,
        )
        return srt(tracks.original) if form == "srt" else vtt(tracks.original)


def verbose(heard: Transcription, task: str, temperature: float, wanted: tuple[str, ...]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "task": task,
        "language": NAMES.get(heard.language, heard.language),
        "duration": round(heard.duration, 3),
    }
    if "word" in wanted:
        body["words"] = [
            {"word": word.text.strip(), "start": round(word.start, 3), "end": round(word.end, 3)}
            for segment in heard.segments
            for word in written(segment, heard.language)
        ]
    if "segment" in wanted:
        space = "" if heard.language in UNSPACED else " "
        body["segments"] = [row(number, one, space, temperature) for number, one in enumerate(heard.segments)]
    return body


def written(segment: Segment, language: str) -> list[Word]:
    """What a reader calls words: the recogniser splits " 10:45" and " don't" in two."""
    whole: list[Word] = []
    for word in segment.words:
        if whole and not word.text[:1].isspace() and (segment.language or language) not in UNSPACED:
            before = whole.pop()
            sure = min(before.probability, word.probability)
            word = Word(before.start, word.end, before.text + word.text, sure)
        whole.append(word)
    return whole


def row(number: int, segment: Segment, space: str, temperature: float) -> dict[str, Any]:
    """`seek` is where the segment begins, in hundredths of a second. Texts begin with a space, as Whisper's do."""
    raw = segment.text.encode()
    sure = [max(word.probability, 1e-6) for word in segment.words] or [segment.confidence or 1.0]
    return {
        "id": number,
        "seek": round(segment.start * 100),
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": space + segment.text,
        "tokens": [],
        "temperature": temperature,
        "avg_logprob": round(sum(map(math.log, sure)) / len(sure), 4),
        "compression_ratio": round(len(raw) / len(zlib.compress(raw)), 4),
        "no_speech_prob": 0.0,
    }


# -- errors ------------------------------------------------------------------------------------------------------------


def speaks(path: str) -> bool:
    """Whether errors at this address have OpenAI's shape."""
    return path.startswith(PREFIX)


def param(error: Exception) -> str | None:
    """The field of the request that an error is about, if it is about one."""
    if isinstance(error, UnsupportedLanguage):
        return "language"
    return "file" if isinstance(error, UnreadableMedia | TooLarge) else getattr(error, "param", None)


def refusal(status: int, code: str, message: str, about: str | None, headers: Any = None) -> JSONResponse:
    """An error as OpenAI's clients read it: what does not fit is 400 there, never 422."""
    status = HTTPStatus.BAD_REQUEST if status == HTTPStatus.UNPROCESSABLE_ENTITY else status
    kinds = {HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error", HTTPStatus.UNAUTHORIZED: "authentication_error"}
    kind = kinds.get(HTTPStatus(status), "server_error" if status >= 500 else "invalid_request_error")
    body = {"error": {"message": message, "type": kind, "param": about, "code": code}}
    return JSONResponse(body, status, headers)
