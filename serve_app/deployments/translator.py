"""Translator: a thin shell around one translation engine; sentences of all running jobs share its batches."""

import asyncio
from typing import Any

from ray import serve

from configs.engines import TranslationSettings
from models import golden
from models.registry import load
from models.segment import Sentence
from serve_app.deployments.batch import one_by_one


@serve.deployment
class Translator:
    """Ready only after every embedded model gave its golden translation."""

    def __init__(self, settings: TranslationSettings) -> None:
        self._engine = load("translation", settings.engine, settings)
        golden.translate(self._engine, settings)

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        self.translate.set_max_batch_size(user_config["max_batch_size"])
        self.translate.set_batch_wait_timeout_s(user_config["batch_wait_timeout_s"])

    @serve.batch
    async def translate(self, sentences: list[Sentence]) -> list[Sentence | Exception]:
        return await asyncio.to_thread(one_by_one, self._engine.translate, sentences, "translation")

    async def pairs(self) -> frozenset[tuple[str, str]]:
        pairs: frozenset[tuple[str, str]] = self._engine.pairs
        return pairs
