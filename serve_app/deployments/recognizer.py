"""Recognizer: a thin shell around one asr engine; clips of all running jobs share its batches."""

import asyncio
from typing import Any

from ray import serve

from configs.engines import AsrSettings
from models import golden
from models.registry import load
from models.segment import Clip, Transcript
from serve_app.deployments.batch import one_by_one


@serve.deployment
class Recognizer:
    """Ready only after a clip of known speech gave the expected words."""

    def __init__(self, settings: AsrSettings) -> None:
        self._engine = load("asr", settings.engine, settings)
        golden.recognize(self._engine, settings)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        self.recognize.set_max_batch_size(user_config["max_batch_size"])
        self.recognize.set_batch_wait_timeout_s(user_config["batch_wait_timeout_s"])

    @serve.batch
    async def recognize(self, clips: list[Clip]) -> list[Transcript | Exception]:
        return await asyncio.to_thread(one_by_one, self._engine.recognize, clips, "transcription")

    async def languages(self) -> frozenset[str] | None:
        languages: frozenset[str] | None = self._engine.languages
        return languages
