"""`dubserve jobs`: what the service has done and is doing, and how to steer it. `dubserve jobs` alone lists.

Without an address and a key the commands read the database of the service on this machine, and show the jobs of all
tenants: that works while the service is down, too. With one of them they ask over HTTP, as that key's tenant.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from serve_app.answers import KEEP, Change, Job, JobFailed, Keep, Result, Segment
from serve_app.commands import completing, terminal
from serve_app.commands.options import AsJson, Key, Target, Url
from serve_app.commands.terminal import age, date, quiet, show, show_rows, told

app = typer.Typer(help="What the service has done and is doing; alone, the list of jobs.")
LOCAL = "http://localhost:8000"
FIRST_S = 2.0
"""For so long a service that has not answered yet is asked again; a person sits there and waits."""

Id = Annotated[
    str, typer.Argument(metavar="ID", help="of the job, as `jobs list` shows it", autocompletion=completing.jobs)
]
Limit = Annotated[int, typer.Option(min=1, max=500, help="how many, newest first")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="stay until the job has ended")]


class Door(Protocol):
    """What `Client` and `Here` have in common."""

    def jobs(self, limit: int = 50) -> list[Job]: ...
    def job(self, job_id: str) -> Job: ...
    def progress(self, job_id: str) -> Iterator[Job]: ...
    def control(self, job_id: str, action: str) -> Job: ...
    def retry(self, job_id: str) -> Job: ...
    def segments(self, job_id: str, target: str = "") -> list[Segment]: ...
    def change(self, job_id: str, changes: Iterable[Change], target: str = "") -> list[Segment]: ...
    def redub(self, job_id: str) -> Job: ...
    def result(self, job_id: str) -> Result: ...
    def download(self, job_id: str, folder: str | Path, names: Iterable[str] = ()) -> list[Path]: ...


@contextmanager
def door(url: str, key: str) -> Iterator[Door]:
    """Where the jobs are asked for. Errors become a red sentence and an exit code."""
    with told("interrupted; a job that was sent goes on"):
        if url or key:
            from serve_app.client import Client

            with Client(url or LOCAL, key, first_s=FIRST_S) as client:
                yield client
        else:
            from serve_app.commands.here import Here

            with Here() as here:
                yield here


@app.callback(invoke_without_command=True)
def jobs(context: typer.Context, limit: Limit = 20, url: Url = "", key: Key = "", as_json: AsJson = False) -> None:
    """What the service has done and is doing; alone, the list of jobs.

    \b
    Examples:
      dubserve jobs                                 the latest twenty on this machine
      dubserve jobs follow ID                       watch one until it has ended
      dubserve jobs result ID --out dubs            its files
      dubserve jobs list --url http://dub.example   those of your tenant, over HTTP
    """
    if context.invoked_subcommand is None:
        list_jobs(limit, url, key, as_json)
    elif misplaced := options_of(context):
        raise typer.BadParameter(f"write {misplaced} behind `{context.invoked_subcommand}`")


def options_of(context: typer.Context) -> str:
    """Options that stood before the name of a command, which would not hear of them."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]
    return " ".join(f"--{name.removeprefix('as_')}" for name in given)


@app.command("list")
def list_jobs(limit: Limit = 20, url: Url = "", key: Key = "", as_json: AsJson = False) -> None:
    """The latest jobs, newest first."""
    with door(url, key) as asked:
        found = asked.jobs(limit)
    if as_json:
        typer.echo(json.dumps([asdict(job) for job in found], ensure_ascii=False))
        return
    show_rows([line(job) for job in found], False, "no jobs yet; send one with `dubserve submit VIDEO --to es`")


def line(job: Job) -> dict[str, Any]:
    """A row of the list; what stands in the way of a dub is said below the name of its video."""
    said = job.message if job.state in ("running", "failed") else ""
    return {
        "id": job.id,
        "state": job.state,
        "%": round(job.progress.percent),
        "to": ",".join(job.target_langs or (job.target_lang,)),
        "age": age(job.created_at),
        "video": "\n".join(filter(None, (job.title, said))),
    }


@app.command("show")
def show_job(job_id: Id, url: Url = "", key: Key = "", as_json: AsJson = False) -> None:
    """Where a job stands."""
    with door(url, key) as asked:
        job = asked.job(job_id)
    if as_json:
        show(asdict(job), True)
        return
    eta = {"left": f"about {job.progress.eta_s:.0f} s"} if job.progress.eta_s and not job.ended else {}
    facts = {
        "id": job.id,
        "title": job.title,
        "state": job.state,
        "percent": round(job.progress.percent),
        "from": job.source_lang or "as heard",
        "to": ",".join(job.target_langs or (job.target_lang,)),
        "sent": date(job.created_at),
        "stage": job.progress.stage,
        "message": job.message,
    }
    following = NEXT_STEP.get(job.state)
    show({**facts, **eta, **({"next": f"dubserve jobs {following.format(job.id)}"} if following else {})}, False)


NEXT_STEP = {
    "waiting": "follow {}",
    "running": "follow {}",
    "paused": "resume {}",
    "completed": "result {} --out FOLDER",
    "failed": "retry {}",
    "cancelled": "retry {}",
}
"""State → what people usually want to do then."""


@app.command("logs")
def logs(job_id: Id, follow: Follow = False, url: Url = "", key: Key = "", as_json: AsJson = False) -> None:
    """The latest lines of a job's log. With --json, one JSON object a line."""
    printed = set()
    with door(url, key) as asked:
        for job in asked.progress(job_id) if follow else [asked.job(job_id)]:
            for line in job.log:
                if (line.timestamp, line.message) in printed:
                    continue
                printed.add((line.timestamp, line.message))
                text = f"{line.timestamp[:19]}Z  {line.level:<8}{line.stage:<20}{line.message}"
                typer.echo(json.dumps(asdict(line), ensure_ascii=False) if as_json else text)


