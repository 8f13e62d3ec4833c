"""Recognizer: a thin shell around one asr engine; clips of all running jobs share its batches.

Clips go in one by one, as they come, and the engine itself puts like to like; a call waits for its own clip only, and
no thread waits with it. A call that is cancelled takes its clip out of the queue. Jobs are told apart by the key that
they give, and served in turn.
"""

import asyncio

from ray import serve

from configs.app import AppSettings, Roots
from models import golden
from models.errors import DubError
from models.registry import load
from models.segment import Clip, Transcript
from serve_app.deployments.batch import Billed, billed, broken
from serve_app.stall import Pulse
from serve_app.telemetry import begin, traces


@serve.deployment
class Recognizer:
    """Ready only after a clip of known speech gave the expected words."""

    def __init__(self, settings: AppSettings) -> None:
        begin("recognizer", settings, Roots.from_environment())
        asr = settings.engines.asr
        self._engine = load("asr", asr.engine, asr)
        golden.recognize(self._engine, asr)
        self._pulse = Pulse("transcription", settings.pipeline.engine_stall_s / 2)

    def check_health(self) -> None:
        """Asked by Serve, which replaces a replica whose answer is an error, time after time."""
        self._pulse.check()

    async def recognize(self, clip: Clip, caller: str = "", trace: str = "") -> Transcript | Billed | Exception:
        try:
            with self._pulse.asked(), traces.span("recognize", trace):
                heard: Transcript = await asyncio.wrap_future(self._engine.submit(clip, caller))
        except Exception as error:  # the runtime raises types of its own
            return error if isinstance(error, DubError) else broken("transcription", error)
        return billed(heard, self._engine, caller)

    async def languages(self) -> frozenset[str] | None:
        languages: frozenset[str] | None = self._engine.languages
        return languages
