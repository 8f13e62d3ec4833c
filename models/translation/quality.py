"""What can be seen from a translation without knowing the languages: the checks behind a segment's flags.

Each check would rather stay silent than cry wolf, since a flag costs a second decoding and a line in the report. So a
number may become a word when it is small or round and no other number appeared; lengths are compared with what the pair
usually needs, with ten letters of slack; names and cognates are no leakage. The tables are rough averages over
subtitles, good to about a fifth. A fluent wrong translation passes all of this.
"""

import re
import unicodedata
from collections import Counter
from itertools import chain

from models.translation.form import shouted
from models.translation.kept import Glossary, addresses
from models.translation.sentences import PROTECTED, UNSPACED

LENGTH = {
    "en": 1.0, "hy": 1.1, "ru": 1.05, "es": 1.15, "fr": 1.18, "de": 1.15, "it": 1.12, "pt": 1.1, "zh": 0.33, "ja": 0.48,
}  # fmt: skip
"""Letters that a language needs for what English says in one."""

PACE = {
    "en": 15.0, "hy": 13.0, "ru": 13.5, "es": 16.0, "fr": 15.5, "de": 14.5, "it": 15.5, "pt": 15.0,
    "zh": 4.5, "ja": 7.5,
}  # fmt: skip
"""Letters, spaces included, that a voice speaks in a second at its natural rate."""

_NUMBER = re.compile(r"(?:\d{1,3}(?:[ '’]\d{3})+(?!\d)|\d+)(?:[.,:]\d+)*")
_MYRIADS = re.compile(r"\d\s*[万億亿千百]")
_STUTTER = re.compile(r"([^\W\d]{1,3}?)\1{3,}")
_SCRIPTS = {"hy": "ARMENIAN", "ru": "CYRILLIC", "zh": "CJK", "ja": "CJK HIRAGANA KATAKANA"}
_SMALL = 12
_DIGIT = 5
_NO_TERMS = Glossary({})


def speech_seconds(text: str, language: str) -> float:
    """How long an average voice takes to say `text`, in seconds; a digit is read out like five letters of a word."""
    digits = 0 if language in UNSPACED else sum(sign.isdigit() for sign in text)
    return (len(text) + (_DIGIT - 1) * digits) / PACE[language]


def flags(
    text: str,
    said: str,
    source: str,
    target: str,
    max_ratio: float = 2.5,
    max_repeats: int = 3,
    glossary: Glossary = _NO_TERMS,
) -> tuple[str, ...]:
    """Names of the checks that `said`, as the translation of `text`, fails.

    empty (or no word is left), length, repetition, untranslated, numbers, protected (a web or e-mail address or a word
    in a foreign script is missing or changed), glossary (a term did not come out as told).
    """
    if not said.strip() or _wordless(text, said):
        return ("empty",) if text.strip() else ()
    failed = {
        "length": not 1 / max_ratio <= length_ratio(text, said, source, target) <= max_ratio,
        "repetition": loops(said, target, max_repeats) and not loops(text, source, max_repeats),
        "untranslated": untranslated(text, said, source, target),
        "numbers": bool(missing_numbers(text, said)),
        "protected": bool(missing_addresses(text, said, source)),
        "glossary": bool(glossary.missing(text, said)),
    }
    return tuple(name for name, fails in failed.items() if fails)


def length_ratio(text: str, said: str, source: str, target: str) -> float:
    """Length of `said` over what the pair usually needs for `text`; ten English letters are added to both."""
    return (len(said) / LENGTH[target] + 10) / (len(text) / LENGTH[source] + 10)


def loops(text: str, language: str, times: int) -> bool:
    """Whether one to four words (one to eight signs, without spaces) come `times` in a row, or a word stutters."""
    units = re.findall(r"\w" if language in UNSPACED else r"\w+", text.casefold())
    longest = 8 if language in UNSPACED else 4
    return bool(_STUTTER.search(text)) or any(
        units[i : i + n * times] == units[i : i + n] * times
        for n in range(1, longest + 1)
        for i in range(len(units) - n * times + 1)
    )


