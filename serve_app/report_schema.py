"""The schema of a job's report: what a reader may rely on.

What is written is built from these models, so nothing is in a report that they do not name, and the reference and the
JSON Schema of it are made from them. Fields are added, never changed, and each addition is a new version:

    2   version, faults, gates, and of a segment retries and understood
    3   of quality tempo and the names of the gRPC contract, lip_sync_accuracy to segments_condensed; of a segment
        engine, lead and trail

Older reports stay where they are: who reads one (`pages.quality`, `jobs.edits`) does without what is newer.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


def in_units(unit: str) -> Any:
    return Field(json_schema_extra={"unit": unit})


Seconds = Annotated[float, in_units("s")]
Percent = Annotated[float, in_units("%")]
Share = Annotated[float, in_units("0–1")]
Lufs = Annotated[float, in_units("LUFS")]
Tempo = Annotated[float, in_units("times")]
Bytes = Annotated[int, in_units("bytes")]
Pixels = Annotated[int, in_units("pixels")]
Language = Annotated[str, in_units("ISO-639-1")]
Stamp = Annotated[str, in_units("ISO-8601, UTC")]


class Row(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Input(Row):
    """What was found in the film."""

    path: str
    """its name, without the folder"""
    size: Bytes
    """of the file"""
    duration: Seconds
    """measured on its packets"""
    container: str
    """libavformat's name"""
    video_index: int | None
    """the stream of the pictures; null: there are none"""
    video_codec: str | None
    """of the pictures"""
    width: Pixels
    """as shown, after rotation; 0 without pictures"""
    height: Pixels
    """as shown, after rotation; 0 without pictures"""
    frame_rate: Annotated[float, in_units("frames/s")]
    """the average; 0 without pictures"""
    audio_index: int
    """the stream that is dubbed"""
    audio_codec: str
    """of that stream"""
    audio_start: Seconds
    """where its first sample lies"""
    audio_tracks: int
    """how many there are"""
    origin: Seconds
    """time 0 of the film, counted from the start of the file"""
    pixel_format: str
    """of the pictures"""
    audio_language: str
    """as tagged; may be empty"""
    audio_rate: Annotated[int, in_units("Hz")]
    """samples a second of the stream that is dubbed"""
    picture: Seconds
    """how long the pictures last; less than `duration` when sound goes on after them"""
    audio_number: int
    """the track that is dubbed, counted from 1"""
    other_audio: Sequence[int]
    """the streams of the other audio tracks"""


class AlternativeRow(Row):
    """Another translation of a segment."""

    text: str
    """what it says"""
    seconds: Seconds
    """an estimate of the time that saying it takes"""
    score: float | None
    """mean log probability of its tokens; null: the engine gives none"""
    flags: Sequence[str]
    """checks that it fails"""


class SegmentRow(Row):
    """One sentence: what was heard, what is said instead, and how that fits."""

    id: int
    """by which faults, log and edits name it"""
    start: Seconds
    """of the original"""
    end: Seconds
    """of the original"""
    text: str
    """what was heard"""
    confidence: Share | None
    """mean probability of its words"""
    language: Language | None
    """of `text`; null: that of the film"""
    speaker: str | None
    """who speaks, by a name that is the same all over the film"""
    gender: str | None
    """male or female, by the pitch of the speaker; null: not told"""
    lead: Seconds
    """before `start`, in which its voice is heard already"""
    trail: Seconds
    """after `end`, in which it still is"""
    translation: str | None
    """what is said instead"""
    score: float | None
    """of the translation: mean log probability of its tokens; null: the engine gives none"""
    alternatives: Sequence[AlternativeRow]
    """other translations, best first"""
    condensed: bool
    """whether a shorter translation was chosen, to fit"""
    flags: Sequence[str]
    """checks that the translation fails: empty, length, repetition, untranslated, protected, numbers, glossary"""
    edited: Sequence[str]
    """what its owner changed: text, translation, voice, skip"""
    wanted_voice: str | None
    """male, female or neutral, as its owner chose"""
    spoken: Seconds | None
    """how long the clip is as it was spoken"""
    retries: Sequence[str]
    """why it was spoken again, one reason each time"""
    understood: Share | None
    """of its words, those that were recognised in the clip; null: nobody listened"""
    voice: str | None
    """the engine and the voice that spoke, with a colon between them"""
    engine: str | None
    """the engine that spoke; null: none did"""
    place: Seconds | None
    """where the dub starts"""
    dub_end: Seconds | None
    """where the dub ends"""
    tempo: Tempo | None
    """how fast the clip is played; 1.2 is 20 % faster than it was spoken"""
    spoken_at_all: bool
    """whether a voice said it"""


