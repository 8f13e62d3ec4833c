"""Which files callers may name: only those inside the shared roots, and only by their real place.

The uploads of a named tenant lie in a folder of its own, and it may name nothing else; the anonymous tenant, which is
whoever shares the folders with this service, may name all but those.
"""

from collections.abc import Sequence
from pathlib import Path

from configs.app import Roots
from models.errors import PathNotAllowed
from serve_app.jobs.job import ANONYMOUS

MAX_PATH = 4096
TENANTS = "tenants"
"""The folder within the uploads that holds a folder for each named tenant."""


def home(tenant: str, roots: Roots) -> Path:
    """Where the uploads of a tenant lie; the folder may have to be made."""
    return roots.uploads if tenant == ANONYMOUS else roots.uploads / TENANTS / tenant


def readable(path: str, tenant: str, roots: Roots) -> Path:
    """The real path of a file that `tenant` names. Raises PathNotAllowed when it may not."""
    if tenant != ANONYMOUS:
        return inside(path, (home(tenant, roots),))
    real = inside(path, (roots.uploads, roots.artifacts))
    if real.is_relative_to(roots.uploads.resolve() / TENANTS):
        raise outside()
    return real


def inside(path: str, roots: Sequence[Path]) -> Path:
    """The real path of `path`, links followed. Raises PathNotAllowed when it lies in none of `roots`."""
    if not path or "\0" in path or len(path) > MAX_PATH or not Path(path).is_absolute():
        raise PathNotAllowed("the path of the video must be absolute and free of NUL characters")
    try:
        real = Path(path).resolve()
    except (OSError, RuntimeError) as error:  # a name too long for the disk, a loop of links
        raise PathNotAllowed("the path of the video cannot be followed") from error
    if not any(real.is_relative_to(root.resolve()) for root in roots):
        raise outside()
    return real


def outside() -> PathNotAllowed:
    return PathNotAllowed(
        "the video lies outside the folders that this service may read; put it into the uploads folder"
    )
