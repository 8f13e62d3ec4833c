"""A run that dies anywhere is gone on with: nothing that an engine or the encoder has finished is done again."""

import asyncio
import dataclasses
import errno
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from configs.app import AppSettings
from serve_app import dubbing
from serve_app.attempt import dub
from serve_app.engines import Models
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Workspace, artifacts
from serve_app.stages.mux import Mixed
from tests.unit.test_pipeline import ECHO, Bench

PIPELINE = {**ECHO["pipeline"], "windows": {"min_s": 2, "max_s": 5, "at_once": 1}, "speak": {"at_once": 1}}
ALONE = AppSettings.model_validate({**ECHO, "pipeline": PIPELINE})
VERBS = ("detect", "recognize", "translate", "speak")


class Killed(BaseException):
    """Nobody in between takes it for an answer."""


class Mortal:
    """Engines that die when they were asked for more than is `left` to them, and remember what they answered.

    A sentence that is spoken again at another rate is one and the same clip.
    """

    def __init__(self, engines: Models) -> None:
        self._engines = engines
        self.left: dict[str, float] = dict.fromkeys(VERBS, float("inf"))
        self.answered: Counter[str] = Counter()
        self._last = ""

    def models(self) -> Models:
        return dataclasses.replace(self._engines, **{verb: self._mortal(verb) for verb in VERBS})

    def _mortal(self, verb: str) -> Callable[[Any], Awaitable[Any]]:
        async def call(item: Any) -> Any:
            asked = getattr(item, "text", None) or f"{item.start} {len(item.audio)} {item.language}"
            if self.left[verb] <= 0 and asked != self._last:
                raise Killed
            self.left[verb] -= asked != self._last
            self._last = asked
            answer = await getattr(self._engines, verb)(item)
            self.answered[f"{verb} {asked} {getattr(item, 'rate', '')}"] += 1
            return answer

        return call


@pytest.fixture
def bench(tmp_path: Path, short_talk: Path) -> Bench:
    return Bench(tmp_path, short_talk)


@pytest.mark.parametrize("verb", VERBS)
async def test_every_answer_is_asked_for_once(bench: Bench, verb: str) -> None:
    undisturbed = Mortal(bench.models)
    await bench.run(ALONE, undisturbed.models())
    Workspace(bench.folder / "work", "job").discard()
    mortal = Mortal(bench.models)
    for _ in range(sum(undisturbed.answered.values())):
        mortal.left[verb] = 1
        try:
            await bench.run(ALONE, mortal.models())
            break
        except BaseExceptionGroup as group:
            assert group.subgroup(Killed) is not None
            await asyncio.sleep(0.1)  # in this process threads go on, and write what they were told to
        except Killed:
            await asyncio.sleep(0.1)
    assert mortal.answered == undisturbed.answered
    assert max(mortal.answered.values()) == 1


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where videos were written, one entry for each that was encoded."""
    real, written = dubbing.mux, list[Path]()

    async def counted(*args: Any, **options: Any) -> Mixed:
        written.append(args[4])
        return await real(*args, **options)

    monkeypatch.setattr(dubbing, "mux", counted)
    return written


async def attempt(bench: Bench, confirm: Callable[[], Awaitable[object]], fence: int = 0) -> None:
    files = artifacts(bench.folder, "job")
    workspace = Workspace(bench.folder / "work", "job")
    await dub(bench.request, bench.models, ALONE, workspace, files, Report("job"), confirm, fence=fence)


def kept(bench: Bench) -> Path:
    [video] = (bench.folder / "work" / "job" / "finished").glob("*.mp4")
    return video


async def killed() -> None:
    raise asyncio.CancelledError


async def nobody_else() -> None:
    return None


async def test_a_video_is_encoded_once_however_the_run_ends(bench: Bench, encodings: list[Path]) -> None:
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError):
            await attempt(bench, killed)
    await attempt(bench, nobody_else)
    first = (bench.folder / "job_translated.mp4").read_bytes()
    await attempt(bench, nobody_else)  # as after a kill between the file and the row
    assert len(encodings) == 1
    assert (bench.folder / "job_translated.mp4").read_bytes() == first
    assert not list((bench.folder / "work" / "job").glob("attempt-*"))


async def test_other_settings_make_another_video_and_the_old_one_goes(bench: Bench, encodings: list[Path]) -> None:
    await attempt(bench, nobody_else)
    bench.request = dataclasses.replace(bench.request, subtitles="soft")
    await attempt(bench, nobody_else)
    assert len(encodings) == 2
    assert kept(bench).read_bytes() == (bench.folder / "job_translated.mp4").read_bytes()


async def test_a_damaged_video_is_encoded_again(bench: Bench, encodings: list[Path]) -> None:
    await attempt(bench, nobody_else)
    whole = (bench.folder / "job_translated.mp4").read_bytes()
    video = kept(bench)
    video.unlink()
    video.write_bytes(whole[:-1] + b"?")
    await attempt(bench, nobody_else)
    assert len(encodings) == 2 and (bench.folder / "job_translated.mp4").read_bytes() == whole


async def test_a_disk_on_which_files_have_one_name_gets_a_copy(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*names: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refused)
    await attempt(bench, nobody_else)
    assert kept(bench).read_bytes() == (bench.folder / "job_translated.mp4").read_bytes()


async def test_a_video_that_is_taken_away_costs_no_attempt_that_has_it(bench: Bench, encodings: list[Path]) -> None:
    """A stale attempt makes room for its own video at the worst moment, before the live one has ended."""

    async def rival() -> None:
        kept(bench).unlink()

    for _ in range(2):
        await attempt(bench, rival)
        assert (bench.folder / "job_translated.mp4").is_file()
    assert len(encodings) == 2


async def test_an_attempt_removes_what_earlier_ones_left_and_nothing_of_later_ones(bench: Bench) -> None:
    folder = bench.folder / "work" / "job"
    for name in ("attempt-0badcafe", "attempt-2-00000000", "attempt-4-00000000"):
        (folder / name / "out").mkdir(parents=True)
        (folder / name / "out" / ".draft.mp4.part").touch()
    seen: list[set[str]] = []

    async def look() -> None:
        seen.append({path.name.rpartition("-")[0] for path in folder.glob("attempt-*")})

    await attempt(bench, look, fence=3)
    assert seen == [{"attempt-3", "attempt-4"}]
    assert [path.name for path in folder.glob("attempt-*")] == ["attempt-4-00000000"]
    assert not list((folder / "finished").glob(".*"))
