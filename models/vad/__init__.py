"""The vad shelf: where is speech?"""

from typing import Protocol

from models.segment import Clip, Span


class Vad(Protocol):
    def detect(self, clips: list[Clip]) -> list[list[Span]]:
        """Spans of speech of each clip, ascending, without overlap, in seconds from the start of the video."""
        ...
