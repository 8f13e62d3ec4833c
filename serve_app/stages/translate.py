"""Room 4: the same thing in another language, sentence by sentence, checked, and short enough to be said in time.

A segment is cut into sentences, each is translated once per job however often it comes, and the whole is checked. Each
sentence's best candidate is the one that fails the fewest checks. What still fails is tried again with its numbers and
terms held fast, then in smaller clauses; the version with the fewest failures wins, and those that are left are flags
of the segment and a warning in the report. Retries are rare, so they wait for the first verdict instead of running
beside it.

An answer is kept at once, so a run that ends in the middle of a window goes on at the next sentence.

Sentences are translated without their neighbours: pronouns and formality can differ from one to the next.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from configs.pipeline import TranslateSettings
from models.segment import Alternative, Segment, Sentence
from models.translation.form import shouted, visible
from models.translation.kept import Glossary
from models.translation.parts import WAYS, Part
from models.translation.quality import flags, speech_seconds
from models.translation.sentences import PROTECTED, join
from serve_app.jobs.memory import Memory
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import key

STAGE = "translation"
Engine = Callable[[Sentence], Awaitable[Sentence]]

RETRIED = ("", " with its numbers and terms held fast", " in smaller parts")
"""How a segment was translated when it took the first, the second or the third way."""

REASONS = {
    "empty": "nothing came back",
    "length": "its length is unusual",
    "repetition": "it repeats itself",
    "untranslated": "it was left in the original language",
    "numbers": "a number is missing or changed",
    "protected": "an address or a word in a foreign script is missing or changed",
    "glossary": "a term of the glossary did not come out",
}


class Once:
    """An engine that translates each text once and remembers. Wrapped around a job's engine, it is the job's cache.

    With a `memory` it remembers for the attempts to come as well, those that begin after this process has died;
    `made_from` stands for the engine's settings.
    """

    def __init__(self, engine: Engine, memory: Memory | None = None, made_from: str = "") -> None:
        self._engine = engine
        self._memory = memory
        self._made_from = made_from
        self._locks: defaultdict[Sentence, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._known: dict[Sentence, Sentence] = {}

    async def __call__(self, sentence: Sentence) -> Sentence:
        async with self._locks[sentence]:
            if sentence not in self._known:
                self._known[sentence] = await self._kept(sentence)
            return self._known[sentence]

    async def _kept(self, sentence: Sentence) -> Sentence:
        if self._memory is None:
            return await self._engine(sentence)
        asked = key(self._made_from, sentence)
        known = _said(sentence, self._memory.get(asked))
        if known is None:
            known = await self._engine(sentence)
            keeping = asyncio.to_thread(self._memory.keep, asked, [known.candidates, known.scores])
            await asyncio.shield(keeping)  # what is paused now is not to be asked again later
        return known


def _said(sentence: Sentence, kept: Any) -> Sentence | None:
    """`sentence` with the candidates and scores that were kept; None when another version wrote them."""
    try:
        candidates, scores = kept
        return replace(sentence, candidates=tuple(candidates), scores=tuple(scores)) if candidates else None
    except (TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Draft:
    """A translation of a whole segment, or of a part; `score` is the mean log probability of its tokens, if known."""

    text: str
    score: float | None = None
    flags: tuple[str, ...] = ()


async def translate(
    segments: Sequence[Segment],
    *,
    source: str,
    target: str,
    translate: Engine,
    settings: TranslateSettings,
    report: Report,
) -> list[Segment]:
    """The segments with translation, score, alternatives, condensed and flags filled, in order.

    The same language gives the text back, and white space alone comes out untouched.

    Raises what the engine raises: ArtifactMissing for a pair without a model, StageFailed when it cannot work.
    """
    engine = translate if isinstance(translate, Once) else Once(translate)
    glossary = Glossary(settings.glossary.get(f"{source}-{target}", {}))
    desk = _Desk(source, target, engine, settings, report, glossary)
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
    glossary: Glossary

    async def segment(self, segment: Segment, slot: float) -> Segment:
        text = self._visible(segment)
        if not text:
            done = replace(segment, translation="" if segment.text.strip() else segment.text)
        elif self.source == self.target:
            done = replace(segment, translation=text)
        else:
            done = self._chosen(segment, await self._drafts(segment, text), slot)
            self._tell(done)
        self.report.advance(STAGE, segment.duration)
        return done

    def _visible(self, segment: Segment) -> str:
        text, names = visible(segment.text)
        if names:
            left = f"control characters of segment {segment.id} were left out: {', '.join(names)}"
            self._log(segment, left, "info", names)
        return text.strip()

    def _chosen(self, segment: Segment, drafts: list[Draft], slot: float) -> Segment:
        best = min(drafts, key=lambda draft: len(draft.flags))
        chosen = self._fitting(drafts, best, slot)
        return replace(
            segment,
            translation=chosen.text,
            score=chosen.score,
            alternatives=self._others(drafts, chosen),
            condensed=chosen != best,
            flags=chosen.flags,
        )

    def _others(self, drafts: list[Draft], chosen: Draft) -> tuple[Alternative, ...]:
        """The drafts that are not `chosen`, the ones with the fewest failures first."""
        ranked = sorted(drafts, key=lambda draft: len(draft.flags))
        others = {draft.text: draft for draft in reversed(ranked) if draft.text not in ("", chosen.text)}
        return tuple(
            Alternative(draft.text, round(speech_seconds(draft.text, self.target), 2), draft.score, draft.flags)
            for draft in [*reversed(others.values())][: self.settings.alternatives]
        )

    async def _drafts(self, segment: Segment, text: str) -> list[Draft]:
        """Drafts in order of preference; the search ends with the first way that gives a faultless one."""
        drafts: list[Draft] = []
        tried: list[list[str]] = []
        loud = shouted(PROTECTED.sub("", text))
        for way, how in zip(WAYS, RETRIED, strict=True):
            parts = way(text, self.source, self.glossary, loud)
            asked = [part.asked for part in parts]
            if asked in tried:
                continue
            if tried:
                self._log(segment, f"segment {segment.id} was translated again{how}", "info", drafts[0].flags)
            tried.append(asked)
            drafts += [self._checked(text, said) for said in await self._said(parts)]
            if any(not draft.flags for draft in drafts):
                break
        return drafts

    async def _said(self, parts: list[Part]) -> list[Draft]:
        """The parts translated and joined: once with each part's best candidate, once with the second, and so on."""
        answers = await asyncio.gather(*(self._candidates(part) for part in parts))
        ranks = range(max(map(len, answers), default=0))
        return [self._joined([answer[min(rank, len(answer) - 1)] for answer in answers]) for rank in ranks]

    def _joined(self, drafts: list[Draft]) -> Draft:
        scored = [(draft.score, len(draft.text)) for draft in drafts if draft.score is not None]
        letters = sum(length for _, length in scored)
        score = round(sum(score * length for score, length in scored) / letters, 4) if letters else None
        return Draft(join([draft.text for draft in drafts], self.target), score)

    async def _candidates(self, part: Part) -> list[Draft]:
        """Translations of one part, those that fail the fewest checks first, else in the engine's order."""
        if part.fixed:
            return [Draft(part.answer(part.asked, self.target))]
        done = await self.engine(Sentence(part.asked, self.source, self.target))
        scores = done.scores or (None,) * len(done.candidates)
        pairs = sorted(zip(done.candidates, scores, strict=True), key=lambda pair: not part.whole(pair[0]))
        drafts = [Draft(part.answer(said, self.target), score) for said, score in pairs]
        return sorted(drafts, key=lambda draft: len(self._checked(part.text, draft).flags))

    def _checked(self, text: str, draft: Draft) -> Draft:
        ratio, repeats = self.settings.max_length_ratio, self.settings.max_repeats
        failed = flags(text, draft.text, self.source, self.target, ratio, repeats, self.glossary)
        return replace(draft, flags=failed)

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

    def _log(self, segment: Segment, message: str, level: str, failed: Sequence[str]) -> None:
        self.report.log(STAGE, message, level=level, chunk_id=str(segment.id), flags=list(failed))
