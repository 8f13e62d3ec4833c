"""The benchmark of the whole on two short talks: it runs, and its figures can be true."""

import json
import subprocess
import sys
from pathlib import Path

from tests.bench.endtoend import covered
from tests.bench.journal import Wait
from tests.service import REPOSITORY


def test_two_short_talks_go_through_the_service_and_the_line_tells_how(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench.endtoend", "--talks", "2", "--seconds", "15", "--peer", "0"]
    ran = subprocess.run(
        [*command, "--modes", "burn", "--out", str(tmp_path)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["video_min_per_min_burnt"] > 0 and told["peak_mb_burnt"] > 200
    assert 0 <= told["overhead_share"] < 1
    assert set(told["cpu_s_burnt"]) >= {"Recognizer", "Translator", "Driver", "ffmpeg", "Serve"}
    assert all(told["wait_s_burnt"][what] > 0 for what in ("vad", "asr", "translation", "tts", "sound", "video"))
    assert (tmp_path / "endtoend-burn.png").read_bytes().startswith(b"\x89PNG")


def test_time_that_is_shared_is_counted_once() -> None:
    waits = [Wait("job", 1, "asr", began, ended) for began, ended in ((1.0, 3.0), (2.0, 2.5), (2.0, 4.0), (6.0, 7.0))]
    assert covered(waits) == 4.0
