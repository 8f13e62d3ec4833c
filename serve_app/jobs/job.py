"""The nouns of a job: what was asked (`Request`), where it stands (`Job`, `Progress`), and what came out (`Result`)."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from configs.pipeline import STAGES, Subtitles

ANONYMOUS = "anonymous"
"""The tenant of callers without a key."""


class State(StrEnum):
    """The life of a job. Waiting and running are one word, "processing", on the wire."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def live(self) -> bool:
        return self in (State.WAITING, State.RUNNING, State.PAUSED)


class Control(StrEnum):
    """What the job's owner wants; the Driver reads it whenever it renews its lease."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. Languages are ISO-639-1 codes; an empty or "auto" source means: detect it.

    `transcript` is the path of an SRT or VTT file with what is said; empty: listen for it. `also` are further targets:
    the film is heard once for all of them. `webhook` is the address that is told how the job has ended; empty: nobody.
    `priority`, -100 to 100, orders the waiting jobs of one tenant: higher goes first. `title` is for people only.
    `audio_track`, counted from 1, is the one of several that is dubbed, 0 as configured; `keep_audio` keeps the others.
    """

    job_id: str
    path: str
    source_lang: str
    target_lang: str
    voice_gender: str = ""
    subtitles: Subtitles | None = None  # None: as configured
    tenant: str = ANONYMOUS
    transcript: str = ""
    also: tuple[str, ...] = ()
    webhook: str = ""
    priority: int = 0
    title: str = ""
    audio_track: int = 0
    keep_audio: bool | None = None  # None: as configured
    trace: str = ""  # the `traceparent` of the call that brought it

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target_lang, *self.also)


def languages(*named: str) -> tuple[str, ...]:
    """Codes out of texts that name one or several, with commas; each once, in order, in small letters; never empty."""
    codes = [code.strip().lower() for text in named for code in text.split(",")]
    return tuple(dict.fromkeys(code for code in codes if code)) or ("",)


@dataclass(frozen=True, slots=True)
class LogLine:
    timestamp: str  # ISO-8601 UTC, microseconds, Z: sorts as text
    level: str  # info, warning, error, debug, success
    stage: str
    message: str
    chunk_id: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Insight:
    id: str
    kind: str  # decision, optimization, warning, success
    title: str
    description: str
    impact: str  # high, medium, low
    timestamp: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """A full snapshot of a job under way; everything here is repeated in every message on the wire."""

    percent: float = 0.0  # of the whole job, 0–100, never backwards
    stage: str = STAGES[0]
    stage_percent: float = 0.0  # of the stage, 0–100
    stage_elapsed_s: float = 0.0  # since the stage began, the same span as stage_percent
    stage_seconds: dict[str, float] = field(default_factory=dict)  # wall seconds of each stage, over all attempts
    elapsed_s: float = 0.0  # worked on, over all attempts; waiting does not count
    eta_s: float | None = None
    duration_s: float = 0.0  # of the video
    position_s: float = 0.0  # how far into the video the stage has come
    segments_done: int = 0
    segments_total: int = 0
    early_preview: str = ""
    preview_ids: tuple[str, ...] = ()
    hardware: dict[str, Any] = field(default_factory=dict)  # cpu, gpu, vram_gb, ram_gb

    @property
    def stage_number(self) -> int:
        return STAGES.index(self.stage) + 1


@dataclass(frozen=True, slots=True)
class Quality:
    """Measured on the output. Percentages are 0–100; a value that could not be measured is None."""

    lip_sync: float | None = None
    voice: float | None = None
    translation: float | None = None
    duration_match: bool | None = None
    lufs: float | None = None
    mean_tempo: float | None = None
    condensed: int = 0
    spoken: float | None = None  # of the segments to be dubbed, those that a voice said
    coverage: float | None = None  # of the seconds of speech that were detected, those that became text
    understood: float | None = None  # of the words of the dub, those that a recogniser heard in it
    tempo: float | None = None  # of the segments that were spoken, those played no faster than the greatest tempo
    faults: int = 0  # segments, or stretches of speech, with something amiss


@dataclass(frozen=True, slots=True)
class Result:
    output: str
    original_srt: str
    translated_srt: str
    report: str
    duration_s: float
    output_bytes: int
    original_bytes: int
    processing_s: float
    quality: Quality
    further: dict[str, "Result"] = field(default_factory=dict)  # by language, of the job's further targets


@dataclass(frozen=True, slots=True)
class Job:
    """One durable row as its readers see it."""

    request: Request
    state: State
    control: Control
    fence: int
    attempts: int
    progress: Progress
    created_at: float  # Unix seconds
    updated_at: float
    result: Result | None = None
    error_code: str = ""  # DubError.code of a failed job
    error: str = ""  # its sentence
    edits: dict[str, Any] = field(default_factory=dict)  # see jobs.edits

    @property
    def id(self) -> str:
        return self.request.job_id
