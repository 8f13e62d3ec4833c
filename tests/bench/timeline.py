"""Who worked when: a row a job with what it waited for, and below it the cores that each part of the service used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.journal import CHILDREN, ENGINES, PIPELINE, Wait
from tests.bench.sampler import Sample

COLOURS = {
    "vad": "#8dd3c7", "asr": "#1f77b4", "translation": "#2ca02c", "tts": "#bcbd22", "voices": "#8c564b",
    "probe": "#e377c2", "sound": "#ff9896", "stretch": "#f7b6d2",
    "video": "#d62728", "preview": "#9467bd", "excerpt": "#c5b0d5",
    "Recognizer": "#1f77b4", "Translator": "#2ca02c", "Driver": "#bcbd22", "ffmpeg": "#d62728", "Serve": "#7f7f7f",
}  # fmt: skip
LANES = (ENGINES, CHILDREN[:3], CHILDREN[3:])
"""Of one job, from top to bottom: its engines, the look and sound alone, pictures."""


def draw(path: Path, mode: str, waits: Sequence[Wait], samples: Sequence[Sample], began: float) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (jobs, cores) = pyplot.subplots(
        2, 1, figsize=(14, 9), sharex=True, layout="constrained", height_ratios=(3, 1)
    )
    _jobs(jobs, waits, began)
    _cores(cores, samples, began)
    jobs.set_title(f"{mode} subtitles: what each job waited for")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _jobs(axes: Any, waits: Sequence[Wait], began: float) -> None:
    whole = sorted((wait for wait in waits if wait.what == PIPELINE), key=lambda wait: wait.began)
    for row, job in enumerate(whole):
        axes.barh(row, job.seconds, left=job.began - began, height=0.9, color="#eeeeee")
        for lane, kinds in enumerate(LANES):
            for what in kinds:
                spans = [(w.began - began, w.seconds) for w in waits if w.job == job.job and w.what == what]
                axes.broken_barh(spans, (row - 0.45 + 0.3 * lane, 0.28), color=COLOURS[what])
    for what in (*ENGINES, *CHILDREN):
        axes.plot([], [], color=COLOURS[what], linewidth=6, label=what)
    axes.set(yticks=range(len(whole)), yticklabels=[f"job {n + 1}" for n in range(len(whole))])
    axes.invert_yaxis()
    axes.legend(loc="upper right", ncols=4)


def _cores(axes: Any, samples: Sequence[Sample], began: float) -> None:
    parts = ("Recognizer", "Translator", "Driver", "ffmpeg", "Serve")
    heights = [[max(0.0, sample.cpu.get(part, 0.0)) for sample in samples] for part in parts]
    times = [sample.at - began for sample in samples]
    axes.stackplot(times, heights, labels=parts, colors=[COLOURS[part] for part in parts])
    axes.set(xlabel="seconds", ylabel="cores in use")
    axes.legend(loc="upper right", ncols=len(parts))
