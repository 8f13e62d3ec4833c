"""Does the dub say what it should? A recogniser listens to each clip, and the words are compared.

It finds what no look at a clip's length or level can: the wrong language, words swallowed in the middle, a voice that
reads letters. It costs as much as hearing the film a second time, and is off by default.

A match is a share of words in their order, each worth as much as its letters are alike once they are more alike than
not; digits are left out, because one side writes them and the other says them. It judges voice and recogniser together:
a small model understands a clear voice to 80 or 90 %, an artificial one to half of that, so the bound has to be low.
"""

import asyncio
import re
import unicodedata
from collections.abc import Awaitable, Callable
from difflib import SequenceMatcher

from models.segment import RECOGNITION_RATE, Clip, Speech, Transcript
from models.translation.sentences import UNSPACED
from serve_app.media import audio

ALIKE = 0.6
"""Letters in common, from which a word counts as the other one, misheard."""

Understand = Callable[[Speech, str], Awaitable[float | None]]


def understanding(recognize: Callable[[Clip], Awaitable[Transcript]], language: str) -> Understand:
    """Listens for a text in a clip and gives its match; None where the text has no words to listen for."""

    async def understood(speech: Speech, text: str) -> float | None:
        if not words(text, language):
            return None
        sound = await asyncio.to_thread(audio.resample, speech.audio, speech.sample_rate, RECOGNITION_RATE)
        heard = await recognize(Clip(sound, language=language))
        return await asyncio.to_thread(match, text, "".join(word.text for word in heard.words), language)

    return understood


def match(text: str, heard: str, language: str) -> float:
    """Share of the words of `text` that `heard` has in the same order, 0–1; of its signs in Chinese and Japanese."""
    wanted, found = words(text, language), words(heard, language)
    if not wanted:
        return 1.0
    best = [0.0] * (len(found) + 1)  # of the words so far, against each beginning of what was heard
    for word in wanted:
        row = [0.0]
        for index, other in enumerate(found):
            row.append(max(best[index] + alike(word, other), best[index + 1], row[index]))
        best = row
    return best[-1] / len(wanted)


def alike(one: str, other: str) -> float:
    if one == other:
        return 1.0
    ratio = SequenceMatcher(None, one, other, autojunk=False).ratio()
    return ratio if ratio >= ALIKE else 0.0


def words(text: str, language: str) -> list[str]:
    """What is compared: small letters without accents, no digits, no punctuation."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return re.findall(r"[^\W\d_]" if language in UNSPACED else r"[^\W\d_]+", letters)
