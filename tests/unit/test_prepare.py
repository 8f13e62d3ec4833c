"""Room 1: every reason to say no, and what it tells."""

import shutil
from pathlib import Path

import psutil
import pytest

from configs.pipeline import PrepareSettings
from models.errors import InvalidJob, OutOfSpace, UnreadableMedia, UnsupportedLanguage
from serve_app.jobs.job import Request
from serve_app.jobs.report import Report
from serve_app.media.probe import Source
from serve_app.stages.prepare import hardware_here, prepare
from tests.data.media import clip, two_tracks

PAIRS = frozenset({("en", "es"), ("en", "ru"), ("ru", "en")})


async def run(
    path: Path,
    source: str = "en",
    target: str = "es",
    hears: frozenset[str] | None = None,
    **limits: object,
) -> tuple[Source, Report]:
    report = Report("job")
    request = Request("job", str(path), source, target)
    return await prepare(request, PrepareSettings(**limits), path.parent, hears, PAIRS, report), report


async def test_duration_hardware_and_choices_are_told(tmp_path: Path) -> None:
    source, report = await run(two_tracks(tmp_path / "a.mkv", languages=("rus", "eng")))
    progress = report.snapshot()
    assert progress.duration_s == source.duration == pytest.approx(2.0, abs=0.05)
    assert progress.hardware["ram_gb"] == round(psutil.virtual_memory().total / 2**30)
    said = [line.message for line in report.lines()]
    assert said[0].startswith("Detected 2.0 s of 160 × 120 h264")
    assert said[1] == "Selected audio track 2 of 2 (language en)"


@pytest.mark.parametrize(
    ("source", "target", "hears"),
    [
        ("en", "es", None),
        ("ru", "es", None),
        ("hy", "hy", None),
        ("", "es", None),
        ("auto", "ru", frozenset({"en"})),
        ("", "en", frozenset({"en"})),
    ],
)
async def test_ways_that_exist(tmp_path: Path, source: str, target: str, hears: frozenset[str] | None) -> None:
    assert (await run(clip(tmp_path / "a.mp4"), source, target, hears))[0].duration > 0


@pytest.mark.parametrize(
    ("source", "target", "hears", "sentence"),
    [
        ("es", "en", None, "es to en"),
        ("xx", "en", None, "'xx'"),
        ("", "de", None, "to de"),
        ("auto", "xx", None, "'xx'"),
        ("auto", "es", frozenset({"de"}), "de to es"),
        ("fr", "fr", frozenset({"en"}), "does not understand 'fr'"),
    ],
)
async def test_ways_that_do_not(
    tmp_path: Path, source: str, target: str, hears: frozenset[str] | None, sentence: str
) -> None:
    with pytest.raises(UnsupportedLanguage, match=sentence):
        await run(clip(tmp_path / "a.mp4"), source, target, hears)


async def test_the_same_language_is_said(tmp_path: Path) -> None:
    _, report = await run(clip(tmp_path / "a.mp4"), "es", "es")
    assert "using the original sound" in report.lines()[-1].message


async def test_a_full_disk_is_seen_before_the_work(tmp_path: Path) -> None:
    disk = shutil.disk_usage(tmp_path)
    with pytest.raises(OutOfSpace, match="GB of free disk"):
        await run(clip(tmp_path / "a.mp4"), min_free_bytes=(disk.free + disk.total) // 2)
    with pytest.raises(InvalidJob, match="GB in all"):
        await run(clip(tmp_path / "a.mp4"), min_free_bytes=10**18)


async def test_an_unreadable_file_comes_out_as_such(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia, match="cannot be read"):
        await run(tmp_path / "missing.mp4")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'NVIDIA H200, 143771'", ("NVIDIA H200", 140)),
        ("echo 'No devices were found'", ("none", 0)),
        ("exit 9", ("none", 0)),
    ],
)
def test_the_gpu_is_what_the_driver_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: tuple[str, int]
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    here = hardware_here()
    assert (here["gpu"], here["vram_gb"]) == expected
    assert "cores" in here["cpu"]


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert hardware_here()["gpu"] == "none"
