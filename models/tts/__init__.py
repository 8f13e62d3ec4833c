"""The tts shelf: say it."""

from typing import Protocol

from models.segment import Speech, Utterance


class Tts(Protocol):
    def supports(self, language: str) -> bool:
        """Whether this engine has a voice for the ISO-639-1 code, here and now."""
        ...

    def speak(self, utterances: list[Utterance]) -> list[Speech]:
        """One clip an utterance. Raises StageFailed("tts", …), transient where another try may help."""
        ...
