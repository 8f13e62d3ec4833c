"""The short soak: a minute and a half of mixed load; and what it takes for growth."""

import json
import subprocess
import sys

import pytest

from tests.bench.soak import grown
from tests.service import REPOSITORY


def test_no_job_is_lost_and_nothing_grows() -> None:
    command = [sys.executable, "-m", "tests.bench.soak", "--minutes", "1.5", "--every", "2"]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=400, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert (told["lost"], told["taken"], told["killed"]) == (0, 0, 1)
    assert told["completed"] > 3 and told["refused"] > 50


@pytest.mark.parametrize(
    ("values", "flat"),
    [
        ([100.0] * 12, True),
        ([100.0, 104.0, 98.0] * 4, True),
        ([100.0] * 11 + [200.0], True),  # a burst bends the line, and not the median
        ([100.0 + n for n in range(12)], False),
        ([100.0] * 6 + [120.0] * 6, False),
    ],
)
def test_what_rises_by_median_and_by_slope_grows(values: list[float], flat: bool) -> None:
    assert grown(values, 0.05)[3] is flat
