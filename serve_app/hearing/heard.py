"""What was heard of a job is never heard again: each answer of voice detection and of the recogniser is kept at once.

A window's checkpoint is written when the whole window is done, and voice detection hears fifteen hours before the first
window is cut. A run that ends in between goes on at the clip after the last one that was finished. It costs one small
file and an fsync per clip of up to half a minute.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeVar

from models.segment import RECOGNITION_RATE, Clip, Span, Transcript, Word
from serve_app.jobs.workspace import Workspace

Answer = TypeVar("Answer")


def detections(
    detect: Callable[[Clip], Awaitable[list[Span]]], workspace: Workspace, made_from: str
) -> Callable[[Clip], Awaitable[list[Span]]]:
    """`detect` with a memory in the workspace. `made_from` stands for the sound and the settings."""
    return _keeping(detect, _spans, workspace, "speech", made_from)


def transcripts(
    recognize: Callable[[Clip], Awaitable[Transcript]], workspace: Workspace, made_from: str
) -> Callable[[Clip], Awaitable[Transcript]]:
    """`recognize` with a memory in the workspace."""
    return _keeping(recognize, _transcript, workspace, "words", made_from)


def _keeping(
    engine: Callable[[Clip], Awaitable[Answer]],
    read: Callable[[Any], Answer],
    workspace: Workspace,
    kind: str,
    made_from: str,
) -> Callable[[Clip], Awaitable[Answer]]:
    async def answer(clip: Clip) -> Answer:
        name = f"heard/{kind}-{round(clip.start * RECOGNITION_RATE)}-{len(clip.audio)}-{clip.language or 'any'}"
        known = await asyncio.to_thread(workspace.load, name, made_from)
        if known is not None:
            try:
                return read(known)
            except (TypeError, KeyError, ValueError):
                pass  # another version wrote it
        said = await engine(clip)
        await asyncio.to_thread(workspace.save, name, made_from, _plain(said))
        return said

    return answer


def _plain(answer: Any) -> Any:
    return [asdict(one) for one in answer] if isinstance(answer, list) else asdict(answer)


def _spans(rows: list[dict[str, float]]) -> list[Span]:
    return [Span(**row) for row in rows]


def _transcript(row: dict[str, Any]) -> Transcript:
    words = tuple(Word(**word) for word in row["words"])
    dropped = tuple((text, reason) for text, reason in row["dropped"])
    return Transcript(**{**row, "words": words, "dropped": dropped})
