"""The looks of a sentence: what a model drops or changes although it says nothing in any language.

Dashes of dialogue, notes, bullets, numbers of a list, emoji and enclosing quotation marks are taken off before
translation and put back after it; a line in capitals is translated in small letters, since models know few words in
capitals; the marks at the end follow the original. Emoji inside a sentence go back to the same share of its words,
which may be a word too early or too late. Control characters that no reader sees are left out and named.

Not kept: italics and other markup, quotation marks inside a sentence, a capital for each word.
"""

import re
import unicodedata
from dataclasses import dataclass

_PICTURE = (
    r"(?:[0-9#*]\uFE0F?\u20E3|[\u2300-\u23FF\u2460-\u27BF\u2B00-\u2BFF\u3030\u303D\u3297\u3299"
    r"\U0001F000-\U0001FAFF][\uFE0E\uFE0F\u200D\u20E3\U0001F000-\U0001FAFF\u2640\u2642\u2695\u2696\u2708\u2764"
    r"\U000E0020-\U000E007F]*)"
)
_PICTURES = re.compile(rf"{_PICTURE}(?:\s*{_PICTURE})*")
_LEAD = re.compile(
    rf"^(?:\s|[-–—―](?=\s|[^\W\d_]|[\"“«¿¡])|(?:…|\.\.\.)(?=\s*\w)|>>+|[*•·▪♪♫♬](?=\s|\w)|\d{{1,2}}[.)](?=\s+[^\W\d_])|{_PICTURE})+"
)
_TAIL = re.compile(rf"(?<![\s\u200D\uFE0F\u2600-\u27BF\U0001F000-\U0001FAFF])(?:\s|{_PICTURE})++$")
_WORD = re.compile(r"\w+")
_PAIRS = {'"': '"', "“": "”", "«": "»", "„": "“", "「": "」", "『": "』", "‘": "’", "(": ")", "[": "]", "（": "）"}

_MARKS = re.compile(r"[.!?…。！？։,;:，、；：]+$")
_FULL = {
    "zh": {".": "。", "?": "？", "!": "！", ",": "，", "…": "……"},
    "ja": {".": "。", "?": "？", "!": "！", ",": "、"},
}
_OPENERS = {"?": "¿", "!": "¡"}


@dataclass(frozen=True, slots=True)
class Peeled:
    """A sentence without its looks. `pictures` are (share of the words before it, emoji)."""

    lead: str
    core: str
    tail: str
    pictures: tuple[tuple[float, str], ...] = ()

    def wrap(self, said: str) -> str:
        """The translation of `core`, dressed like the original."""
        words = said.split(" ")
        for share, picture in reversed(self.pictures):
            words.insert(round(share * len(words)), picture)
        return self.lead + " ".join(words) + self.tail


def peel(text: str) -> Peeled:
    """Takes off what stands before, behind and around the words; lead + core + tail is `text`, but for emoji inside."""
    lead = match.group() if (match := _LEAD.match(text)) else ""
    rest = text[len(lead) :]
    tail = match.group() if (match := _TAIL.search(rest)) else ""
    core = rest[: len(rest) - len(tail)]
    opened, core, closed = _unquoted(core)
    core, pictures = _without_pictures(core)
    return Peeled(lead + opened, core, closed + tail, pictures)


def visible(text: str) -> tuple[str, list[str]]:
    """`text` without control characters and lone surrogates, and the names of those (U+200B); joiners of emoji stay."""
    joined = {at for match in _PICTURES.finditer(text) for at in range(*match.span())}
    odd = [at for at, sign in enumerate(text) if at not in joined and _unseen(sign)]
    dropped = set(odd)
    kept = "".join(sign for at, sign in enumerate(text) if at not in dropped) if odd else text
    return kept, sorted({f"U+{ord(text[at]):04X}" for at in odd})


def shouted(text: str) -> bool:
    """Whether `text` is a line in capitals: two words of two letters or more, and no small letter."""
    return text.upper() == text and len(re.findall(r"[^\W\d_]{2,}", text)) >= 2 and text.lower() != text


def quiet(text: str, source: str) -> str:
    """A line in capitals as a sentence: small letters, a capital at the start and, in English, for "I"."""
    low = text.lower()
    if source == "en":
        low = re.sub(r"\bi\b", "I", low)
    return _raised(low)


