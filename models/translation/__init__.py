"""The translation shelf: the same thing in another language."""

from concurrent.futures import Future
from typing import Protocol

from models.segment import Sentence


class Translator(Protocol):
    pairs: frozenset[tuple[str, str]]
    """(source, target) pairs of ISO-639-1 codes that have a model of their own."""

    def translate(self, sentences: list[Sentence]) -> list[Sentence]:
        """The sentences with `candidates` filled, best first. Pairs may be mixed.

        Raises ArtifactMissing, with the command that makes it, for a pair without a model.
        """
        ...

    def submit(self, sentence: Sentence, caller: str = "") -> "Future[Sentence]":
        """The same for one sentence, without waiting. `caller` tells apart those who are served in turn."""
        ...

    def preload(self) -> None:
        """Loads the models that the settings want beforehand, and tries them. Raises ArtifactMissing."""
        ...