@app.command("follow")
def follow(job_id: Id, url: Url = "", key: Key = "", as_json: AsJson = False) -> None:
    """Watch a job until it has ended; exit code 1 when it failed or was cancelled."""
    with door(url, key) as asked:
        show(asdict(followed(asked, job_id, as_json)), True) if as_json else followed(asked, job_id, as_json)


def followed(asked: Door, job_id: str, as_json: bool) -> Job:
    """The job as it ended. Raises JobFailed unless it has completed."""
    from serve_app.screen import Screen

    with Screen(quiet(as_json)) as screen:
        for job in asked.progress(job_id):
            lines = [(line.timestamp, line.level, line.message) for line in job.log]
            screen.show(job.progress.stage, job.progress.stage_percent, lines)
        if job.status == "completed":
            screen.finish()
    if job.status != "completed":
        raise JobFailed(job)
    return job


@app.command("cancel")
def cancel(job_id: Id, url: Url = "", key: Key = "", as_json: AsJson = False) -> None:
    """End a job; what it has done so far is kept for some days."""
    steered(job_id, "cancel", url, key, as_json)


@app.command("pause")
def pause(job_id: Id, url: Url = "", key: Key = "", as_json: AsJson = False) -> None:
    """Let a job rest; it keeps what it has done."""
    steered(job_id, "pause", url, key, as_json)


@app.command("resume")
def resume(job_id: Id, url: Url = "", key: Key = "", as_json: AsJson = False) -> None:
    """Go on with a job that was paused."""
    steered(job_id, "resume", url, key, as_json)


@app.command("retry")
def retry(job_id: Id, wait: Follow = False, url: Url = "", key: Key = "", as_json: AsJson = False) -> None:
    """Go on with a job that failed or was cancelled: what was finished is kept."""
    again(lambda asked: asked.retry(job_id), job_id, wait, url, key, as_json)


def again(begin: Callable[[Door], Job], job_id: str, wait: bool, url: str, key: str, as_json: bool) -> None:
    with door(url, key) as asked:
        job = begin(asked)
        job = followed(asked, job_id, as_json) if wait else job
    show(asdict(job) if as_json else {job.id: job.message}, as_json)


def steered(job_id: str, action: str, url: str, key: str, as_json: bool) -> None:
    with door(url, key) as asked:
        job = asked.control(job_id, action)
    show(asdict(job) if as_json else {job.id: f"{action} was asked for; the job is {job.state}"}, as_json)


@app.command("segments")
def segments(job_id: Id, target: Target = "", url: Url = "", key: Key = "", as_json: AsJson = False) -> None:
    """What was heard and said, segment by segment."""
    with door(url, key) as asked:
        found = [asdict(segment) for segment in asked.segments(job_id, target)]
    names = ("id", "start", "end", "text", "translation", "tempo")
    drawn = [{**{name: one[name] for name in names}, "edit": edited(one["edit"])} for one in found]
    show_rows(found if as_json else drawn, as_json, "nothing was said in this video")


def edited(edit: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in edit.items() if value is not None)


@app.command("change")
def change(
    job_id: Id,
    segment: Annotated[int, typer.Argument(help="id of the segment, as `jobs segments` shows it")],
    text: Annotated[str | None, typer.Option(help="what was really said")] = None,
    translation: Annotated[str | None, typer.Option(help="what to say")] = None,
    voice: Annotated[str | None, typer.Option(help="male, female or neutral")] = None,
    skip: Annotated[bool | None, typer.Option("--skip/--no-skip", help="keep the original sound there")] = None,
    target: Target = "",
    url: Url = "",
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Change a segment of a completed job; `jobs redub` then does again what depends on it. "" takes a change back.

    Example: dubserve jobs change ID 3 --translation "Buenos días" && dubserve jobs redub ID
    """
    if all(value is None for value in (text, translation, voice, skip)):
        raise typer.BadParameter("say what to change: --text, --translation, --voice or --skip")
    asked_for = Change(segment, said(text), said(translation), said(voice), KEEP if skip is None else skip or None)
    with door(url, key) as asked:
        found = asked.change(job_id, [asked_for], target)
    show_rows([asdict(one) if as_json else {"id": one.id, "edit": edited(one.edit)} for one in found], as_json)


def said(text: str | None) -> str | Keep | None:
    """What was given on the command line: nothing keeps what is there, and an empty text takes a change back."""
    return KEEP if text is None else text or None


@app.command("redub")
def redub(job_id: Id, wait: Follow = False, url: Url = "", key: Key = "", as_json: AsJson = False) -> None:
    """Dub a completed job again: only what depends on changed segments is done."""
    again(lambda asked: asked.redub(job_id), job_id, wait, url, key, as_json)


@app.command("result")
def result(
    job_id: Id,
    out: Annotated[Path | None, typer.Option(help="folder for the files; left out: they are only named")] = None,
    name: Annotated[list[str], typer.Option(help="of these files alone, such as translated.mp4; repeatable")] = [],  # noqa: B006
    url: Url = "",
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """What came out of a completed job; with --out its files, too."""
    with door(url, key) as asked:
        made = asked.result(job_id)
        files = {path.name: str(path) for path in asked.download(job_id, out, name)} if out else made.artifacts
    if as_json:
        show({**asdict(made), "artifacts": files}, True)
        return
    figures = {"duration": f"{made.duration_s:.1f} s", "made in": f"{made.processing_s:.1f} s"}
    terminal.console.print(*(f"{what} {figure}" for what, figure in figures.items()), sep=", ", highlight=False)
    show(files, False)
