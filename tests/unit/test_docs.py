"""The documentation says what the code does: pages made from it, commands that exist, settings that hold."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import typer
import yaml
from fastapi import FastAPI

from configs.app import AppSettings
from docs.reference import FOLDER, PAGES
from serve_app.__main__ import app
from serve_app.doors.access import is_open
from serve_app.doors.documentation import add_documentation
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
WRITTEN = [*sorted(DOCS.glob("*.md")), REPOSITORY / "README.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_made_from_the_code_says_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == PAGES[name](), "it has changed; run: python -m docs.reference"


def test_there_is_no_other_page_among_them() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


def test_what_the_reference_is_made_of() -> None:
    """Enough of each kind that a parser which finds nothing is found."""
    pages = {name: make() for name, make in PAGES.items()}
    assert pages["http.md"].count("\n## ") > 20 and "`target_langs` | form" in pages["http.md"]
    assert pages["grpc.md"].count("\n## ") == 16 and "0–100 of the job, never backwards" in pages["grpc.md"]
    assert "## dubserve models verify" in pages["cli.md"] and "`DUBSERVE_KEY`" in pages["cli.md"]
    assert (
        "| `lease_s` | `float` | `10` | a Driver silent" in pages["config.md"] and "; above 0 |" in pages["config.md"]
    )
    assert "| `wrong_state` | WrongState | 409 | FAILED_PRECONDITION |" in pages["errors.md"]


# -- what pages tell people to type ------------------------------------------------------------------------------------


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for path in WRITTEN:
        for found, text in BLOCK.findall(path.read_text("utf-8")):
            if found == language:
                yield path.name, text


COMMAND = re.compile(r"(?:^|&& *)(?:\w+=\S+ )?(?:\.venv/bin/)?dubserve ([^|>&#\n]*)", re.M)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every `dubserve …` at the beginning of a line, or behind another command."""
    for page, text in blocks(""):
        for line in COMMAND.findall(text.replace("\\\n", " ")):
            yield page, shlex.split(line)


def test_commands_and_their_options_exist() -> None:
    found = list(commands())
    assert len(found) > 20
    for page, words in found:
        command = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command, words = command.commands[words[0]], words[1:]  # type: ignore[attr-defined]
        options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
        unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in options]
        assert not unknown, f"{page}: dubserve {command.name} has no {unknown[0]}"
        if "commands" in dir(command) and not getattr(command, "invoke_without_command", False):
            raise AssertionError(f"{page}: there is no command {command.name} {' '.join(words)}")


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.M))
    for page, text in blocks(""):
        for target in re.findall(r"^make ([a-z-]+)", text, re.M):
            assert target in targets, f"{page}: make {target}"


def test_settings_in_the_pages_hold() -> None:
    found = list(blocks("yaml"))
    assert len(found) >= 3
    for page, text in found:
        content = yaml.safe_load(text)
        assert content, page
        AppSettings.model_validate(content)


def test_the_tree_names_every_module() -> None:
    [tree] = [text for page, text in blocks("") if page == "architecture.md" and text.startswith("serve_app/")]
    words = set(re.findall(r"\w+", tree))
    for folder in ("serve_app", "serve_app/doors", "serve_app/jobs", "serve_app/hearing", "serve_app/media"):
        names = {path.stem for path in (REPOSITORY / folder).glob("*.py")} - {"__init__", "__main__"}
        assert not names - words, f"docs/architecture.md knows nothing of {names - words} in {folder}"


def test_the_readme_shows_the_console() -> None:
    [picture] = re.findall(r"!\[[^]]+\]\((docs/[^)]+)\)", (REPOSITORY / "README.md").read_text("utf-8"))
    assert 10_000 < (REPOSITORY / picture).stat().st_size < 150_000


# -- the site ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make docs` does: a link that leads nowhere, or a page that no menu shows, ends it."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "-f",
        "configs/mkdocs.yml",
        "-d",
        str(folder),
    ]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def test_whoever_reads_asks_nobody_else(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text("utf-8")
        loaded = re.findall(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""", text)
        assert not loaded, (page.name, loaded)
    assert not list(site.rglob("*.py"))


@pytest.fixture
async def reader(site: Path) -> AsyncIterator[httpx.AsyncClient]:
    api = FastAPI(docs_url=None, redoc_url=None)
    add_documentation(api, site)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://door") as client:
        yield client


async def test_the_service_shows_it(reader: httpx.AsyncClient, site: Path) -> None:
    home = await reader.get("/docs-site", follow_redirects=True)
    assert home.status_code == 200 and "A first video in two commands" in home.text and home.url.path == "/docs-site/"
    assert "default-src 'self'" in home.headers["content-security-policy"]
    for address in {*re.findall(r'(?:src|href)="([^"#:]+)"', home.text)}:
        answer = await reader.get(f"/docs-site/{address}")
        assert answer.status_code == 200, address
    for trick in ("nothing.html", "../pyproject.toml", "%2e%2e/%2e%2e/etc/passwd", "/etc/passwd", "a%00b", "assets"):
        assert (await reader.get(f"/docs-site/{trick}")).status_code == 404, trick
    assert is_open("/docs-site") and is_open("/docs-site/index.html")


async def test_before_it_is_built_a_page_says_how(tmp_path: Path) -> None:
    api = FastAPI()
    add_documentation(api, tmp_path / "nothing")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://door") as client:
        answer = await client.get("/docs-site/index.html")
    assert answer.status_code == 404 and "make docs" in answer.text


def test_the_tests_that_the_threat_model_names_are_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "threats.md").read_text("utf-8")))
    there = {path.stem for path in (REPOSITORY / "tests").rglob("test_*.py")}
    assert len(named) > 15 and named <= there, named - there
