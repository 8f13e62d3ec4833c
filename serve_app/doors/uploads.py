"""What callers bring: videos and transcripts that they upload, or that lie where the service may read them.

An upload is kept whole or not at all, under the id of its job, on the shelf of its tenant.
"""

import asyncio
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from configs.app import Roots
from models.errors import InvalidJob, OutOfSpace
from serve_app.doors.access import Caller
from serve_app.doors.undivided import undivided
from serve_app.hearing import transcripts
from serve_app.jobs.store import Store
from serve_app.jobs.workspace import disk_space, safe_id
from serve_app.paths import home, not_of_others, readable

CHUNK = 1 << 20
BOM = b"\xef\xbb\xbf"
NO_ROOM = "the upload could not be written; the disk of the service may be full"


class TooLarge(InvalidJob):
    """An upload beyond what the settings allow."""

    code = "too_large"


class Uploads:
    """Videos have at most `max_bytes`."""

    def __init__(self, store: Store, roots: Roots, max_bytes: int) -> None:
        self._store = store
        self._roots = roots
        self.max_bytes = max_bytes

    async def readable(self, caller: Caller, path: str) -> Path:
        """The real path of a video that a caller named. Raises PathNotAllowed, or InvalidJob when nothing is there."""
        return await asyncio.to_thread(self._readable, caller, path)

    def _readable(self, caller: Caller, path: str) -> Path:
        real = readable(path, caller.tenant, self._roots)
        if not real.is_file():
            raise InvalidJob("there is no file at this path; upload the video first")
        not_of_others(real, caller.tenant, self._roots, self._store.owners)
        return real

    async def receive(self, caller: Caller, job_id: str, name: str, upload: BinaryIO) -> Path:
        """Keeps an uploaded file under the job's id. Raises TooLarge or OutOfSpace."""
        suffix = Path(name).suffix[:8]
        shelf = await asyncio.to_thread(self._shelf, caller)
        target = shelf / f"{safe_id(job_id)}{suffix if suffix[1:].isalnum() else ''}"
        await undivided(asyncio.to_thread(copy, upload, target, self.max_bytes))
        return target

    async def receive_transcript(self, caller: Caller, job_id: str, upload: BinaryIO) -> Path:
        """Keeps an uploaded transcript beside the video. Raises UnreadableTranscript or OutOfSpace."""
        content = await asyncio.to_thread(upload.read, transcripts.MAX_BYTES + 1)
        await asyncio.to_thread(transcripts.parse, content)
        suffix = ".vtt" if content.lstrip(BOM).startswith(b"WEBVTT") else ".srt"
        target = await asyncio.to_thread(self._shelf, caller) / f"{safe_id(job_id)}{suffix}"
        await undivided(asyncio.to_thread(copy, BytesIO(content), target, transcripts.MAX_BYTES))
        return target

    def _shelf(self, caller: Caller) -> Path:
        """The folder of a caller's uploads, made when it is first needed."""
        folder = home(caller.tenant, self._roots)
        if folder != self._roots.uploads:
            with disk_space():
                folder.mkdir(parents=True, exist_ok=True)
        return folder

    def withdraw(self, caller: Caller, job_id: str) -> None:
        """Takes back what was received for a job, unless it was accepted."""
        if self._store.owners([job_id]):
            return
        shelf = home(caller.tenant, self._roots)
        for path in (shelf / safe_id(job_id), *shelf.glob(f"{job_id}.*")):
            path.unlink(missing_ok=True)

    async def readable_transcript(self, caller: Caller, path: str) -> Path:
        """The real path of a transcript that a caller named. Raises as `readable`, and UnreadableTranscript."""
        real = await self.readable(caller, path)
        await asyncio.to_thread(transcripts.read, real)
        return real

    def too_large(self) -> TooLarge:
        return too_large(self.max_bytes)


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"the video is larger than the {limit / 1024**2:g} MiB that may be uploaded; send a smaller one")


def copy(upload: BinaryIO, target: Path, limit: int) -> None:
    """Writes `upload` to `target`, whole or not at all."""
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as out:
            while chunk := upload.read(CHUNK):
                out.write(chunk)
                if out.tell() > limit:
                    raise too_large(limit)
        part.replace(target)
    except OSError as error:
        raise OutOfSpace(NO_ROOM) from error
    finally:
        part.unlink(missing_ok=True)
