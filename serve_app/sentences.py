"""Words → segments: one sentence each, at the times of its words.

A segment is what is translated and spoken in one breath, so it should be a sentence; and it is what must land on the
picture, so it should be short and never bridge a pause. Where both cannot be had, time wins: a pause always ends a
segment, and a sentence that is too long is cut at its best comma or pause. A recogniser splits words where it likes
(" 10" ":45", " 3" ".5", " don" "'t"), so pieces are first glued back into what a reader calls a word; text is only ever
joined, never rewritten, which is why numbers survive.

What it does not know: grammar. A full stop after an abbreviation that also ends its sentence is told by the capital
letter that follows; where nothing is punctuated, only pauses and the longest allowed segment cut. A real utterance
shorter than the shortest wanted segment joins a neighbour only when no pause lies between; otherwise it stays alone.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from statistics import fmean

from configs.pipeline import RecognizeSettings
from models.segment import Segment, Span, Word

STOPS = ".?!…。？！｡։؟۔।॥።"
"""Characters that end a sentence. Armenian ՞ and ՜ stand inside a word, so they end none."""

CLOSERS = "\"'”’»)]}」』）】"
BREATHS = ",;:，；：、،՝—–"
"""Characters after which a long sentence may be cut."""

TITLES = frozenset(
    {"mr", "mrs", "ms", "dr", "prof", "st", "gen", "col", "capt", "lt", "sgt", "vol", "approx"}  # English
    | {"nr", "hr", "fr", "sra", "srta", "mme", "mlle", "dott", "avv", "ул", "им", "проф", "д"}  # other languages
)
"""What is followed by a name or a number: a full stop behind it ends no sentence."""

SHORTENED = frozenset({"etc", "vs", "inc", "ltd", "co", "no", "jr", "sr", "bzw", "usw", "ca", "г", "т", "др", "пр"})
"""What ends a sentence only when a capital letter follows."""

MIN_END_S = 0.02
"""A segment is never shorter: alignment may give a word no duration at all."""

JOIN_PAUSE_S = 0.3
"""Across a shorter pause than this, a very short sentence belongs to its neighbour."""

Group = list[Word]


def segments(
    words: Iterable[Word], language: str, settings: RecognizeSettings, first_id: int, within: Span
) -> list[Segment]:
    """Segments in order, without overlap, inside `within`, numbered from `first_id`.

    Together they hold every word that can be said. `words` ascend in time. `language` is an ISO-639-1 code. Each
    segment is at most `max_segment_s` long and holds no pause of `max_pause_s`; punctuation that belongs to no word in
    reach is left out.
    """
    groups: list[Group] = []
    for phrase in _phrases(words, settings.max_pause_s):
        fitting = [part for one in _sentences(_glued(phrase), language) for part in _fitting(one, settings)]
        groups += [group for group in map(_flat, _joined(fitting, settings)) if _sayable(group)]
    made: list[Segment] = []
    for index, group in enumerate(groups):
        start = made[-1].end if made else within.start
        free = Span(start, within.end - MIN_END_S * (len(groups) - index - 1))  # those that follow need room as well
        made.append(_segment(group, first_id + index, free, settings))
    return made


def _segment(words: Group, number: int, free: Span, settings: RecognizeSettings) -> Segment:
    """The words as a segment inside `free`; alignment may give them no duration, or put them on the very end."""
    start = max(free.start, min(words[0].start, free.end - MIN_END_S))
    end = min(max(words[-1].end, start + MIN_END_S), start + settings.max_segment_s, max(free.end, start + MIN_END_S))
    confidence = fmean(word.probability for word in words)
    text = "".join(word.text for word in words).strip()
    return Segment(number, start, end, text, tuple(words), confidence)


def _phrases(words: Iterable[Word], max_pause_s: float) -> list[Group]:
    """Runs of words without a long pause."""
    phrases: list[Group] = []
    for word in words:
        if phrases and word.start - phrases[-1][-1].end < max_pause_s:
            phrases[-1].append(word)
        else:
            phrases.append([word])
    return phrases


def _glued(words: Iterable[Word]) -> list[Group]:
    """Pieces of one written word together: what follows without a space, except in scripts that have none."""
    glued: list[Group] = []
    for word in words:
        if glued and _continues(glued[-1][-1].text, word.text):
            glued[-1].append(word)
        else:
            glued.append([word])
    return glued


def _continues(before: str, text: str) -> bool:
    """Whether `text` is still the same written word as `before`."""
    if text[:1].isspace() or before[-1:].isspace() or not before:
        return False
    if spaceless(before[-1]) or spaceless(text[0]):
        # in such scripts every piece is a word; only marks and digits hang together
        return text[0] in STOPS + BREATHS + CLOSERS
    return True


def spaceless(character: str) -> bool:
    """Whether the script of `character` is written without spaces: Chinese, Japanese, Thai, Lao, Khmer, Burmese."""
    name = unicodedata.name(character, "")
    return name.startswith(
        ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "FULLWIDTH", "THAI", "LAO", "KHMER", "MYANMAR")
    )


def _sentences(phrase: Sequence[Group], language: str) -> list[list[Group]]:
    sentences: list[list[Group]] = [[]]
    for word, following in zip(phrase, [*phrase[1:], None], strict=True):
        sentences[-1].append(word)
        if following and _ends(_text(word), _text(following), language):
            sentences.append([])
    return sentences


def _ends(text: str, following: str, language: str) -> bool:
    """Whether a sentence ends between the two written words."""
    bare = text.strip().rstrip(CLOSERS)
    if bare.endswith(":") and language == "hy":
        return True  # typed for the Armenian full stop, which few keyboards have
    if not bare or bare[-1] not in STOPS:
        return False
    if bare[-1] != "." or bare.endswith(".."):
        return not following.strip()[:1].islower()  # "Why?" he asked … and then went on
    return not _abbreviated(bare.rstrip(".").lstrip("\"'“«([{¿¡"), following.strip(), language)


def _abbreviated(stem: str, following: str, language: str) -> bool:
    """Whether the full stop behind `stem` belongs to it rather than to the sentence."""
    initial = len(stem) == 1 and stem.isupper() and stem not in "IЯ"
    dotted = re.fullmatch(r"\w{1,2}(\.\w{1,2})+", stem) is not None
    if stem.lower() in TITLES or initial or (dotted and stem.isupper() and not stem[0].isdigit()):
        return True
    if stem.isdigit():
        return language == "de" and len(stem) <= 2  # ordinals: am 3. Oktober
    goes_on = following[:1].islower() or following[:1].isdigit()
    return goes_on and (dotted or stem.lower() in SHORTENED)


def _fitting(sentence: list[Group], settings: RecognizeSettings) -> list[list[Group]]:
    """The sentence in parts of at most `max_segment_s`, cut where it breathes."""
    if len(sentence) < 2 or sentence[-1][-1].end - sentence[0][0].start <= settings.max_segment_s:
        return [sentence]
    cut = max(range(1, len(sentence)), key=lambda at: _ease(sentence, at, settings.min_segment_s))
    return [*_fitting(sentence[:cut], settings), *_fitting(sentence[cut:], settings)]


def _ease(sentence: Sequence[Group], at: int, min_s: float) -> float:
    """How well the sentence can be cut before word `at`: pauses and commas help, slivers and lopsided parts do not."""
    before, after = sentence[at - 1], sentence[at]
    left = before[-1].end - sentence[0][0].start
    right = sentence[-1][-1].end - after[0].start
    pause = min(1.0, max(0.0, after[0].start - before[-1].end))
    comma = _text(before).rstrip(CLOSERS)[-1:] in tuple(BREATHS)
    balance = min(left, right) / max(left + right, MIN_END_S)
    return 2 * pause + comma + 2 * balance - 4 * (min(left, right) < min_s)


def _joined(sentences: Sequence[list[Group]], settings: RecognizeSettings) -> list[list[Group]]:
    """Very short sentences join what follows, the last one what stands before; and marks join what they touch."""
    joined: list[list[Group]] = []
    for sentence in sentences:
        last = sentence is sentences[-1]
        if joined and _belong(joined[-1], sentence, last, settings):
            joined[-1] = joined[-1] + sentence
        else:
            joined.append(sentence)
    return joined


def _belong(one: list[Group], two: list[Group], last: bool, settings: RecognizeSettings) -> bool:
    together = two[-1][-1].end - one[0][0].start
    if not _sayable(_flat(one)) or not _sayable(_flat(two)):
        return together <= settings.max_segment_s
    if together > settings.max_segment_s / 2:
        return False  # a short remark behind a long sentence would only blur both
    touch = two[0][0].start - one[-1][-1].end < JOIN_PAUSE_S
    short = _length(one) < settings.min_segment_s or (last and _length(two) < settings.min_segment_s)
    return touch and short


def _length(sentence: list[Group]) -> float:
    return sentence[-1][-1].end - sentence[0][0].start


def _flat(sentence: list[Group]) -> Group:
    return [word for written in sentence for word in written]


def _text(written: Group) -> str:
    return "".join(word.text for word in written)


def _sayable(words: Group) -> bool:
    return any(character.isalnum() for word in words for character in word.text)
