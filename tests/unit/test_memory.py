"""Answers that are kept line by line, and files that a kill or a bad disk has left."""

from pathlib import Path

import pytest

from models.errors import OutOfSpace
from serve_app.jobs.memory import Memory


def test_what_was_kept_is_there_for_the_next_process(tmp_path: Path) -> None:
    first = Memory(tmp_path / "said")
    assert first.get("a") is None
    first.keep("a", {"text": "größer\nals", "scores": [1.5]})
    first.keep("b", "first")
    first.keep("b", "again")
    for memory in (first, Memory(tmp_path / "said")):
        assert memory.get("a") == {"text": "größer\nals", "scores": [1.5]}
        assert (memory.get("b"), memory.get("c")) == ("again", None)


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_torn_line_costs_itself_alone(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "said"
    for key in "abc":
        Memory(path).keep(key, f"answer {key}")
    path.write_bytes(path.read_bytes()[:-cut])
    Memory(path).keep("d", "answer d")
    memory = Memory(path)
    assert [memory.get(key) for key in "abcd"] == ["answer a", "answer b", None, "answer d"]


def test_a_changed_byte_costs_its_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "said"
    for key in "ab":
        Memory(path).keep(key, f"answer {key}")
    path.write_bytes(path.read_bytes().replace(b"answer a", b"answer z"))
    assert (Memory(path).get("a"), Memory(path).get("b")) == (None, "answer b")
    path.write_bytes(b"\x00\xff[1,2]\n[]\n7\n" + path.read_bytes())
    assert Memory(path).get("b") == "answer b"


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "full")
    (tmp_path / "full").symlink_to("/dev/full")  # not before: it never ends
    with pytest.raises(OutOfSpace):
        memory.keep("a", 1)
    assert memory.get("a") is None
