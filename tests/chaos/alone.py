"""A network namespace with nothing but loopback in it: Ray's processes listen on every interface."""

import os
import subprocess
import sys
from collections.abc import Sequence

MARK = "CHAOS_ALONE"


def alone(module: str, arguments: Sequence[str]) -> None:
    """Begins `python -m module` again in a namespace of its own where that is allowed; returns where it is not."""
    if MARK in os.environ:
        return
    os.environ[MARK] = "1"
    space = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net"]
    space += ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    try:
        allowed = subprocess.run([*space, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        allowed = False
    if allowed:
        os.execvp(space[0], [*space, sys.executable, "-m", module, *arguments])
