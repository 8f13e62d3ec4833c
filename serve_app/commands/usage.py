"""`dubserve usage`: what tenants have used, for whoever writes the bills."""

from dataclasses import asdict
from typing import Annotated

import typer

from serve_app.commands.books import database
from serve_app.commands.options import AsJson
from serve_app.commands.terminal import show_rows


def usage(
    tenant: Annotated[str | None, typer.Option(help="of this one alone")] = None,
    since: Annotated[str, typer.Option(help="2026-11-24, 2026-11-24T12:00:00Z, or Unix seconds")] = "0",
    until: Annotated[str, typer.Option(help="the same; left out: now")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="a line a job, for a spreadsheet")] = False,
    as_json: AsJson = False,
) -> None:
    """What tenants have used.

    Example: dubserve usage --since 2026-11-01 --csv > november.csv
    """
    from serve_app.doors.usage import moment, table  # FastAPI takes a moment to import
    from serve_app.jobs.usage import Usage

    with database() as opened:
        book = Usage(opened)
        span = moment(since), moment(until) if until else None, tenant
        if as_csv:
            typer.echo(table([*book.lines(*span), *book.calls(*span)]), nl=False)
            return
        show_rows([{"tenant": name, **asdict(total)} for name, total in book.totals(*span).items()], as_json)
