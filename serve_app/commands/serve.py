"""`dubserve serve` and `dubserve demo`: the service itself, until Ctrl-C or for the length of one film."""

import os
from pathlib import Path
from typing import Annotated

import typer

from configs.app import Roots
from serve_app.commands import terminal
from serve_app.commands.options import REPOSITORY, AsJson, Config, To, config_file, settings_of
from serve_app.commands.terminal import quiet, show, told
from serve_app.telemetry import logs, metrics


def serve(
    config: Config = None,
    verbose: Annotated[bool, typer.Option(help="show what Ray and the replicas print")] = False,
) -> None:
    """Run the service on this machine until Ctrl-C.

    HTTP listens on port 8000 of this machine, gRPC on port 50051; the config file says otherwise.

    Example: dubserve serve --config configs/gpu.yaml
    """
    with told():
        chosen = config_file(config)
        telemetry = settings_of(chosen).telemetry
        roots = Roots.from_environment()
        os.environ.update(roots.as_environment())
        metrics.begin_anew(roots)
        from serve_app.deployments.cluster import serve_until_stopped  # Ray takes seconds to import

        if telemetry.logs == "json":
            logs.begin("serve", telemetry, roots)
            serve_until_stopped(chosen, lambda line: logs.event("service", line), verbose, json_lines=True)
        else:
            serve_until_stopped(chosen, say, verbose)


def say(line: str) -> None:
    terminal.console.print(line, markup=False, highlight=False)


def demo(
    video: Annotated[Path, typer.Argument(help="the video")] = REPOSITORY / "tests/data/talk.mp4",
    to: To = "es",
    out: Annotated[Path, typer.Option(help="folder for the results")] = Path("out/demo"),
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Start the service, dub a video through its gRPC door, show everything, stop it."""
    from serve_app.demo import run_demo

    with told():
        chosen = config_file(config)
        settings_of(chosen)
        made = run_demo(video.resolve(), to, out, chosen, quiet(as_json))
        if as_json:
            show(made, as_json)
