"""`dubserve keys`: what tenants show at the doors."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from serve_app.commands.books import database
from serve_app.commands.options import AsJson
from serve_app.commands.tenants import Name
from serve_app.commands.terminal import show_rows
from serve_app.jobs.tenants import Tenants

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
    tenant: Annotated[str | None, typer.Option(help="of this one alone")] = None, as_json: AsJson = False
) -> None:
    """Keys by their ids, with when they were made, last used and revoked (Unix seconds)."""
    with database() as opened:
        show_rows([asdict(key) for key in Tenants(opened).keys(tenant)], as_json)


@app.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(metavar="ID", help="as `keys list` shows it")]) -> None:
    """End a key; it may work for some seconds more."""
    with database() as opened:
        Tenants(opened).revoke(key_id)
