"""Which files callers may name: only those inside the shared roots, and only by their real place."""

from collections.abc import Sequence
from pathlib import Path

from models.errors import PathNotAllowed

MAX_PATH = 4096


def inside(path: str, roots: Sequence[Path]) -> Path:
    """The real path of `path`, links followed. Raises PathNotAllowed when it lies in none of `roots`."""
    if not path or "\0" in path or len(path) > MAX_PATH or not Path(path).is_absolute():
        raise PathNotAllowed("the path of the video must be absolute and free of NUL characters")
    try:
        real = Path(path).resolve()
    except (OSError, RuntimeError) as error:  # a name too long for the disk, a loop of links
        raise PathNotAllowed("the path of the video cannot be followed") from error
    if not any(real.is_relative_to(root.resolve()) for root in roots):
        raise PathNotAllowed(
            "the video lies outside the folders that this service may read; put it into the uploads folder"
        )
    return real
