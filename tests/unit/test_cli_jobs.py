"""`dubserve jobs`: through the database of this machine and through the HTTP door, which have to say the same."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner, Result

from configs.app import JobSettings
from serve_app.__main__ import app
from serve_app.commands import terminal
from serve_app.jobs.job import Control
from serve_app.jobs.job import Request as Asked
from serve_app.jobs.store import Store
from serve_app.jobs.tenants import Tenant, Tenants
from tests.door import FILM, Door, opened

Run = Callable[..., Result]


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.chdir(tmp_path)
    for name in ("UPLOADS_DIR", "ARTIFACTS_DIR", "TEMP_WORK_DIR", "DATABASE_URL", "DUBSERVE_URL", "DUBSERVE_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("console", "errors"):
        monkeypatch.setattr(terminal, name, Console(stderr=name == "errors", width=200, force_terminal=False))
    with opened(tmp_path) as door:
        yield door


@pytest.fixture(params=["here", "http"])
def dubserve(request: pytest.FixtureRequest, real: Door) -> Run:
    """Runs `dubserve jobs …` in both ways."""
    ways: dict[str, tuple[str, ...]] = {"here": (), "http": ("--url", real.url)}

    def run(*args: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["jobs", *args, *ways[request.param]])
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return run


def test_all_jobs_and_one_of_them(dubserve: Run, real: Door) -> None:
    assert "no jobs yet" in dubserve().stdout
    assert json.loads(dubserve("--json").stdout) == []
    real.complete("done")
    real.fail("mute")
    table = dubserve("list").stdout
    assert "nobody says anything" in table and "completed" in table and "100" in table
    assert {row["id"] for row in json.loads(dubserve("--json").stdout)} == {"done", "mute"}
    assert len(json.loads(dubserve("list", "--json", "--limit", "1").stdout)) == 1
    shown = json.loads(dubserve("show", "mute", "--json").stdout)
    assert shown["error"] == {"code": "no_speech", "message": "nobody says anything in this video"}
    for job_id, state, following in (("done", "completed", "result done --out"), ("mute", "failed", "retry mute")):
        told = dubserve("show", job_id).stdout
        assert f"state: {state}" in told and f"next: dubserve jobs {following}" in told


def test_an_id_is_shown_whole_in_a_narrow_window(dubserve: Run, real: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = "0123456789abcdef" * 2
    real.store.submit(Asked(job_id, "/x.mp4", "en", "es", title="A film with a title that has no end " * 3))
    monkeypatch.setattr(terminal, "console", Console(width=80, force_terminal=False))
    assert job_id in dubserve("list").stdout


def test_the_log_is_shown_as_it_is(dubserve: Run, real: Door) -> None:
    real.complete("done")
    expected = "2026-11-24T01:02:03Z  info    tts                 Using [b] a voice\n"
    assert dubserve("logs", "done").stdout == dubserve("logs", "done", "--follow").stdout == expected
    assert json.loads(dubserve("logs", "done", "--json").stdout)["message"] == "Using [b] a voice"


def test_to_follow_a_job_ends_as_the_job(dubserve: Run, real: Door) -> None:
    real.complete("done")
    real.fail("mute")
    real.store.submit(Asked("gone", "/x.mp4", "en", "es"))
    real.store.control("gone", Control.CANCEL)
    assert json.loads(dubserve("follow", "done", "--json").stdout)["status"] == "completed"
    assert "Using [b] a voice" in dubserve("follow", "done").stdout
    assert dubserve("follow", "mute", "--json", code=terminal.USAGE).stderr.startswith("no_speech: nobody says")
    assert dubserve("follow", "gone", "--json", code=terminal.FAILED).stderr == "cancelled: the job was cancelled\n"


def test_jobs_are_steered(dubserve: Run, real: Door) -> None:
    real.store.submit(Asked("j", "/x.mp4", "en", "es"))
    assert "the job is paused" in dubserve("pause", "j").stdout
    assert json.loads(dubserve("resume", "j", "--json").stdout)["state"] == "waiting"
    assert "the job is cancelled" in dubserve("cancel", "j").stdout
    assert real.store.job("j").state == "cancelled"
    assert dubserve("resume", "j", code=terminal.REFUSED).stderr.startswith("wrong_state: ")


def test_what_failed_is_tried_again(dubserve: Run, real: Door) -> None:
    real.fail("mute")
    assert json.loads(dubserve("retry", "mute", "--json").stdout)["state"] == "waiting"
    assert real.store.job("mute").state == "waiting"
    dubserve("cancel", "mute")
    assert "mute: " in dubserve("retry", "mute").stdout
    assert dubserve("retry", "mute", code=terminal.REFUSED).stderr.startswith("wrong_state: ")


def test_a_segment_is_changed_and_the_job_dubbed_again(dubserve: Run, real: Door) -> None:
    real.complete("j")
    table = dubserve("segments", "j").stdout
    assert "Welcome [b]." in table and "Buenos días." in table
    assert [row["id"] for row in json.loads(dubserve("segments", "j", "--json").stdout)] == [1, 2]
    dubserve("change", "j", "2", "--translation", "¡Hola!", "--voice", "female", "--skip")
    edits = real.store.job("j").edits["2"]
    assert edits["es"] == {"translation": "¡Hola!", "voice": "female", "skip": True}
    dubserve("change", "j", "2", "--translation", "", "--no-skip")
    assert real.store.job("j").edits["2"]["es"] == {"voice": "female"}
    assert dubserve("change", "j", "9", "--skip", code=terminal.USAGE).stderr.startswith("invalid_job: ")
    assert "what to change" in dubserve("change", "j", "2", code=terminal.USAGE).stderr
    assert json.loads(dubserve("redub", "j", "--json").stdout)["state"] == "waiting"
    assert real.store.job("j").state == "waiting"
    dubserve("redub", "j", code=terminal.REFUSED)


def test_results_are_named_and_fetched(dubserve: Run, real: Door, tmp_path: Path) -> None:
    real.complete("j")
    assert "translated.mp4: " in dubserve("result", "j").stdout
    found = json.loads(dubserve("result", "j", "--out", "dubs", "--name", "translated.mp4", "--json").stdout)
    assert found["artifacts"] == {"translated.mp4": "dubs/translated.mp4"} and found["duration_s"] == 5.0
    assert (tmp_path / "dubs/translated.mp4").read_bytes() == FILM
    dubserve("result", "j", "--out", "all")
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["report.json", "translated.mp4"]
    dubserve("result", "j", "--out", "dubs", "--name", "x.mp4", code=terminal.REFUSED)
    real.fail("mute")
    assert "the job failed: nobody" in dubserve("result", "mute", code=terminal.REFUSED).stderr


def test_an_unknown_job_says_where_to_look(dubserve: Run) -> None:
    for command in ("show", "logs", "follow", "cancel", "retry", "redub", "result", "segments"):
        refused = dubserve(command, "nothing", "--json", code=terminal.REFUSED)
        assert refused.stdout == "" and refused.stderr.startswith("job_not_found: ")
        assert "dubserve jobs" in refused.stderr


# -- whom it asks ------------------------------------------------------------------------------------------------------


def run(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


def test_a_key_goes_through_the_door_and_sees_its_own(real: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    real.complete("not-anns")
    tenants = Tenants(real.store.database)
    key = tenants.issue(tenants.add(Tenant("ann")).name)
    monkeypatch.setenv("DUBSERVE_URL", real.url)
    monkeypatch.setenv("DUBSERVE_KEY", key)
    assert json.loads(run("jobs", "--json").stdout) == []
    refused = run("jobs", "--key", f"{key}x")
    assert (refused.exit_code, refused.stdout) == (terminal.REFUSED, "")
    assert refused.stderr.startswith("unauthenticated: ") and "DUBSERVE_KEY" in refused.stderr


def test_no_service_at_the_address(real: Door) -> None:
    result = run("jobs", "list", "--url", "http://127.0.0.1:9", "--json")
    assert (result.exit_code, result.stdout) == (terminal.UNREACHABLE, "")
    assert "dubserve serve" in result.stderr


def test_options_before_a_command_are_not_lost_in_silence(real: Door) -> None:
    result = run("jobs", "--url", real.url, "list")
    assert result.exit_code == terminal.USAGE and "--url behind `list`" in result.stderr


def test_a_video_is_submitted_over_http(real: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job ends at once: whoever is asked for its progress finishes it."""
    from serve_app.client import Client

    (tmp_path / "talk.mp4").write_bytes(FILM)
    progress = Client.progress
    monkeypatch.setattr(Client, "progress", lambda client, job_id: real.complete(job_id) or progress(client, job_id))  # type: ignore[func-returns-value]
    result = run("submit", "talk.mp4", "--to", "es", "--url", real.url, "--json")
    assert result.exit_code == 0, result.output
    sent = json.loads(result.stdout)
    assert sent["output"] == f"{real.url}/v1/jobs/{sent['session']}/artifacts/translated.mp4"
    refused = run("submit", "talk.mp4", "--to", "xx", "--url", real.url)
    assert refused.exit_code == terminal.USAGE and refused.stderr.startswith("unsupported_language: ")
    assert run("submit", "talk.mp4", "--to", "es", "--url", real.url, "--session", "s").exit_code == terminal.USAGE


