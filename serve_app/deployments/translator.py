"""Translator: a thin shell around one translation engine.

Sentences of all running jobs go in one by one, as they come; the engine itself lets them join its running batch and
leave it, so a call waits for its own sentence only. A waiting call holds a thread, which costs next to nothing.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ray import serve

from configs.engines import TranslationSettings
from models import golden
from models.registry import load
from models.segment import Sentence
from serve_app.deployments.batch import one_by_one

WAITING = 512
"""Calls that wait at the same time; at least the deployment's max_ongoing_requests."""


@serve.deployment
class Translator:
    """Ready only after every embedded model gave its golden translation."""

    def __init__(self, settings: TranslationSettings) -> None:
        self._engine = load("translation", settings.engine, settings)
        self._threads = ThreadPoolExecutor(WAITING, thread_name_prefix="waiting")
        golden.translate(self._engine, settings)

    async def translate(self, sentence: Sentence) -> Sentence | Exception:
        ask: Callable[[], list[Sentence | Exception]] = partial(
            one_by_one, self._engine.translate, [sentence], "translation"
        )
        [answer] = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return answer

    async def pairs(self) -> frozenset[tuple[str, str]]:
        pairs: frozenset[tuple[str, str]] = self._engine.pairs
        return pairs
