"""The thin shells with fake handles: a bad item fails alone, errors come as themselves, the dead are asked again."""

from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from configs.engines import AsrSettings
from models.errors import ArtifactMissing, NoSpeech, StageFailed
from models.segment import Clip, Transcript
from serve_app.deployments import batch
from serve_app.deployments.batch import calling, one_by_one
from serve_app.deployments.recognizer import Recognizer


class Handle:
    """A deployment handle's method that plays a list of answers."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    async def remote(self, _item: Any) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception) and not isinstance(answer, (NoSpeech, StageFailed)):
            raise answer
        return answer


def halve(numbers: list[int]) -> list[int]:
    if 13 in numbers:
        raise ValueError("unlucky")
    return [number // 2 for number in numbers]


def test_a_bad_item_fails_alone() -> None:
    answers = one_by_one(halve, [2, 13, 4], "translation")
    assert (answers[0], answers[2]) == (1, 2)
    assert isinstance(answers[1], StageFailed) and "unlucky" not in str(answers[1])


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
        Recognizer.func_or_class(AsrSettings())
