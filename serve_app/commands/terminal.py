"""How every command prints and ends: the two consoles, JSON or a table, and the exit code of an error.

With `--json` a command prints one JSON value on standard output and nothing else; sentences for people go to standard
error, so that a pipe never swallows them.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from configs.environment import UnfitEnvironment
from models.errors import DubError, InvalidJob, JobNotFound, NotAllowed, WrongState
from serve_app.answers import KINDS, JobFailed, Unreachable

console = Console()
errors = Console(stderr=True)

FAILED, USAGE, UNREACHABLE, REFUSED, INTERRUPTED = 1, 2, 3, 4, 130
ENDINGS = {
    0: "done",
    FAILED: "the job failed or was cancelled, or the service could not do its work",
    USAGE: "an option, the config or the video is at fault: mend it and call again",
    UNREACHABLE: "no service answers at the address, or it went away and did not come back",
    REFUSED: "refused: no such job, a wrong key, a limit used up, or a state that does not allow it",
    INTERRUPTED: "interrupted with Ctrl-C",
}
"""Exit code → what it means; the documentation's table is made from this."""

BETWEEN = 3
"""Characters that a table has beside each column."""

REFUSALS = (NotAllowed, JobNotFound, WrongState)
NEXT = {
    "job_not_found": "`dubserve jobs` lists the jobs there are",
    "unauthenticated": "give the key of a tenant with --key or in DUBSERVE_KEY",
    "artifact_missing": "`dubserve models list` shows which models are here",
    "unfit_tenant": "`dubserve tenants list` and `dubserve keys list` show which there are",
}
"""What to do about an error whose own sentence cannot know that it is read on a command line."""


def exit_code(error: DubError) -> int:
    """The same for an error that was found here and for one that the service has sent."""
    status = getattr(error, "status", None)  # of the gRPC client, which would take a moment to import
    if status is not None:
        return _GRPC.get(status.name, FAILED)
    if isinstance(error, Unreachable):
        return UNREACHABLE
    if isinstance(error, JobFailed):
        return USAGE if issubclass(KINDS.get(error.code, DubError), InvalidJob) else FAILED
    if isinstance(error, REFUSALS):
        return REFUSED
    return USAGE if isinstance(error, InvalidJob) else FAILED


_GRPC = {
    "INVALID_ARGUMENT": USAGE,
    "UNAVAILABLE": UNREACHABLE,
    "UNAUTHENTICATED": REFUSED,
    "PERMISSION_DENIED": REFUSED,
    "RESOURCE_EXHAUSTED": REFUSED,
    "NOT_FOUND": REFUSED,
}


@contextmanager
def told(interrupted: str = "interrupted") -> Iterator[None]:
    """Errors of our tree become one red sentence and an exit code; Ctrl-C becomes the sentence `interrupted`."""
    try:
        yield
    except UnfitEnvironment as error:
        errors.print(Text.assemble(("unfit_environment", "red"), f": {error}"), soft_wrap=True)
        raise typer.Exit(USAGE) from None
    except DubError as error:
        errors.print(Text.assemble((error.code, "red"), f": {error}"), soft_wrap=True)
        if error.code in NEXT:
            errors.print(Text(f"→ {NEXT[error.code]}", style="dim"), soft_wrap=True)
        raise typer.Exit(exit_code(error)) from None
    except KeyboardInterrupt:
        errors.print(Text(interrupted), soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None


def quiet(as_json: bool) -> Console:
    """Where a command draws while it works: nowhere, when JSON is all that is wanted."""
    return Console(quiet=True) if as_json else console


def show(result: dict[str, Any], as_json: bool) -> None:
    """A line for each value, or the whole as JSON."""
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    for name, value in result.items():
        console.print(f"{name}: {value}", markup=False, highlight=False, soft_wrap=True)


def done(sentence: str, facts: dict[str, Any], as_json: bool) -> None:
    """What a command has changed: as a sentence, or `facts` as JSON."""
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
    else:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def show_rows(rows: Sequence[dict[str, Any]], as_json: bool, none: str = "there are none yet") -> None:
    """A table with the names of the first row as its head, or a JSON list; `none` is said of an empty one.

    Where a table would break words in two, each row is a few lines instead.
    """
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    if not rows:
        console.print(none, markup=False, highlight=False)
        return
    columns = {name.replace("_", " "): [cell(row[name]) for row in rows] for name in rows[0]}
    widths = [max(map(len, f"{title} {' '.join(cells)}".split())) for title, cells in columns.items()]
    if sum(widths) + BETWEEN * len(columns) > console.width:
        show_apart(columns)
        return
    drawn = Table(box=box.SIMPLE_HEAD)
    for name, title, width in zip(rows[0], columns, widths, strict=True):
        number = all(isinstance(row[name], int | float | None) for row in rows)
        drawn.add_column(title, justify="right" if number else "left", min_width=width)
    for values in zip(*columns.values(), strict=True):
        drawn.add_row(*map(Text, values))
    console.print(drawn)


def show_apart(columns: dict[str, list[str]]) -> None:
    """A few lines for each row, and none for what is empty."""
    for values in zip(*columns.values(), strict=True):
        show({title: value for title, value in zip(columns, values, strict=True) if value}, False)
        console.print()


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) else str(value)


def age(unix: float) -> str:
    """How long ago, in the largest unit: 40s, 12m, 3h, 9d."""
    seconds = max(0.0, time.time() - unix)
    unit, size = next((one for one in (("d", 86400), ("h", 3600), ("m", 60)) if seconds >= one[1]), ("s", 1))
    return f"{seconds // size:.0f}{unit}"


def date(unix: float | None) -> str:
    """In UTC, as the doors write it; nothing for what has not happened."""
    return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%d %H:%M}" if unix else ""
