"""Driver: a thin shell around the runner. A call carries no job: it is a token, and its receiver claims what is next.

So the number of outstanding calls is the load that Serve's autoscaling sees, while fairness is decided in the store at
the last moment. Engines that make no batches of many jobs (voice detection, speakers, speech, music) live here; the
others are asked through handles.
"""

import os
import socket
from uuid import uuid4

from ray import serve
from ray.serve.handle import DeploymentHandle

from configs.app import AppSettings, Roots
from models import golden
from models.registry import load
from models.segment import RECOGNITION_RATE
from serve_app.deployments.batch import calling
from serve_app.engines import Models
from serve_app.jobs.runner import Runner
from serve_app.jobs.store import Store
from serve_app.local import diarizing, in_thread, separating
from serve_app.media import audio
from serve_app.stall import Pulse, beating
from serve_app.telemetry import begin


@serve.deployment
class Driver:
    def __init__(self, recognizer: DeploymentHandle, translator: DeploymentHandle, settings: AppSettings) -> None:
        roots = Roots.from_environment()
        begin("driver", settings, roots)
        self._recognizer = recognizer
        self._translator = translator
        engines = settings.engines
        vad = load("vad", engines.vad.engine, engines.vad)
        tts = load("tts", "fallback", engines.tts)
        golden.detect(vad)
        golden.speak(tts)
        audio.loudness(golden.clip().audio, RECOGNITION_RATE)  # the first measurement takes seconds to import
        stall_s = settings.pipeline.engine_stall_s / 2
        stages = ("transcription", "tts", "transcription", "video_combination")
        self._pulses = [Pulse(stage, stall_s) for stage in stages]
        self._detect = in_thread(beating(vad.detect, self._pulses[0]))
        self._speak = in_thread(beating(tts.speak, self._pulses[1]), at_once=engines.tts.at_once)
        self._diarize = diarizing(engines.speaker, lambda verb: beating(verb, self._pulses[2]))
        self._separate = separating(engines.separation, lambda verb: beating(verb, self._pulses[3]))
        store = Store(roots.database_url.get_secret_value(), settings.jobs)
        store.create()
        self._runner = Runner(store, self._models, settings, roots, owner=f"{socket.gethostname()}:{os.getpid()}")

    def check_health(self) -> None:
        """Asked by Serve. A thread that is stuck in an engine can only be got rid of with its process."""
        for pulse in self._pulses:
            pulse.check()

    async def run(self) -> str | None:
        """Spends one token: works on the fairest waiting job until it ends. Returns its id, None if nothing waited."""
        return await self._runner.run_next()

    async def _models(self) -> Models:
        job = uuid4().hex  # the engines tell jobs apart by it, and serve them in turn
        recognize = calling(self._recognizer.recognize, "transcription", traced=True)
        translate = calling(self._translator.translate, "translation", traced=True)
        return Models(
            detect=self._detect,
            recognize=lambda clip: recognize(clip, job),
            translate=lambda sentence: translate(sentence, job),
            speak=self._speak,
            hears=await calling(self._recognizer.languages, "transcription")(),
            pairs=await calling(self._translator.pairs, "translation")(),
            diarize=self._diarize,
            separate=self._separate,
        )