# -- the command line as a whole ---------------------------------------------------------------------------------------


def test_every_command_has_help_and_json_where_there_is_something_to_say() -> None:
    silent = {"serve", "demo", "add", "set", "remove", "revoke"}
    for name, command in leaves(typer.main.get_command(app)):
        assert command.help, f"{name} has no help"
        options = {option for one in command.params for option in one.opts}
        assert "--json" in options or name.split()[-1] in silent, f"{name} has no --json"


def leaves(command: object, name: str = "dubserve") -> Iterator[tuple[str, typer.core.TyperCommand]]:
    commands = getattr(command, "commands", None)
    if commands is None:
        assert isinstance(command, typer.core.TyperCommand)
        yield name, command
        return
    for word, below in commands.items():
        yield from leaves(below, f"{name} {word}")


def test_the_help_tells_the_exit_codes() -> None:
    shown = run("--help").stdout
    for code, meaning in terminal.ENDINGS.items():
        assert f"{code} " in shown and meaning.split(":")[0].split(",")[0] in shown


def offered(words: str) -> list[str]:
    """What bash is offered behind `words`, the last of which is begun."""
    asked = {"_DUBSERVE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return CliRunner().invoke(app, [], env=asked, prog_name="dubserve").stdout.split()


def test_what_is_offered_at_tab(real: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    real.complete("done")
    tenants = Tenants(real.store.database)
    key = tenants.issue(tenants.add(Tenant("acme")).name).split("_")[1]
    assert {"list", "logs"} == set(offered("dubserve jobs l"))
    assert offered("dubserve jobs show d") == ["done"] and offered("dubserve jobs show x") == []
    assert offered("dubserve tenants set a") == ["acme"] and offered(f"dubserve keys revoke {key[:3]}") == [key]
    assert offered("dubserve dub talk.mp4 --to es,f") == ["es,fr"]
    assert offered("dubserve dub talk.mp4 --voice f") == ["female"]
    (real.roots.work / "broken.sqlite").write_text("no database " * 100)
    for database in ("nothing.sqlite", "broken.sqlite"):
        monkeypatch.setenv("DATABASE_URL", f"sqlite:///{real.roots.work / database}")
        assert offered("dubserve jobs show d") == []
    assert not (real.roots.work / "nothing.sqlite").exists()


def test_completion_for_shells_is_offered() -> None:
    assert "--install-completion" in run("--help").stdout


def test_a_store_that_is_newer_is_no_traceback(real: Door, tmp_path: Path) -> None:
    database = real.store.database
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Exception, match="newer"):
        Store(f"sqlite:///{tmp_path / 'var/work/.jobs.sqlite'}", JobSettings()).create()
    result = run("jobs")
    assert result.exit_code == terminal.FAILED and result.stderr.startswith("store_too_new: ")
