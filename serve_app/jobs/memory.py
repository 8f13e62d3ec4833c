"""Small answers, each kept as soon as it is there: one line of a file that is only ever appended to.

A checkpoint of its own would cost a file, a rename and two fsyncs for every sentence of ten words, which is more than
translating it. A line costs one write into the page cache: it survives the death of any process at any moment, and a
power cut takes what the kernel had not written down yet, which is then asked for again. Each line carries a hash of
itself and begins with the end of the line before, so one that was torn spoils neither itself nor the next. Two attempts
that are alive at the same time may both write, since each line is one write to the end of the file.

All lines are held in memory: some kilobytes per hour of speech.
"""

import json
import os
from pathlib import Path
from typing import Any

from serve_app.jobs.workspace import digest, disk_space


class Memory:
    """Reads what is there when it is made, and writes when it is told to `keep`: both block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _read(path)

    def get(self, key: str) -> Any | None:
        """None when there is nothing, or nothing that is whole."""
        return self._known.get(key)

    def keep(self, key: str, data: Any) -> None:
        """The last answer under a key counts; it may be anything that JSON can hold. Raises OutOfSpace."""
        line = json.dumps([key, data, digest([key, data])], ensure_ascii=False).encode()
        with disk_space():
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(handle, b"\n" + line)
            finally:
                os.close(handle)
        self._known[key] = data


def _read(path: Path) -> dict[str, Any]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    return dict(filter(None, map(_whole, lines)))


def _whole(line: bytes) -> tuple[str, Any] | None:
    """Key and answer of a line that is as it was written."""
    try:
        key, data, seal = json.loads(line)
        return (key, data) if seal == digest([key, data]) else None
    except (ValueError, TypeError):
        return None
