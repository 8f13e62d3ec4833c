"""What the service answers over HTTP, as types, and its refusals, as the errors of `models.errors`.

Fields that a newer service adds are passed over, and fields that an older one lacks have defaults: so client and
service need not be of one release. Times are seconds from the start of the video, dates are Unix seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

from models import errors
from models.errors import DubError
from serve_app.jobs.job import Insight, LogLine, Progress, Quality

T = TypeVar("T")


class Unreachable(DubError):
    """No service answers at the address, or none any more."""

    code = "unreachable"


class ServiceFailed(DubError):
    """The service could not do what it was asked, and it is not the caller's fault."""


class JobFailed(DubError):
    """A job ended without a result: `job` as it stood then, `code` and sentence of what ended it."""

    def __init__(self, job: "Job") -> None:
        problem = job.error or Problem("cancelled", "the job was cancelled")
        super().__init__(problem.message)
        self.code, self.job = problem.code, job


@dataclass(frozen=True, slots=True)
class Problem:
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Job:
    """Where a job stands. `status` is processing, completed, failed or cancelled; `state` says it more finely."""

    id: str
    status: str
    state: str
    message: str
    title: str = ""
    source_lang: str = ""
    target_lang: str = ""
    target_langs: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Progress)
    log: tuple[LogLine, ...] = ()  # the latest lines, oldest first
    error: Problem | None = None
    result: "Result | None" = None
    created_at: float = 0.0
    updated_at: float = 0.0

    @property
    def ended(self) -> bool:
        return self.status != "processing"


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of a completed job. `artifacts` are its files: name → address; `further` holds other languages."""

    duration_s: float
    output_bytes: int
    original_bytes: int
    processing_s: float
    quality: Quality
    further: dict[str, "Result"] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of speech, what it was translated to, and where that is said. `edit` is what its owner changed."""

    id: int
    start: float
    end: float
    text: str
    translation: str | None = None
    alternatives: tuple[dict[str, Any], ...] = ()
    voice: str | None = None
    speaker: str | None = None
    place: float | None = None
    tempo: float | None = None
    flags: tuple[str, ...] = ()
    edited: tuple[str, ...] = ()
    edit: dict[str, Any] = field(default_factory=dict)


class Options(TypedDict, total=False):
    """What may be asked of a job besides its video and languages.

    `source` "" means: listen for it; `voice` is male, female, neutral or "" as the speaker sounds; `subtitles` is burn,
    soft, none or "" as configured; `transcript` is an SRT or WebVTT; `priority`, -100 to 100, orders one's own jobs;
    `webhook` is told how the job has ended; `audio_track`, counted from 1, is the one to dub, 0 as configured. With
    `there`, the video and the transcript are paths that the service can read itself, and nothing is uploaded.
    """

    source: str
    voice: str
    subtitles: str
    transcript: str | Path | None
    priority: int
    webhook: str
    audio_track: int
    title: str
    there: bool


class Keep(Enum):
    KEEP = "keep"


KEEP: Final = Keep.KEEP


@dataclass(frozen=True, slots=True)
class Change:
    """What to change in segment `id`. A field that is not named stays; None takes back what was changed."""

    id: int
    text: str | Keep | None = KEEP
    translation: str | Keep | None = KEEP
    voice: str | Keep | None = KEEP
    skip: bool | Keep | None = KEEP

    def asked(self) -> dict[str, Any]:
        """The fields that are named, without the id."""
        values = {name: getattr(self, name) for name in ("text", "translation", "voice", "skip")}
        return {name: value for name, value in values.items() if value is not KEEP}


# -- from JSON ---------------------------------------------------------------------------------------------------------


def known(kind: type[T], row: Mapping[str, Any]) -> T:
    """A dataclass out of those fields of `row` that it has, lists as tuples. Raises TypeError when one is missing."""
    names = [one.name for one in fields(kind) if one.name in row]  # type: ignore[arg-type]
    return kind(**{name: tuple(row[name]) if isinstance(row[name], list) else row[name] for name in names})


def job(row: Mapping[str, Any]) -> Job:
    problem = row.get("error")
    parts = {
        "progress": known(Progress, row.get("progress") or {}),
        "log": [known(LogLine, line) for line in row.get("log") or ()],
        "error": known(Problem, problem) if problem else None,
        "result": result(row["result"]) if row.get("result") else None,
    }
    return known(Job, {**row, **parts})


def result(row: Mapping[str, Any]) -> Result:
    further = {language: result(one) for language, one in (row.get("further") or {}).items()}
    return known(Result, {**row, "quality": known(Quality, row.get("quality") or {}), "further": further})


def segment(row: Mapping[str, Any]) -> Segment:
    return known(Segment, row)


def insight(row: Mapping[str, Any]) -> Insight:
    return known(Insight, row)


# -- refusals ----------------------------------------------------------------------------------------------------------

REFUSALS = ("unauthenticated", "permission_denied", "resource_exhausted")
SERVICES: tuple[type[DubError], ...] = (
    errors.UnreadableMedia,
    errors.UnsupportedLanguage,
    errors.NoSpeech,
    errors.UnreadableTranscript,
    errors.PathNotAllowed,
    errors.JobNotFound,
    errors.WrongState,
    errors.ArtifactMissing,
    errors.StoreTooNew,
    errors.OutOfSpace,
)
KINDS = {kind.code: kind for kind in SERVICES}


def refusal(status: int, body: Any, retry_after: str = "") -> DubError | None:
    """The error that an answer tells of, with the service's own sentence and code; None for what is none of ours."""
    problem = body.get("error") if isinstance(body, dict) else None
    if not isinstance(problem, dict) or "message" not in problem:
        return None
    code, message = str(problem.get("code") or "internal"), str(problem["message"])
    if code in REFUSALS:
        return errors.NotAllowed(message, code, float(retry_after) if retry_after.isdecimal() else None)
    error = KINDS.get(code, errors.InvalidJob if status < 500 else ServiceFailed)(message)
    error.code = code
    return error
