"""The short chaos: four films, three kills of parts, one of Ray itself; and the counting that it relies on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import journal
from tests.chaos.journal import Call
from tests.service import REPOSITORY

WORK = ("translate", "a")


def test_nothing_is_lost_and_nothing_is_done_twice() -> None:
    asked = ["--jobs", "4", "--seconds", "8", "--kills", "3", "--ends", "raylet"]
    command = [sys.executable, "-m", "tests.chaos", *asked]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=400, check=False)
    row = json.loads(ran.stdout.splitlines()[-1])
    told = {name: row[name] for name in ("submitted", "finished", "different", "restarts", "hung", "repeated_calls")}
    assert told == {
        "submitted": 4, "finished": 4, "different": 0, "restarts": 1, "hung": 0, "repeated_calls": 0
    }, ran.stdout + ran.stderr  # fmt: skip
    assert row["kills"] >= 2 and row["calls"] > 30 and ran.returncode == 0


@pytest.mark.parametrize(
    ("kills", "vain", "excused"),
    [
        ([], 1, 0),
        ([9.9], 1, 0),  # before it was asked
        ([10.5], 0, 1),  # while it was worked on
        ([11.4], 0, 1),  # before its answer can have been kept
        ([15.0], 1, 0),  # long after
    ],
)
def test_a_repetition_needs_a_kill_as_its_excuse(kills: list[float], vain: int, excused: int) -> None:
    calls = [Call(WORK, 10.0, 11.0), Call(WORK, 20.0, 21.0), Call(("translate", "golden"), 1.0, 2.0)]
    found = journal.repeated(calls, kills, {WORK}, call_s=0.3)
    assert [len(part) for part in found] == [vain, excused]


def test_a_call_that_was_never_answered_is_no_repetition() -> None:
    calls = [Call(WORK, 10.0, None), Call(WORK, 20.0, 21.0)]
    assert journal.repeated(calls, [], {WORK}, call_s=0.3) == ([], [])
    assert journal.done(calls) == {WORK}


def test_a_torn_journal_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    row = {"at": 1.0, "pid": 7, "phase": "began", "verb": "translate", "asked": "a"}
    lines = [json.dumps(row), json.dumps({**row, "at": 2.0, "phase": "ended"}), json.dumps({**row, "at": 3.0})]
    path = tmp_path / "journal"
    path.write_text("\n".join([*lines, lines[0][:20]]))
    assert journal.read(path) == [Call(WORK, 1.0, 2.0), Call(WORK, 3.0, None)]
