"""The thin shells with fake handles: a bad item fails alone, errors come as themselves, the dead are asked again."""

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray import serve
from ray.exceptions import ActorDiedError, RayTaskError

from configs.app import AppSettings
from configs.engines import SpeakerSettings
from models.errors import ArtifactMissing, NoSpeech, StageFailed, Stalled, UnsupportedLanguage
from models.meter import Meter
from models.segment import Clip, Transcript, Voice, Word
from serve_app.deployments import batch
from serve_app.deployments.batch import Billed, calling
from serve_app.deployments.driver import Driver
from serve_app.deployments.ingress import Ingress
from serve_app.deployments.recognizer import Recognizer
from serve_app.jobs.cleanup import Cleanup
from serve_app.jobs.tokens import Tokens
from serve_app.jobs.watch import Watch
from serve_app.spending import Attempt
from tests.integration.conftest import ECHO


class Handle:
    """A deployment handle's method that plays a list of answers."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    async def remote(self, _item: Any) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception) and not isinstance(answer, (NoSpeech, StageFailed)):
            raise answer
        return answer


async def test_an_error_answer_is_raised_at_the_caller() -> None:
    with pytest.raises(NoSpeech):
        await calling(Handle(NoSpeech("silence")), "transcription")(1)


async def test_an_error_that_came_wrapped_is_raised_as_itself() -> None:
    wrapped = RayTaskError("recognize", "ray traceback", NoSpeech("silence"))
    with pytest.raises(NoSpeech) as caught:
        await calling(Handle(wrapped), "transcription")(1)
    assert str(caught.value) == "silence"


async def test_a_dead_replica_is_asked_again_and_not_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "BACKOFF_S", 0.0)
    assert await calling(Handle(ActorDiedError(), ActorDiedError(), "alive"), "translation")(1) == "alive"
    with pytest.raises(StageFailed) as caught:
        await calling(Handle(*[ActorDiedError()] * batch.TRIES), "translation")(1)
    assert caught.value.stage == "translation" and caught.value.transient


def test_a_replica_whose_engine_answers_nothing_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mute:
        languages = None

        def recognize(self, clips: list[Clip]) -> list[Transcript]:
            return [Transcript((), "en") for _ in clips]

    monkeypatch.setattr("serve_app.deployments.recognizer.load", lambda *_: Mute())
    with pytest.raises(ArtifactMissing, match="golden"):
        Recognizer.func_or_class(AppSettings())


class Idle:
    """A handle that nobody asks for anything."""

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=None)


@pytest.mark.parametrize("loop", [Watch, Tokens, Cleanup])
async def test_an_ingress_that_has_lost_a_loop_is_ill(loop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = asyncio.Event()

    async def run(_: object) -> None:
        await broken.wait()
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(loop, "run", run)
    monkeypatch.setattr(serve, "get_replica_context", lambda: SimpleNamespace(app_name="dubserve"))
    plain = Ingress.func_or_class.__mro__[1]  # without Serve's wrapper, which wants to be taken down by Serve
    ingress = plain(Idle(), Idle(), Idle(), AppSettings())
    try:
        await asyncio.sleep(0)
        ingress.check_health()
        broken.set()
        await asyncio.sleep(0.01)
        with pytest.raises(StageFailed, match=loop.__name__) as ill:
            ingress.check_health()
        assert isinstance(ill.value.__cause__, RuntimeError)
    finally:
        for task in ingress._loops:
            task.cancel()
        await asyncio.wait(ingress._loops)
        ingress._store.close()


class Mute:
    """Tells nobody apart before it is told to."""

    asked, told = threading.Event(), threading.Event()

    def __init__(self, _: SpeakerSettings) -> None:
        pass

    def diarize(self, clips: list[Clip]) -> list[list[Voice]]:
        self.asked.set()
        self.told.wait(20)
        return [[] for _ in clips]


async def test_a_driver_whose_diarizer_is_stuck_is_ill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UPLOADS_DIR", "ARTIFACTS_DIR", "TEMP_WORK_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    engines = {**ECHO["engines"], "speaker": {"engine": "tests.integration.test_shells:Mute"}}
    settings = AppSettings.model_validate({"engines": engines, "pipeline": {"engine_stall_s": 0.1}})
    driver = Driver.func_or_class(None, None, settings)
    Mute.asked.clear()
    Mute.told.clear()
    driver.check_health()
    waiting = asyncio.create_task(driver._diarize(Clip(np.zeros(16_000, np.float32))))
    async with asyncio.timeout(20):
        while not Mute.asked.is_set():
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # longer than half of `engine_stall_s`
    with pytest.raises(Stalled):
        driver.check_health()
    Mute.told.set()
    assert await waiting == []
    driver.check_health()


GOLDEN = " Good morning, and welcome to the museum."


class Ears:
    """Hears a word a clip; the clip that starts at 13 s is too much for it."""

    languages = None

    def __init__(self) -> None:
        self.asked = list[tuple[float, str]]()
        self.given: Future[Transcript] = Future()

    def recognize(self, clips: list[Clip]) -> list[Transcript]:
        return [Transcript((Word(0, 1, GOLDEN, 1.0),), "en") for _ in clips]

    def submit(self, clip: Clip, caller: str = "") -> "Future[Transcript]":
        self.asked.append((clip.start, caller))
        if clip.start == 13:
            raise RuntimeError("unlucky")
        if clip.start == 14:
            raise UnsupportedLanguage("no")
        return self.given


@pytest.fixture
def ears(monkeypatch: pytest.MonkeyPatch) -> Ears:
    made = Ears()
    monkeypatch.setattr("serve_app.deployments.recognizer.load", lambda *_: made)
    return made


async def test_the_recognizer_tells_jobs_apart_and_a_bad_clip_fails_alone(ears: Ears) -> None:
    shell = Recognizer.func_or_class(AppSettings())
    audio = np.zeros(16_000, np.float32)
    waiting = asyncio.create_task(shell.recognize(Clip(audio, 1.0), "job"))
    await asyncio.sleep(0)
    answer = await shell.recognize(Clip(audio, 13.0), "other")
    assert isinstance(answer, StageFailed) and answer.stage == "transcription" and "unlucky" not in str(answer)
    assert isinstance(await shell.recognize(Clip(audio, 14.0)), UnsupportedLanguage)
    ears.given.set_result(Transcript((), "es"))
    assert (await waiting).language == "es"
    assert ears.asked == [(1.0, "job"), (13.0, "other"), (14.0, "")]


async def test_a_call_that_is_cancelled_gives_its_clip_up(ears: Ears) -> None:
    shell = Recognizer.func_or_class(AppSettings())
    waiting = asyncio.create_task(shell.recognize(Clip(np.zeros(16_000, np.float32))))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ears.given.cancelled()


async def test_what_an_answer_has_cost_is_booked_on_the_job_that_asked(ears: Ears) -> None:
    ears.meter = Meter(cpu=(moments := iter(range(100))).__next__)  # type: ignore[attr-defined]
    shell = Recognizer.func_or_class(AppSettings())
    ears.given.set_result(Transcript((), "es"))
    ears.meter.end(ears.meter.begin("job"))  # type: ignore[attr-defined]
    answer = await shell.recognize(Clip(np.zeros(16_000, np.float32)), "job")
    assert isinstance(answer, Billed) and answer.cost.cpu_s == 1.0 and next(moments) == 2
    assert (await shell.recognize(Clip(np.zeros(16_000, np.float32)), "other")).language == "es"

    async def work(attempt: Attempt) -> None:
        attempt.enter()
        heard = await calling(Handle(answer), "transcription")(1)
        assert heard.language == "es"

    one, other = Attempt("one"), Attempt("other")
    await asyncio.create_task(work(one))
    assert one.close().cpu_s - other.close().cpu_s == pytest.approx(1.0, abs=0.1)
