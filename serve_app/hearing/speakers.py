"""Who speaks? Names for the voices of a recording, which of them is a man's or a woman's, and who says which word.

A diarisation engine, where one is configured, hears the recording in blocks of some minutes and tells the voices of
each apart; blocks are linked here, by how alike the voice prints are, so memory does not grow with the length. Without
one there is one speaker. Each speaker has one gender, from samples of all he says, and so keeps one voice in the dub.

Only where nobody is told apart and men as well as women are clearly heard, each segment goes by its own sound; one that
does not tell goes with the segment before it. The price: a single sentence can then be given to the wrong voice.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.engines import SpeakerSettings
from models.errors import DubError
from models.segment import Clip, Segment, Span, Voice, Word
from models.speaker.gender import gender
from serve_app.hearing.speech import duration, read
from serve_app.jobs.report import Report

STAGE = "transcription"

ALONE = "speaker 1"
"""The name of everybody when nobody is told apart."""

SAMPLES = 24
"""Stretches of speech, from all over the recording, by which a gender is told."""

SAMPLE_S = 6.0
AGREED = 0.85
"""The share of clear samples that must say the same."""

SLIP_S = 0.6
"""A run of words shorter than this, between words of one other speaker, is his as well."""

Diarize = Callable[[Clip], Awaitable[list[Voice]]]


@dataclass(frozen=True, slots=True)
class Turn:
    start: float
    end: float
    speaker: str


@dataclass(frozen=True, slots=True)
class Cast:
    """Who speaks when; `turns` is empty when nobody was told apart. `genders` has the speakers whose gender is known.

    `mixed` says that the one speaker is really several, of both genders; `usual` is the gender heard most. `makeshift`
    is the cast of an engine that failed: not what another try may find.
    """

    turns: tuple[Turn, ...] = ()
    genders: dict[str, str] | None = None
    mixed: bool = False
    usual: str | None = None
    makeshift: bool = False

    def speaker_at(self, start: float, end: float) -> str:
        """Who speaks most of this time, else whoever is nearest."""
        middle = (start + end) / 2
        near = min(
            self.turns,
            key=lambda turn: (
                min(0.0, max(turn.start, start) - min(turn.end, end)),
                max(turn.start - middle, middle - turn.end),
            ),
            default=None,
        )
        return near.speaker if near else ALONE

    def within(self, window: Span) -> "Cast":
        """The same cast, with the turns that matter in `window`."""
        near = [turn for turn in self.turns if turn.end > window.start - 5 and turn.start < window.end + 5]
        return replace(self, turns=tuple(near))


async def cast(
    wav: Path, speech: Sequence[Span], diarize: Diarize | None, settings: SpeakerSettings, report: Report
) -> Cast:
    """Who speaks in the whole recording. An engine that fails costs the names and not the job: there is one speaker."""
    turns: tuple[Turn, ...] = ()
    failed = False
    if diarize:
        try:
            turns = await _turns(wav, diarize, settings)
        except Exception as error:
            failed = True
            reason = str(error) if isinstance(error, DubError) else "the engine is out of order"
            report.log(STAGE, f"speakers were not told apart, using one voice: {reason}", "warning")
    known = await asyncio.to_thread(introduced, wav, turns, speech)
    _tell(known, report)
    return replace(known, makeshift=failed)


def introduced(wav: Path, turns: tuple[Turn, ...], speech: Sequence[Span]) -> Cast:
    """The cast with the gender of each speaker. Reads samples of the file; blocks."""
    spans: defaultdict[str, list[Span]] = defaultdict(list)
    for turn in turns:
        spans[turn.speaker].append(Span(turn.start, turn.end))
    if not turns:
        spans[ALONE] = list(speech)
    heard = {speaker: _genders(wav, said) for speaker, said in spans.items()}
    agreed = {speaker: one for speaker, votes in heard.items() if (one := _agreed(votes))}
    everybody = sum((votes for votes in heard.values()), Counter[str]())
    usual = max(everybody, key=lambda one: everybody[one], default=None)
    return Cast(turns, agreed, mixed=not turns and len(everybody) > 1 and not agreed, usual=usual)


def _genders(wav: Path, spans: list[Span]) -> Counter[str]:
    """Seconds of samples that sound like each gender."""
    votes: Counter[str] = Counter()
    step = max(1, len(spans) // SAMPLES)
    for span in spans[::step][:SAMPLES]:
        middle = (span.start + span.end) / 2
        sample = Span(max(span.start, middle - SAMPLE_S / 2), min(span.end, middle + SAMPLE_S / 2))
        if told := gender(read(wav, sample).audio):
            votes[told] += max(1, round(sample.duration))
    return votes


def _agreed(votes: Counter[str]) -> str | None:
    total = votes.total()
    return next((one for one, count in votes.items() if count >= AGREED * total), None)


# -- one recording in blocks -------------------------------------------------------------------------------------------


async def _turns(wav: Path, diarize: Diarize, settings: SpeakerSettings) -> tuple[Turn, ...]:
    length = await asyncio.to_thread(duration, wav)
    turns: list[Turn] = []
    known = Acquaintances(settings.same_voice)
    start = 0.0
    while start < length:
        block = Span(start, min(start + settings.block_s, length))
        voices = await diarize(await asyncio.to_thread(read, wav, block))
        for voice, speaker in zip(voices, known.meet(voices), strict=True):
            turns += [Turn(span.start, span.end, speaker) for span in voice.spans]
        start = block.end
    return tuple(sorted(turns, key=lambda turn: (turn.start, turn.end)))


class Acquaintances:
    """Speakers by name, as they were met: a voice whose print is near enough to a known one is that speaker again."""

    def __init__(self, same: float) -> None:
        self._same = same
        self._prints: list[NDArray[np.float64]] = []

    def meet(self, voices: Sequence[Voice]) -> list[str]:
        """The names of the voices of one block, in order; two of them are never the same speaker."""
        names: dict[int, int] = {}
        prints = [_unit(voice) for voice in voices]
        alike = sorted(
            (
                (float(one @ other), new, old)
                for new, one in enumerate(prints)
                for old, other in enumerate(self._prints)
            ),
            reverse=True,
        )
        for likeness, new, old in alike:
            if likeness >= self._same and new not in names and old not in names.values():
                names[new] = old
        for new, one in enumerate(prints):
            if new not in names:
                names[new] = len(self._prints)
                self._prints.append(one)
            else:
                self._prints[names[new]] = self._prints[names[new]] + one
        self._prints = [one / (np.linalg.norm(one) or 1.0) for one in self._prints]
        return [f"speaker {names[new] + 1}" for new in range(len(voices))]


def _unit(voice: Voice) -> NDArray[np.float64]:
    vector = np.asarray(voice.print, np.float64)
    return np.asarray(vector / (np.linalg.norm(vector) or 1.0))


# -- one window --------------------------------------------------------------------------------------------------------


def runs(words: Iterable[Word], cast: Cast) -> list[tuple[str, list[Word]]]:
    """The words of each speaker in turn; a slip of a word or two into another's voice is none."""
    if not cast.turns:
        spoken = list(words)
        return [(ALONE, spoken)] if spoken else []
    named = [(cast.speaker_at(word.start, word.end), word) for word in words]
    found = [(name, [word for _, word in run]) for name, run in groupby(named, key=lambda pair: pair[0])]
    for index in range(1, len(found) - 1):
        (before, _), (_, run), (after, _) = found[index - 1 : index + 2]
        if before == after and run[-1].end - run[0].start < SLIP_S:
            found[index] = (before, run)
    return [(name, [w for _, run in same for w in run]) for name, same in groupby(found, key=lambda pair: pair[0])]


def gendered(wav: Path, segments: Sequence[Segment], cast: Cast) -> list[Segment]:
    """The segments with the gender of their speakers. Reads the sound of each when the cast is mixed; blocks."""
    made: list[Segment] = []
    for segment in segments:
        told = (cast.genders or {}).get(segment.speaker or ALONE)
        if cast.mixed:
            own = gender(read(wav, Span(segment.start, segment.end)).audio)
            told = own or (made[-1].gender if made else cast.usual)
        made.append(replace(segment, gender=told))
    return made


def _tell(known: Cast, report: Report) -> None:
    names = sorted({turn.speaker for turn in known.turns})
    if names:
        who = ", ".join(f"{name} ({(known.genders or {}).get(name, 'voice unclear')})" for name in names[:8])
        report.log(STAGE, f"detected {len(names)} speakers: {who}", speakers=len(names))
    elif known.mixed:
        report.log(STAGE, "detected men's and women's voices: each sentence goes by its own sound")
    elif known.genders:
        report.log(STAGE, f"detected a {known.genders[ALONE]} voice")
