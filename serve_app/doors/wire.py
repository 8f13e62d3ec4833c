"""Between the wire and our types: protobuf messages, JSON, and one table that says which error is which code.

The API in front copies each progress message whole over what it knew, so every message built here is a full snapshot:
a field left at its default would erase the earlier value.
"""

import json
import logging
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

import grpc

from configs.pipeline import STAGES
from models import errors
from serve_app.jobs.job import Insight, Job, LogLine, Request, Result, State
from serve_app.jobs.workspace import EARLY_PREVIEW
from serve_app.proto import translation_pb2 as pb

logger = logging.getLogger(__name__)

CODES: tuple[tuple[type[errors.DubError], grpc.StatusCode, HTTPStatus], ...] = (
    (errors.InvalidJob, grpc.StatusCode.INVALID_ARGUMENT, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.JobNotFound, grpc.StatusCode.NOT_FOUND, HTTPStatus.NOT_FOUND),
    (errors.WrongState, grpc.StatusCode.FAILED_PRECONDITION, HTTPStatus.CONFLICT),
    (errors.ArtifactMissing, grpc.StatusCode.FAILED_PRECONDITION, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.StoreTooNew, grpc.StatusCode.FAILED_PRECONDITION, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.OutOfSpace, grpc.StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.INSUFFICIENT_STORAGE),
    (errors.StageFailed, grpc.StatusCode.INTERNAL, HTTPStatus.INTERNAL_SERVER_ERROR),
)

NOT_ALLOWED = {
    "unauthenticated": (grpc.StatusCode.UNAUTHENTICATED, HTTPStatus.UNAUTHORIZED),
    "permission_denied": (grpc.StatusCode.PERMISSION_DENIED, HTTPStatus.FORBIDDEN),
    "resource_exhausted": (grpc.StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.TOO_MANY_REQUESTS),
}


KEPT: tuple[type[errors.DubError], ...] = (
    errors.InvalidJob,
    *errors.InvalidJob.__subclasses__(),
    errors.ArtifactMissing,
    errors.OutOfSpace,
    errors.BelowQuality,
)
CODE_OF = {kind.code: kind for kind in KEPT}
"""From the code that a job row keeps back to the error that it was."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as a caller may see it: no path of ours, no Python text."""

    code: str
    message: str
    grpc: grpc.StatusCode
    http: HTTPStatus
    retry_after: float | None = None


def unwrap(error: BaseException) -> BaseException:
    """The error that another replica raised, out of the wrapper in which Ray brings it here."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error


def fault(error: BaseException) -> Fault:
    """What to tell the caller about `error`. An error outside our tree is logged here and told as internal."""
    error = unwrap(error)
    sentence = str(error).encode("utf-8", "replace").decode()  # it may quote half a character that a caller sent
    if isinstance(error, errors.NotAllowed):
        return Fault(error.code, sentence, *NOT_ALLOWED[error.code], error.retry_after)
    for kind, code, status in CODES:
        if isinstance(error, kind):
            return Fault(error.code, sentence, code, status)
    logger.error("unforeseen error", exc_info=error)
    return Fault("internal", errors.INTERNAL, grpc.StatusCode.INTERNAL, HTTPStatus.INTERNAL_SERVER_ERROR)


def failure(job: Job) -> errors.DubError:
    """The error that ended a failed job, rebuilt from its row."""
    kind = CODE_OF.get(job.error_code)
    return kind(job.error) if kind else StoredFailure(job.error)


class StoredFailure(errors.StageFailed):
    """A StageFailed read back from a row: its sentence already names the room."""

    def __init__(self, message: str) -> None:
        super().__init__("", message)

    def __str__(self) -> str:
        return str(self.args[1])


# -- requests ---------------------------------------------------------------------------------------------------------


def request(message: pb.TranslationRequest) -> Request:
    return Request(
        job_id=message.session_id,
        path=message.file_path,
        source_lang=message.source_lang,
        target_lang=message.target_lang,
        voice_gender=message.voice_gender,
        transcript=message.transcript_path,
    )


# -- progress ---------------------------------------------------------------------------------------------------------

STATUS = {State.COMPLETED: "completed", State.FAILED: "failed", State.CANCELLED: "cancelled"}

SENTENCES = dict(
    zip(
        STAGES,
        (
            "Checking the video",
            "Extracting the sound",
            "Recognising speech",
            "Translating",
            "Speaking the translation",
            "Fitting speech to the picture",
            "Writing subtitles",
            "Combining picture, sound and subtitles",
        ),
        strict=True,
    )
)


def status(job: Job) -> str:
    """The word on the wire: anything but "processing" ends the browser's stream."""
    return STATUS.get(job.state, "processing")


def sentence(job: Job) -> str:
    """One line for a person about where the job stands."""
    words = {
        State.WAITING: "Waiting for a free worker",
        State.PAUSED: "Paused",
        State.COMPLETED: "Completed",
        State.FAILED: job.error,
        State.CANCELLED: "Cancelled",
    }
    return words.get(job.state) or SENTENCES[job.progress.stage]


