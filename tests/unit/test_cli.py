"""The command line with echo engines: what it writes, what it says, and with which code it ends."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from configs.app import JobSettings
from models.errors import DubError, InvalidJob, NotAllowed, OutOfSpace, StageFailed, WrongState
from serve_app import demo, local
from serve_app.__main__ import app
from serve_app.commands import dub as dubbing
from serve_app.commands import submit, terminal
from serve_app.commands.options import REPOSITORY
from serve_app.grpc_client import CallFailed, GrpcClient
from serve_app.jobs import job as nouns
from serve_app.jobs.store import Store
from serve_app.jobs.workspace import safe_id
from serve_app.proto import translation_pb2 as pb
from serve_app.proto import translation_pb2_grpc
from tests.unit.test_pipeline import ECHO


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a config of echo engines; nothing of the developer's environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("UPLOADS_DIR", "ARTIFACTS_DIR", "TEMP_WORK_DIR", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "serve_config.yaml").write_text(yaml.safe_dump({"applications": [{"args": ECHO}]}))
    return tmp_path


def dubserve(*args: str) -> Result:
    """Runs a command; its consoles write where the runner looks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terminal, "console", Console(width=200, force_terminal=False))
        patch.setattr(terminal, "errors", Console(stderr=True, width=200, force_terminal=False))
        result = CliRunner().invoke(app, args)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def dub(*args: str) -> Result:
    return dubserve("dub", *args, "--from", "en", "--to", "es", "--subtitles", "none")


ENDINGS = ("_bilingual_subtitles.srt", "_report.json", "_subtitles.srt", "_translated.mp4", "_translated_subtitles.srt")


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


# -- dub ---------------------------------------------------------------------------------------------------------------


def test_results_are_named_after_their_videos(home: Path, short_talk: Path) -> None:
    """Names that look alike when reduced to plain letters, and one that a job could not have as its id."""
    names = ["你好", "世界", "talk_translated [b]"]
    for name in names:
        copy = home / f"{name}.mp4"
        copy.write_bytes(short_talk.read_bytes())
        result = dub(str(copy))
        assert result.exit_code == 0, result.output
        assert f"output: {home / 'out' / f'{name}_translated.mp4'}" in result.output
        assert "[es]" in result.output
    found = written(home / "out")
    assert {f"{name}{ending}" for name in names for ending in ENDINGS} <= set(found)
    assert all(name.startswith(tuple(names)) for name in found)


def test_json_is_all_that_is_printed(home: Path, short_talk: Path) -> None:
    result = dub(str(short_talk), "--json", "--out", "there")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["output"] == str(home / "there" / "talk_translated.mp4")
    assert all(Path(found[name]).is_file() for name in ("output", "report", "original_srt", "translated_srt"))
    assert found["output_bytes"] == Path(found["output"]).stat().st_size


@pytest.mark.parametrize("wrong", [("--from", "en", "--to", "klingon"), ("--from", "xx", "--to", "es")])
def test_a_language_that_nobody_speaks_is_refused_before_an_engine_is_loaded(
    home: Path, short_talk: Path, monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, ...]
) -> None:
    monkeypatch.setattr(local, "models", lambda *_: pytest.fail("engines were loaded"))
    result = dubserve("dub", str(short_talk), *wrong)
    assert result.exit_code == 2 and "is not supported; choose one of: en" in " ".join(result.output.split())


def test_several_languages_come_out_of_one_dub(home: Path, short_talk: Path) -> None:
    command = ("dub", str(short_talk), "--from", "en", "--to", "es,fr", "--subtitles", "none")
    result = dubserve(*command)
    assert result.exit_code == 0, result.output
    for line in ("output: {}/talk_translated.mp4", "output fr: {}/talk_translated.fr.mp4"):
        assert line.format(home / "out") in result.output
    found = json.loads(dubserve(*command, "--json").stdout)
    assert Path(found["further"]["fr"]["report"]) == home / "out" / "talk_report.fr.json"
    assert all(Path(found["further"]["fr"][name]).is_file() for name in ("output", "report", "translated_srt"))


