"""A clip is listened to before it is kept, and where it is bad another engine says it.

Engines check their own clips, and the tts shelf goes on to the next where one fails. What they cannot see shows here:
nothing is left of a clip once its silence is trimmed, or a recogniser does not find its words in it. Then the engine is
avoided for this sentence; if no other can say it better, what there is stays, and is a fault in the report. Each reason
is kept with the segment, whoever found it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from configs.pipeline import SpeakSettings
from models.errors import StageFailed
from models.segment import Segment, Speech, Utterance
from models.tts.plausible import require_plausible
from serve_app.fitting import Fitting, Take
from serve_app.media import audio

Say = Callable[[Utterance], Awaitable[Speech]]
Understand = Callable[[Speech, str], Awaitable[float | None]]


@dataclass(frozen=True, slots=True)
class Judge:
    """`understand` gives the share of a text's words that it finds in a clip; below `min_match` a clip is bad."""

    understand: Understand
    min_match: float


@dataclass(slots=True)
class Retakes:
    """One segment on its way to a clip. `reasons` are why it took more than one engine, or more than one try."""

    say: Say
    settings: SpeakSettings
    judge: Judge | None = None
    reasons: list[str] = field(default_factory=list)

    async def best(self, segment: Segment, utterance: Utterance, slot: float) -> tuple[Take, float | None]:
        """The clip, and the share of its words that was recognised. Raises StageFailed when no engine gave any."""
        fitting = Fitting(self._record, self.settings)
        take = await fitting.best(segment, utterance, slot)
        match = await self._match(take)
        if self.judge is None or match is None or match >= self.judge.min_match:
            return take, match
        self._remember(f"{_name(take.speech)} was not understood: {match:.0%} of its words")
        try:
            other = await fitting.best(segment, replace(utterance, avoid=(_engine(take.speech),)), slot)
        except StageFailed:
            return take, match
        better = await self._match(other)
        return (other, better) if better is not None and better > match else (take, match)

    async def _match(self, take: Take) -> float | None:
        try:
            return None if self.judge is None else await self.judge.understand(take.speech, take.text)
        except StageFailed:  # a recogniser that is out of order says nothing about a voice
            return None

    async def _record(self, utterance: Utterance) -> Speech:
        speech = await self._asked(utterance)
        try:
            return await asyncio.to_thread(polish, speech, utterance, self.settings)
        except StageFailed as error:
            self._remember(str(error).removeprefix("tts: "))
            return await self._elsewhere(utterance, speech, error)

    async def _elsewhere(self, utterance: Utterance, bad: Speech, error: StageFailed) -> Speech:
        avoiding = replace(utterance, avoid=(*utterance.avoid, _engine(bad)))
        try:
            speech = await self._asked(avoiding)
        except StageFailed:
            raise error from None
        if _engine(speech) == _engine(bad):  # there is no other
            raise error
        return await asyncio.to_thread(polish, speech, utterance, self.settings)

    async def _asked(self, utterance: Utterance) -> Speech:
        speech = await self.say(utterance)
        for reason in (*speech.failed, *speech.tried):
            self._remember(reason)
        return speech

    def _remember(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons.append(reason)


def polish(speech: Speech, utterance: Utterance, settings: SpeakSettings) -> Speech:
    """Silence trimmed, loudness and peaks as configured; raises StageFailed when too little is left."""
    sound = audio.trim(speech.audio, speech.sample_rate, settings.silence_db)
    trimmed = require_plausible(replace(speech, audio=sound), utterance)
    level = audio.normalize(trimmed.audio, speech.sample_rate, settings.lufs, settings.peak_db)
    return replace(speech, audio=level)


def _engine(speech: Speech) -> str:
    return speech.voice.partition(":")[0]


def _name(speech: Speech) -> str:
    return speech.voice.replace(":", " voice ")
