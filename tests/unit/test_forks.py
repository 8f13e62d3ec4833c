"""OpenBLAS waits for ever where a process forks while it multiplies with several threads: so it has one."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

COUNTED = """
import os, {module}
import numpy as np
np.ones((600, 600)) @ np.ones((600, 600))
print("numpy" in __import__("sys").modules, len(os.listdir("/proc/self/task")), os.environ["OPENBLAS_NUM_THREADS"])
"""


def run(code: str, seconds: float) -> str:
    # what the variables of this process say is not asked: a user has none of them
    alone = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=REPOSITORY, env=alone, timeout=seconds
    )
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["serve_app.media.audio", "models.vad.silero", "export.bench.recordings"])
def test_numpy_has_no_threads_of_its_own(module: str) -> None:
    assert run(COUNTED.format(module=module), 120) == "True 1 1"
