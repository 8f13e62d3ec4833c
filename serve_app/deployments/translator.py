"""Translator: a thin shell around one translation engine.

Sentences of all running jobs go in one by one, as they come; the engine itself lets them join its running batch and
leave it, so a call waits for its own sentence only, and no thread waits with it. A call that is cancelled takes its
sentence out of the batch. Jobs are told apart by the key that they give, and served in turn.
"""

import asyncio

from ray import serve

from configs.app import AppSettings, Roots
from models.errors import DubError
from models.registry import load
from models.segment import Sentence
from serve_app.deployments.batch import Billed, billed, broken
from serve_app.stall import Pulse
from serve_app.telemetry import begin, traces


@serve.deployment
class Translator:
    """Ready only after the models that are loaded beforehand gave their golden translations."""

    def __init__(self, settings: AppSettings) -> None:
        begin("translator", settings, Roots.from_environment())
        translation = settings.engines.translation
        self._engine = load("translation", translation.engine, translation)
        self._engine.preload()
        self._pulse = Pulse("translation", settings.pipeline.engine_stall_s / 2)

    def check_health(self) -> None:
        """Asked by Serve, which replaces a replica whose answer is an error, time after time."""
        self._pulse.check()

    async def translate(self, sentence: Sentence, caller: str = "", trace: str = "") -> Sentence | Billed | Exception:
        try:
            with self._pulse.asked(), traces.span("translate", trace):
                answer: Sentence = await asyncio.wrap_future(self._engine.submit(sentence, caller))
        except Exception as error:  # the runtime raises types of its own
            return error if isinstance(error, DubError) else broken("translation", error)
        return billed(answer, self._engine, caller)

    async def pairs(self) -> frozenset[tuple[str, str]]:
        pairs: frozenset[tuple[str, str]] = self._engine.pairs
        return pairs
