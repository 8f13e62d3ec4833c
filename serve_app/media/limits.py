"""What a child process that reads strangers' files may use at most, and know. The kernel ends one that goes beyond.

Memory is counted as private writable memory (RLIMIT_DATA), not as address space, of which CUDA reserves terabytes. The
limits hold for each process alone: how many of them there are is decided by how many jobs and windows run at once. Of
our variables, among which are the secrets of the service, a child gets those that it needs to start (`environment`).

They are no sandbox: a decoder that was taken over can still do what the service's user may do; run it in a container.
"""

import ctypes
import os
import resource
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil

from serve_app import machine

GIB = 1024**3

NAMES = frozenset(
    "PATH HOME TMPDIR TZ LANG LANGUAGE LD_LIBRARY_PATH"
    " VIRTUAL_ENV PYTHONPATH PYTHONHOME PYTHONUTF8 PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX".split()
)
PREFIXES = ("LC_", "XDG_", "FONTCONFIG_", "CUDA_", "NVIDIA_")
"""Variables that a child is given, by name or by how their names begin."""

NICE = 10
"""Of a patient child: beside one that is not, it gets a tenth of a core."""

PROGRAMS = ("prlimit", "setpriv", "nice")
"""What binds a child: of util-linux and coreutils, which every Debian has."""

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory` and `file` (each file that is written) in bytes, `cpu` in seconds over all threads."""

    memory: int
    file: int
    cpu: int

    def bounds(self) -> Iterator[tuple[str, int, int]]:
        """The resource, its soft and its hard limit; none is above one that somebody else has set."""
        asked = {"data": self.memory, "fsize": self.file, "core": 0, "cpu": self.cpu}
        for what, most in asked.items():
            grace = 5 if what == "cpu" else 0  # ffmpeg takes the first signal for a wish to stop
            _, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{what.upper()}"))
            roof = most + grace if hard == resource.RLIM_INFINITY else min(most + grace, hard)
            yield what, min(most, roof), roof

    def apply(self) -> None:
        """For a child of ours that is Python, before it opens anything; `confined` does the same to any program.

        From then on no program that it starts has more rights than itself, such as one that is root's (setuid), and
        the kernel ends it when its parent is killed, which no handler of ours would see.
        """
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
        for what, soft, hard in self.bounds():
            resource.setrlimit(getattr(resource, f"RLIMIT_{what.upper()}"), (soft, hard))


def confined(limits: Limits, command: Sequence[str], patient: bool = False) -> list[str]:
    """`command` behind PROGRAMS that bind it as `Limits.apply` would and then become it.

    To do it by a function that runs in the child (preexec_fn) needs a fork of this whole process: it stops the loop of
    a large one for long, and one in which gRPC has threads may not survive it. A parent that is killed in the few
    milliseconds before `setpriv` has run leaves its child to end by itself.
    """
    bounds = [f"--{what}={soft}:{hard}" for what, soft, hard in limits.bounds()]
    later = ["nice", "-n", str(NICE)] if patient else []
    return ["prlimit", *bounds, "setpriv", "--no-new-privs", "--pdeathsig", "KILL", *later, *command]


@cache
def memory() -> int:
    """Bytes that one child may take: 8 GiB, enough for pictures of 8192 × 4320, or three quarters of all there are."""
    return min(8 * GIB, machine.memory()[1] * 3 // 4)


def working(wall_s: float) -> Limits:
    """Of a run that may last `wall_s` seconds. A file may be larger than any video that is taken in."""
    return Limits(memory(), 256 * GIB, ceil(wall_s) * (os.cpu_count() or 1))


def reading(wall_s: float) -> Limits:
    """Of a child that looks into a file and writes nothing to speak of."""
    return Limits(min(4 * GIB, memory()), 1024**2, ceil(wall_s))


def environment() -> dict[str, str]:
    """What a child is told of our environment: where programs, libraries, fonts and GPUs are, and no secret."""
    return {name: value for name, value in os.environ.items() if name in NAMES or name.startswith(PREFIXES)}
