"""What the recognition benchmark found: a table for people, a plot, and one line of JSON for machines.

Speeds are seconds of sound in a second. `ratio_SCENE_RIVAL` is ours ÷ theirs, a median over rounds, and `spread_…` the
lowest and the highest of them; `ratio_memory_RIVAL` is our peak ÷ theirs, so there less than 1 is better. Word error
rates are of the first round: greedy and beam search say the same in every round.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from export.bench import figures
from export.bench.hearing import Load, Scene, Take, word_error_rate
from export.bench.listeners import OURS

LONG = "long"

Key = tuple[str, str]
"""(scene, listener)."""

Results = dict[Key, list[Take]]


@dataclass(frozen=True, slots=True)
class Found:
    results: Results
    errors: Mapping[Key, float]  # word error rate, 0–1
    loads: Mapping[str, Load]


def error_rates(scenes: Sequence[Scene], results: Results) -> dict[Key, float]:
    spoken = {scene.name: scene.recordings for scene in scenes}
    return {key: round(word_error_rate(spoken[key[0]], takes[0].said), 4) for key, takes in results.items()}


def table(found: Found) -> None:
    speeds = Table("scene", "listener", "× real time", "ours ÷ it", "p50 s", "p95 s", "WER", title="medians")
    for key, takes in found.results.items():
        ours = found.results.get((key[0], OURS), [])
        ratio = f"{median(figures.ratios(ours, takes)):.2f}" if ours and key[1] != OURS else ""
        waits = [f"{value:.2f}" for value in figures.waits(takes)] if key[0] != LONG else ["", ""]
        speeds.add_row(*key, f"{figures.speed(takes):.1f}", ratio, *waits, f"{found.errors[key]:.1%}")
    loads = Table("listener", "libraries MB", "peak MB", title="in a process each, the long file")
    for listener, load in found.loads.items():
        loads.add_row(listener, *(f"{value:,}" for value in asdict(load).values()))
    Console(width=100).print(speeds, loads)


def line(facts: Mapping[str, Any], found: Found) -> str:
    values = {**facts, **_ratios(found)}
    values["real_time_factor"] = _nested(
        {key: round(1 / figures.speed(takes), 4) for key, takes in found.results.items()}
    )
    waits = {key: figures.waits(takes) for key, takes in found.results.items() if key[0] != LONG}
    values["p50_p95_s"] = _nested(waits)
    values["wer"] = _nested(found.errors)
    values["memory"] = {listener: asdict(load) for listener, load in found.loads.items()}
    return json.dumps(values)


def _ratios(found: Found) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for (scene, listener), takes in found.results.items():
        ours = found.results.get((scene, OURS))
        if ours and listener != OURS:
            ratios = figures.ratios(ours, takes)
            name = f"{scene}_{_plain(listener)}"
            values[f"ratio_{name}"] = round(median(ratios), 3)
            values[f"spread_{name}"] = [round(min(ratios), 3), round(max(ratios), 3)]
    for listener, load in found.loads.items():
        if listener != OURS and OURS in found.loads and load.peak_mb:
            values[f"ratio_memory_{_plain(listener)}"] = round(found.loads[OURS].peak_mb / load.peak_mb, 3)
    return values


def _plain(listener: str) -> str:
    return re.sub(r"\W+", "_", listener).lower()


def _nested(values: Mapping[Key, Any]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for (scene, listener), value in values.items():
        nested.setdefault(scene, {})[listener] = value
    return nested


def plot(found: Found, path: Path) -> None:
    """Speeds with their spread over rounds, and word error rates."""
    speeds = {key: figures.spread([one.speed for one in takes]) for key, takes in found.results.items()}
    errors = {key: (100 * rate, 100 * rate, 100 * rate) for key, rate in found.errors.items()}
    figures.draw(path, {"seconds of sound in a second": speeds, "word error rate, per cent": errors})
