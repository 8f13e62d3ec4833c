"""Who has used how much of this process: its CPU time, and the time its GPU was busy, split over those at work in it.

An engine's own threads compute where nobody can look into them, and callers share its batches. So the time that the
whole process has used between two events is split over all the work that was under way between them, by weight; all
shares together are what the process has used while there was any. What that leaves out is exactness: two works of one
weight cost the same while they last, though one may have waited for the other. Time of a GPU is wall time during which
there was work for it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

KEPT = 1000
"""Callers whose costs are remembered; one that never asks for them again is forgotten."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds."""

    cpu_s: float = 0.0
    gpu_s: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.cpu_s + other.cpu_s, self.gpu_s + other.gpu_s)


FREE = Cost()


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    caller: str
    weight: float
    began: Cost  # what a weight of one had cost until then


class Meter:
    """Thread-safe. `on_gpu` says whether the work is a GPU's as well."""

    def __init__(
        self,
        on_gpu: bool = False,
        cpu: Callable[[], float] = time.process_time,
        wall: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clocks = cpu, wall if on_gpu else lambda: 0.0
        self._lock = threading.Lock()
        self._read = Cost()
        self._price = Cost()  # of a weight of one, since the beginning
        self._weight = 0.0
        self._under_way = 0
        self._costs: dict[str, Cost] = {}

    def begin(self, caller: str, weight: float = 1.0) -> Work:
        with self._lock:
            self._advance()
            self._weight += weight
            self._under_way += 1
            return Work(caller, weight, self._price)

    def end(self, work: Work) -> None:
        """Books the work on its caller. Once for each."""
        with self._lock:
            self._advance()
            self._under_way -= 1
            self._weight = self._weight - work.weight if self._under_way else 0.0
            cpu = work.weight * (self._price.cpu_s - work.began.cpu_s)
            gpu = work.weight * (self._price.gpu_s - work.began.gpu_s)
            self._costs[work.caller] = self._costs.pop(work.caller, FREE) + Cost(cpu, gpu)
            if len(self._costs) > KEPT:
                del self._costs[next(iter(self._costs))]

    def take(self, caller: str) -> Cost:
        """What a caller's work has cost since this was last asked."""
        with self._lock:
            return self._costs.pop(caller, FREE)

    def _advance(self) -> None:
        cpu, wall = self._clocks
        now = Cost(cpu(), wall())
        if self._weight > 0:
            cpu_s, gpu_s = now.cpu_s - self._read.cpu_s, now.gpu_s - self._read.gpu_s
            self._price += Cost(cpu_s / self._weight, gpu_s / self._weight)
        self._read = now
