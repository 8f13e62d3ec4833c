"""Laying out cues: texts with times go in, cues that can be read come out. Pure arithmetic, the rules of the trade.

A cue has at most two lines, lasts one to seven seconds and leaves a gap of two frames. A long text is cut into cues of
about equal length, and a cue into lines, preferably at the end of a phrase (`phrases`). Where a cue is too short to be
read it grows into the pause behind it, then borrows from its neighbours of the same item, then appears up to half a
second early. Items that overlap by much, or leave each other no room, are shown together. What still cannot be met is
said; text is never dropped, and no word is ever cut, so a web address longer than a line stays one long line.

Times are whole milliseconds in here, because that is what the files hold; so rounding cannot make cues touch. It does
not know where the picture cuts, which good subtitlers respect.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, floor

from configs.pipeline import SubtitleSettings
from serve_app.phrases import balanced, parts, wrap

LEAD_MS = 500  # how early a cue may appear when it could not be read otherwise
OVERLAP_MS = 500  # items that overlap by more are shown together


@dataclass(frozen=True, slots=True)
class Cue:
    start: float  # seconds
    end: float
    lines: tuple[str, ...]


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
    """A cue under way. `need` is how long reading takes; `first` marks the first cue of its item."""

    start: int
    end: int
    need: int
    lines: tuple[str, ...]
    first: bool


@dataclass(frozen=True, slots=True)
class Layout:
    settings: SubtitleSettings
    duration: int  # ms
    gap: int  # ms

    def cues(self, items: Iterable[Item]) -> tuple[Cue, ...]:
        slots = [slot for item in self._joined(items) for slot in self._slots(item)]
        self._separate(slots)
        self._grow(slots)
        self._pull(slots)
        self._push(slots)
        return tuple(Cue(slot.start / 1000, slot.end / 1000, slot.lines) for slot in slots)

    def complaints(self, cues: Sequence[Cue], track: str) -> list[str]:
        """One sentence for each cue that is too fast or too wide."""
        wide, found = self._width(track), []
        for number, cue in enumerate(cues, 1):
            speed = sum(map(len, cue.lines)) / max(cue.end - cue.start, 0.001)
            if speed > self.settings.max_cps * 1.01:
                found.append(f"Subtitle {number} ({track}) has to be read at {speed:.0f} characters a second")
            if any(len(line) > wide for line in cue.lines):
                found.append(f"Subtitle {number} ({track}) holds a word that is longer than a line")
        return found

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
            need = self._need(sum(map(len, shown[-1][number])))
            slots.append(_Slot(_clip(start, item), _clip(end, item), need, lines, number == 0))
            at += size
        slots[0].start, slots[-1].end = item.start, item.end
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
            earliest = max(floor_, slot.start - LEAD_MS if slot.first else 0)
            slot.start = min(slot.start, max(earliest, slot.end - slot.need))
            if before:
                before.end = min(before.end, slot.start - self.gap)

    def _push(self, slots: list[_Slot]) -> None:
        """From the start: a cue that still needs more time takes it from the next one of the same item."""
        for slot, after in pairwise(slots):
            spare = 0 if after.first else max(0, after.end - after.start - after.need)
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