def test_ids_are_those_of_files() -> None:
    names = ["/a/你好.mp4", "/a/世界.mp4", "/a/a b.mp4", "/a/a-b.mp4", "/b/a-b.mp4", "/a/a_translated.mp4", "/a/\udcff"]
    ids = [dubbing.job_of(Path(name)) for name in names]
    assert len(set(ids)) == len(names)
    assert ids == [safe_id(name) for name in ids]


def test_a_name_too_long_for_ours_gives_way_to_the_id(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    names = ["dub-1_translated.mp4", "dub-1_report.json", "dub-12_report.json", "dub-1_translated.fr.mp4"]
    for name in names:
        (folder / name).touch()
    further = {"fr": {"output": str(folder / names[3])}}
    result = {"output": str(folder / names[0]), "report": str(folder / names[1]), "duration_s": 1.0, "further": further}
    assert dubbing.renamed(result, "dub-1", "長" * 80) == result
    long = "長" * 70
    moved = dubbing.renamed(result, "dub-1", long)
    assert moved["output"] == str(folder / f"{long}_translated.mp4")
    assert (moved["report"], moved["duration_s"]) == (str(folder / f"{long}_report.json"), 1.0)
    assert moved["further"]["fr"]["output"] == str(folder / f"{long}_translated.fr.mp4")
    assert written(folder) == [
        "dub-12_report.json",
        f"{long}_report.json",
        f"{long}_translated.fr.mp4",
        f"{long}_translated.mp4",
    ]


def test_a_video_that_cannot_be_read_is_the_callers_to_mend(home: Path) -> None:
    (home / "x.mp4").write_bytes(b"no video" * 100)
    result = dub("x.mp4")
    assert result.exit_code == 2
    assert result.stderr.startswith("unreadable_media: ") and result.stderr.count("\n") == 1


def test_errors_are_no_markup(short_talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> dict[str, object]:
        raise StageFailed("tts", "cannot say [/b] and [red]this[/red]")

    monkeypatch.setattr(local, "dub_file", fail)
    result = dub(str(short_talk))
    assert (result.exit_code, result.stderr) == (1, "stage_failed: tts: cannot say [/b] and [red]this[/red]\n")


def test_ctrl_c_leaves_one_line_and_what_was_done(home: Path, talk: Path) -> None:
    (home / "talk.mp4").write_bytes(talk.read_bytes())
    command = [sys.executable, "-m", "serve_app", "dub", "talk.mp4", "--from", "en", "--to", "es", "--json"]
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    deadline = time.monotonic() + 30
    while not list(home.glob("out/.work/*/listen.json")) and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (130, ""), err
    assert err == "interrupted; the same command goes on where this one stopped\n"
    assert list(home.glob("out/.work/*/listen.json"))
    assert written(home / "out") == []


# -- submit ------------------------------------------------------------------------------------------------------------


class Fake(translation_pb2_grpc.TranslationServiceServicer):
    """A service that ends every job in one way."""

    def __init__(self, code: grpc.StatusCode | None, details: str = "") -> None:
        self.code, self.details = code, details
        self.asked: list[pb.TranslationRequest] = []

    def TranslateVideo(  # noqa: N802
        self, request: pb.TranslationRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.TranslationProgress]:
        self.asked.append(request)
        yield pb.TranslationProgress(stage="tts", progress_percent=50, status="processing")
        if self.code is not None:
            context.abort(self.code, self.details)

    def GetTranslationResult(  # noqa: N802
        self, request: pb.ResultRequest, context: grpc.ServicerContext
    ) -> pb.TranslationResult:
        if self.code is not None:  # as the service itself: no result without success, or a client would come back
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"the job failed: {self.details}")
        return pb.TranslationResult(output_path=f"/dubs/{request.session_id}.mp4", processing_time_seconds=1.5)


@contextmanager
def serving(service: Fake) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    translation_pb2_grpc.add_TranslationServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def test_submit_copies_the_video_and_prints_the_result(home: Path, short_talk: Path) -> None:
    service = Fake(None)
    with serving(service) as url:
        result = dubserve("submit", str(short_talk), "--to", "es", "--url", url, "--session", "s1", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"session": "s1", "output": "/dubs/s1.mp4", "seconds": 1.5}
    copy = home / "var" / "uploads" / "s1.mp4"
    assert service.asked[0].file_path == str(copy)
    assert copy.read_bytes() == short_talk.read_bytes()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 2),
        (grpc.StatusCode.INTERNAL, 1),
        (grpc.StatusCode.FAILED_PRECONDITION, 1),
        (grpc.StatusCode.CANCELLED, 1),
    ],
)
def test_submit_ends_with_2_where_the_caller_can_mend_it(short_talk: Path, code: grpc.StatusCode, status: int) -> None:
    with serving(Fake(code, "no speech [/b] in it")) as url:
        result = dubserve("submit", str(short_talk), "--to", "es", "--url", url, "--json")
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr == "call_failed: no speech [/b] in it\n"


