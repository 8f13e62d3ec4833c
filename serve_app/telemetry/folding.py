"""What processes that have ended have counted, added up in one file of each kind.

A process keeps a lock on its files of figures for as long as it lives; the kernel, or the file server, lets go of it
with the process. So a file whose lock is free is nobody's. To be sure where locks do not reach every machine, one of
another machine must also have been left alone for some time, and one of this machine must bear a number that no process
has.

While files are folded nobody reads them and nobody begins new ones. Whoever is killed in that very moment loses counts,
which Prometheus takes for the restart of a counter, and never doubles any.
"""

import fcntl
import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.mmap_dict import MmapedDict

KINDS = ("counter", "histogram")
BYTES = 512 * 1024
"""Of one file: room for some thousand figures."""
FILE: Any = MmapedDict  # has no types
ENDED = "ended"
"""In place of the name of a process."""


def who() -> str:
    """Names this process among those that share a folder; containers may have pids in common."""
    return f"{socket.gethostname()}-{os.getpid()}"


def reserve(folder: Path) -> list[int]:
    """Descriptors of this process's files, to stay open as long as it counts. Raises OSError without room for them."""
    with unfolded(folder):
        return [_reserved(folder / f"{kind}_{who()}.db", BYTES) for kind in KINDS]


def fold(folder: Path, before: float) -> None:
    """Adds up the files of processes that have ended; on other machines, of those unchanged since `before`."""
    if folder.is_dir():
        with _held(folder, fcntl.LOCK_EX):
            for kind in KINDS:
                _fold(folder, kind, before)


def unfolded(folder: Path) -> AbstractContextManager[None]:
    """Around whatever reads the files: meanwhile none is folded."""
    return _held(folder, fcntl.LOCK_SH)


@contextmanager
def _held(folder: Path, how: int) -> Iterator[None]:
    with (folder / "lock").open("ab") as lock:
        with suppress(OSError):  # a file system without locks, where nothing is ever folded
            fcntl.flock(lock, how)
        yield


def _reserved(file: Path, size: int) -> int:
    """A mapped file without room on the disk would end the process at the first write that finds none."""
    opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.posix_fallocate(opened, 0, size)
    except OSError:
        os.close(opened)
        raise
    with suppress(OSError):
        fcntl.flock(opened, fcntl.LOCK_SH)
    return opened


def _fold(folder: Path, kind: str, before: float) -> None:
    whole = folder / f"{kind}_{ENDED}.db"
    ended = [file for file in folder.glob(f"{kind}_*.db") if file != whole and _has_ended(file, before)]
    if not ended:
        return
    sums: Counter[str] = Counter()
    for file in [whole, *ended] if whole.exists() else ended:
        for key, value, *_ in FILE.read_all_values_from_file(str(file)):
            sums[key] += value
    draft = _drafted(whole.with_suffix(".part"), sums)
    for file in ended:
        file.unlink()
    draft.replace(whole)


def _has_ended(file: Path, before: float) -> bool:
    host, _, pid = file.stem.partition("_")[2].rpartition("-")
    if psutil.pid_exists(int(pid)) if host == socket.gethostname() else file.stat().st_mtime > before:
        return False
    try:
        with file.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _drafted(draft: Path, sums: Counter[str]) -> Path:
    draft.unlink(missing_ok=True)
    os.close(_reserved(draft, max(BYTES, sum(len(key.encode()) + 64 for key in sums))))
    book = FILE(str(draft))
    for key, value in sums.items():
        book.write_value(key, value, 0.0)
    book.close()
    return draft
