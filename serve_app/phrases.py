"""Where a line of text may break, and where it had better: words, phrases, and the manners of each script.

A line reads best when its end is the end of a phrase: after punctuation, before "and" or "that", never between "the"
and its noun. For languages with blanks this is a list of small words; Chinese and Japanese have none between words, so
there the kind of a character tells: a Japanese phrase tends to end with its particle, and a word in katakana or kanji
is rarely torn. It knows no grammar: in Chinese it may still part the two characters of a word.
"""

import re
from collections.abc import Callable, Sequence
from itertools import accumulate, combinations, pairwise

UNSPACED = ("zh", "ja")

_TOKENS = re.compile(r"[^\W\u2e80-\u9fff\uf900-\ufaff\uff66-\uff9f]+(?:['’.,:/@&?=#%+~-]+[\w'’]+)*|\S")
_CLOSING = "、。，．！？：；）」』】》〉”’…!?.,:;)]}%ーぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ々ゝゞヽヾ"
_OPENING = "（「『【《〈“‘([{"
_SENTENCE_ENDS = ".!?։。！？…"
_CLAUSE_ENDS = ",;:，、；：՝—"

LEADING = {
    "en": "and but or so because that which who when where while if than as with for from into about of to in on at by",
    "es": "y e o u pero que porque cuando donde mientras si como con para por de desde en sin sobre a",
    "fr": "et ou mais que qui parce car quand où pendant si comme avec pour par de dans sur sans à en",
    "de": "und oder aber dass weil wenn als wo während ob wie mit für von aus in auf an zu bei nach ohne über",
    "it": "e o ma che chi perché quando dove mentre se come con per di da in su senza a",
    "pt": "e ou mas que quem porque quando onde enquanto se como com para por de em sem sobre a",
    "ru": "и или но а что чтобы который потому когда где пока если как с для из в на о об от по за без к",
    "hy": "և եւ ու կամ բայց որ որը երբ որտեղ եթե ինչպես որպեսզի համար",
}
"""Words with which a phrase begins: a line may well end before one of them, and not right after it."""

CLINGING = {
    "en": "a an the my your his her its our their this these those i you he she it we they is are was were be not no",
    "es": "el la los las un una unos unas mi tu su este esta ese esa no se lo me te le nos es son muy",
    "fr": "le la les un une des du mon ma mes ton ta son sa ses ce cet cette ne je tu il elle on nous vous se est très",
    "de": "der die das den dem des ein eine einen einem einer mein dein sein ihr ich du er sie es wir nicht ist sehr",
    "it": "il lo la i gli le un uno una mio tuo suo questo questa non si mi ti ci è molto",
    "pt": "o a os as um uma uns umas meu minha seu sua este esta não se me te é muito",
    "ru": "не ни я ты он она мы вы они мой твой его её наш ваш этот эта это очень",
    "hy": "ես դու նա մենք դուք նրանք իմ քո մի այս այդ այն չի շատ",
}
"""Words that belong to the one behind them."""

_LEADING = {language: frozenset(words.split()) for language, words in LEADING.items()}
_CLINGING = {language: frozenset(words.split()) for language, words in CLINGING.items()}
_PARTICLES = "はがをにでともへやの"
_ZH_ENDS = "的了吗呢吧着过们"
_ZH_STARTS = "和但而因所如在把被是与或并"


# -- tokens ------------------------------------------------------------------------------------------------------------


def tokenize(text: str, language: str) -> tuple[str, ...]:
    """What may not be cut: words; in Chinese and Japanese single characters, with what clings to them.

    Joining the tokens with `joined` gives the text back, save for the kind and number of its blanks.
    """
    if language not in UNSPACED:
        return tuple(text.split())
    tokens: list[str] = []
    glue = False
    for part in text.split():
        for number, token in enumerate(_TOKENS.findall(part)):
            if tokens and (glue or (number and token in _CLOSING)):
                tokens[-1] += token
            else:
                tokens.append(token)
            glue = token in _OPENING
        glue = False
    return tuple(tokens)