def test_submit_without_a_service(short_talk: Path) -> None:
    result = dubserve("submit", str(short_talk), "--to", "es", "--url", "127.0.0.1:1", "--json")
    assert (result.exit_code, result.stdout) == (terminal.UNREACHABLE, "")
    assert "dubserve serve" in result.stderr


def test_submit_with_a_session_that_leads_out_of_the_uploads(home: Path, short_talk: Path) -> None:
    result = dubserve("submit", str(short_talk), "--to", "es", "--session", "../x", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("invalid_job: ")
    assert not list(home.rglob("x.mp4"))


@pytest.mark.parametrize(
    "args",
    [
        ("dub", "nowhere.mp4", "--to", "es"),
        ("dub", "serve_config.yaml"),
        ("dub", "serve_config.yaml", "--to", "es", "--subtitles", "shiny"),
        ("dub", "serve_config.yaml", "--to", "es", "--config", "nowhere.yaml"),
        ("submit", "nowhere.mp4", "--to", "es", "--json"),
        ("submit", "serve_config.yaml", "--json"),
        ("jobs", "--limit", "many"),
        ("demo", "--config", "nowhere.yaml"),
        ("nothing",),
    ],
)
def test_bad_options_end_with_2(args: tuple[str, ...]) -> None:
    result = dubserve(*args)
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidJob("x"), terminal.USAGE),
        (StageFailed("tts", "x"), terminal.FAILED),
        (OutOfSpace("x"), terminal.FAILED),
        (WrongState("x"), terminal.REFUSED),
        (NotAllowed("x", "unauthenticated"), terminal.REFUSED),
        (CallFailed(grpc.StatusCode.INVALID_ARGUMENT, "x"), terminal.USAGE),
        (CallFailed(grpc.StatusCode.INTERNAL, "x"), terminal.FAILED),
        (CallFailed(grpc.StatusCode.UNAVAILABLE, "x"), terminal.UNREACHABLE),
        (CallFailed(grpc.StatusCode.NOT_FOUND, "x"), terminal.REFUSED),
    ],
)
def test_whose_fault_it_is_is_the_exit_code(error: DubError, code: int) -> None:
    assert terminal.exit_code(error) == code and code in terminal.ENDINGS


def test_ctrl_c_in_submit_names_the_session(short_talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "follow", stop)
    monkeypatch.setenv("UPLOADS_DIR", str(short_talk.parent))  # where it lies already: nothing to send
    result = dubserve("submit", str(short_talk), "--to", "es", "--session", "s1", "--json")
    assert (result.exit_code, result.stdout) == (130, "")
    assert "--session s1" in result.stderr and result.stderr.count("\n") == 1


# -- jobs and demo -----------------------------------------------------------------------------------------------------


