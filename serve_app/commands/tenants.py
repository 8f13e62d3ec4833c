"""`dubserve tenants`: who may use the service, with which share and up to which limits."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from serve_app.commands import completing
from serve_app.commands.books import database
from serve_app.commands.options import AsJson
from serve_app.commands.terminal import date, done, show_rows
from serve_app.jobs.tenants import LIMITS, Tenant, Tenants, UnfitTenant

app = typer.Typer(no_args_is_help=True, help="Who may use the service, with which share and up to which limits.")

Name = Annotated[
    str,
    typer.Argument(help="of the tenant; `anonymous` are those who send no key", autocompletion=completing.tenants),
]
Weight = Annotated[float | None, typer.Option(help="share beside others; 1 when nothing is said")]
Running = Annotated[str | None, typer.Option(help="jobs at a time, or none for no limit")]
Queued = Annotated[str | None, typer.Option(help="jobs that wait, or none")]
Stored = Annotated[str | None, typer.Option(help="bytes of uploads and results, or none")]
Minutes = Annotated[str | None, typer.Option(help="minutes of video a day, or none")]


@app.command("add")
def add_tenant(
    name: Name,
    weight: Weight = None,
    running: Running = None,
    queued: Queued = None,
    stored_bytes: Stored = None,
    video_minutes_a_day: Minutes = None,
    as_json: AsJson = False,
) -> None:
    """Let a tenant in; it can do nothing before it has a key.

    Example: dubserve tenants add acme --weight 2 --running 4 --queued 100
    """
    with database() as opened:
        limits = given(weight, running, queued, stored_bytes, video_minutes_a_day)
        made = Tenants(opened).add(Tenant(name, **limits))
    done(f"{name} may come in; `dubserve keys issue {name}` makes it a key", asdict(made), as_json)


@app.command("set")
def set_tenant(
    name: Name,
    weight: Weight = None,
    running: Running = None,
    queued: Queued = None,
    stored_bytes: Stored = None,
    video_minutes_a_day: Minutes = None,
    as_json: AsJson = False,
) -> None:
    """Change the share or the limits of a tenant; what is not named stays.

    Example: dubserve tenants set acme --queued none
    """
    with database() as opened:
        changed = Tenants(opened).change(name, **given(weight, running, queued, stored_bytes, video_minutes_a_day))
    if as_json:
        done("", asdict(changed), True)
    else:
        show_rows([line(changed)], False)


@app.command("list")
def list_tenants(as_json: AsJson = False) -> None:
    """All tenants that are known; without a row a tenant weighs 1 and has no limits."""
    with database() as opened:
        found = Tenants(opened).all()
    rows = [asdict(tenant) if as_json else line(tenant) for tenant in found]
    show_rows(rows, as_json, "no tenants yet; `dubserve tenants add NAME` lets one in")


def line(tenant: Tenant) -> dict[str, Any]:
    limits = {name: "no limit" if getattr(tenant, name) is None else getattr(tenant, name) for name in LIMITS}
    return {"name": tenant.name, "weight": tenant.weight, **limits, "since": date(tenant.created_at)}


@app.command("remove")
def remove_tenant(name: Name, as_json: AsJson = False) -> None:
    """Remove a tenant and its keys; its jobs have to end before, and their files stay."""
    with database() as opened:
        Tenants(opened).remove(name)
    done(f"{name} and its keys are gone", {"removed": name}, as_json)


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
