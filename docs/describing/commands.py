"""The command line, as typer knows it."""

from collections.abc import Iterable
from typing import Any

import typer

from docs.describing.markdown import REPOSITORY, code, page, table, told
from serve_app.__main__ import app
from serve_app.commands.terminal import ENDINGS


def cli() -> str:
    root = typer.main.get_command(app)
    codes = table(("exit code", "meaning"), ENDINGS.items())
    intro = told((root.help or "").partition("\b\nExit codes")[0])
    shells = "`dubserve --install-completion` teaches the shell to complete commands and options."
    return page(
        "Command line", intro, "## Exit codes\n\n" + codes, "## Completion\n\n" + shells, *commands(root, "dubserve")
    )


def commands(command: Any, name: str) -> Iterable[str]:
    below = getattr(command, "commands", {})
    if name != "dubserve":
        yield f"## {name}\n\n{told(command.help)}\n\n{parameters(command)}"
    for word, one in sorted(below.items()):
        yield from commands(one, f"{name} {word}")


def parameters(command: Any) -> str:
    rows = [(names(one), default(one), getattr(one, "help", "") or "") for one in command.params if one.name != "help"]
    return table(("", "default", ""), rows) if rows else ""


def names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return code(parameter.metavar or (parameter.name or "").upper())
    variables = [parameter.envvar] if parameter.envvar else []
    return " ".join(code(name) for name in (*parameter.opts, *parameter.secondary_opts, *variables))


def default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required:
        return "required"
    if value is None or value == "" or value == () or value == [] or callable(value) or value is False:
        return ""
    path = str(value).replace(f"{REPOSITORY}/", "")
    return code(path)
