"""What this machine has, as the engines see it: cores, memory, disks, a GPU with its driver and libraries, ffmpeg.

Facts only, without a judgement; each is looked up where its user would look. Nothing here needs a GPU to be there.
"""

import ctypes
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

DRIVER = Path("/proc/driver/nvidia/version")
CGROUP = Path("/sys/fs/cgroup")
CUDA_LIBRARIES = ("libcublas.so.12", "libcudart.so.12", "libcudnn.so.9", "libcufft.so.11", "libcurand.so.10")
"""What CTranslate2 and ONNX Runtime open at their first computation: CUDA 12 and cuDNN 9."""
QUICK_S = 20.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """`seen` is how many CTranslate2 counts; `missing` are libraries that cannot be opened."""

    driver: str
    seen: int
    precisions: tuple[str, ...]
    onnxruntime: bool
    missing: tuple[str, ...]

    @property
    def unfit(self) -> str:
        """Why CTranslate2 cannot compute on a GPU that is there; empty where it can. Without cuDNN it would abort."""
        if not self.seen:
            return f"CTranslate2 sees none with driver {self.driver or 'unknown'}"
        return f"{', '.join(self.missing)} cannot be opened" if self.missing else ""


def nvidia_smi(*fields: str) -> list[list[str]]:
    """A row of these fields for each GPU that the driver's own tool lists; none without the tool. Memory is in MiB."""
    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [[value.strip() for value in line.split(",")] for line in answer.splitlines()]


def cores() -> float:
    """Those that this process may use; in a container what its limit allows."""
    allowed = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return min(allowed, int(quota) / int(period))
    except (OSError, ValueError):  # no cgroup, or `max`
        return allowed


def memory() -> tuple[int, int]:
    """Bytes that are available now, and all there are; in a container what its limit leaves, and the limit.

    Pages of files count as used there although the kernel could drop them, so those that lie idle are added.
    """
    now = psutil.virtual_memory()
    try:
        limit, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        told = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines() if line)
        return min(now.available, limit - used + int(told["inactive_file"])), min(now.total, limit)
    except (OSError, ValueError, KeyError):  # no cgroup, or `max`
        return now.available, now.total


def gpu() -> Gpu:
    import ctranslate2
    import onnxruntime

    try:
        driver = re.search(r"Kernel Module\s+(?:for \S+\s+)?([\d.]+)", DRIVER.read_text())
    except OSError:
        driver = None
    try:
        seen = ctranslate2.get_cuda_device_count()
        precisions = tuple(sorted(ctranslate2.get_supported_compute_types("cuda"))) if seen else ()
    except (RuntimeError, ValueError):
        seen, precisions = 0, ()
    there = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    missing = tuple(name for name in CUDA_LIBRARIES if not opens(name))
    return Gpu(driver[1] if driver else "", seen, precisions, there, missing)


def opens(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def ffmpeg_version(binary: str) -> str:
    """Raises OSError or SubprocessError where it cannot be run."""
    head = _said(binary, "-version").split(maxsplit=3)
    return head[2] if len(head) > 2 else "unknown"


def ffmpeg_lacks(binary: str, encoders: Sequence[str], filters: Sequence[str]) -> list[str]:
    """Which of them this build does not have."""
    has = {word for listed in ("-encoders", "-filters") for word in _said(binary, "-hide_banner", listed).split()}
    return [name for name in (*encoders, *filters) if name not in has]


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, check=True, timeout=QUICK_S)
    return done.stdout.decode("utf-8", "replace")
