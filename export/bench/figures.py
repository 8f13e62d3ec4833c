"""What all benchmarks share: medians and ratios over interleaved rounds, waits, and the plot.

A ratio is ours ÷ theirs within one round, so that a slow minute of the machine hits both; more than 1 means that ours
is faster.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Protocol


class Timed(Protocol):
    """One turn of one engine: its speed in units of work per second, and the seconds of each request in it."""

    @property
    def speed(self) -> float: ...

    @property
    def waits(self) -> tuple[float, ...]: ...


Bars = Mapping[tuple[str, str], tuple[float, float, float]]
"""(scenario, engine) → height, and the lowest and highest of the rounds."""


def speed(runs: Sequence[Timed]) -> float:
    return median(run.speed for run in runs)


def ratios(ours: Sequence[Timed], theirs: Sequence[Timed]) -> list[float]:
    return [a.speed / b.speed for a, b in zip(ours, theirs, strict=True)]


def waits(runs: Sequence[Timed]) -> list[float]:
    """Median and 95th percentile of a request's wait, in seconds, over all rounds."""
    cuts = quantiles([wait for run in runs for wait in run.waits], n=100, method="inclusive")
    return [round(cuts[49], 4), round(cuts[94], 4)]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    return median(values), min(values), max(values)


def draw(path: Path, panels: Mapping[str, Bars]) -> None:
    """Writes the panels, by what their heights are, side by side as a PNG; an engine has one colour in all of them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    engines = list(dict.fromkeys(engine for bars in panels.values() for _, engine in bars))
    figure, (row,) = pyplot.subplots(1, len(panels), figsize=(11, 5), layout="constrained", squeeze=False)
    for axes, (label, bars) in zip(row, panels.items(), strict=True):
        _bars(axes, bars, engines)
        axes.set_ylabel(label)
    row[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _bars(axes: Any, bars: Bars, engines: list[str]) -> None:
    scenarios = list(dict.fromkeys(scenario for scenario, _ in bars))
    width = 0.8 / len(engines)
    for place, engine in enumerate(engines):
        mine = [(x, bars[scenario, engine]) for x, scenario in enumerate(scenarios) if (scenario, engine) in bars]
        places = [x + (place - (len(engines) - 1) / 2) * width for x, _ in mine]
        errors = [[height - low for _, (height, low, _) in mine], [high - height for _, (height, _, high) in mine]]
        axes.bar(places, [bar[0] for _, bar in mine], width, yerr=errors, capsize=2, label=engine)
    axes.set(xticks=range(len(scenarios)), xticklabels=scenarios)
