"""The command line: every command under its name. What they do is in `commands`, one module per noun.

Exit codes are in `commands.terminal`, and in the help. To add a command: one module, one line here.
"""

import os
import sys

import typer

from serve_app.commands import doctor, dub, jobs, keys, models, serve, submit, tenants, usage
from serve_app.commands.terminal import ENDINGS, INTERRUPTED

HELP = f"""Self-hosted video translation, served: a video goes in, the same video comes out speaking another language.

\b
First steps:
  dubserve dub talk.mp4 --to es       one video, in this process
  dubserve serve                      the service, until Ctrl-C
  dubserve submit talk.mp4 --to es    one video to the service
  dubserve jobs                       what it has done

\b
Exit codes:
{chr(10).join(f"  {code:<4}{meaning}" for code, meaning in ENDINGS.items())}
"""

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, help=HELP)
app.command()(serve.serve)
app.command()(dub.dub)
app.command()(submit.submit)
app.command()(serve.demo)
app.command()(doctor.doctor)
app.add_typer(jobs.app, name="jobs")
app.add_typer(models.app, name="models")
app.add_typer(tenants.app, name="tenants")
app.add_typer(keys.app, name="keys")
app.command()(usage.usage)


def main() -> None:
    try:
        app()
    except SystemExit as end:
        # a thread deep in an engine cannot be asked to stop; what is worth keeping is on disk
        if end.code == INTERRUPTED:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        raise


if __name__ == "__main__":
    main()
