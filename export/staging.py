"""A folder that appears whole or not at all, and replaces another one whole or not at all.

Everything is written into a scratch folder beside the target, flushed to the disk, and put in place by one rename, so
that a kill at any moment leaves the old folder, the new one, or none. Where a folder is there already, Linux exchanges
the two in one step; file systems that cannot (NFS, macOS) get two renames, and a run killed exactly between them leaves
nothing at the target until the next run puts the old folder back.

A scratch folder belongs to the process that holds a lock on it, which the system gives up when the process dies: so
the next run in the same place knows which ones nobody will finish, and clears them. Where folders cannot be locked
(some network file systems) nothing is cleared. A reader that opens files by name during the exchange may get the
manifest of one folder and a file of the other, which the sizes in the manifest show.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from models.artifact import MANIFEST, Manifest
from models.errors import ArtifactMissing, OutOfSpace

PREFIX = ".export-"
NEW, OLD = "new", "old"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
AT_FDCWD, RENAME_EXCHANGE = -100, 2


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """An empty folder to fill; what it holds at the end stands at `out`, beside files of others that lay there.

    Raises ArtifactMissing when `out` cannot be written or is no folder for an artifact, OutOfSpace for a full disk.
    """
    out = out.resolve()
    _accept(out)
    with space(out.name), _scratch(out) as scratch:
        stage = scratch / NEW / out.name
        stage.mkdir(parents=True)
        yield stage
        _keep(out, stage)
        _flush(stage)
        _put(stage, out, scratch)


@contextmanager
def space(name: str) -> Iterator[None]:
    """Turns a full disk, however deep it is wrapped, into OutOfSpace; other errors pass."""
    try:
        yield
    except Exception as error:
        if full(error):
            raise OutOfSpace(
                f"the disk is full, or a file would be larger than allowed; make room and export {name} again"
            ) from error
        raise


def full(error: BaseException | None) -> bool:
    """Is a full disk behind this error?"""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def _accept(out: Path) -> None:
    if out.is_dir():
        if any(path.is_dir() for path in out.iterdir()):
            raise ArtifactMissing(f"{out.name} holds other folders; give --out a folder of the artifact's own")
    elif out.exists():
        raise ArtifactMissing(f"{out.name} is a file; give --out a folder")


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _locked(out.parent):
            _sweep(out.parent)
            scratch = Path(tempfile.mkdtemp(prefix=PREFIX, dir=out.parent))
            held = _lock(scratch)
    except OSError as error:
        if full(error):
            raise
        raise ArtifactMissing(f"the folder for {out.name} cannot be written; give --out one that can") from error
    try:
        yield scratch
    finally:
        _clear(scratch)
        os.close(held)


@contextmanager
def _locked(parent: Path) -> Iterator[None]:
    """Nobody else makes or clears a scratch folder here meanwhile."""
    held = os.open(parent, os.O_RDONLY)
    try:
        _flock(held, wait=True)
        yield
    finally:
        os.close(held)


def _lock(folder: Path) -> int:
    held = os.open(folder, os.O_RDONLY)
    _flock(held, wait=False)
    return held


def _flock(held: int, wait: bool) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sweep(parent: Path) -> None:
    """Clears what killed runs left."""
    for scratch in parent.glob(f"{PREFIX}*"):
        held = os.open(scratch, os.O_RDONLY)
        try:
            if _flock(held, wait=False):
                _clear(scratch)
        finally:
            os.close(held)


def _clear(scratch: Path) -> None:
    """Removes it, after putting back the folder that its run had set aside and not replaced yet."""
    for old in (scratch / OLD).glob("*"):
        if not (scratch.parent / old.name).exists():
            old.rename(scratch.parent / old.name)
    shutil.rmtree(scratch, ignore_errors=True)


def _keep(out: Path, stage: Path) -> None:
    """Files of others, such as a README, move to the new folder; those of the old artifact do not."""
    theirs = _listed(out)
    for path in out.iterdir() if out.is_dir() else ():
        if path.name not in theirs and not path.name.startswith(".") and not (stage / path.name).exists():
            _copy(path, stage / path.name)


def _listed(out: Path) -> set[str]:
    """Names of the old artifact's files, complete or not."""
    try:
        return {MANIFEST, *Manifest.model_validate_json((out / MANIFEST).read_bytes()).files}
    except (OSError, ValidationError):
        return {MANIFEST}


def _copy(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)


def _flush(stage: Path) -> None:
    """Without it, a power cut after the rename could leave whole names on empty files."""
    for path in (*stage.iterdir(), stage):
        held = os.open(path, os.O_RDONLY)
        try:
            os.fsync(held)
        finally:
            os.close(held)


def _put(stage: Path, out: Path, scratch: Path) -> None:
    try:
        stage.rename(out)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not _exchange(stage, out):
            (scratch / OLD).mkdir()
            out.rename(scratch / OLD / out.name)
            stage.rename(out)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two folders in one step; False where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = (os.fsencode(path) for path in (one, other))
    return rename is not None and rename(AT_FDCWD, next(names), AT_FDCWD, next(names), RENAME_EXCHANGE) == 0
