"""A Whisper model on the device and in the precision that understand speech here.

Some pairs of wheel, driver and processor load, compute, and answer nothing, or nonsense, without an error. So every
choice is asked the golden question, the next one is tried with a warning, and what this returns has understood it.
`auto` begins with CUDA where a GPU is seen. A device or a type that was asked for by name is not replaced.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from configs.engines import AsrSettings
from models import golden
from models.asr.network import Network, Search
from models.asr.weights import fetch
from models.errors import ArtifactMissing

log = logging.getLogger(__name__)

TYPES = {"cuda": ("float16", "int8_float32", "float32"), "cpu": ("int8", "int8_float32", "float32")}
"""What `compute_type: auto` tries, in this order."""

GOLDEN_WINDOW = 1000
"""Frames: the golden clip is heard in a window as short as those of other clips."""

CPU_WORKERS = 4
"""More batches at once make each of them slow, and what waits for them."""


def load(settings: AsrSettings) -> tuple[Network, int]:
    """A network that understood the golden clip, and its number of workers.

    Raises ArtifactMissing without weights, and when nothing that the settings allow can be used.
    """
    folder = fetch(settings.model)
    for device, compute in choices(settings):
        workers = _workers(device, settings)
        try:
            network = opened(folder, device, compute, workers, max(1, _threads(settings) // workers))
            said = golden_text(network)
        except (RuntimeError, ValueError) as error:
            log.warning("recognition cannot use %s with %s (%s)", device, compute, error)
            continue
        if golden.understood(said):
            return network, workers
        log.warning("recognition on %s with %s does not understand the golden clip: %r", device, compute, said)
    if settings.device == "cuda":
        raise ArtifactMissing("CUDA is asked for in engines.asr.device and cannot be used here; say auto or cpu")
    raise ArtifactMissing(
        "the speech recogniser failed its golden question with every precision tried; say auto in "
        "engines.asr.compute_type, or install or export its model again"
    )


def choices(settings: AsrSettings) -> Iterator[tuple[str, str]]:
    """(device, compute type), the best first."""
    import ctranslate2

    seen = settings.device != "cpu" and ctranslate2.get_cuda_device_count() > 0
    for device in ("cuda", "cpu"):
        if (device == "cuda" and not seen) or (device == "cpu" and settings.device == "cuda"):
            continue
        for compute in TYPES[device] if settings.compute_type == "auto" else (settings.compute_type,):
            yield device, compute


def _workers(device: str, settings: AsrSettings) -> int:
    """On CPUs one batch a thread: two workers of one thread heard more a second than one worker of two."""
    if settings.workers or device == "cuda":
        return settings.workers or 1
    return min(CPU_WORKERS, _threads(settings))


def _threads(settings: AsrSettings) -> int:
    return settings.threads or os.cpu_count() or 1


def opened(folder: Path, device: str, compute: str, workers: int, threads: int) -> Network:
    """The model in `folder`; `threads` are those of one worker. Raises RuntimeError or ValueError where it cannot be.

    Missing CUDA libraries are noticed at the first computation, not here.
    """
    from faster_whisper import WhisperModel

    model = WhisperModel(str(folder), device=device, compute_type=compute, cpu_threads=threads, num_workers=workers)
    return Network(model)


def golden_text(network: Network) -> str:
    """What it makes of the golden clip."""
    clip = golden.clip()
    encoded = network.encode([network.spectrum(clip.audio)], GOLDEN_WINDOW)
    [found] = network.decode(encoded, "en", [clip.duration], Search(beam=1))
    return found.text.strip()
