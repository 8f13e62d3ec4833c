"""What the benchmark found: a table for people, a plot, and one line of JSON for machines.

Ratios are ours ÷ theirs, so more than 1 means that ours is faster. Each `ratio_…` is a median over rounds, and
`spread_…` holds the lowest and the highest of the same rounds. `agree` is the share of sentences whose tokens are the
same as ours: on the random checkpoint anything but 1 means that somebody did other work.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from export.bench import figures
from export.bench.engines import OURS, TORCH
from export.bench.memory import Weight
from export.bench.work import CLIENTS, Run

Rounds = dict[str, list[Run]]
"""Engine → its rounds, in order."""

Results = dict[tuple[str, str], list[Run]]
"""(scenario, engine) → its rounds."""


def table(results: Results, weights: Mapping[str, Weight]) -> None:
    speeds = Table("scenario", "engine", "tokens/s", "ours ÷ it", "p50 s", "p95 s", "as ours", title="medians")
    for (scenario, engine), runs in results.items():
        ours = results.get((scenario, OURS), [])
        ratio = f"{median(figures.ratios(ours, runs)):.2f}" if ours and engine != OURS else ""
        waits = [f"{value:.2f}" for value in figures.waits(runs)] if scenario == CLIENTS else ["", ""]
        same = f"{_agree(ours, runs):.0%}" if ours else ""
        speeds.add_row(scenario, engine, f"{figures.speed(runs):,.0f}", ratio, *waits, same)
    loads = Table("engine", "load s", "libraries MB", "peak MB", "second model adds MB", title="in a process each")
    for engine, weight in weights.items():
        loads.add_row(engine, *(f"{value:,}" for value in asdict(weight).values()))
    Console(width=100).print(speeds, loads)


def line(facts: dict[str, Any], results: Results, weights: Mapping[str, Weight]) -> str:
    found: dict[str, Any] = dict(facts)
    for name, ours, rivals in _comparisons(results):
        rival = max(rivals, key=lambda engine: figures.speed(rivals[engine]))
        ratios = figures.ratios(ours, rivals[rival])
        found[f"ratio_{name}"] = round(median(ratios), 3)
        found[f"spread_{name}"] = [round(min(ratios), 3), round(max(ratios), 3)]
        found[f"rival_{name}"] = rival
    found["tokens_per_s"] = _nested(results, lambda _, runs: round(figures.speed(runs), 1))
    shared = {key: runs for key, runs in results.items() if (key[0], OURS) in results}
    found["agree"] = _nested(shared, lambda scenario, runs: round(_agree(results[scenario, OURS], runs), 4))
    found["p50_p95_s"] = {
        engine: figures.waits(runs) for (scenario, engine), runs in results.items() if scenario == CLIENTS
    }
    found["weight"] = {engine: asdict(weight) for engine, weight in weights.items()}
    return json.dumps(found)


def _comparisons(results: Results) -> Iterator[tuple[str, list[Run], Rounds]]:
    """(name of the ratio, our rounds, the rounds of each setting of that rival)."""
    for scenario in dict.fromkeys(name for name, _ in results):
        found = {engine: runs for (name, engine), runs in results.items() if name == scenario}
        ours = found.pop(OURS, None)
        for suffix, chosen in _rivals(scenario, found).items():
            if ours and chosen:
                yield f"{scenario}{suffix}", ours, chosen


def _rivals(scenario: str, found: Rounds) -> dict[str, Rounds]:
    """Suffix of the ratio → the settings it is taken against."""
    shelf: dict[str, Rounds] = {"_torch": {}, "_window": {}, "_request" if scenario == CLIENTS else "": {}}
    for engine, runs in found.items():
        suffix = "_torch" if engine == TORCH else "_window" if engine.endswith("window") else list(shelf)[-1]
        shelf[suffix][engine] = runs
    return shelf


def plot(results: Results, path: Path) -> None:
    """Tokens per second by scenario, a bar an engine, with the spread over rounds."""
    figures.draw(
        path, {"tokens per second": {key: figures.spread([run.speed for run in runs]) for key, runs in results.items()}}
    )


def _agree(ours: list[Run], theirs: list[Run]) -> float:
    """Share of sentences with the same tokens in the first round."""
    pairs = list(zip(ours[0].said, theirs[0].said, strict=True))
    return sum(a == b for a, b in pairs) / len(pairs)


def _nested(results: Results, value: Callable[[str, list[Run]], float]) -> dict[str, dict[str, float]]:
    nested: dict[str, dict[str, float]] = {}
    for (scenario, engine), runs in results.items():
        nested.setdefault(scenario, {})[engine] = value(scenario, runs)
    return nested
