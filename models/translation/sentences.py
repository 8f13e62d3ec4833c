"""Cutting text for translation, and joining what came back.

Marian models learned from single sentences and drop text when given several, so text is cut at sentence ends first:
the embedded model gains 2.7 chrF by it (54.2 against 51.5, on a hundred pairs of sentences).
Cutting further, at clauses or around addresses, costs agreement between the parts; it is for text that failed a check
or is longer than the model can read.

The rules know the full stops of all ten languages, initials, enumerations and common abbreviations. Where a full stop
may be either ("at 5 p.m. We left", "vitamin C. Then", "am 3. Dann"), the two sentences stay together; a sentence that
starts with a small letter is not seen. Nothing but white space is ever lost.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

UNSPACED = ("zh", "ja")
"""Languages written without spaces between words."""

PROTECTED = re.compile(
    r"(?:https?://|www\.)[^\s<>\"“”，。、）]*[^\s<>\"“”，。、）.,;:!?)\]}']"
    r"|(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|(?<![\w.@/-])(?:[A-Za-z0-9-]{1,63}\.){1,4}(?:com|org|net|edu|gov|io|dev|info|app|eu|uk|fr|ru|jp|cn|br|tv)\b"
    r"(?:/[^\s<>\"“”，。、）]*[^\s<>\"“”，。、）.,;:!?)\]}'])?"
    r"|(?<![\w&])[@#](?=\w*[^\W\d])\w+",
    re.ASCII,
)
"""Web and e-mail addresses, handles and tags: they read the same in every language."""

_CLOSING = "\"'»”’)\\]"
_OPENING = "\"'«“‘([-–—"
_STOP = re.compile(
    rf"[。！？｡]+[」』”’）】》]*\s*|(?<=։)[{_CLOSING}]*\s*|(?:(?<=[.!?…])|(?<=[ա-և]:))[{_CLOSING}]*\s+|\n\s*\n"
)
_SHORT = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Sra|Srta|Jr|Mme|Mlle|Hr|Fr|Nr|vs|etc|Inc|Ltd|Co|Fig|Vol|ca|bzw|Gen|Col|Capt|Sen"
    r"|Lt|Sgt|pp|cf|Dra|núm|pág|Exmo|Mons|см|стр|тыс|млн|млрд|руб|им|ул|гг?|dott|sig|ing|Uds?"
    r"|p\.ej|[ei]\.[ge]|z\.B|d\.h|u\.a|[ap]\.m|[дптек])\.)$",
    re.IGNORECASE,
)
_INITIAL = re.compile(r"(?<![^\W\d_])[^\W\d_]\.$")
_ENUMERATOR = re.compile(r"^[\"'«“(\[]*(?:\d{1,3}|[^\W\d_])[.)]+$")
_ORDINAL = re.compile(r"\b\d{1,2}\.$")
_NUMERO = re.compile(r"\bNo\.$")

_STRONG = re.compile(r"(?<=[;:՝])\s+|(?<!\s)\s+(?=[—–]\s)|(?<=[；：—])(?=[^\s；：—])")
_COMMA = re.compile(r"(?<=,)\s+|(?<=[，、])(?=\S)")
_CLAUSE = re.compile(r"(?<=[,;:])\s+|(?<!\s)\s+(?=[—–]\s)|(?<=[，、；：])")
_PHRASE = re.compile(r"(?<=[ぁ-ゖ])(?=[一-鿿ァ-ヺ])")  # kana, then kanji: a new phrase as a rule
_SPACE = re.compile(r"\s+")
_GROUPED = re.compile(r"\d+(?:[.,:'’]\d+|[ \xa0\u202f]\d{3}(?!\d))*")
_JOINTS = {
    "en": "and|but|or|because|that|which|who|when|while|if|so",
    "es": "y|e|pero|o|porque|que|cuando|mientras|si",
    "fr": "et|mais|ou|parce|que|qui|quand|si|car",
    "de": "und|aber|oder|weil|dass|wenn|während|denn",
    "it": "e|ed|ma|o|perché|che|quando|mentre|se",
    "pt": "e|mas|ou|porque|que|quando|enquanto|se",
    "ru": "и|а|но|или|потому|что|который|когда|если|чтобы",
    "hy": "և|եւ|ու|բայց|կամ|որ|որովհետև|երբ|եթե",
}
_BEFORE_JOINT = {
    language: re.compile(rf"(?<!\s)\s+(?=(?:{words})\s)", re.IGNORECASE) for language, words in _JOINTS.items()
}


def sentences(text: str, language: str = "") -> list[str]:
    """The sentences of `text`, stripped, in order; nothing but white space is lost.

    `language` (ISO-639-1) only tells German ordinals ("am 3. Oktober") from numbers at the end.
    """
    cuts = [0, *_ends(text, language), len(text)]
    parts = (text[a:b].strip() for a, b in pairwise(cuts))
    return [part for part in parts if part]


def clauses(text: str, language: str = "") -> list[str]:
    """Each sentence, cut at commas, colons and dashes where both sides have three words (or six signs of Chinese)."""
    return [clause for sentence in sentences(text, language) for clause in _clauses(sentence)]


def around(text: str, kept: Sequence[tuple[int, int, str]]) -> list[tuple[str, str | None]]:
    """`text` cut into what is `kept` (start, end, what is said for it), the punctuation behind it, and the rest.

    Pairs of the original and what is said for it; None: to be translated.
    """
    parts: list[tuple[str, str | None]] = []
    start = 0
    for a, b, said in kept:
        parts += [*_led(text[start:a], start > 0), (text[a:b], said)]
        start = b
    parts += _led(text[start:], start > 0)
    return [(part.strip(), said) for part, said in parts if part.strip()]


def join(parts: list[str], language: str) -> str:
    """The parts as one text of `language`, without a space before closing and after opening punctuation."""
    gap = "" if language in UNSPACED else " "
    joined = ""
    for part in filter(None, parts):
        close = not joined or part[0] in ".,;:!?…)]}»”’%，。！？；：、" or joined[-1] in "([{«“‘¿¡"
        joined += part if close else gap + part
    return joined


def cut(text: str, length: Callable[[str], int], limit: int, language: str) -> list[str]:
    """`text`, written in `language`, in pieces for which `length` gives at most `limit`; [text] when it fits already.

    Halved, as often as needed, near the middle of what is too long: at a sentence's end if there is one, else at a
    semicolon, colon or dash, a comma, before a conjunction, between words, between signs. Numbers ("2 000 000") and
    addresses are cut only if they alone are too long. Pieces are stripped and none is empty; nothing but white space is
    lost. A single sign that is longer than `limit` is a piece of its own.
    """
    if length(text) <= limit:
        return [text]
    text = text.strip()
    at = _border(text, language)
    if not at:
        return [text] if text else []
    return [piece for half in (text[:at], text[at:]) for piece in cut(half.strip(), length, limit, language)]


# -- sentence ends -----------------------------------------------------------------------------------------------------


def _ends(text: str, language: str) -> Iterator[int]:
    """Where sentences end, behind the white space."""
    start = 0
    for match in _STOP.finditer(text):
        if match.end() < len(text) and _is_end(text, start, match, language):
            start = match.end()
            yield start


def _is_end(text: str, start: int, match: re.Match[str], language: str) -> bool:
    found, rest = match.group(), text[match.end() : match.end() + 4]
    if found[:1] in "。！？｡" and found:
        quoted = found.rstrip()[-1] in "」』”’）】》"
        return not quoted or found[-1].isspace() or rest[0] in "「『“（【《"
    if "\n" in found.strip(" \t\r") and found.count("\n") > 1:
        return True
    head = text[max(start, match.start() - 16) : match.start()]
    return head.endswith("։") or (_starts(rest) and not _continues(head, text[start : match.end()][:8], rest, language))


def _starts(rest: str) -> bool:
    """Whether a sentence may begin like this: with anything but a small letter or closing punctuation."""
    first = rest.lstrip(_OPENING + " ")[:1]
    return rest[0] in "¿¡" or not (first.islower() or first in ",;:.!?…%")


def _continues(head: str, whole: str, rest: str, language: str) -> bool:
    """Whether the stop at the end of `head` belongs to an abbreviation, an initial or an enumeration."""
    if not head.endswith("."):
        return False
    initial = _INITIAL.search(head)
    return bool(
        (initial and initial.group()[0].isupper())
        or _SHORT.search(head)
        or (_NUMERO.search(head) and rest[0].isdigit())
        or _ENUMERATOR.match(whole.strip())
        or (language == "de" and _ORDINAL.search(head))
    )


# -- clauses and shorter -----------------------------------------------------------------------------------------------


def _clauses(sentence: str) -> list[str]:
    done, start = [], 0
    for match in _CLAUSE.finditer(sentence):
        if _long(sentence[start : match.start()]) and _long(sentence[match.end() :]):
            done.append(sentence[start : match.start()].strip())
            start = match.end()
    return [*done, sentence[start:].strip()]


def _long(part: str) -> bool:
    return len(part.split()) >= 3 or sum(sign > "⺀" for sign in part) >= 6


def _led(part: str, behind: bool) -> list[tuple[str, str | None]]:
    """What stands `behind` something kept: its punctuation, then the rest."""
    lead = re.match(r"\s*[.,;:!?…)\]，。！？；：、]+(?=\s|$|[⺀-\U0003ffff])", part) if behind else None
    return [(lead.group(), lead.group().strip()), (part[lead.end() :], None)] if lead else [(part, None)]


def _border(text: str, language: str) -> int:
    """Where to halve `text`, from 1 to its length - 1; 0 if it is a single sign."""
    kept = [match.span() for pattern in (PROTECTED, _GROUPED) for match in pattern.finditer(text)]
    for places in _places(text, language):
        free = sorted({at for at in places if 0 < at < len(text)} - {at for a, b in kept for at in range(a + 1, b)})
        if free:
            return _nearest(free, len(text) / 2)
    whole = [at for at in range(1, len(text)) if not _clings(text[at - 1], text[at])]
    return _nearest(whole, len(text) / 2) if whole else len(text) // 2


def _places(text: str, language: str) -> Iterator[list[int]]:
    """Borders of each kind, the best kind first."""
    yield list(_ends(text, language))
    kinds = [_STRONG, _COMMA, _BEFORE_JOINT.get(language), _SPACE, _PHRASE if language == "ja" else None]
    for kind in filter(None, kinds):
        yield [match.start() for match in kind.finditer(text)]
    yield [at for at in range(1, len(text)) if not _clings(text[at - 1], text[at])]


def _nearest(places: list[int], middle: float) -> int:
    at = bisect_left(places, middle)
    return min(places[max(0, at - 1) : at + 1], key=lambda place: abs(place - middle))


def _clings(before: str, after: str) -> bool:
    """Whether two neighbours are one sign to the eye: accents, joined emoji, skin tones, flags."""
    joined = "\u200d" in (before, after) or "\U0001f3fb" <= after <= "\U0001f3ff"
    flag = "\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff"
    return joined or flag or unicodedata.category(after) in ("Mn", "Me", "Mc")
