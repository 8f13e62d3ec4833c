"""`dubserve doctor`: what this machine has, what will run where, and what would keep the service from starting."""

from dataclasses import asdict
from typing import Annotated

import typer
import yaml
from rich.text import Text

from serve_app.commands import terminal
from serve_app.commands.options import AsJson, Config, config_file, settings_of
from serve_app.commands.terminal import FAILED, show_rows, told

COLOURS = {"fine": "green", "warning": "yellow", "fault": "red"}


def doctor(
    config: Config = None,
    online: Annotated[bool, typer.Option(help="ask whether online speech can be reached")] = False,
    as_json: AsJson = False,
) -> None:
    """What this machine has, and whether the service would start on it; nothing is started.

    Ends with 1 when something would keep the service from starting or from doing any job, and says what helps.

    Example: dubserve doctor --config configs/gpu.yaml
    """
    from serve_app.doctor import Patient, examine  # the engines take a moment to import

    with told():
        chosen = config_file(config)
        settings = settings_of(chosen)
        found = examine(Patient(yaml.safe_load(chosen.read_text()), settings, online))
    if as_json:
        show_rows([asdict(finding) for finding in found], as_json)
    else:
        for finding in found:
            line = Text.assemble((f"{finding.state:8}", COLOURS[finding.state]), f"{finding.about}: {finding.said}")
            if finding.do:
                line.append(f" → {finding.do}", style="dim")
            terminal.console.print(line, soft_wrap=True)
    if any(finding.state == "fault" for finding in found):
        raise typer.Exit(FAILED)
