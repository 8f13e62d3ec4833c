"""`python -m docs.reference` writes the pages of docs/reference from the code; a test compares them with what it says.

    cli.md      the commands, as typer knows them          config.md    the settings, with their Field descriptions
    http.md     the routes, from their OpenAPI             errors.md    models.errors, and the table of codes
    grpc.md     the .proto, with its comments            metrics.md   the tables of serve_app.telemetry
    report.md, report.schema.json   the report of a job for people and for programs, from serve_app.report_schema

What a page says is in the code that it describes: to change a sentence there, change it here.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from docs.describing.commands import cli
from docs.describing.doors import grpc, http
from docs.describing.faults import errors_page
from docs.describing.figures import metrics
from docs.describing.reporting import report, report_schema
from docs.describing.settings import config

FOLDER = Path(__file__).with_name("reference")

PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli,
    "http.md": http,
    "grpc.md": grpc,
    "config.md": config,
    "errors.md": errors_page,
    "metrics.md": metrics,
    "report.md": report,
    "report.schema.json": report_schema,
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), "utf-8")
        sys.stdout.write(f"{FOLDER.name}/{name}\n")


if __name__ == "__main__":
    main()
