"""What all targets of a job share: the film, what was heard in it, and who works on it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from configs.app import AppSettings
from models.segment import Clip, Span, Transcript
from serve_app.accompaniment import Accompaniment
from serve_app.engines import Models
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Workspace
from serve_app.media.probe import Source


@dataclass(frozen=True, slots=True)
class Film:
    """`language` is that of the whole, `speech` is where it was detected.

    `ears` recognise without a memory, for sound that may be made anew.
    """

    source: Source
    models: Models
    settings: AppSettings
    workspace: Workspace
    report: Report
    language: str
    speech: Sequence[Span]
    ears: Callable[[Clip], Awaitable[Transcript]]
    music: Accompaniment
