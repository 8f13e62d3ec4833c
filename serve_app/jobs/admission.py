"""Whether this machine has room for one more job, asked before a Driver claims one.

A job that is begun where memory or disk is short takes others down with it; one that is left in the queue costs its
owner only time. So a Driver without headroom claims nothing, says why in its log and, once, in the logs of the jobs
that wait, and looks again when the next token comes, within a second. Running jobs are left alone: they only free room.

It looks at what is there now, not at what the jobs under way will still take; how much disk a job needs is known when
its video has been probed (`prepare`). Memory is what the kernel calls available, or what the container's limit leaves.
GPU memory is held by the engines' replicas all the time, so it is looked at only where a config says how much has to be
free besides, which NVENC needs for each film.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from configs.app import JobSettings, Roots
from serve_app import machine
from serve_app.jobs.store import Store

logger = logging.getLogger(__name__)

WAITS = "Waiting for room on the server:"


@dataclass(frozen=True, slots=True)
class Headroom:
    """Bytes available, and processes that want a core for each core there is; `gpu` is the GPU with the least."""

    memory: int
    disk: int
    load: float
    gpu: int | None = None


def headroom(roots: Roots, gpus: bool = False) -> Headroom:
    disks = (shutil.disk_usage(root).free for root in (roots.work, roots.artifacts))
    memory, _ = machine.memory()
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return Headroom(memory, min(disks), load, _left_on_gpus() if gpus else None)


def _left_on_gpus() -> int | None:
    """None where the driver's tool is not there or tells none."""
    free = [int(mib) * 2**20 for (mib,) in machine.nvidia_smi("memory.free") if mib.isdecimal()]
    return min(free, default=None)


class Admission:
    """`read` tells the headroom; `refuses` whether a claim has to wait."""

    def __init__(
        self, store: Store, settings: JobSettings, roots: Roots, read: Callable[[Roots], Headroom] | None = None
    ) -> None:
        self._store = store
        self._settings = settings
        self._roots = roots
        self._read = read or partial(headroom, gpus=settings.min_free_gpu_bytes > 0)
        self._said = ""

    async def refuses(self) -> bool:
        reason = self._reason(await asyncio.to_thread(self._read, self._roots))
        if reason and reason != self._said:
            logger.warning("no job is claimed: %s", reason)
            await asyncio.to_thread(self._store.tell_waiting, f"{WAITS} {reason}")
        self._said = reason
        return bool(reason)

    def _reason(self, room: Headroom) -> str:
        """One sentence without changing figures, so that it is said once; empty where there is room."""
        rules = self._settings
        if room.disk < rules.min_free_disk_bytes:
            return f"less than {rules.min_free_disk_bytes / 1e9:.1f} GB of disk are free"
        if room.memory < rules.min_free_memory_bytes:
            return f"less than {rules.min_free_memory_bytes / 1e9:.1f} GB of memory are free"
        if room.gpu is not None and room.gpu < rules.min_free_gpu_bytes:
            return f"less than {rules.min_free_gpu_bytes / 1e9:.1f} GB of a GPU's memory are free"
        if rules.max_load is not None and room.load > rules.max_load:
            return f"more than {rules.max_load:g} processes want each core"
        return ""
