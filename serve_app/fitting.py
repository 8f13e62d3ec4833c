"""How a sentence is made to last as long as its original: by its words and by its voice, before anyone stretches it.

A voice that speaks faster sounds better than one that is played faster, and one that takes its time better than a
sentence that ends while the lips still move. No engine can be asked how long it will take, and none takes the rate
that it is asked for quite at its word: Piper, asked for 1.25, speaks 1.13 times as fast. So a clip is measured, the
voice is asked again for what is missing, and what is asked is corrected by what came; the clip whose length is nearest
wins. It costs up to `asks` calls a sentence, and none for one that is near enough as it comes.

Rates are bounded by what was measured, not by what was asked. Where even the greatest is too slow for the slot, the
means is other words: the translations that were searched anyway, those that pass the same checks and are expected to be
shorter, by how long this voice took for the first. They are spoken as well, and the shortest that was measured wins.

It does not know a voice's breath: a sentence of two halves is paced as one.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from configs.pipeline import SpeakSettings
from models.errors import StageFailed
from models.segment import Segment, Speech, Utterance
from models.translation.quality import speech_seconds

SLOWEST, FASTEST = 0.6, 1.8
"""What is asked at most of a voice that does less than it is asked."""

Record = Callable[[Utterance], Awaitable[Speech]]


@dataclass(frozen=True, slots=True)
class Take:
    """A text, and how it was spoken."""

    text: str
    speech: Speech

    @property
    def seconds(self) -> float:
        return self.speech.duration


@dataclass(frozen=True, slots=True)
class Fitting:
    """`record` gives a finished clip: trimmed, at its loudness, or raises StageFailed."""

    record: Record
    settings: SpeakSettings

    async def best(self, segment: Segment, utterance: Utterance, slot: float) -> Take:
        """The segment's translation, or a shorter one where that does not fit `slot` seconds at any rate.

        Raises what `record` raises for the translation; another that cannot be spoken is left out.
        """
        take = await self.paced(utterance, segment.duration)
        if take.seconds <= slot:
            return take
        for text in self._shorter(segment, utterance.language, take, slot):
            try:
                other = await self.paced(replace(utterance, text=text), segment.duration)
            except StageFailed:
                continue
            take = min(take, other, key=lambda one: one.seconds)
            if take.seconds <= slot:
                break
        return take

    async def paced(self, utterance: Utterance, wanted: float) -> Take:
        """The utterance as near to `wanted` seconds as its voice comes within the bounds of rates."""
        takes = [await self.record(utterance)]
        own = takes[0].duration
        aim = min(self.settings.max_rate, max(self.settings.min_rate, own / max(wanted, 0.1)))
        rate = aim
        while len(takes) < self.settings.asks and abs(takes[-1].duration - own / aim) > self.settings.close_s:
            try:
                clip = await self.record(replace(utterance, rate=rate))
            except StageFailed:
                break
            if clip.voice != takes[0].voice:  # another engine stepped in: half a job in its voice is no help
                break
            takes.append(clip)
            rate = min(FASTEST, max(SLOWEST, rate * aim * clip.duration / own))
        return Take(utterance.text, min(takes, key=lambda clip: abs(clip.duration - own / aim)))

    def _shorter(self, segment: Segment, language: str, take: Take, slot: float) -> list[str]:
        """Other translations that may replace the first: those that should fit, the best first, then the shortest."""
        if "translation" in segment.edited:  # its owner chose the words
            return []
        pace = take.seconds / max(speech_seconds(take.text, language), 0.1)
        equals = [other for other in segment.alternatives if set(other.flags) <= set(segment.flags)]
        expected = {other.text: pace * other.seconds for other in equals if pace * other.seconds < take.seconds}
        fitting = [text for text, seconds in expected.items() if seconds <= slot]
        shortest = sorted(expected, key=expected.__getitem__)
        return [*dict.fromkeys([*fitting, *shortest])][: self.settings.shorter]
