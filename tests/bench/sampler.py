"""What all processes of a service use, by part, sampled while something happens to it.

Parts are known by their command lines, as in the chaos tests. CPU time of children that have ended is their parent's
(`children_user`), so a short run of ffmpeg between two samples is not lost. Memory is PSS: shared pages are divided
among those who share them.
"""

import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Self

import psutil

from tests.bench.memory import pss
from tests.chaos.application import ROLES, command_line

SERVE = "Serve"
"""Everything that is neither an engine, a Driver nor a child of one: Ray, Serve's proxy and controller, Ingress."""

WORKERS = ("Driver", "Recognizer", "Translator", "ffmpeg")


def part_of(process: psutil.Process) -> str:
    line = command_line(process)
    return next((role for role in WORKERS if ROLES[role] in line), SERVE)


@dataclass(frozen=True, slots=True)
class Sample:
    """`at` in Unix seconds; `cpu` is cores in use since the sample before; memory in bytes, only in some samples."""

    at: float
    cpu: dict[str, float]
    pss: int | None = None
    fds: int = 0
    threads: int = 0
    processes: int = 0


@dataclass
class Sampler:
    """Samples the processes below `root` every `every_s`, and memory every `memory_s`, while the block lasts."""

    root: psutil.Process
    every_s: float = 0.5
    memory_s: float = 2.0
    samples: list[Sample] = field(default_factory=list)
    seconds: Counter[str] = field(default_factory=Counter)
    """CPU seconds by part, so far."""

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._parts: dict[int, str] = {}
        self._used: dict[int, float] = {}
        self._reaped: dict[int, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def peak(self) -> int:
        return max((sample.pss for sample in self.samples if sample.pss is not None), default=0)

    def _run(self) -> None:
        last, weighed = time.monotonic(), 0.0
        self._spent()
        while not self._over.wait(self.every_s):
            processes, spent = self._spent()
            now = time.monotonic()
            weigh = now - weighed >= self.memory_s
            self.samples.append(self._sample(processes, spent, now - last, weigh))
            self.seconds.update(spent)
            last, weighed = now, now if weigh else weighed

    def _sample(self, processes: list[psutil.Process], spent: dict[str, float], wall: float, weigh: bool) -> Sample:
        cpu = {part: seconds / wall for part, seconds in spent.items()}
        if not weigh:
            return Sample(time.time(), cpu)
        fds, threads = 0, 0
        for process in processes:
            try:
                fds, threads = fds + process.num_fds(), threads + process.num_threads()
            except psutil.Error:
                continue
        return Sample(time.time(), cpu, sum(map(pss, processes)), fds, threads, len(processes))

    def _spent(self) -> tuple[list[psutil.Process], dict[str, float]]:
        """The processes, and the CPU seconds that each part has used since the last call."""
        processes, spent = self.root.children(recursive=True), defaultdict[str, float](float)
        for process in processes:
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            pid = process.pid
            part = self._parts.setdefault(pid, part_of(process))
            if part == SERVE:  # a worker is given its name a moment after it has begun
                part = self._parts[pid] = part_of(process)
            own, reaped = times.user + times.system, times.children_user + times.children_system
            spent[part] += own - self._used.get(pid, 0.0 if part == "ffmpeg" else own)
            if part == "Driver":
                spent["ffmpeg"] += reaped - self._reaped.get(pid, reaped)
                self._reaped[pid] = reaped
            self._used[pid] = own
        there = {process.pid for process in processes}
        for pid in self._used.keys() - there:  # its Driver has it among its children's time now, all of it again
            counted = self._used.pop(pid)
            spent["ffmpeg"] -= counted if self._parts[pid] == "ffmpeg" else 0.0
        return processes, dict(spent)
