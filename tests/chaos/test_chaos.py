"""The short chaos: four films, three kills of parts, one of Ray itself; and the counting that it relies on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import journal
from tests.chaos.journal import Call
from tests.service import REPOSITORY

WORK = ("translate", "a")


def chaos(*asked: str) -> tuple[dict[str, Any], str]:
    """The last line of a run, and all that it said."""
    command = [sys.executable, "-m", "tests.chaos", "--jobs", "4", "--seconds", "8", *asked]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=400, check=False)
    told = ran.stdout + ran.stderr
    assert ran.returncode == 0, told
    return json.loads(ran.stdout.splitlines()[-1]), told


LOST = {"submitted": 4, "finished": 4, "different": 0, "hung": 0, "repeated_calls": 0}


def test_nothing_is_lost_and_nothing_is_done_twice() -> None:
    row, told = chaos("--kills", "3", "--ends", "raylet")
    assert row.items() >= {**LOST, "restarts": 1}.items(), told
    assert row["kills"] >= 2 and row["calls"] > 30


def test_an_update_under_load_loses_nothing() -> None:
    row, told = chaos("--kills", "0", "--ends", "", "--updates", "2", "--every", "1")
    assert row.items() >= {**LOST, "updates": 2, "kills": 0, "errors": 0}.items(), told
    assert row["under_load"] >= 1, told


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
    found = journal.repeated(calls, [(at, at) for at in kills], {WORK}, call_s=0.3)
    assert [len(part) for part in found] == [vain, excused]


def test_what_is_asked_again_while_parts_are_replaced_has_an_excuse() -> None:
    calls = [Call(WORK, 10.0, 11.0), Call(WORK, 20.0, 21.0)]
    found = [journal.repeated(calls, [span], {WORK}, call_s=0.3) for span in ((5.0, 9.0), (9.0, 15.0), (12.0, 15.0))]
    assert [len(vain) for vain, _ in found] == [1, 0, 1]


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
