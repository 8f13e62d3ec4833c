"""When to doubt what a decoder wrote: over noise it writes fluent sentences, and in a tight spot it says them again.

Nothing here hears anything. It compares what the model says about itself (how sure of each token, how sure of silence)
and how the text looks (repetition, words that lie behind the end of the sound) with the thresholds of the settings.
Text in doubt is asked for again, in another way; text with an objection is dropped and says why. What is sure, fluent
and wrong passes.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from configs.engines import AsrSettings
from models.asr.loops import loops, pieces
from models.segment import Word


@dataclass(frozen=True, slots=True)
class Decoded:
    """One hypothesis for one clip. `room`: tokens that it could have had; one that used them all was cut off."""

    tokens: list[int]
    text: str
    log_probability: float  # mean over tokens
    no_speech: float  # 0–1
    room: int

    @property
    def compression(self) -> float:
        """How many times smaller zlib makes the text: about 1–2 for speech, more for repetition."""
        raw = self.text.encode()
        return len(raw) / len(zlib.compress(raw))

    @property
    def full(self) -> bool:
        return len(self.tokens) >= self.room


NO_SPEECH = "no speech"


def merit(one: Decoded, settings: AsrSettings) -> tuple[bool, bool, float]:
    """The larger the better."""
    return not one.full, one.compression <= settings.max_compression_ratio, one.log_probability


def doubtful(one: Decoded, words: Sequence[Word], end: float, settings: AsrSettings) -> bool:
    """Whether another attempt may do better; `end` is where the sound ends. Silence that is sure of itself is not."""
    silent = one.no_speech > settings.no_speech_probability
    if not one.text.strip():
        return not silent
    if objection(one, words, settings) == NO_SPEECH:
        return False
    return bool(
        silent
        or one.full
        or one.compression > settings.max_compression_ratio
        or one.log_probability < settings.min_log_probability
        or behind(words, end)
    )


def objection(one: Decoded, words: Sequence[Word], settings: AsrSettings) -> str:
    """Why this text was probably not said; empty when there is nothing to object."""
    improbable = one.log_probability < settings.min_log_probability
    silent = one.no_speech > settings.no_speech_probability
    if improbable and silent:
        return NO_SPEECH
    if one.text.strip() and not any(character.isalnum() for character in one.text):
        return "no words"
    if (improbable or silent) and words and 2 * timeless(words) >= len(words):
        return "without time to say it"
    if one.log_probability < settings.hopeless_log_probability:
        return "improbable"
    if one.compression > settings.max_compression_ratio and not loops(pieces(one.text), settings.max_repeats):
        return "repetitive"
    return ""


FRAME_S = 0.02
"""The encoder's step."""


def timeless(words: Sequence[Word]) -> int:
    """How many words have no sound of their own: over music the first one gets it all."""
    return sum(word.end - word.start <= FRAME_S for word in words)


def behind(words: Sequence[Word], end: float) -> int:
    """How many words at the end have no sound left: two or more that begin where the clip ends.

    A single one may be a true word whose time is wrong.
    """
    count = 0
    for word in reversed(words):
        if word.start < end - 2 * FRAME_S:
            break
        count += 1
    return count if count > 1 else 0