def shaped(text: str, said: str, source: str, target: str) -> str:
    """`said` with the first letter and the marks at the end that `text`, its original, has."""
    return _cased(text, _ended(text, said, source, target), target) if said.strip() else said


# -- taking off --------------------------------------------------------------------------------------------------------


def _unquoted(core: str) -> tuple[str, str, str]:
    """The quotation marks around all of `core`, or at one end without a partner inside."""
    opened, closed = core[:1], core[-1:]
    if len(core) < 2 or (opened not in _PAIRS and closed not in _PAIRS.values()):
        return "", core, ""
    inside = core[1:-1]
    if _PAIRS.get(opened) == closed:
        return (opened, inside, closed) if opened not in inside and closed not in inside else ("", core, "")
    if opened in _PAIRS and opened not in "'([" and _PAIRS[opened] not in core[1:] and opened not in core[1:]:
        return opened, core[1:], ""
    openers = {opener for opener, closer in _PAIRS.items() if closer == closed and opener not in "‘(["}
    if openers and not any(opener in core[:-1] for opener in openers):
        return "", core[:-1], closed
    return "", core, ""


def _without_pictures(core: str) -> tuple[str, tuple[tuple[float, str], ...]]:
    words, found, start, plain = max(1, len(_WORD.findall(_PICTURES.sub(" ", core)))), [], 0, ""
    for match in _PICTURES.finditer(core):
        plain += core[start : match.start()]
        found.append((min(1.0, len(_WORD.findall(plain)) / words), match.group()))
        start = match.end()
    if not found:
        return core, ()
    return re.sub(r"\s+(?=[.,!?…\s]|$)", "", plain + core[start:]).strip(), tuple(found)


def _unseen(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cf", "Cs") and not sign.isspace()


# -- putting on --------------------------------------------------------------------------------------------------------


def _raised(text: str) -> str:
    first = re.search(r"[^\W\d_]", text)
    return text[: first.start()] + text[first.start()].upper() + text[first.end() :] if first else text


def _cased(text: str, said: str, target: str) -> str:
    at = re.search(r"\w", said)
    word = re.match(r"\W*([^\W\d_]+)", text)
    if not at or not word:
        return said
    first, place = said[at.start()], at.start()
    if word[1][0].isupper() and first.islower():
        return said[:place] + first.upper() + said[place + 1 :]
    name = re.match(r"[^\W\d_]+", said[place:])
    single = name and (len(name[0]) == 1 or name[0][1:].islower())
    if word[1].islower() and first.isupper() and target != "de" and single:
        return said[:place] + first.lower() + said[place + 1 :]
    return said


def _ended(text: str, said: str, source: str, target: str) -> str:
    """`said` with the kind of end that `text` has; a question or an exclamation of the model's own is left."""
    marks = match.group() if (match := _MARKS.search(text)) else ""
    own = match.group() if (match := _MARKS.search(said)) else ""
    wanted, given = _kind(marks, text if source == "hy" else ""), _kind(own, said if target == "hy" else "")
    inside = not marks and not text[-1:].isalnum()  # behind a quotation mark or a bracket
    if inside or _may_stay(wanted, given, target):
        return said
    bare = said[: len(said) - len(own)]
    opener = _OPENERS.get(wanted, "") if target == "es" else ""
    return ("" if opener in bare else opener) + bare + _marks(wanted, marks, target)


def _may_stay(wanted: str, given: str, target: str) -> bool:
    if given in _OPENERS or (wanted in _OPENERS and target == "hy"):
        return True
    if wanted in ("", ",", ";", ":"):
        return given not in (".", "") or wanted == given
    return wanted == given != "…"


def _kind(marks: str, armenian: str) -> str:
    """One of . ? ! … , ; : or nothing. Armenian marks questions and exclamations inside the word."""
    for kind, signs in {"?": "?？", "!": "!！"}.items():
        if any(sign in marks for sign in signs) or {"?": "՞", "!": "՜"}[kind] in armenian:
            return kind
    if "…" in marks or ".." in marks:
        return "…"
    for kind, signs in {".": ".。։", ",": ",，、", ";": ";；", ":": ":："}.items():
        if marks[-1:] and marks[-1] in signs:
            return kind
    return ""


def _marks(kind: str, marks: str, target: str) -> str:
    if target in _FULL:
        return _FULL[target].get(kind, kind)
    if target == "hy":
        return {".": "։"}.get(kind, kind)
    return marks if kind == "…" and "…" not in marks else kind
