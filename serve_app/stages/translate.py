"""Room 4: the same thing in another language, sentence by sentence, checked, and short enough to be said in time.

A segment is cut into sentences, each is translated once per job however often it comes, and the whole is checked. What
fails is tried again around its addresses and in smaller clauses; the version with the fewest failures wins, and those
that are left are flags of the segment and a warning in the report. Retries are rare, so they wait for the first
verdict instead of running beside it.

Sentences are translated without their neighbours: pronouns and formality can differ from one to the next.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from configs.pipeline import TranslateSettings
from models.segment import Segment, Sentence
from models.translation.quality import flags, speech_seconds
from models.translation.sentences import around, clauses, fixed, join, sentences
from serve_app.jobs.report import Report

STAGE = "translation"
Engine = Callable[[Sentence], Awaitable[Sentence]]
Cut = Callable[[str], list[str]]

WAYS: tuple[Cut, ...] = (
    sentences,
    lambda text: [part for sentence in sentences(text) for part in around(sentence)],
    lambda text: [part for piece in around(text) for part in clauses(piece)],
)
"""How text is cut, from the gentlest way to the one that is the least likely to fail."""

REASONS = {
    "empty": "nothing came back",
    "length": "its length is unusual",
    "repetition": "it repeats itself",
    "untranslated": "it was left in the original language",
    "numbers": "a number is missing or changed",
    "protected": "an address is missing or changed",
}


class Once:
    """An engine that translates each text once and remembers. Wrapped around a job's engine, it is the job's cache."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._locks: defaultdict[Sentence, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._known: dict[Sentence, Sentence] = {}

    async def __call__(self, sentence: Sentence) -> Sentence:
        async with self._locks[sentence]:
            if sentence not in self._known:
                self._known[sentence] = await self._engine(sentence)
            return self._known[sentence]


@dataclass(frozen=True, slots=True)
class Draft:
    text: str
    flags: tuple[str, ...]


async def translate(
    segments: Sequence[Segment],
    *,
    source: str,
    target: str,
    translate: Engine,
    settings: TranslateSettings,
    report: Report,
) -> list[Segment]:
    """The segments with translation, condensed and flags filled, in order. The same language gives the text back.

    Raises what the engine raises: ArtifactMissing for a pair without a model, StageFailed when it cannot work.
    """
    engine = translate if isinstance(translate, Once) else Once(translate)
    desk = _Desk(source, target, engine, settings, report)
    tasks = [asyncio.create_task(desk.segment(*work)) for work in zip(segments, _slots(segments), strict=True)]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _slots(segments: Sequence[Segment]) -> list[float]:
    """Seconds that each segment's speech may take: to the start of the next; its own duration at the end."""
    gaps = [max(0.0, after.start - before.end) for before, after in pairwise(segments)]
    return [segment.duration + gap for segment, gap in zip(segments, [*gaps, 0.0], strict=False)]


@dataclass(frozen=True, slots=True)
class _Desk:
    source: str
    target: str
    engine: Engine
    settings: TranslateSettings
    report: Report

    async def segment(self, segment: Segment, slot: float) -> Segment:
        text = segment.text.strip()
        if self.source == self.target or not text:
            done = replace(segment, translation=text)
        else:
            drafts = await self._drafts(segment, text)
            best = min(drafts, key=lambda draft: len(draft.flags))
            chosen = self._fitting(drafts, best, slot)
            done = replace(segment, translation=chosen.text, condensed=chosen != best, flags=chosen.flags)
            self._tell(done)
        self.report.advance(STAGE, segment.duration)
        return done

    async def _drafts(self, segment: Segment, text: str) -> list[Draft]:
        """Drafts in order of preference; the search ends with the first way that gives a faultless one."""
        drafts: list[Draft] = []
        tried: list[list[str]] = []
        for way in WAYS:
            parts = way(text)
            if parts in tried:
                continue
            tried.append(parts)
            drafts += [self._check(text, said) for said in await self._said(parts)]
            if any(not draft.flags for draft in drafts):
                break
        if len(tried) > 1 and any(not draft.flags for draft in drafts):
            self._log(segment, f"segment {segment.id} was translated again in smaller parts", "info", drafts[0].flags)
        return drafts

    async def _said(self, parts: list[str]) -> list[str]:
        """The parts translated and joined: once with each part's best candidate, once with the second, and so on."""
        answers = await asyncio.gather(*(self._candidates(part) for part in parts))
        ranks = range(max(map(len, answers), default=0))
        return [join([answer[min(rank, len(answer) - 1)] for answer in answers], self.target) for rank in ranks]

    async def _candidates(self, part: str) -> tuple[str, ...]:
        if fixed(part):
            return (part,)
        return (await self.engine(Sentence(part, self.source, self.target))).candidates

    def _check(self, text: str, said: str) -> Draft:
        ratio, repeats = self.settings.max_length_ratio, self.settings.max_repeats
        return Draft(said, flags(text, said, self.source, self.target, max_ratio=ratio, max_repeats=repeats))

    def _fitting(self, drafts: list[Draft], best: Draft, slot: float) -> Draft:
        """`best` if it can be said within the slot, else the first equal that can, else the shortest equal."""
        room = slot * self.settings.max_tempo
        equals = [draft for draft in drafts if set(draft.flags) <= set(best.flags)]
        if speech_seconds(best.text, self.target) <= room:
            return best
        fits = (draft for draft in equals if speech_seconds(draft.text, self.target) <= room)
        return next(fits, min(equals, key=lambda draft: len(draft.text)))

    def _tell(self, segment: Segment) -> None:
        if segment.flags:
            reasons = " and ".join(REASONS[flag] for flag in segment.flags)
            self._log(segment, f"check the translation of segment {segment.id}: {reasons}", "warning", segment.flags)

    def _log(self, segment: Segment, message: str, level: str, failed: tuple[str, ...]) -> None:
        self.report.log(STAGE, message, level=level, chunk_id=str(segment.id), flags=list(failed))
