"""Which files callers may name: only those inside the shared roots, and only by their real place.

The uploads of a named tenant lie in a folder of its own, and it may name nothing else; the anonymous tenant, which is
whoever shares the folders with this service, may name all but those.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from configs.app import Roots
from models.errors import PathNotAllowed
from serve_app.jobs.job import ANONYMOUS
from serve_app.jobs.workspace import artifact_of

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


def not_of_others(real: Path, tenant: str, roots: Roots, owners: Callable[[Sequence[str]], Mapping[str, str]]) -> None:
    """The results of all tenants lie in one folder; `owners` tells by their names whose they are.

    Asked when a job comes and again when it is worked on: what lies at a path may have changed in between. Raises
    PathNotAllowed.
    """
    root = roots.artifacts.resolve()
    job_id, _ = artifact_of(real.relative_to(root)) if real.is_relative_to(root) else ("", False)
    if job_id and owners([job_id]).get(job_id, tenant) != tenant:
        raise outside()


def inside(path: str, roots: Sequence[Path]) -> Path:
    """The real path of `path`, links followed. Raises PathNotAllowed when it lies in none of `roots`."""
    if not path or "\0" in path or len(path) > MAX_PATH or not Path(path).is_absolute():
        raise PathNotAllowed("the path of the video must be absolute and free of NUL characters")
    try:
        real = Path(path).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # too long for the disk, a loop of links, half a character
        raise PathNotAllowed("the path of the video cannot be followed") from error
    if not any(real.is_relative_to(root.resolve()) for root in roots):
        raise outside()
    return real


def outside() -> PathNotAllowed:
    return PathNotAllowed(
        "the video lies outside the folders that this service may read; put it into the uploads folder"
    )
