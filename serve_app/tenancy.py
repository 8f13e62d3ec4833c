"""The operator's commands: tenants, their keys, and what they have used. They open the database of the service.

What they change holds at once for what comes next; a revoked key may work for some seconds more.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from configs.app import Roots
from models.errors import DubError, InvalidJob
from serve_app.jobs.database import Database
from serve_app.jobs.tenants import Tenant, Tenants, UnfitTenant
from serve_app.paths import home

tenants = typer.Typer(no_args_is_help=True, help="Who may use the service, with which share and up to which limits.")
keys = typer.Typer(no_args_is_help=True, help="Keys of tenants: sent as `authorization: Bearer …`.")
console = Console()
errors = Console(stderr=True)

Name = Annotated[str, typer.Argument(help="of the tenant; `anonymous` are those who send no key")]
Weight = Annotated[float | None, typer.Option(help="share beside others; 1 when nothing is said")]
Running = Annotated[str | None, typer.Option(help="jobs at a time, or none for no limit")]
Queued = Annotated[str | None, typer.Option(help="jobs that wait, or none")]
Stored = Annotated[str | None, typer.Option(help="bytes of uploads and results, or none")]
Minutes = Annotated[str | None, typer.Option(help="minutes of video a day, or none")]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON and nothing else")]


@contextmanager
def database() -> Iterator[Database]:
    """That of the service, brought up to date; errors of our tree become a red sentence and exit code 2 or 1."""
    try:
        opened = Database(Roots.from_environment().database_url.get_secret_value())
        try:
            opened.create()
            yield opened
        finally:
            opened.close()
    except DubError as error:
        errors.print(Text.assemble((error.code, "red"), f": {error}"), soft_wrap=True)
        raise typer.Exit(2 if isinstance(error, InvalidJob) else 1) from None


# -- tenants -----------------------------------------------------------------------------------------------------------


@tenants.command("add")
def add_tenant(
    name: Name,
    weight: Weight = None,
    running: Running = None,
    queued: Queued = None,
    stored_bytes: Stored = None,
    video_minutes_a_day: Minutes = None,
) -> None:
    """Let a tenant in; it can do nothing before it has a key."""
    with database() as opened:
        limits = given(weight, running, queued, stored_bytes, video_minutes_a_day)
        Tenants(opened).add(Tenant(name, **limits))


@tenants.command("set")
def set_tenant(
    name: Name,
    weight: Weight = None,
    running: Running = None,
    queued: Queued = None,
    stored_bytes: Stored = None,
    video_minutes_a_day: Minutes = None,
) -> None:
    """Change the share or the limits of a tenant; what is not named stays."""
    with database() as opened:
        Tenants(opened).change(name, **given(weight, running, queued, stored_bytes, video_minutes_a_day))


@tenants.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """All tenants that are known; without a row a tenant weighs 1 and has no limits."""
    with database() as opened:
        show([asdict(tenant) for tenant in Tenants(opened).all()], as_json)


@tenants.command("remove")
def remove_tenant(name: Name) -> None:
    """Remove a tenant and its keys; its jobs have to end before, and their files stay."""
    with database() as opened:
        Tenants(opened).remove(name)


def given(
    weight: float | None, running: str | None, queued: str | None, stored: str | None, minutes: str | None
) -> Any:
    """What was named on the command line, as fields of Tenant."""
    whole = {"running": running, "queued": queued, "stored_bytes": stored}
    found: dict[str, Any] = {name: limit(name, text, int) for name, text in whole.items() if text is not None}
    if minutes is not None:
        found["video_minutes_a_day"] = limit("video_minutes_a_day", minutes, float)
    return found if weight is None else {**found, "weight": weight}


def limit(name: str, text: str, kind: type[int] | type[float]) -> float | None:
    if text.lower() == "none":
        return None
    try:
        return kind(text)
    except ValueError:
        raise UnfitTenant(f"the limit {name} is a number, or none") from None


# -- keys --------------------------------------------------------------------------------------------------------------


@keys.command("issue")
def issue_key(
    tenant: Name, label: Annotated[str, typer.Option(help="to tell keys apart")] = "", as_json: AsJson = False
) -> None:
    """Make a key and show it: this once, since only its hash is kept."""
    with database() as opened:
        key = Tenants(opened).issue(tenant, label)
    typer.echo(json.dumps({"key": key}) if as_json else key)


@keys.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="of this one alone")] = None, as_json: AsJson = False
) -> None:
    """Keys by their ids, with when they were made, last used and revoked (Unix seconds)."""
    with database() as opened:
        show([asdict(key) for key in Tenants(opened).keys(tenant)], as_json)


@keys.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(metavar="ID", help="as `keys list` shows it")]) -> None:
    """End a key; it may work for some seconds more."""
    with database() as opened:
        Tenants(opened).revoke(key_id)


def shelf(key: str, roots: Roots) -> Path:
    """Where the videos of a key's owner lie; of nobody in particular without one. Raises NotAllowed for a wrong key."""
    if not key:
        return roots.uploads
    with database() as opened:
        folder = home(Tenants(opened).owner(key), roots)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# -- usage -------------------------------------------------------------------------------------------------------------


def usage(
    tenant: Annotated[str | None, typer.Option(help="of this one alone")] = None,
    since: Annotated[str, typer.Option(help="2026-11-24, 2026-11-24T12:00:00Z, or Unix seconds")] = "0",
    until: Annotated[str, typer.Option(help="the same; left out: now")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="a line a job, for a spreadsheet")] = False,
    as_json: AsJson = False,
) -> None:
    """What tenants have used."""
    from serve_app.doors.usage import moment, table  # FastAPI takes a moment to import
    from serve_app.jobs.usage import Usage

    with database() as opened:
        book = Usage(opened)
        span = moment(since), moment(until) if until else None, tenant
        if as_csv:
            typer.echo(table(book.lines(*span)), nl=False)
            return
        show([{"tenant": name, **asdict(total)} for name, total in book.totals(*span).items()], as_json)


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    if not rows:
        console.print("there are none yet")
        return
    drawn = Table(*rows[0])
    for row in rows:
        drawn.add_row(*(Text(cell(value)) for value in row.values()))
    console.print(drawn)


def cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.12g}" if isinstance(value, float) else str(value)
