"""What must come out as it went in: addresses, words in a foreign script, glossary terms, numbers.

A Marian model cannot be told to copy, but nearly all of them copy small even numbers. So whatever has to be kept is
replaced by such a number, the sentence is translated around it, and the number is replaced back: it keeps its place in
the sentence, whatever the word order of the target. Tried on the embedded model with four candidates, share of
sentences in which every kept part came out exactly once:

    stand-in                  16 addresses   12 terms   24 sentences of numbers   10 with two or three addresses
    none (left to the model)       0             1             15                        –
    24, 36, 48 …                  16            12             24                       10
    30, 50, 80 …                  16            12             23                       10
    (1), (2), (3) …               16            12             20                        8
    X1, X2, X3 …                  13             9             19                        4
    #1, {1}, %1, <1>, "X"        0 to 1        0 to 3           –                        –

Translating the pieces around the part, one by one, always copies and costs 5 to 7 chrF against the stand-ins, so it is
what is left when they fail. Putting damaged parts right afterwards was not worth writing: nothing recognisable is left
of an address ("Visajes:///prote./protetetete"). What it costs: around a stand-in the model does not know gender or
number of the term ("El tarjeta gráfica"), so terms are left to the model first and replaced only when they did not
come out; numbers likewise.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from models.translation.sentences import PROTECTED

NUMBER = re.compile(r"\+\d[\d ()./-]{5,20}\d(?!\w)|(?<![\w.,:])\d+(?:[.,:/–-]\d+)*(?!\w)")
"""Numbers, dates and telephone numbers."""

STAND_INS: tuple[tuple[int, ...], ...] = (
    (24, 36, 48, 72, 16, 28, 62, 84, 54, 96, 42, 66),
    (30, 50, 80, 60, 12, 25, 40, 18, 70, 90, 20, 32),
)
"""Numbers that models copy, for the first and the second try."""

_SCRIPTS = {
    "cyrillic": "Ѐ-ӿ",
    "armenian": "Ա-և",
    "greek": "Ͱ-Ͽἀ-῿",
    "han": "一-鿿㐀-䶿々",
    "kana": "ぁ-ヿ",
    "hangul": "가-힣",
    "hebrew": "א-ת",
    "arabic": "ء-ۿ",
    "indic": "ऀ-ൿ",
    "thai": "ก-๛",
}
_OWN = {"ru": ("cyrillic",), "hy": ("armenian",), "zh": ("han",), "ja": ("han", "kana")}


@dataclass(frozen=True, slots=True)
class Kept:
    """A part of a text, from `start` to `end`, and what has to stand for it in the translation."""

    start: int
    end: int
    said: str


@dataclass(frozen=True, slots=True)
class Masked:
    """A text with a stand-in for each part that is kept: (stand-in, what it stands for)."""

    text: str
    slots: tuple[tuple[int, str], ...]

    def fill(self, said: str) -> str:
        """`said` with what the stand-ins stand for."""
        values = {str(number): value for number, value in self.slots}
        return _STANDING.sub(lambda match: values.get(match.group(), match.group()), said)

    def whole(self, said: str) -> bool:
        """Whether each stand-in came out exactly once."""
        found = _STANDING.findall(said)
        return all(found.count(str(number)) == 1 for number, _ in self.slots)


_STANDING = re.compile(r"(?<![\d.,:])\d\d(?![\d:]|[.,]\d)")


class Glossary:
    """Terms of one pair and how they are said. A term in small letters is found in any case, one with capitals only
    as it is written; both only as whole words, the longest first."""

    def __init__(self, terms: Mapping[str, str]) -> None:
        self._said = terms
        self._patterns = [_term(term) for term in sorted(terms, key=len, reverse=True)]

    def find(self, text: str) -> Iterator[Kept]:
        """Where the terms stand, and what is said for them: with a capital where a term in small letters has one."""
        for term, pattern in self._patterns:
            for match in pattern.finditer(text):
                yield Kept(*match.span(), _as_capital(match.group(), term, self._said[term]))

    def missing(self, text: str, said: str) -> list[str]:
        """Terms of `text` whose translation `said` has less often than it should, in any case."""
        wanted = [kept.said.casefold() for kept in _apart(self.find(text))]
        return [term for term in dict.fromkeys(wanted) if said.casefold().count(term) < wanted.count(term)]


def addresses(text: str, source: str) -> list[Kept]:
    """Addresses, and words in a script that is neither Latin nor that of the language `source`."""
    patterns = (PROTECTED, _foreign(source))
    return _apart(Kept(*match.span(), match.group()) for pattern in patterns for match in pattern.finditer(text))


def figures(text: str) -> list[Kept]:
    """Numbers of two digits or more."""
    return [Kept(*match.span(), match.group()) for match in NUMBER.finditer(text) if len(match.group()) > 1]


def everything(text: str, source: str, glossary: Glossary, numbers: bool = True) -> list[Kept]:
    """Addresses, words in a foreign script, terms, and numbers if they are wanted; none overlap."""
    return _apart([*addresses(text, source), *glossary.find(text), *(figures(text) if numbers else [])])


def mask(text: str, parts: Sequence[Kept], stand_ins: Sequence[int]) -> Masked:
    """`text` with a stand-in for each of `parts` (in order, apart), none of which `text` has already.

    Parts beyond the number of stand-ins are left as they are.
    """
    free = [number for number in stand_ins if str(number) not in text]
    slots, masked, start = [], "", 0
    for part, number in zip(parts, free, strict=False):
        masked += f"{text[start : part.start]}{number}"
        slots.append((number, part.said))
        start = part.end
    return Masked(masked + text[start:], tuple(slots))


def _apart(parts: "Iterator[Kept] | Sequence[Kept]") -> list[Kept]:
    """The parts in the order of the text; of two that overlap, the first given."""
    kept: list[Kept] = []
    taken: set[int] = set()
    for part in parts:
        if taken.isdisjoint(range(part.start, part.end)):
            kept.append(part)
            taken.update(range(part.start, part.end))
    return sorted(kept, key=lambda part: part.start)


@lru_cache(maxsize=32)
def _foreign(source: str) -> re.Pattern[str]:
    signs = "".join(block for script, block in _SCRIPTS.items() if script not in _OWN.get(source, ()))
    return re.compile(rf"[{signs}]+(?:[ ・][{signs}]+)*")


def _term(term: str) -> tuple[str, re.Pattern[str]]:
    before = r"(?<!\w)" if _bounded(term[0]) else ""
    after = r"(?!\w)" if _bounded(term[-1]) else ""
    words = r"\s+".join(map(re.escape, term.split()))
    return term, re.compile(before + words + after, re.IGNORECASE if term == term.lower() else 0)


def _bounded(sign: str) -> bool:
    """Whether words that end with `sign` are set apart by spaces."""
    return (sign.isalnum() or sign == "_") and sign < "⺀"


def _as_capital(found: str, term: str, said: str) -> str:
    return said[:1].upper() + said[1:] if found[0].isupper() and term[0].islower() else said
