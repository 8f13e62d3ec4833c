"""Where the parts of a form lie until a route has read them: on the disk of the work folder.

The form parser keeps a megabyte of each part in memory and the rest in a nameless temporary file. In a container the
usual folder for these is small, and often memory. It offers no choice of a folder but the process's own.
"""

import tempfile
from pathlib import Path

from serve_app.jobs.workspace import disk_space

FOLDER = ".spool"


def spool(work: Path) -> None:
    """From now on, temporary files of this process lie within `work`."""
    folder = work / FOLDER
    with disk_space():
        folder.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(folder)
