"""Laying out cues: texts with times go in, cues that can be read come out. Pure arithmetic, the rules of the trade.

A cue has at most two lines, lasts one to seven seconds and leaves a gap of two frames. A long text is cut into cues of
about equal length, and a cue into lines, preferably at the end of a phrase (`phrases`). Where a cue is too short to be
read it grows into the pause behind it, then borrows from its neighbours of the same item, then appears up to half a
second early. Items that overlap by much, or leave each other no room, are shown together. What still cannot be met is
said; text is never dropped, and no word is ever cut, so a web address longer than a line stays one long line. That a
cue lasts its second comes before that it can be read in time, and for that alone the next item may begin up to a
quarter of a second late.

Times are whole milliseconds in here, because that is what the files hold; so rounding cannot make cues touch. It does
not know where the picture cuts, which good subtitlers respect.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from math import ceil, floor

from configs.pipeline import SubtitleSettings
from serve_app.phrases import balanced, parts, wrap

LEAD_MS = 500  # how early a cue may appear when it could not be read otherwise
LAG_MS = 250  # how late, when the one before would be gone too soon otherwise
OVERLAP_MS = 500  # items that overlap by more are shown together
TOLERANCE_S = 0.0005  # what is kept to the millisecond is kept


@dataclass(frozen=True, slots=True)
class Cue:
    start: float  # seconds
    end: float
    lines: tuple[str, ...]
    above: int = 0  # how many of the lines are of the original, above its translation


@dataclass(frozen=True, slots=True)
class Text:
    """A text to show, as tokens, and when each stretch of its characters is heard: (first, end, start ms, end ms)."""

    tokens: tuple[str, ...]
    heard: tuple[tuple[int, int, float, float], ...]
    language: str


@dataclass(frozen=True, slots=True)
class Item:
    """What is shown from `start` to `end` (ms): one text, or the original above its translation."""

    start: int
    end: int
    texts: tuple[Text, ...]


@dataclass(slots=True)
class _Slot:
    """A cue under way. `need` is how long reading takes; the `first` of its item may begin at `earliest`."""

    start: int
    end: int
    need: int
    lines: tuple[str, ...]
    above: int
    first: bool
    earliest: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    settings: SubtitleSettings
    duration: int  # ms
    gap: int  # ms

    def cues(self, items: Iterable[Item]) -> tuple[Cue, ...]:
        slots = [slot for item in self._joined(items) for slot in self._slots(item)]
        self._separate(slots)
        reading, least = [slot.need for slot in slots], [self._need(0)] * len(slots)
        for needs, lag in ((least, LAG_MS), (reading, 0)):
            for slot, need in zip(slots, needs, strict=True):
                slot.need = need
            self._grow(slots)
            self._pull(slots)
            self._push(slots, lag)
        return tuple(Cue(slot.start / 1000, slot.end / 1000, slot.lines, slot.above) for slot in slots)

    def complaints(self, cues: Sequence[Cue], track: str, above: str = "") -> list[str]:
        """One sentence for each rule that a cue breaks. The language is `track`, of lines above it `above`."""
        name = f"{above} and {track}" if above else track
        pairs = enumerate(zip_longest(cues, cues[1:]), 1)
        broken = ((number, self._broken(cue, after, (above, track))) for number, (cue, after) in pairs)
        return [f"Subtitle {number} ({name}) {rule}" for number, rules in broken for rule in rules]

    def _broken(self, cue: Cue, after: Cue | None, languages: tuple[str, str]) -> Iterator[str]:
        rules, lasts = self.settings, cue.end - cue.start
        texts = cue.lines[: cue.above], cue.lines[cue.above :]
        speed = sum(map(len, texts[-1])) / max(lasts, 0.001)
        if speed > rules.max_cps * 1.01:
            yield f"has to be read at {speed:.0f} characters a second"
        if lasts < min(rules.min_s, self.duration / 1000) - TOLERANCE_S:
            yield f"is shown for {lasts:.3g} s, and {rules.min_s:g} s are the least"
        if lasts > rules.max_s + TOLERANCE_S:
            yield f"is shown for {lasts:.3g} s, and {rules.max_s:g} s are the most"
        if after and after.start - cue.end < self.gap / 1000 - TOLERANCE_S:
            yield f"ends {1000 * (after.start - cue.end):.0f} ms before the next one, and {self.gap} ms are the least"
        if (lines := max(map(len, texts))) > rules.max_lines:
            yield f"has {lines} lines"
        widths = map(self._width, languages)
        if any(len(line) > width for text, width in zip(texts, widths, strict=True) for line in text):
            yield "holds a word that is longer than a line"

    # -- which items go together ---------------------------------------------------------------------------------------

    def _joined(self, items: Iterable[Item]) -> list[Item]:
        """In order and inside the video; an item that overlaps the next, or has no room before it, is shown with it."""
        result: list[Item] = []
        for item in sorted(map(self._inside, items), key=lambda item: item.start):
            if result and self._belong(result[-1], item):
                result[-1] = _together(result[-1], item)
            else:
                result.append(item)
        return result

    def _inside(self, item: Item) -> Item:
        least = min(self.duration, floor(self.settings.min_s * 1000))
        start = max(0, min(item.start, self.duration - least))
        return replace(item, start=start, end=max(start + 1, min(item.end, self.duration)))

    def _belong(self, one: Item, two: Item) -> bool:
        if two.start < one.end - OVERLAP_MS:
            return True
        tight = two.start - self.gap - one.start < self.settings.min_s * 1000
        return tight and (two.start < one.end or self._chunks(_together(one, two)) == 1)

    # -- how an item is cut --------------------------------------------------------------------------------------------

    def _slots(self, item: Item) -> list[_Slot]:
        """One slot a chunk; the last text of the item, the translation if there are two, tells the time."""
        count, timing = self._chunks(item), item.texts[-1]
        shown = [[self._lines(part, text) for part in parts(text.tokens, count, text.language)] for text in item.texts]
        slots, at = [], 0
        for number, part in enumerate(parts(timing.tokens, count, timing.language)):
            size = sum(map(len, part))
            start, end = _when(timing, at, early=True), _when(timing, at + size, early=False)
            lines = tuple(line for chunks in shown for line in chunks[number])
            own = shown[-1][number]
            need, above = self._need(sum(map(len, own))), len(lines) - len(own)
            slots.append(_Slot(_clip(start, item), _clip(end, item), need, lines, above, number == 0))
            at += size
        slots[0].start, slots[0].earliest, slots[-1].end = item.start, item.start - LEAD_MS, item.end
        return slots

    def _chunks(self, item: Item) -> int:
        """The fewest cues whose lines fit and that are short enough; no more than there are words."""
        most = max(1, len(item.texts[-1].tokens))
        least = min(most, ceil((item.end - item.start) / (self.settings.max_s * 1000)))
        return next((count for count in range(max(1, least), most) if self._fits(item, count)), most)

    def _fits(self, item: Item, count: int) -> bool:
        return all(
            len(wrap(part, self._width(text.language), text.language)) <= self.settings.max_lines
            for text in item.texts
            for part in parts(text.tokens, count, text.language)
        )

    def _lines(self, tokens: Sequence[str], text: Text) -> list[str]:
        return balanced(tokens, self._width(text.language), text.language)

    def _width(self, language: str) -> int:
        return self.settings.line_chars.get(language, self.settings.line_chars.get("default", 42))

    def _need(self, characters: int) -> int:
        wanted = max(self.settings.min_s, characters / self.settings.max_cps)
        return ceil(min(wanted, self.settings.max_s) * 1000)

    # -- when each cue is shown ----------------------------------------------------------------------------------------

    def _separate(self, slots: list[_Slot]) -> None:
        """At least a gap between cues; where the words leave none, the earlier cue gives way."""
        for slot, after in pairwise(slots):
            after.start = max(after.start, slot.start + self.gap + 1)
            after.end = max(after.end, after.start + 1)
            slot.end = min(slot.end, after.start - self.gap)

    def _grow(self, slots: list[_Slot]) -> None:
        """Into the pause behind a cue; and no cue stays longer than allowed."""
        limits = [*(after.start - self.gap for after in slots[1:]), self.duration]
        for slot, limit in zip(slots, limits, strict=False):
            slot.end = max(slot.end, min(slot.start + slot.need, limit))
            slot.end = min(slot.end, slot.start + floor(self.settings.max_s * 1000))

    def _pull(self, slots: list[_Slot]) -> None:
        """From the end: a cue that needs more time begins earlier, as far as the one before it can spare that."""
        for number in range(len(slots) - 1, -1, -1):
            slot, before = slots[number], slots[number - 1] if number else None
            floor_ = before.start + min(before.need, before.end - before.start) + self.gap if before else 0
            earliest = max(floor_, slot.earliest)
            slot.start = min(slot.start, max(earliest, slot.end - slot.need))
            if before:
                before.end = min(before.end, slot.start - self.gap)

    def _push(self, slots: list[_Slot], lag: int) -> None:
        """From the start: a cue that still needs more time takes it from the next, of another item `lag` at most."""
        for slot, after in pairwise(slots):
            spare = max(0, after.end - after.start - after.need)
            spare = min(spare, lag) if after.first else spare
            lack = max(0, slot.start + slot.need - slot.end)
            room = after.start - self.gap - slot.end
            after.start += min(spare, max(0, lack - room))
            slot.end = max(slot.end, min(slot.start + slot.need, after.start - self.gap))


def _when(text: Text, at: int, early: bool) -> int:
    """The time (ms) at which the character `at` is heard; `early`: as the first of a cue, not as the end of one."""
    if early:
        number = bisect_right([first for first, _, _, _ in text.heard], at) - 1
    else:
        number = sum(1 for _, end, _, _ in text.heard if end < at)
    first, end, start, stop = text.heard[max(0, min(number, len(text.heard) - 1))]
    share = (at - first) / (end - first) if end > first else 0.0
    return round(start + (stop - start) * min(1.0, max(0.0, share)))


def _clip(time: int, item: Item) -> int:
    return max(item.start, min(time, item.end))


def _together(one: Item, two: Item) -> Item:
    """Both in one, the first one's text first; times of characters are kept."""
    texts = []
    for a, b in zip(one.texts, two.texts, strict=True):
        size = sum(map(len, a.tokens))
        later = tuple((first + size, end + size, start, stop) for first, end, start, stop in b.heard)
        texts.append(Text((*a.tokens, *b.tokens), (*a.heard, *later), a.language))
    return Item(one.start, max(one.end, two.end), tuple(texts))
