"""Answers of the engines are kept per clip, and only used again for the same sound and settings."""

import json
from pathlib import Path

import numpy as np
import pytest

from models.segment import Clip, Span, Transcript, Word
from serve_app.hearing.heard import detections, transcripts
from serve_app.jobs.workspace import Workspace

CLIP = Clip(np.zeros(16_000, np.float32), 5.0, "en")
HEARD = Transcript((Word(5.0, 5.5, " Yes.", 0.9),), "en", 0.0, (("la la", "loop"),))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "job")


async def test_a_clip_is_heard_once(workspace: Workspace) -> None:
    asked = []

    async def recognize(clip: Clip) -> Transcript:
        asked.append(clip.language)
        return HEARD

    hear = transcripts(recognize, workspace, "a")
    assert [await hear(CLIP), await hear(CLIP)] == [HEARD, HEARD] and asked == ["en"]
    await hear(Clip(CLIP.audio, 5.0))
    await transcripts(recognize, workspace, "another model")(CLIP)
    assert asked == ["en", None, "en"]


async def test_silence_is_an_answer_too(workspace: Workspace) -> None:
    answers = iter([[], [Span(1.0, 2.0)]])

    async def detect(clip: Clip) -> list[Span]:
        return next(answers)

    hear = detections(detect, workspace, "a")
    other = Clip(CLIP.audio, 9.0)
    assert [await hear(CLIP), await hear(other), await hear(CLIP)] == [[], [Span(1.0, 2.0)], []]


async def test_what_another_version_or_a_broken_disk_left_is_heard_again(workspace: Workspace) -> None:
    async def recognize(clip: Clip) -> Transcript:
        return HEARD

    hear = transcripts(recognize, workspace, "a")
    await hear(CLIP)
    [kept] = (workspace.folder / "heard").iterdir()
    name = f"heard/{kept.stem}"
    workspace.save(name, "a", {"words": [], "voice": "?"})
    assert await hear(CLIP) == HEARD
    kept.write_text(json.dumps({"key": "a"}))
    assert await hear(CLIP) == HEARD


async def test_a_failure_is_not_kept(workspace: Workspace) -> None:
    async def broken(clip: Clip) -> Transcript:
        raise ValueError

    with pytest.raises(ValueError):
        await transcripts(broken, workspace, "a")(CLIP)
    assert not (workspace.folder / "heard").exists()
