"""Peak memory of a command with all its processes: `python -m tests.bench.memory dubserve demo`.

Counts PSS (shared pages are divided among those who share them), because Ray's processes share most of their libraries
and a sum of RSS would count those pages many times. Sampled, so a peak shorter than the interval can be missed.
"""

import json
import subprocess
import sys
import time

import psutil

INTERVAL_S = 0.5


def pss(process: psutil.Process) -> int:
    """Bytes; 0 for a process that has just ended."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def tree(root: psutil.Process, known: set[psutil.Process]) -> set[psutil.Process]:
    """All processes below `root`, and those seen there before: Ray's daemons leave their parent."""
    try:
        known |= {root, *root.children(recursive=True)}
    except psutil.Error:
        return known
    for process in list(known):
        try:
            known |= set(process.children(recursive=True))
        except psutil.Error:
            known.discard(process)
    return known


def main() -> None:
    began = time.monotonic()
    command = subprocess.Popen(sys.argv[1:])
    known: set[psutil.Process] = set()
    peak, count = 0, 0
    while command.poll() is None:
        known = tree(psutil.Process(command.pid), known)
        now = sum(pss(process) for process in known)
        if now > peak:
            peak, count = now, len(known)
        time.sleep(INTERVAL_S)
    result = {"peak_pss_mb": round(peak / 1e6), "processes": count, "seconds": round(time.monotonic() - began, 1)}
    print(json.dumps(result))
    sys.exit(command.returncode)


if __name__ == "__main__":
    main()
