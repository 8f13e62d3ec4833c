"""The folder of a job and what lies in it.

A checkpoint is one JSON file: the data, the key it was made from, the files it speaks of with their size and content
hash, and a hash over all that. It counts only while everything still holds, so a kill at any moment, a half-copied disk
or a changed setting costs work and never a wrong result. Modification times are not trusted: they survive neither
copies nor clocks. The price is that a resumed job reads its large files once (SHA-256, some 1–2 GB/s at best).

Two Drivers may work in one folder for a moment, when the first has lost its lease and has not noticed yet. Checkpoints
are whole at every instant and keyed, so both write the same thing; other files are the writer's care.
"""

import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel

from configs.pipeline import LANGUAGES
from models.artifact import digest as digest_of
from models.errors import InvalidJob, OutOfSpace

PREVIEWS = "previews"
EARLY_PREVIEW = "early_preview.mp4"
"""Its name among the files of a job."""
LOG = "log.jsonl"
MARKS = frozenset({PREVIEWS, LOG, "speech.wav", "extract.json", "listen.json", "windows"})

UNUSABLE_ID = (
    "choose another session id, of 1 to 128 letters, digits, dots, dashes and underscores "
    "that neither starts with a dot nor ends in _translated or _bilingual"
)


def safe_id(job_id: str) -> str:
    """The id itself when it can be the name of a folder and of artifacts; raises InvalidJob otherwise.

    An id that ends in _translated or _bilingual is refused as well: its plain subtitles would carry the name of another
    job's translated ones in the flat layout.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", job_id) or job_id.endswith(
        ("_translated", "_bilingual")
    ):
        raise InvalidJob(UNUSABLE_ID)
    return job_id


def is_safe_id(name: str) -> bool:
    try:
        return bool(safe_id(name))
    except InvalidJob:
        return False


@dataclasses.dataclass(frozen=True, slots=True)
class Artifacts:
    """What a finished job leaves for its readers, under the names by which they look for it."""

    output: Path
    early_preview: Path
    original_srt: Path
    translated_srt: Path
    bilingual_srt: Path
    report: Path
    report_page: Path


def artifacts(root: Path, job_id: str, further: str = "") -> Artifacts:
    """Names in the flat folder that all jobs share; those of a `further` target name its language. Raises InvalidJob.

    What does not depend on the target has one name for all of them.
    """
    stem, language = safe_id(job_id), f".{further}" if further else ""
    return Artifacts(
        output=root / f"{stem}_translated{language}.mp4",
        early_preview=root / f"{stem}_{EARLY_PREVIEW}",
        original_srt=root / f"{stem}_subtitles.srt",
        translated_srt=root / f"{stem}_translated_subtitles{language}.srt",
        bilingual_srt=root / f"{stem}_bilingual_subtitles{language}.srt",
        report=root / f"{stem}_report{language}.json",
        report_page=root / f"{stem}_report{language}.html",
    )


def artifact_of(path: PurePath) -> tuple[str, bool]:
    """Whose artifact a path within the flat folder is, by its name, and whether it is a preview; "" if it is none."""
    suffix = next((suffix for suffix in _suffixes() if path.name.endswith(suffix)), "")
    job_id = path.name.removesuffix(suffix)
    if not suffix or len(path.parts) > 1 or not is_safe_id(job_id):
        return "", False
    return job_id, suffix == artifacts(Path(), "-").early_preview.name[1:]


@cache
def _suffixes() -> list[str]:
    """How the names of artifacts end, longest first; subtitles are there as SRT, WebVTT and ASS."""
    files = [artifacts(Path(), "-", further) for further in ("", *LANGUAGES)]
    names = {getattr(one, field.name).name[1:] for one in files for field in dataclasses.fields(one)}
    forms = {name.replace(".srt", form) for name in names for form in (".srt", ".vtt", ".ass")}
    return sorted(forms, key=len, reverse=True)


def segment_preview(root: Path, job_id: str, segment: str) -> Path:
    """Where clients look for one of the previews that a job has made on its way; `root` holds all workspaces."""
    return root / safe_id(job_id) / PREVIEWS / f"{segment}.mp4"


def is_workspace(names: Iterable[str]) -> bool:
    """Whether a folder in which these names lie looks like one that a job has been worked on in."""
    return any(name in MARKS or name.startswith("attempt-") for name in names)


class Workspace:
    """`folder` is `<root>/<job_id>`, made on demand. Raises InvalidJob for an id that cannot be a folder."""

    def __init__(self, root: Path, job_id: str) -> None:
        self.folder = root / safe_id(job_id)
        if self.folder.is_symlink() or (self.folder.exists() and not self.folder.is_dir()):
            raise InvalidJob("this session id is taken; choose another one")

    def path(self, *parts: str) -> Path:
        """A path in the folder; its parents exist afterwards. Raises ValueError for one that leads out of it."""
        path = self.folder.joinpath(*parts)
        if ".." in path.parts or not path.is_relative_to(self.folder):
            raise ValueError("a path in a workspace leads out of it")
        with disk_space():
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def load(self, name: str, key: str) -> Any | None:
        """What was saved under `name`, or None when it is missing, damaged, of another key, or its files changed."""
        saved = self._read(name)
        if saved is None or saved.pop("hash", "") != digest(saved) or saved["key"] != key:
            return None
        return saved["data"] if all(self._intact(file) for file in saved["files"]) else None

    def save(self, name: str, key: str, data: Any, files: Iterable[Path] = ()) -> None:
        """Keeps `data`, anything that `plain` can turn into JSON, with the state of `files`. Raises OutOfSpace.

        None cannot be told from a missing checkpoint; tuples come back as lists.
        """
        saved = {"key": key, "files": [self._fingerprint(Path(file)) for file in files], "data": data}
        write_json(self.path(f"{name}.json"), {**saved, "hash": digest(saved)})

    def discard(self) -> None:
        """Removes the folder and everything in it; no error when there is none."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            saved = json.loads((self.folder / f"{name}.json").read_bytes())
        except (OSError, ValueError):
            return None
        return saved if isinstance(saved, dict) else None

    def _fingerprint(self, file: Path) -> dict[str, Any]:
        # a name within the folder, so that the folder may be moved
        name = file.relative_to(self.folder) if file.is_relative_to(self.folder) else file.absolute()
        return {"name": str(name), "size": file.stat().st_size, "hash": digest_of(file)}

    def _intact(self, seen: dict[str, Any]) -> bool:
        file = self.folder / seen["name"]
        try:
            return bool(file.stat().st_size == seen["size"] and digest_of(file) == seen["hash"])
        except OSError:
            return False


def key(*parts: Any) -> str:
    """A hash of everything that a result depends on: settings, segments, names of models, other keys."""
    return digest(parts)


def digest(data: Any) -> str:
    """SHA-256 of `data` as canonical JSON: the same for equal data in every process."""
    return hashlib.sha256(_json(data)).hexdigest()


def plain(thing: Any) -> Any:
    """What JSON has no word for: dataclasses, pydantic models, paths and sets. Raises TypeError for anything else."""
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
    if isinstance(thing, BaseModel):
        return thing.model_dump(mode="json")
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, set | frozenset):
        return sorted(thing)
    raise TypeError(f"{type(thing).__name__} cannot be kept as JSON")


def write_json(path: Path, data: Any) -> None:
    write_atomically(path, _json(data))


def write_atomically(path: Path, content: bytes) -> None:
    """Readers see the old file or the new one, also after a power cut. Raises OutOfSpace and leaves the old one."""
    with disk_space():
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(handle, 0o644)
                os.fsync(handle)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


@contextmanager
def disk_space() -> Iterator[None]:
    """Turns "no space left" into the error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace("the disk is full; free some space and submit the job again") from error
        raise


def _json(data: Any) -> bytes:
    return json.dumps(data, default=plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
