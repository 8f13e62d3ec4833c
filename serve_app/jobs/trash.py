"""How things leave a shared folder: moved aside in one step, and taken apart later, without ever following a link.

Moving costs the same for a byte as for a hundred gigabytes, so it can be done while the store is held still; taking
apart can be slow. Paths are walked from the root down, one open folder at a time, so that a folder which somebody
exchanges for a link in the meantime leads nowhere. What another process removes first is gone, which is all that was
wanted. Nothing is looked for on other disks that are mounted inside.
"""

import logging
import os
import shutil
import stat
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any

logger = logging.getLogger(__name__)

PREFIX = ".trash-"


class Trash:
    """A hidden folder in `root` that comes into being with the first thing in it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / f"{PREFIX}{uuid.uuid4().hex[:12]}"

    def take(self, name: PurePath) -> bool:
        """Moves `name`, a path within the root, aside. False when it is gone, or cannot be moved."""
        try:
            self._folder.mkdir(exist_ok=True)
            with opened(self._root, *name.parts[:-1]) as parent, opened(self._folder) as here:
                os.rename(name.name, uuid.uuid4().hex, src_dir_fd=parent, dst_dir_fd=here)
        except FileNotFoundError:
            return False
        except OSError as error:
            logger.warning("something in the shared folders could not be cleaned up: %s", error.strerror)
            return False
        return True

    def empty(self) -> int:
        """Takes apart what was moved aside; the bytes that were freed."""
        return remove(self._folder) if self._folder.exists() else 0


def remove(folder: Path) -> int:
    """Removes a folder with everything in it. Bytes on the disk, as far as nobody else removed them first."""
    freed = sum(info.st_blocks * 512 for info in contents(folder) if info.st_nlink == 1)
    shutil.rmtree(folder, onerror=_overlook)
    return freed


def contents(folder: Path) -> Iterator[os.stat_result]:
    """Everything below `folder` but folders, links as links."""
    for _, _, names, here in os.fwalk(folder, follow_symlinks=False):
        for name in names:
            with suppress(OSError):
                yield os.stat(name, dir_fd=here, follow_symlinks=False)


def files(root: Path, apart: Collection[Path] = ()) -> Iterator[tuple[PurePath, os.stat_result]]:
    """Every plain file below `root`, with its path within; not in hidden folders, other disks, or folders `apart`."""
    disk = root.stat().st_dev
    for folder, below, names, here in os.fwalk(root, follow_symlinks=False):
        below[:] = [name for name in below if not name.startswith(".") and Path(folder, name) not in apart]
        if os.fstat(here).st_dev != disk:
            below.clear()
            continue
        for name in names:
            with suppress(OSError):
                info = os.stat(name, dir_fd=here, follow_symlinks=False)
                if stat.S_ISREG(info.st_mode):
                    yield PurePath(folder, name).relative_to(root), info


def folders(root: Path, apart: Collection[Path] = ()) -> list[str]:
    """Names of folders that lie directly in `root`; no links, no other disks, nothing that holds a folder `apart`."""
    disk = root.stat().st_dev
    with os.scandir(root) as entries:
        found = sorted(entry.name for entry in entries if _is_folder(entry, disk))
    return [name for name in found if not any(other.is_relative_to(root / name) for other in apart)]


@contextmanager
def opened(root: Path, *parts: str) -> Iterator[int]:
    """A descriptor of a folder below `root`. Raises OSError where a link stands in the way."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle = below
        yield handle
    finally:
        os.close(handle)


def _is_folder(entry: "os.DirEntry[str]", disk: int) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_dev == disk
    except OSError:
        return False


def _overlook(_call: Any, _path: str, problem: tuple[type[BaseException], BaseException, Any]) -> None:
    if not isinstance(problem[1], FileNotFoundError):
        logger.warning("something could not be cleaned up: %s", getattr(problem[1], "strerror", "") or "unknown")
