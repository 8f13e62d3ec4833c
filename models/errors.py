"""Every error this product raises on purpose, sorted by whose fault it is.

    DubError
    ├── InvalidJob            the caller's     INVALID_ARGUMENT     422
    │   ├── UnreadableMedia       not a media file, damaged, too large, no audio track
    │   ├── UnsupportedLanguage   no model for this language or pair
    │   ├── NoSpeech              nothing was said
    │   ├── UnreadableTranscript  the subtitles that came with a job are damaged or belong to another film
    │   └── PathNotAllowed        outside the roots that may be read
    ├── NotAllowed            the caller's     UNAUTHENTICATED / PERMISSION_DENIED / RESOURCE_EXHAUSTED
    ├── JobNotFound           the caller's     NOT_FOUND            404
    ├── WrongState            the caller's     FAILED_PRECONDITION  409
    ├── ArtifactMissing       the operator's   FAILED_PRECONDITION  503   its message holds the command that makes it
    ├── StoreTooNew           the operator's   FAILED_PRECONDITION  503   the database belongs to a newer release
    ├── OutOfSpace            the operator's   RESOURCE_EXHAUSTED   507
    └── StageFailed           ours             INTERNAL             500   its message names the room that failed
        ├── Stalled               the engine or child process of a room showed no sign of life; transient
        └── BelowQuality          the dub is not as good as the operator wants it; its report is there

A message is one sentence that says what to do. It never holds a stack trace, Python text, or a path that the caller
did not give us. `code` is stable: clients and job rows keep it. `transient` tells the pipeline that a retry may help.
"""

INTERNAL = "the service failed in a way that it did not foresee; the operator finds the reason in its log"
"""What a caller is told of an error that is not of this tree."""


class DubError(Exception):
    """Base of the tree. `str(error)` is safe to show to the caller."""

    code = "internal"
    transient = False


class InvalidJob(DubError):
    code = "invalid_job"


class UnreadableMedia(InvalidJob):
    code = "unreadable_media"


class UnsupportedLanguage(InvalidJob):
    code = "unsupported_language"


class NoSpeech(InvalidJob):
    code = "no_speech"


class UnreadableTranscript(InvalidJob):
    code = "unreadable_transcript"


class PathNotAllowed(InvalidJob):
    code = "path_not_allowed"


class NotAllowed(DubError):
    """`code` is one of unauthenticated, permission_denied, resource_exhausted; `retry_after` is in seconds."""

    def __init__(self, message: str, code: str = "permission_denied", retry_after: float | None = None) -> None:
        super().__init__(message, code, retry_after)
        self.code = code
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.args[0])


class JobNotFound(DubError):
    code = "job_not_found"


class WrongState(DubError):
    code = "wrong_state"


class ArtifactMissing(DubError):
    code = "artifact_missing"


class StoreTooNew(DubError):
    code = "store_too_new"


class OutOfSpace(DubError):
    code = "out_of_space"


class StageFailed(DubError):
    """A room could not do its work. `stage` is its name on the wire."""

    code = "stage_failed"

    def __init__(self, stage: str, message: str, transient: bool = False) -> None:
        super().__init__(stage, message, transient)
        self.stage = stage
        self.transient = transient

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}"


class Stalled(StageFailed):
    """What a room waits for shows no sign of life; always transient, and never one item's own fault."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(stage, message, transient=True)
        self.args = (stage, message)


class BelowQuality(StageFailed):
    """A dub that is there and is not delivered, as its gates say; always the same however often it is tried."""

    code = "below_quality"

    def __init__(self, message: str) -> None:
        super().__init__("video_combination", message)
        self.args = (message,)

    def __str__(self) -> str:
        return str(self.args[0])
