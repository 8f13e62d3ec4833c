"""What the engines are given, and the clock: batches of 1, 8 and 32, and 32 clients who come one after the other.

All engines get the same source ids in the same batches. Target lengths are log-normal around 22 tokens, as subtitles
are, from a fixed seed. A client sends its next sentence when the last one is back; its start is staggered.
"""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from export.bench.checkpoint import END, Size, counter
from export.bench.engines import Engine, Rows

CLIENTS = "clients"
CLIENT_COUNT, STAGGER_S = 32, 0.01
SETTLE_S = 0.25
"""Pause before an engine's turn: OpenMP threads of the one before spin on for up to 200 ms."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`batches` are translated one after the other, or, for clients, are the sentences that each client sends."""

    name: str
    batches: tuple[Rows, ...]
    beam: int = 1
    clients: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    tokens: int  # said, end included
    seconds: float
    said: tuple[tuple[int, ...], ...]
    waits: tuple[float, ...]  # seconds of each batch or request

    @property
    def speed(self) -> float:
        """Tokens per second."""
        return self.tokens / self.seconds


def counting(size: Size, count: int, seed: int = 11) -> Rows:
    """Source rows for a checkpoint of `export.bench.checkpoint`; sources are about as long as what they ask for."""
    random = np.random.default_rng(seed)
    middle = min(22, size.longest / 2)
    longest = np.clip(random.lognormal(np.log(middle), 0.5, count).round(), 3, size.longest).astype(int)
    sources = np.clip((longest * random.uniform(0.8, 1.2, count)).round(), 4, None).astype(int)
    return [[counter(size, int(n))] * int(m) + [END] for n, m in zip(longest, sources, strict=True)]


def scenarios(rows: Rows, requests: int) -> list[Scenario]:
    """All of them, from 32 rows or more; fewer are repeated. `requests` are the sentences of one client."""
    pool = list(islice(cycle(rows), max(len(rows), 32)))
    cut = {
        1: tuple([row] for row in pool[:4]),
        8: tuple(pool[i : i + 8] for i in (0, 8)),
        32: (pool[:32],),
    }
    shelf = [Scenario(f"batch{n}_beam{beam}", batches, beam) for beam in (1, 4) for n, batches in cut.items()]
    lines = tuple(list(islice(cycle(pool), i, i + requests)) for i in range(0, CLIENT_COUNT * requests, requests))
    return [*shelf, Scenario(CLIENTS, lines, clients=True)]


def run(engine: Engine, scenario: Scenario) -> Run:
    time.sleep(SETTLE_S)
    return _clients(engine, scenario) if scenario.clients else _batches(engine, scenario)


def _batches(engine: Engine, scenario: Scenario) -> Run:
    began, said, waits = time.perf_counter(), [], []
    for batch in scenario.batches:
        asked = time.perf_counter()
        said += engine.translate(batch, scenario.beam)
        waits.append(time.perf_counter() - asked)
    return _run(said, time.perf_counter() - began, waits)


def _clients(engine: Engine, scenario: Scenario) -> Run:
    gate = threading.Barrier(len(scenario.batches) + 1)

    def client(place: int, rows: Rows) -> list[tuple[list[int], float]]:
        gate.wait()
        time.sleep(place * STAGGER_S)
        answers = []
        for row in rows:
            asked = time.perf_counter()
            answers.append((engine.translate([row], scenario.beam)[0], time.perf_counter() - asked))
        return answers

    with ThreadPoolExecutor(len(scenario.batches)) as pool:
        served = [pool.submit(client, place, rows) for place, rows in enumerate(scenario.batches)]
        gate.wait()
        began = time.perf_counter()
        answers = [answer for future in served for answer in future.result()]
        seconds = time.perf_counter() - began
    return _run([ids for ids, _ in answers], seconds, [wait for _, wait in answers])


def _run(said: Rows, seconds: float, waits: list[float]) -> Run:
    return Run(sum(map(len, said)), seconds, tuple(map(tuple, said)), tuple(waits))


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Keeps this process, and the threads it will start, on `threads` processors; on Linux only."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
