"""The separation shelf: what is left of sound without its voices? Music, noises, the room."""

from typing import Protocol

from models.segment import Stereo


class Separator(Protocol):
    def separate(self, sounds: list[Stereo]) -> list[Stereo]:
        """Each sound of shape (2, samples), at 44.1 kHz, without its voices: as many samples, each in its place."""
        ...
