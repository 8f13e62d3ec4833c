"""The only types that travel between rooms, engines and replicas. Plain, frozen, picklable.

All times are seconds as Python floats; in a `Segment` they count from the start of the video, always. All sound is
float32 in [-1, 1], and mono but for what is taken apart into voice and music. Lists become JSON through `to_json` and
come back through `segments_from_json`.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]

RECOGNITION_RATE = 16_000
"""Sample rate that voice detection and recognition expect, in Hz."""


Stereo = NDArray[np.float32]
"""Sound of shape (2, samples), left and right, at `SEPARATION_RATE`."""

SEPARATION_RATE = 44_100
"""Sample rate at which separation models were trained, in Hz."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, in seconds."""

    start: float
    end: float

    @property
    def duration(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Clip:
    """Sound to listen to: mono at 16 kHz. `start` is where its first sample lies in the video, in seconds.

    `language` is an ISO-639-1 code, or None to let the recogniser detect it.
    """

    audio: Audio
    start: float = 0.0
    language: str | None = None

    @property
    def duration(self) -> float:
        return len(self.audio) / RECOGNITION_RATE

    @property
    def end(self) -> float:
        return self.start + self.duration


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word. `text` keeps its leading space: joining words gives the sentence back in any script."""

    start: float
    end: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard in one clip. Word times count from the start of the video.

    `language_probability` is 0.0 when the engine could not listen for the language (told, or a one-language model).
    `sounds_like` is what a clip whose language was told sounds like, and `likeness` how probable that is, 0–1; empty
    and 0.0 when the engine did not listen for it.
    `dropped` holds one (text, reason) pair for everything that was decoded and thrown away.
    """

    words: tuple[Word, ...]
    language: str
    language_probability: float = 0.0
    dropped: tuple[tuple[str, str], ...] = ()
    sounds_like: str = ""
    likeness: float = 0.0


@dataclass(frozen=True, slots=True)
class Voice:
    """One speaker as heard in one clip: when, in seconds of the video, and a print that tells voices apart.

    `print` is a vector whose direction is the speaker's: the smaller the angle between two, the more alike they sound.
    """

    spans: tuple[Span, ...]
    print: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another translation of a segment: an estimate of its speaking time in seconds, score and flags as in Segment."""

    text: str
    seconds: float
    score: float | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """One sentence on its way through the rooms. Each room returns `replace(segment, …)`.

    Recognize writes text, words, confidence, language, speaker, gender, lead and trail; translate writes translation,
    score, alternatives, condensed and flags; the owner's edits write edited and wanted_voice, and replace text and
    translation; speak writes speech, spoken, voice, retries and understood, and may choose one of the alternatives
    instead of the translation; sync writes place, tempo and dub. `start` and `end` are never edited after birth.
    """

    id: int
    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    confidence: float | None = None  # mean word probability, 0–1
    language: str | None = None  # ISO-639-1 code of `text`; None: that of the job
    speaker: str | None = None  # who speaks, by a name that is the same all over the video
    gender: str | None = None  # male or female, by the pitch of the speaker; None: not told
    lead: float = 0.0  # seconds before `start` in which its voice is heard already
    trail: float = 0.0  # seconds after `end` in which it still is
    translation: str | None = None
    score: float | None = None  # of the translation: mean log probability of its tokens; None: the engine gives none
    alternatives: tuple[Alternative, ...] = ()  # other translations, best first, without the chosen one
    condensed: bool = False  # a shorter candidate was chosen to fit the slot
    flags: tuple[str, ...] = ()  # quality checks that the final translation still fails
    edited: tuple[str, ...] = ()  # what its owner changed: text, translation, voice, skip
    wanted_voice: str | None = None  # male, female or neutral, as its owner chose
    speech: str | None = None  # path of the spoken clip (WAV); None: no engine could speak it
    spoken: float | None = None  # duration of that clip in seconds
    retries: tuple[str, ...] = ()  # why it had to be spoken again, one reason each time
    understood: float | None = None  # share of its words that were recognised in the clip, 0–1; None: nobody listened
    voice: str | None = None  # "engine:voice" that spoke
    place: float | None = None  # where the dub starts, in seconds from the start of the video
    tempo: float | None = None  # playback speed applied to the clip; 1.2 = 20 % faster
    dub: str | None = None  # path of the clip as it is laid on the track (WAV), stretched by tempo

    @property
    def duration(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Sentence:
    """Text to translate. The engine returns it with `candidates`, best first, never empty.

    `scores` are the candidates' log probabilities per token, in their order; empty from an engine that gives none.
    """

    text: str
    source: str
    target: str
    candidates: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Utterance:
    """Text to say. `gender` is male, female or neutral; `rate` is the wanted speed, 1.0 = the voice's own.

    `avoid` names engines that have said it badly.
    """

    text: str
    language: str
    gender: str = "neutral"
    rate: float = 1.0
    avoid: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Speech:
    """A spoken clip as the engine gave it: mono float32 at `sample_rate` Hz, and who spoke ("engine:voice").

    `failed` are the reasons of engines that were asked before, `tried` those of its own for which it was asked again.
    """

    audio: Audio
    sample_rate: int
    voice: str
    failed: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        return len(self.audio) / self.sample_rate


def to_json(segments: Iterable[Segment]) -> list[dict[str, Any]]:
    return [asdict(segment) for segment in segments]


def segments_from_json(rows: Iterable[dict[str, Any]]) -> list[Segment]:
    """Inverse of `to_json`; raises TypeError or KeyError on rows of another shape."""
    return [Segment(**{**row, **_tuples(row)}) for row in rows]


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row that JSON knows as lists."""
    return {
        "words": tuple(Word(**word) for word in row["words"]),
        "alternatives": tuple(
            Alternative(**{**other, "flags": tuple(other.get("flags", ()))}) for other in row["alternatives"]
        ),
        "flags": tuple(row["flags"]),
        "retries": tuple(row.get("retries", ())),
        "edited": tuple(row.get("edited", ())),
    }
