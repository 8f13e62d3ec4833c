"""Recognizer: a thin shell around one asr engine; clips of all running jobs share its batches.

Clips go in one by one, as they come, and the engine itself puts like to like; a call waits for its own clip only, and
no thread waits with it. A call that is cancelled takes its clip out of the queue. Jobs are told apart by the key that
they give, and served in turn.
"""

import asyncio

from ray import serve

from configs.engines import AsrSettings
from models import golden
from models.errors import DubError
from models.registry import load
from models.segment import Clip, Transcript
from serve_app.deployments.batch import Billed, billed, broken


@serve.deployment
class Recognizer:
    """Ready only after a clip of known speech gave the expected words."""

    def __init__(self, settings: AsrSettings) -> None:
        self._engine = load("asr", settings.engine, settings)
        golden.recognize(self._engine, settings)

    async def recognize(self, clip: Clip, caller: str = "") -> Transcript | Billed | Exception:
        try:
            heard: Transcript = await asyncio.wrap_future(self._engine.submit(clip, caller))
        except Exception as error:  # the runtime raises types of its own
            return error if isinstance(error, DubError) else broken("transcription", error)
        return billed(heard, self._engine, caller)

    async def languages(self) -> frozenset[str] | None:
        languages: frozenset[str] | None = self._engine.languages
        return languages
