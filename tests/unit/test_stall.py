"""An engine that never answers is noticed, whichever it is; one that is slow, or busy with others, is waited for."""

import asyncio
import dataclasses
import json
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from configs.app import AppSettings
from models.errors import StageFailed, Stalled
from models.segment import Clip, Span, Voice
from serve_app.local import in_thread
from serve_app.stall import STAGES, Pulse, Watched, beating
from tests.unit.test_pipeline import ECHO, Bench

PATIENCE_S = 0.5
SETTINGS = AppSettings.model_validate({**ECHO, "pipeline": {**ECHO["pipeline"], "engine_stall_s": PATIENCE_S}})


async def never(item: Any) -> Any:
    await asyncio.Event().wait()


@pytest.mark.parametrize("verb", sorted(STAGES.keys() - {"diarize", "separate"}))
async def test_an_engine_that_never_answers_ends_the_run_at_its_stage(
    tmp_path: Path, short_talk: Path, verb: str
) -> None:
    bench = Bench(tmp_path, short_talk)
    began = time.monotonic()
    with pytest.raises(StageFailed) as caught:
        await bench.run(SETTINGS, dataclasses.replace(bench.models, **{verb: never}))
    assert (caught.value.stage, caught.value.transient) == (STAGES[verb], True)
    assert "no answer for 0.5 s" in str(caught.value)
    assert time.monotonic() - began < 20
    await bench.run(SETTINGS)  # what was finished before is there


async def test_without_an_answer_about_voices_there_is_one_speaker(tmp_path: Path, short_talk: Path) -> None:
    bench = Bench(tmp_path, short_talk)
    await bench.run(SETTINGS, dataclasses.replace(bench.models, diarize=never))
    assert any("no answer for 0.5 s" in line.message for line in bench.report.lines())


async def test_speakers_that_were_not_told_apart_are_asked_for_again(tmp_path: Path, short_talk: Path) -> None:
    """What was heard besides is there: only the voices are listened to once more."""
    bench = Bench(tmp_path, short_talk)
    await bench.run(SETTINGS, dataclasses.replace(bench.models, diarize=never))
    assert not (tmp_path / "work" / "job" / "listen.json").exists()
    asked = []

    async def diarize(clip: Clip) -> list[Voice]:
        asked.append(clip.start)
        return [Voice((Span(clip.start, clip.end),), (1.0, 0.0))]

    engines = dataclasses.replace(bench.models, diarize=diarize, detect=never, recognize=never)
    for _ in range(2):
        await bench.run(SETTINGS, engines)
    assert asked == [0.0]
    assert json.loads((tmp_path / "work" / "job" / "listen.json").read_text())["data"]["cast"]["turns"]


async def test_waiting_in_a_queue_is_no_stall() -> None:
    turn = asyncio.Lock()

    async def busy(item: int) -> int:
        async with turn:
            await asyncio.sleep(0.1)
        return item

    watched = Watched(busy, "translation", stall_s=0.25)
    assert await asyncio.gather(*map(watched.call, range(10))) == list(range(10))  # the last one waits for a second


async def test_an_error_is_an_answer() -> None:
    async def fails(item: int) -> int:
        raise StageFailed("translation", "no such pair")

    with pytest.raises(StageFailed, match="no such pair"):
        await Watched(fails, "translation", stall_s=0.25).call(1)


async def test_silence_before_the_first_question_does_not_count() -> None:
    async def slow(item: int) -> int:
        await asyncio.sleep(0.15)
        return item

    watched = Watched(slow, "tts", stall_s=0.3)
    assert await watched.call(1) == 1
    await asyncio.sleep(0.4)
    assert await watched.call(2) == 2


async def test_whoever_is_given_up_is_not_worked_for_any_more() -> None:
    ended = asyncio.Event()

    async def stuck(item: int) -> int:
        try:
            return await never(item)
        finally:
            ended.set()

    with pytest.raises(Stalled):
        await Watched(stuck, "tts", stall_s=0.05).call(1)
    await asyncio.wait_for(ended.wait(), 1)
    call = asyncio.create_task(Watched(stuck, "tts", stall_s=60).call(1))
    ended.clear()
    await asyncio.sleep(0.05)
    call.cancel()
    await asyncio.wait_for(ended.wait(), 1)


def test_a_replica_is_ill_only_while_somebody_waits_in_silence() -> None:
    pulse = Pulse("tts", stall_s=0.1)
    pulse.check()
    with pulse.asked():
        pulse.check()
        time.sleep(0.07)
        with pulse.asked():
            pass  # an answer to another
        time.sleep(0.07)
        pulse.check()
        with pytest.raises(asyncio.CancelledError), pulse.asked():
            raise asyncio.CancelledError  # somebody who went away
        time.sleep(0.07)
        with pytest.raises(Stalled, match="tts"):
            pulse.check()
        with pytest.raises(ZeroDivisionError), pulse.asked():
            _ = 1 / 0
        pulse.check()
    time.sleep(0.15)
    pulse.check()


async def test_a_thread_that_is_stuck_makes_its_process_ill_though_its_caller_has_gone() -> None:
    pulse, free = Pulse("tts", stall_s=0.1), threading.Event()
    say = in_thread(beating(lambda items: [free.wait(5)], pulse))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(say(1), 0.05)
    await asyncio.sleep(0.1)
    with pytest.raises(Stalled):
        pulse.check()
    free.set()
    assert await say(2) is True
    pulse.check()


def test_it_comes_from_another_process_as_itself() -> None:
    error = pickle.loads(pickle.dumps(Stalled("tts", "silent")))
    assert (type(error), error.stage, error.transient, str(error)) == (Stalled, "tts", True, "tts: silent")
