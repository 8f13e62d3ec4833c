"""Was it all said? A bound below which a clip cannot hold its text.

Engines fail quietly: an empty file, a clip that breaks off, a script whose letters they skip. The bound is set well
above the fastest speakers (about 25 letters a second, or 10 of Chinese and Japanese), so it finds a clip that lost
most of its words, and does not notice one that lost the last of ten.
"""

import unicodedata

from models.errors import StageFailed
from models.segment import Speech, Utterance

LETTERS_PER_S = 40.0
WIDE_LETTERS_PER_S = 16.0


def sayable(text: str) -> bool:
    """Whether there is anything to pronounce: a letter or a digit."""
    return any(character.isalnum() for character in text)


def shortest(text: str, rate: float = 1.0) -> float:
    """Seconds that saying `text` at `rate` takes at the very least."""
    letters = [character for character in text if character.isalnum()]
    wide = sum(unicodedata.east_asian_width(character) == "W" for character in letters)
    return (wide / WIDE_LETTERS_PER_S + (len(letters) - wide) / LETTERS_PER_S) / max(rate, 0.1)


def require_plausible(speech: Speech, utterance: Utterance) -> Speech:
    """`speech` itself; raises StageFailed when it is silent or too short for its text."""
    if not len(speech.audio) or float(abs(speech.audio).max()) < 1e-4:
        raise StageFailed("tts", f"{speech.voice} gave no sound")
    if speech.duration < shortest(utterance.text, utterance.rate):
        raise StageFailed("tts", f"{speech.voice} spoke {speech.duration:.2f} s, too short for its text")
    return speech