class Output(Row):
    """Measured on the film that came out."""

    duration: Seconds
    """of the file"""
    lufs: Lufs | None
    """integrated loudness; null: silence"""
    true_peak_db: Annotated[float, in_units("dBTP")] | None
    """the true peak; null: silence"""
    bytes: Bytes
    """of the file"""
    loudness: Sequence[Lufs]
    """of three seconds, at the end of each second"""


class Figures(Row):
    """The figures of the whole dub; null where nothing could be measured.

    A share is one of the sentences that were to be dubbed, unless it says something else.
    """

    lip_sync_accuracy: Percent | None
    """those that start within `sync.start_slack_s` of the original, and end within `sync.end_slack_s`"""
    voice_quality: Percent | None
    """those spoken at a tempo up to `sync.natural_tempo`; half of it where loudness or peak are out of bounds"""
    translation_quality: Percent | None
    """those whose translation passes every check"""
    duration_match: bool | None
    """whether the film lasts as long as its original, to the frame"""
    avg_lufs: Lufs | None
    """integrated loudness of the film"""
    avg_atempo: Tempo | None
    """mean tempo of the clips"""
    segments_condensed: int
    """how many were shortened to fit"""
    spoken: Percent | None
    """of those with something to say, those that a voice said"""
    tempo: Percent | None
    """of those that were spoken, those that are played at a tempo up to `sync.max_tempo`"""
    coverage: Percent | None
    """of the seconds of speech that were detected, those that became sentences"""
    understood: Percent | None
    """of the words of the dub, those that a recogniser heard in it; null without `quality.back_check`"""
    faults: int
    """how many sentences, or stretches of speech, have a fault that is not mended"""
    lip_sync: Percent | None
    """`lip_sync_accuracy`, by its name in version 1"""
    voice: Percent | None
    """`voice_quality`, by its name in version 1"""
    translation: Percent | None
    """`translation_quality`, by its name in version 1"""
    lufs: Lufs | None
    """`avg_lufs`, by its name in version 1"""
    mean_tempo: Tempo | None
    """`avg_atempo`, by its name in version 1"""
    condensed: int
    """`segments_condensed`, by its name in version 1"""


CONTRACT = {
    "lip_sync_accuracy": "lip_sync",
    "voice_quality": "voice",
    "translation_quality": "translation",
    "avg_lufs": "lufs",
    "avg_atempo": "mean_tempo",
    "segments_condensed": "condensed",
}
"""What a figure is called in the gRPC contract, and in `Quality`."""


class GateRow(Row):
    """A bound that the dub should keep."""

    name: str
    """the field of `quality` that it is a bound of"""
    value: Percent | None
    """what was reached; null: there was nothing to measure"""
    wanted: Percent
    """the least that is wanted"""
    passed: bool
    """whether it is reached, or there was nothing to measure"""


class FaultRow(Row):
    """Something that is amiss, in one sentence of the film."""

    kind: str
    """respoken, translation, untranslated, silent, rushed, misplaced, misunderstood or unheard"""
    message: str
    """the same in words"""
    start: Seconds
    """where it is"""
    end: Seconds
    """where it ends"""
    segment: int | None
    """the id of the sentence; null for detected speech that became none"""
    mended: bool
    """whether another engine, or another try, has put it right"""


class LogRow(Row):
    """A decision, retry or warning."""

    timestamp: Stamp
    """when; no two are alike"""
    level: str
    """info, warning, error, debug or success"""
    stage: str
    """the stage in which it was written"""
    message: str
    """what is said"""
    chunk_id: str
    """the id of the sentence that it is about; may be empty"""
    extra: dict[str, Any]
    """facts, by name"""


class InsightRow(Row):
    """A decision that is worth a sentence."""

    id: str
    """unique"""
    kind: str
    """decision, optimization, warning or success"""
    title: str
    """what it is about"""
    description: str
    """what was decided, and why"""
    impact: str
    """high, medium or low"""
    timestamp: Stamp
    """when"""
    data: dict[str, Any]
    """facts, by name"""


class QualityReport(Row):
    """What was made of a film in one language, sentence by sentence, and how good it came out."""

    version: Literal[3] = 3
    """of this schema: later ones add fields and change none"""
    job: str
    """its id"""
    title: str
    """what its sender calls it; may be empty"""
    input: Input
    """what was found in the film"""
    source_language: Language
    """of the film"""
    target_language: Language
    """of the dub"""
    segments: Sequence[SegmentRow]
    """a row a sentence, in the order of the film"""
    stage_seconds: dict[str, Seconds]
    """wall time of each stage, over all attempts; stages overlap"""
    output: Output
    """measured on the file that came out"""
    quality: Figures
    """the figures of the whole dub"""
    gates: Sequence[GateRow]
    """a row a bound"""
    faults: Sequence[FaultRow]
    """a row for what is amiss, in the order of the film"""
    log: Sequence[LogRow]
    """every decision, retry and warning"""
    insights: Sequence[InsightRow]
    """those worth a sentence"""
