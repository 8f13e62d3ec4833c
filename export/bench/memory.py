"""What an engine weighs and how long it loads, each in a process of its own, where nothing else has been loaded.

`peak_mb` is the whole process at its highest, interpreter and libraries included, after one batch of 32 in greedy
search; `base_mb` is the same process with the libraries imported and no model yet; `second_mb` is what one more model
adds that was used just as much. The peak is the kernel's high-water mark of this process image, which the usual
getrusage figure is not: that one remembers the parent's size. Linux only: elsewhere all are 0.
"""

import re
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from export.bench.engines import CTRANSLATE2, OURS, Choice, Rows

STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Weight:
    load_s: float
    base_mb: float
    peak_mb: float
    second_mb: float


def weigh(choice: Choice, rows: Rows) -> Weight:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        return child.submit(_weigh, choice, rows).result()


def _weigh(choice: Choice, rows: Rows) -> Weight:
    _imports(choice.kind)
    base, began = megabytes("VmRSS"), time.perf_counter()
    engine = choice.build()
    load_s = time.perf_counter() - began
    engine.translate(rows, 1)
    peak, now = megabytes("VmHWM"), megabytes("VmRSS")
    second = choice.build()
    second.translate(rows, 1)
    return Weight(round(load_s, 2), base, peak, round(megabytes("VmRSS") - now, 1))


def _imports(kind: str) -> None:
    if kind == CTRANSLATE2:
        import ctranslate2  # noqa: F401
    elif kind != OURS:
        import torch  # noqa: F401
        from transformers import MarianMTModel  # noqa: F401


def megabytes(field: str) -> float:
    """A field of this process' status, such as VmHWM, the most memory it ever had; 0.0 where there is no such file."""
    found = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text("ascii"), re.MULTILINE) if STATUS.is_file() else None
    return round(int(found[1]) * 1024 / 1e6, 1) if found else 0.0
