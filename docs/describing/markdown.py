"""Pages, tables and docstrings as Markdown."""

from collections.abc import Iterable, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MADE = "<!-- made by `python -m docs.reference`; to change it, change the code that it describes -->\n"


def page(title: str, *parts: str) -> str:
    return "\n\n".join([MADE + f"# {title}", *(part.strip() for part in parts if part.strip())]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def code(value: object) -> str:
    return f"`{value}`" if str(value) else ""


def told(docstring: str | None) -> str:
    """A docstring as Markdown: lists after \\b stay as they are, the indentation goes."""
    blocks = (docstring or "").strip().split("\n\n")
    return "\n\n".join(block if "\b" not in block else fenced(block) for block in blocks)


def fenced(block: str) -> str:
    title, *lines = [line for line in block.replace("\b", "").splitlines() if line.strip()]
    return f"{title.strip()}\n\n```\n" + "\n".join(line.strip() for line in lines) + "\n```"
