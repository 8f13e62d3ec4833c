"""Room 1, initialization: may this job begin at all? Reasons to say no later are looked for here, where no is cheap.

The disk check is an estimate: three times the input or, for long recordings in small files, what a second of work takes
(the recognition WAV, the mix, and the spoken clips). Memory is only reported, because no room's memory grows with the
length of the video.
"""

import asyncio
import platform
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psutil

from configs.pipeline import LANGUAGES, PrepareSettings
from models.errors import InvalidJob, OutOfSpace, UnsupportedLanguage
from models.translation.pairs import route
from serve_app.jobs.job import Request
from serve_app.jobs.report import Report
from serve_app.machine import nvidia_smi
from serve_app.media.look import look
from serve_app.media.probe import Source

STAGE = "initialization"
WORK_BYTES_PER_S = 350_000  # 32 kB/s for the recognition WAV, up to 200 for the mix, the rest for clips
DETECT = ("", "auto")


async def prepare(
    request: Request,
    settings: PrepareSettings,
    work: Path,
    models_hears: frozenset[str] | None,
    pairs: frozenset[tuple[str, str]],
    report: Report,
) -> Source:
    """Probes `request.path` and checks languages and disk. `work` is an existing folder on the disk that will be used.

    Raises UnreadableMedia, UnsupportedLanguage, OutOfSpace, and InvalidJob for what the disk will never hold; else
    describes duration and hardware in the report.
    """
    report.begin(STAGE)
    for target in request.targets:
        check_languages(request.source_lang, target, models_hears, pairs)
    if request.audio_track:
        settings = settings.model_copy(update={"audio_track": request.audio_track})
    known = "" if request.source_lang in DETECT else request.source_lang
    source = await look(request.path, settings, known)
    check_disk(work, source, settings, len(request.targets))
    hardware = await asyncio.to_thread(hardware_here)
    report.describe(duration_s=source.duration, hardware=hardware)
    _explain(source, request, report)
    return source


def check_languages(source: str, target: str, hears: frozenset[str] | None, pairs: frozenset[tuple[str, str]]) -> None:
    """Raises UnsupportedLanguage unless some way leads from `source` ("" or "auto": any that is heard) to `target`."""
    if source not in DETECT:
        if hears is not None and source not in hears:
            raise UnsupportedLanguage(
                f"the installed speech model does not understand {source!r}; choose one of: {', '.join(sorted(hears))}"
            )
        route(pairs, source, target)
        return
    others = [code for code in LANGUAGES if code != target and (hears is None or code in hears)]
    if others and not any(_leads(pairs, code, target) for code in others):
        route(pairs, others[0], target)


def _leads(pairs: Collection[tuple[str, str]], source: str, target: str) -> bool:
    try:
        route(pairs, source, target)
    except UnsupportedLanguage:
        return False
    return True


def check_disk(work: Path, source: Source, settings: PrepareSettings, targets: int = 1) -> None:
    need = max(settings.disk_factor * source.size, source.duration * WORK_BYTES_PER_S) + settings.min_free_bytes
    need += (targets - 1) * max(source.size, source.duration * WORK_BYTES_PER_S)  # a video and clips for each
    disk = shutil.disk_usage(work)
    free = disk.free
    if disk.total < need:
        raise InvalidJob(
            f"this job needs about {need / 1e9:.1f} GB of disk and the server's has {disk.total / 1e9:.1f} GB in all; "
            "submit a smaller video, or ask the operator for a larger disk"
        )
    if free < need:
        raise OutOfSpace(
            f"this job needs about {need / 1e9:.1f} GB of free disk and {free / 1e9:.1f} GB are left; free some space"
        )


def hardware_here() -> dict[str, Any]:
    """cpu and gpu as names (gpu "none" without one), vram_gb and ram_gb as whole numbers, as the wire wants them."""
    gpu, vram_gb = _gpu()
    return {"cpu": _cpu(), "gpu": gpu, "vram_gb": vram_gb, "ram_gb": round(psutil.virtual_memory().total / 2**30)}


def _cpu() -> str:
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass  # not Linux
    return f"{name} ({psutil.cpu_count() or 1} cores)"


def _gpu() -> tuple[str, int]:
    """Name and memory in GiB of the first GPU."""
    try:
        *name, mib = nvidia_smi("name", "memory.total")[0]
        return ", ".join(name), round(float(mib) / 1024)
    except (IndexError, ValueError):
        return "none", 0


def _explain(source: Source, request: Request, report: Report) -> None:
    picture = f"{source.width} × {source.height} {source.video_codec}" if source.video_codec else "no picture"
    message = f"Detected {source.duration:.1f} s of {picture} with {source.audio_codec} sound"
    report.log(STAGE, message, container=source.container)
    if source.audio_tracks > 1:
        told = f"language {source.audio_language}" if source.audio_language else "no language given"
        report.log(STAGE, f"Selected audio track {source.audio_number} of {source.audio_tracks} ({told})")
    if request.source_lang in request.targets:
        report.log(STAGE, "Source and target language are the same: using the original sound, with subtitles")
