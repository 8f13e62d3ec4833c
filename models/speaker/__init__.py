"""The speaker shelf: who speaks when? Its engines tell voices apart inside a clip; whose voice it is, nobody knows."""

from typing import Protocol

from models.segment import Clip, Voice


class Diarizer(Protocol):
    def diarize(self, clips: list[Clip]) -> list[list[Voice]]:
        """The voices in each clip, each with the spans in which it speaks and a print; none in a clip of silence.

        Voices of two clips are the same speaker's when their prints are alike: the caller decides.
        """
        ...
