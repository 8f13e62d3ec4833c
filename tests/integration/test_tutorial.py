"""docs/python.md is run, block by block, as somebody would who reads it beside a running service."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.service import Service

PAGE = REPOSITORY / "docs/python.md"
ADDRESS = "http://localhost:8000"


def test_the_tutorial_does_what_it_says(
    served: Service,
    short_talk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(short_talk, "talk.mp4")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    assert len(blocks) >= 6 and blocks[0].count(ADDRESS) == 1
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, block in enumerate(blocks, 1):
        exec(compile(block.replace(ADDRESS, served.http_url), f"{PAGE.name}, block {number}", "exec"), names)
    said = capsys.readouterr().out
    for words in ("100.0 %  Completed", "unsupported_language - ", "job_not_found - ", "['completed', 'completed']"):
        assert words in said, said
    assert (tmp_path / "dubs" / "translated.mp4").stat().st_size > 10_000
    assert (tmp_path / "dubs" / "report.json").is_file()