def test_jobs_shows_reasons_as_they_are(home: Path) -> None:
    (home / "var" / "work").mkdir(parents=True)
    store = Store(f"sqlite:///{home / 'var' / 'work' / '.jobs.sqlite'}", JobSettings())
    store.create()
    store.submit(nouns.Request("j1", "/x.mp4", "en", "es"))
    claimed = store.claim("driver")
    assert claimed is not None
    store.fail("j1", claimed.fence, "no_speech", "nobody said [/b] or [red]x[/red]")
    store.close()
    result = dubserve("jobs")
    assert result.exit_code == 0, result.output
    assert "nobody said [/b] or [red]x[/red]" in result.stdout
    [row] = json.loads(dubserve("jobs", "--json").stdout)
    assert (row["id"], row["status"]) == ("j1", "failed")


def test_the_demo_knocks_at_the_doors_of_its_config(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    knocked = []

    @contextmanager
    def running(config: Path, url: str, environment: dict[str, str], output: object) -> Iterator[None]:
        knocked.append(url)
        yield

    def translate(self: GrpcClient, *_: object, **__: object) -> Iterator[pb.TranslationProgress]:
        knocked.append(self.url)
        raise CallFailed(grpc.StatusCode.UNAVAILABLE, "enough")

    monkeypatch.setattr(demo, "running_service", running)
    monkeypatch.setattr(GrpcClient, "translate", translate)
    config = {
        "applications": [{"args": ECHO}],
        "http_options": {"host": "127.0.0.1", "port": 8123},
        "grpc_options": {"port": 50123},
    }
    (home / "other.yaml").write_text(yaml.safe_dump(config))
    result = dubserve("demo", "--config", "other.yaml")
    assert (result.exit_code, result.stderr) == (terminal.UNREACHABLE, "call_failed: enough\n")
    assert knocked == ["http://127.0.0.1:8123", "127.0.0.1:50123"]


def test_ports_that_a_config_leaves_to_serve(home: Path) -> None:
    assert demo.doors(home / "serve_config.yaml") == ("http://127.0.0.1:8000", "127.0.0.1:9000")
    assert demo.doors(REPOSITORY / "serve_config.yaml") == ("http://127.0.0.1:8000", "127.0.0.1:50051")


# -- sending a video ---------------------------------------------------------------------------------------------------


@pytest.fixture
def door() -> Iterator[str]:
    """The address of a gRPC server that answers nothing: enough to be there."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


def test_a_video_is_sent_once_and_never_over_another(door: str, short_talk: Path, tmp_path: Path) -> None:
    copy = tmp_path / "s1.mp4"
    assert submit.uploaded(short_talk, copy, door) == copy
    assert copy.read_bytes() == short_talk.read_bytes()
    before = copy.stat().st_mtime_ns
    assert submit.uploaded(short_talk, copy, door) == copy
    assert copy.stat().st_mtime_ns == before  # a job may be reading it
    other = tmp_path / "other.mp4"
    other.write_bytes(b"another film")
    with pytest.raises(InvalidJob, match="session"):
        submit.uploaded(other, copy, door)
    assert copy.read_bytes() == short_talk.read_bytes()


def test_nothing_is_copied_for_a_service_that_is_not_there(
    short_talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GrpcClient.wait, "__defaults__", (0.2,))
    with pytest.raises(CallFailed, match="dubserve serve"):
        submit.uploaded(short_talk, tmp_path / "s1.mp4", "127.0.0.1:9")
    assert not (tmp_path / "s1.mp4").exists()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_word_is_broken_in_two_however_narrow_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    out = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=out, width=width))
    row = {
        "id": "d8be7c3aef31",
        "checked_by": "chrF 42.2, BLEU 30.6",
        "of": "Helsinki-NLP/opus-mt-en-de",
        "licence": "",
    }
    terminal.show_rows([row, {**row, "id": "x", "of": "a film about rivers and towns"}], False)
    told = out.getvalue().split()
    assert {*" ".join(row.values()).split(), "checked", "rivers"} <= {word.strip(":") for word in told}
