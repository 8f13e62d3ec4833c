"""`dubserve keys`: what tenants show at the doors."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from serve_app.commands import completing
from serve_app.commands.books import database
from serve_app.commands.options import AsJson
from serve_app.commands.tenants import Name
from serve_app.commands.terminal import date, done, show_rows
from serve_app.jobs.tenants import Key, Tenants

app = typer.Typer(no_args_is_help=True, help="Keys of tenants: sent as `authorization: Bearer …`.")


@app.command("issue")
def issue_key(
    tenant: Name, label: Annotated[str, typer.Option(help="to tell keys apart")] = "", as_json: AsJson = False
) -> None:
    """Make a key and show it: this once, since only its hash is kept.

    Example: DUBSERVE_KEY=$(dubserve keys issue acme --label laptop)
    """
    with database() as opened:
        key = Tenants(opened).issue(tenant, label)
    typer.echo(json.dumps({"key": key}) if as_json else key)


@app.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="of this one alone", autocompletion=completing.tenants)] = None,
    as_json: AsJson = False,
) -> None:
    """Keys by their ids, with when they were made, last used and revoked: in UTC, with --json in Unix seconds."""
    with database() as opened:
        found = Tenants(opened).keys(tenant)
    rows = [asdict(key) if as_json else line(key) for key in found]
    show_rows(rows, as_json, "no keys yet; `dubserve keys issue NAME` makes one")


def line(key: Key) -> dict[str, str]:
    times = {"issued": key.created_at, "last_used": key.used_at, "revoked": key.revoked_at}
    return {"id": key.id, "tenant": key.tenant, "label": key.label, **{name: date(at) for name, at in times.items()}}


@app.command("revoke")
def revoke_key(
    key_id: Annotated[
        str, typer.Argument(metavar="ID", help="as `keys list` shows it", autocompletion=completing.keys)
    ],
    as_json: AsJson = False,
) -> None:
    """End a key; it may work for some seconds more."""
    with database() as opened:
        Tenants(opened).revoke(key_id)
    done(f"the key {key_id} is revoked", {"revoked": key_id}, as_json)
