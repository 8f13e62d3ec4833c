"""The translation shell around the real engine, without a cluster: answers, errors, and calls that are given up."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from configs.app import AppSettings
from configs.engines import EngineSettings, TranslationSettings
from models.errors import ArtifactMissing, StageFailed
from models.segment import Sentence
from serve_app.deployments.batch import Billed
from serve_app.deployments.translator import Translator

DEMO = Path(__file__).parents[2] / "models" / "demo" / "en-es"
TEXT = "The castle stands on a hill."


def shell(**settings: object) -> Any:
    chosen = TranslationSettings(artifacts=(str(DEMO),), device="cpu", beam_size=1).model_copy(update=settings)
    return Translator.func_or_class(AppSettings(engines=EngineSettings(translation=chosen)))


def said(answer: Any) -> str:
    """The translation in an answer, with or without a bill."""
    sentence = answer.answer if isinstance(answer, Billed) else answer
    text: str = sentence.candidates[0]
    return text


async def test_calls_are_answered_together_and_errors_come_alone() -> None:
    translator = shell()
    calls = [translator.translate(Sentence(f"{TEXT} It has {n} rooms.", "en", "es"), str(n % 3)) for n in range(300)]
    missing = translator.translate(Sentence(TEXT, "en", "de"))
    answers = await asyncio.gather(*calls, missing)
    assert all("castillo" in said(answer) for answer in answers[:-1])
    assert isinstance(answers[-1], ArtifactMissing)
    assert await translator.pairs() == {("en", "es")}


async def test_a_fault_of_the_engine_is_told_without_words_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    translator = shell()
    model = translator._engine.model("en", "es")

    def burst(_: object) -> str:
        raise RuntimeError("0xdeadbeef")

    with monkeypatch.context() as broken:
        broken.setattr(model.tokenizer, "decode", burst)
        answer = await translator.translate(Sentence(TEXT, "en", "es"))
    assert isinstance(answer, StageFailed) and answer.stage == "translation" and "0xdeadbeef" not in str(answer)
    assert "castillo" in said(await translator.translate(Sentence(TEXT, "en", "es")))


async def test_a_call_that_is_given_up_takes_its_sentence_out_of_the_batch() -> None:
    translator = shell()
    batcher = translator._engine.model("en", "es")._batcher
    sentences = [Sentence(f"{TEXT} It has {n} rooms.", "en", "es") for n in range(400)]
    calls = [asyncio.create_task(translator.translate(sentence)) for sentence in sentences]
    while not any(call.done() for call in calls):
        await asyncio.sleep(0.001)
    for call in calls:
        call.cancel()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(end, asyncio.CancelledError) for end in ends) > 300
    for worker in list(batcher._workers):
        await asyncio.to_thread(worker.join, 1)
    assert not batcher._workers
    assert not batcher._waiting


def test_a_replica_with_a_broken_model_does_not_start() -> None:
    with pytest.raises(ArtifactMissing, match="make it with: python -m export translation"):
        shell(preload=("en-de",))


async def test_the_weightless_engine_fits_the_shell() -> None:
    translator = shell(engine="echo")
    answer = await translator.translate(Sentence(TEXT, "en", "es"), "job")
    assert answer.candidates == (f"[es] {TEXT}",)
