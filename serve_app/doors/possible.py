"""What this service can do, so that a form offers nothing that would be refused."""

from typing import Any, get_args

from fastapi import FastAPI

from configs.app import AppSettings
from configs.pipeline import LANGUAGES, Subtitles
from models.translation.pairs import reachable
from serve_app.doors.access import Who
from serve_app.doors.transcribe import Transcriber


def add_possible(api: FastAPI, transcriber: Transcriber, settings: AppSettings) -> None:
    @api.get("/v1/languages", summary="Which languages are heard, which pairs are translated, and the limits")
    async def languages(caller: Who) -> dict[str, Any]:  # noqa: ARG001
        hears, pairs = await transcriber.possible()
        heard = [one for one in LANGUAGES if hears is None or one in hears]
        return {
            "languages": LANGUAGES,
            "heard": heard,
            "pairs": [pair for pair in reachable(pairs) if pair[0] in heard],
            "voices": ["neutral", "female", "male"],
            "subtitles": get_args(Subtitles),
            "default_subtitles": settings.pipeline.mux.subtitles,
            "max_upload_bytes": settings.ingress.max_upload_bytes,
        }
