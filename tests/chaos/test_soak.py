"""The short soak: three minutes of mixed load, and what is under way is waited for; and what it takes for growth."""

import json
import subprocess
import sys

import pytest

from tests.bench.soak import grown
from tests.service import REPOSITORY

BOUND = 0.15
"""A busy machine has not loaded everything after a minute: the second one is not as still as the half of thirty."""


def test_no_job_is_lost_every_refusal_is_the_right_one_and_nothing_grows() -> None:
    command = [sys.executable, "-m", "tests.bench.soak", "--minutes", "3", "--every", "2", "--bound", str(BOUND)]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert (told["lost"], told["left"], told["wrong"], told["gone"], told["killed"]) == (0, 0, 0, [], 1)
    ended = [told[how] for how in ("completed", "cancelled", "failed")]
    assert told["rows"] == sum(ended) and told["completed"] > 3 and told["failed"] and told["refused"] > 50
    for figure in ("pss", "fds", "threads"):
        there, by_median, by_slope = told[figure]
        assert there > 0 and min(by_median, by_slope) < BOUND


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