def clock(seconds: float) -> str:
    """MM:SS, or HH:MM:SS from an hour on."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"


def progress(job: Job, lines: list[LogLine]) -> pb.TranslationProgress:
    now = job.progress
    done = job.state is State.COMPLETED
    minutes = now.elapsed_s / 60
    return pb.TranslationProgress(
        session_id=job.id,
        progress=100.0 if done else now.percent,
        current_step=SENTENCES[now.stage],
        status=status(job),
        message=sentence(job),
        early_preview_available=bool(now.early_preview),
        early_preview_path=now.early_preview,
        eta_seconds=0 if done else int(now.eta_s or 0),
        hardware_info=pb.HardwareInfo(**now.hardware),
        available_segment_ids=list(now.preview_ids),
        chunks_per_minute=now.segments_done / minutes if minutes else 0.0,
        current_chunk=now.segments_done,
        total_chunks=now.segments_total,
        log_entries=[log_entry(job.id, line) for line in lines],
        stage=now.stage,
        stage_number=now.stage_number,
        total_stages=len(STAGES),
        segments_processed=now.segments_done,
        current_time=now.position_s,
        current_time_formatted=clock(now.position_s),
        total_duration=now.duration_s,
        total_duration_formatted=clock(now.duration_s),
        progress_percent=100.0 if done else now.stage_percent,
        elapsed_time=now.stage_elapsed_s,
    )


def log_entry(job_id: str, line: LogLine) -> pb.LogEntry:
    return pb.LogEntry(
        timestamp=line.timestamp,
        level=line.level,
        stage=line.stage,
        message=line.message,
        chunk_id=line.chunk_id,
        session_id=job_id,
        extra_data=json.dumps(line.extra, ensure_ascii=False),
    )


# -- results ----------------------------------------------------------------------------------------------------------

UNDER_WAY = "the job is not finished yet"
"""By this sentence a client whose stream broke knows that there is something to come back to."""


def result(job: Job) -> pb.TranslationResult:
    """The result of a completed job. Raises WrongState, with the reason, for any other."""
    if job.state is not State.COMPLETED or job.result is None:
        raise errors.WrongState(unfinished(job))
    out = job.result
    return pb.TranslationResult(
        session_id=job.id,
        output_path=out.output,
        status="completed",
        duration=out.duration_s,
        original_srt=out.original_srt,
        translated_srt=out.translated_srt,
        quality_metrics=quality(out),
        output_size=out.output_bytes,
        original_size=out.original_bytes,
        processing_time_seconds=out.processing_s,
    )


def unfinished(job: Job) -> str:
    if job.state is State.FAILED:
        return f"the job failed: {job.error}"
    if job.state is State.CANCELLED:
        return "the job was cancelled"
    return UNDER_WAY


def quality(out: Result) -> pb.QualityMetrics | None:
    """The measured figures, or None when one of them is unknown: the page then hides its panel, and shows no guess."""
    q = out.quality
    figures = (q.lip_sync, q.voice, q.translation, q.lufs, q.mean_tempo)
    if any(figure is None for figure in figures) or q.duration_match is None:
        return None
    return pb.QualityMetrics(
        lip_sync_accuracy=q.lip_sync,
        voice_quality=q.voice,
        translation_quality=q.translation,
        duration_match=q.duration_match,
        avg_lufs=q.lufs,
        avg_atempo=q.mean_tempo,
        segments_condensed=q.condensed,
    )


def insights(job_id: str, found: list[Insight]) -> pb.AIInsightsResponse:
    return pb.AIInsightsResponse(
        session_id=job_id,
        insights=[
            pb.AIInsight(
                id=i.id,
                type=i.kind,
                title=i.title,
                description=i.description,
                impact=i.impact,
                timestamp=i.timestamp,
                data=json.dumps(i.data, ensure_ascii=False),
            )
            for i in found
        ],
        total_insights=len(found),
        success=True,
        message=f"{len(found)} insights",
    )


# -- JSON for the HTTP door -------------------------------------------------------------------------------------------


def job_json(job: Job, lines: list[LogLine]) -> dict[str, Any]:
    """A job as the HTTP door shows it: the state on the wire's words, and files by name, not by path."""
    return {
        "id": job.id,
        "title": job.request.title,
        "status": status(job),
        "state": job.state.value,
        "message": sentence(job),
        "source_lang": job.request.source_lang,
        "target_lang": job.request.target_lang,
        "target_langs": job.request.targets,
        "subtitles": job.request.subtitles,
        "voice_gender": job.request.voice_gender,
        "progress": {
            **asdict(job.progress),
            "percent": 100.0 if job.state is State.COMPLETED else job.progress.percent,
            "early_preview": f"/v1/jobs/{job.id}/artifacts/{EARLY_PREVIEW}" if job.progress.early_preview else "",
            "previews": {name: f"/v1/jobs/{job.id}/artifacts/{name}.mp4" for name in job.progress.preview_ids},
        },
        "log": [asdict(line) for line in lines],
        "error": {"code": job.error_code, "message": job.error} if job.state is State.FAILED else None,
        "result": result_json(job.result) if job.result else None,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
    }


def result_json(out: Result) -> dict[str, Any]:
    figures = asdict(out)
    names = ("duration_s", "output_bytes", "original_bytes", "processing_s", "quality")
    further = {language: result_json(one) for language, one in out.further.items()}
    return {**{name: figures[name] for name in names}, **({"further": further} if further else {})}


def insight_json(insight: Insight) -> dict[str, Any]:
    return asdict(insight)
