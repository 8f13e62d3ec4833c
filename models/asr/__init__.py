"""The asr shelf: what was said, and when was each word?"""

from concurrent.futures import Future
from typing import Protocol

from models.segment import Clip, Transcript


class Recognizer(Protocol):
    languages: frozenset[str] | None
    """ISO-639-1 codes that the loaded model hears; None: whatever it can detect."""

    def recognize(self, clips: list[Clip]) -> list[Transcript]:
        """One transcript a clip. A clip of silence gives a transcript without words."""
        ...

    def submit(self, clip: Clip, caller: str = "") -> "Future[Transcript]":
        """The same for one clip, without waiting. Clips of all callers may share a batch; callers are served in turn.

        Cancelling the future gives the clip up.
        """
        ...