def joined(tokens: Sequence[str], language: str) -> str:
    """The tokens as text; between Latin words inside Chinese or Japanese a blank comes back."""
    if language not in UNSPACED:
        return " ".join(tokens)
    text = ""
    for token in tokens:
        text += f" {token}" if text and _alphabetic(text[-1]) and _alphabetic(token[0]) else token
    return text


# -- borders -----------------------------------------------------------------------------------------------------------


def border(before: str, after: str, language: str) -> float:
    """How good it is to break between two tokens: above 0 at the end of a phrase, below 0 inside one."""
    if before[-1] in _SENTENCE_ENDS:
        return 0.5
    if before[-1] in _CLAUSE_ENDS:
        return 0.4
    if language in UNSPACED:
        return _border_of_characters(before[-1], after[0], language)
    one, two = (word.strip("\"'«»“”„()[]¿¡").lower() for word in (before, after))
    small = one in _LEADING.get(language, ()) or one in _CLINGING.get(language, ())
    return -0.2 if small else 0.3 if two in _LEADING.get(language, ()) else 0.0


def _border_of_characters(before: str, after: str, language: str) -> float:
    if language == "zh":
        return 0.1 if before in _ZH_ENDS or after in _ZH_STARTS else 0.0
    one, two = _script(before), _script(after)
    if one == two and one in ("kanji", "katakana"):
        return -0.3
    if one == two == "hiragana":
        return -0.1
    return 0.15 if one == "hiragana" and before in _PARTICLES else 0.05 if one == "hiragana" else -0.15


def _script(character: str) -> str:
    if "\u3041" <= character <= "\u309f":
        return "hiragana"
    if "\u30a0" <= character <= "\u30ff":
        return "katakana"
    return "kanji" if "\u3400" <= character <= "\u9fff" or character == "々" else "other"


# -- lines and runs ----------------------------------------------------------------------------------------------------


def wrap(tokens: Sequence[str], width: int, language: str) -> list[str]:
    """Lines of at most `width` characters; only a single token that is wider makes a wider line."""
    lines: list[list[str]] = []
    for token in tokens:
        if lines and len(joined([*lines[-1], token], language)) <= width:
            lines[-1].append(token)
        else:
            lines.append([token])
    return [joined(line, language) for line in lines]


def balanced(tokens: Sequence[str], width: int, language: str) -> list[str]:
    """As few lines as `wrap` makes, of about equal length, ending where phrases end; of three lines at most."""
    lines = wrap(tokens, width, language)
    if not 1 < len(lines) <= 3:
        return lines
    best, least = lines, float("inf")
    for cuts in combinations(range(1, len(tokens)), len(lines) - 1):
        split = [joined(tokens[a:b], language) for a, b in pairwise((0, *cuts, len(tokens)))]
        lengths = list(map(len, split))
        if max(lengths) > max(width, max(map(len, lines))):
            continue
        uneven = (max(lengths) - min(lengths)) / width
        cost = uneven**2 - sum(border(tokens[cut - 1], tokens[cut], language) for cut in cuts)
        if cost < least:
            best, least = split, cost
    return best


def parts(tokens: Sequence[str], count: int, language: str) -> list[Sequence[str]]:
    """`count` runs of tokens of about equal size, cut at the end of a phrase where that is near."""
    ends = [0, *accumulate(map(len, tokens))]
    size = ends[-1] / count
    cuts = [0]
    for number in range(1, count):
        last = len(tokens) - (count - number)
        choices = range(cuts[-1] + 1, last + 1)
        cost = _cost(tokens, ends, number * size, size, language)
        cuts.append(min(choices, key=cost, default=min(cuts[-1] + 1, len(tokens))))
    cuts.append(len(tokens))
    return [tokens[a:b] for a, b in pairwise(cuts)]


def _cost(
    tokens: Sequence[str], ends: Sequence[int], target: float, size: float, language: str
) -> Callable[[int], float]:
    def cost(cut: int) -> float:
        bonus = border(tokens[cut - 1], tokens[cut], language) if cut < len(tokens) else 0.0
        return abs(ends[cut] - target) - 0.6 * bonus * size

    return cost


def _alphabetic(character: str) -> bool:
    return character.isalnum() and character < "\u2e80"
