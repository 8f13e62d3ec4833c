"""Loops: a decoder that has lost the sound says the same few words again and again.

People repeat themselves too ("no, no, no!"), so only many repetitions in a row count, the first one is always kept, and
what was said before and after stays. The price: a song's refrain of one word is cut short as well.
"""

import re
from collections.abc import Sequence

from models.segment import Word

MAX_NGRAM = 12
"""Words of the longest phrase that is looked for."""

EXTRA = {1: 2, 2: 1}
"""How many times more a phrase of so few words is said on purpose."""


def loops(texts: Sequence[str], often: int) -> list[range]:
    """Ranges of positions that only repeat what stands right before them, ascending.

    A phrase that stands `often` times in a row loops; a shorter one is repeated on purpose more often.
    """
    keys = [re.sub(r"\W", "", text).lower() for text in texts]
    found, at = [], 0
    while at < len(keys):
        length, times = _repeated(keys, at, often)
        if times:
            found.append(range(at + length, at + length * times))
        at += max(1, length * times)
    return found


def _repeated(keys: Sequence[str], at: int, often: int) -> tuple[int, int]:
    """(words, times) of the shortest phrase that loops from `at` on; (0, 0) without one."""
    for length in range(1, MAX_NGRAM + 1):
        phrase = keys[at : at + length]
        times = 1
        while keys[at + times * length : at + (times + 1) * length] == phrase:
            times += 1
        if any(phrase) and times >= often + EXTRA.get(length, 0):
            return length, times
    return 0, 0


def without_loops(words: Sequence[Word], often: int) -> tuple[list[Word], list[str]]:
    """The words without the repetitions of a loop, and the text of each loop that was cut out."""
    cut = loops([word.text for word in words], often)
    gone = {position for one in cut for position in one}
    return (
        [word for position, word in enumerate(words) if position not in gone],
        ["".join(words[position].text for position in one).strip() for one in cut],
    )


def pieces(text: str) -> list[str]:
    """`text` as something like words: at spaces, and every character of scripts that write without them."""
    return re.findall(r"[\u3040-\u30ff\u3400-\u9fff]|[^\s\u3040-\u30ff\u3400-\u9fff]+", text)
