"""`dubserve jobs`: what the service has done and is doing. `dubserve jobs` alone lists."""

import json
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from configs.app import JobSettings, Roots
from serve_app.commands import terminal
from serve_app.commands.options import AsJson
from serve_app.commands.terminal import told

app = typer.Typer(help="What the service has done and is doing; alone, the list of jobs.", invoke_without_command=True)


@app.callback()
def jobs(
    limit: Annotated[int, typer.Option(help="how many, newest first")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the jobs of the service on this machine."""
    from serve_app.doors.wire import job_json
    from serve_app.jobs.store import Store

    with told():
        store = Store(Roots.from_environment().database_url.get_secret_value(), JobSettings())
        store.create()
        found = [job_json(job, []) for job in store.jobs(limit=limit)]
        store.close()
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    table = Table("id", "status", "to", "percent", "message")
    for job in found:
        percent = f"{job['progress']['percent']:.0f}"
        cells = (job["id"], job["status"], job["target_lang"], percent, job["message"])
        table.add_row(*(Text(cell) for cell in cells))
    terminal.console.print(table)
