"""What the command line draws: one live bar per stage, the decisions as they are made, and the table at the end.

Whatever was recognised, translated or named by somebody else is shown as Text: rich would take its brackets for markup.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from configs.pipeline import STAGES
from serve_app.doors.wire import SENTENCES, clock

STYLES = {"warning": "yellow", "error": "red", "success": "green"}


class Screen:
    """Use as a context manager; `show` may be called with the same facts any number of times."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<38}"),
            BarColumn(bar_width=40),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        for number, stage in enumerate(STAGES, 1):
            name = f"{number}. {SENTENCES[stage]}"
            self._tasks[stage] = self._bars.add_task(name, total=100, start=False)
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, stage: str, percent: float, lines: Sequence[tuple[str, str, str]] = ()) -> None:
        """`stage` has come to `percent`, all before it are done; `lines` are (timestamp, level, message)."""
        for name, task in self._tasks.items():
            if STAGES.index(name) < STAGES.index(stage):
                self._finish(task)
        self._bars.start_task(self._tasks[stage])
        self._bars.update(self._tasks[stage], completed=percent)
        for timestamp, level, message in lines:
            if (timestamp, message) not in self._said:
                self._said.add((timestamp, message))
                self._bars.console.print(f"  {message}", style=STYLES.get(level, "dim"), markup=False, highlight=False)

    def finish(self) -> None:
        for task in self._tasks.values():
            self._finish(task)

    def _finish(self, task: TaskID) -> None:
        if not self._bars.tasks[task].started:
            self._bars.start_task(task)
        self._bars.update(task, completed=100)
        self._bars.stop_task(task)


def tables(report: Path, seconds: float) -> tuple[Table, Table]:
    """What a finished job is shown as: its segments and its figures. `report` is its JSON file."""
    content = json.loads(report.read_text(encoding="utf-8"))
    return segment_table(content), figures(content, seconds)


def segment_table(report: dict[str, Any]) -> Table:
    """Time, original, translation and tempo of every segment of a job's report."""
    source, target = report["source_language"], report["target_language"]
    table = Table(title=Text(f"{source} → {target}"), show_lines=False)
    table.add_column("time", no_wrap=True)
    table.add_column(Text(source), ratio=1)
    table.add_column(Text(target), ratio=1)
    table.add_column("tempo", justify="right", no_wrap=True)
    for row in report["segments"]:
        tempo = f"{row['tempo']:.2f}" if row["tempo"] else "–"
        times = f"{clock(row['start'])} – {clock(row['end'])}"
        table.add_row(times, Text(row["text"].strip()), Text(row["translation"] or "–"), tempo)
    return table


def figures(report: dict[str, Any], seconds: float) -> Table:
    """How long the video is, what each stage took, and how fast that was."""
    duration = report["output"]["duration"]
    table = Table(title="figures", show_header=False)
    table.add_row("duration of the video", f"{duration:.1f} s")
    for stage in STAGES:
        table.add_row(stage, f"{report['stage_seconds'].get(stage, 0):.1f} s")
    table.add_row("all stages", f"{seconds:.1f} s")
    table.add_row("speed", f"{duration / seconds:.2f} × real time")
    table.add_row("output loudness", f"{report['output']['lufs']:.1f} LUFS")
    return table