def numbers(text: str) -> list[str]:
    """The digits of each number; hours and minutes count as two. Addresses are left out.

    Separators go, but for the decimal one, which is "." whatever the language; before three digits it looks like the
    others, and before zeros alone it means nothing.
    """
    plain = unicodedata.normalize("NFKC", PROTECTED.sub(" ", text))
    parts = chain.from_iterable(number.split(":") for number in _NUMBER.findall(plain))
    return [_digits(part) for part in parts]


def missing_numbers(text: str, said: str) -> list[str]:
    """Numbers of `text` that `said` has neither in digits nor, as far as one can tell, in words."""
    if _MYRIADS.search(text) or _MYRIADS.search(said):
        return []
    wanted, found = Counter(numbers(text)), Counter(numbers(said))
    strange = [float(number) for number in (found - wanted).elements()]
    return [number for number in (wanted - found).elements() if not _may_be_words(number, found, strange)]


def missing_addresses(text: str, said: str, source: str) -> list[str]:
    """Addresses and words in a foreign script that `said` has less often, byte for byte, than `text`."""
    wanted = Counter(kept.said for kept in addresses(text, source))
    addressed = Counter(PROTECTED.findall(said))
    return [
        part
        for part, times in wanted.items()
        if (addressed[part] if PROTECTED.fullmatch(part) else said.count(part)) < times
    ]


def untranslated(text: str, said: str, source: str, target: str) -> bool:
    """Whether `said` is the source text again, or is written in another script than `target`'s."""
    if shouted(text):  # capitals say nothing about names
        text = text.lower()
    words = _words(text)
    if len(set(words)) >= 3 and words == _words(said):
        return _mostly_common(text)
    if {source, target} == {"zh", "ja"}:
        return False
    if target in _SCRIPTS:
        return _share(said, _SCRIPTS[target]) < 0.5 and _mostly_common(text)
    if source in _SCRIPTS:
        return _share(said, _SCRIPTS[source]) > 0.2
    return _copied(text, said) > 0.6


def _wordless(text: str, said: str) -> bool:
    """Whether there were words and none is left, not even as a number."""
    left, right = PROTECTED.sub(" ", text), PROTECTED.sub(" ", said)
    gone = any(sign.isalpha() for sign in left) and not any(sign.isalpha() for sign in right)
    return gone and not Counter(numbers(said)) - Counter(numbers(text))


def _digits(number: str) -> str:
    decimal = re.fullmatch(r"(.*?)[.,](\d{1,2}|\d{4,})", number)
    whole = re.sub(r"\D", "", decimal[1] if decimal else number).lstrip("0") or "0"
    rest = decimal[2].rstrip("0") if decimal else ""
    return f"{whole}.{rest}" if rest else whole


def _may_be_words(number: str, found: Counter[str], strange: list[float]) -> bool:
    if found[number[2:]] and len(number) == 4:
        return True
    if float(number) <= _SMALL:
        return not any(other <= _SMALL for other in strange)
    return len(number.rstrip("0")) == 1 and not strange


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _share(text: str, scripts: str) -> float:
    """Share of the letters of `text` that belong to `scripts` (first words of Unicode names)."""
    letters = [unicodedata.name(sign, "").split(" ")[0].split("-")[0] for sign in text if sign.isalpha()]
    return sum(name in scripts.split() for name in letters) / len(letters) if letters else 1.0


def _mostly_common(text: str) -> bool:
    """False for names and acronyms alone, which may stay in their own script."""
    words = re.findall(r"[^\W\d_]+", text)
    common = sum(not word[0].isupper() for word in words)
    return common >= max(1, len(words) / 3)


def _copied(text: str, said: str) -> float:
    """Share of the uncapitalised words of four letters or more that reappear; 0.0 when there are fewer than four."""
    words = [word for word in re.findall(r"[^\W\d_]{4,}", PROTECTED.sub(" ", text)) if word.islower()]
    there = set(_words(said))
    return sum(word in there for word in words) / len(words) if len(words) >= 4 else 0.0
