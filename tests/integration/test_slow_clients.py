"""Clients that read slowly, want much at once, or leave: they get all of it, and cost nobody else anything."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
import imageio_ffmpeg
import pytest

from serve_app.proto import translation_pb2 as pb
from serve_app.proto.translation_pb2_grpc import TranslationServiceStub
from tests.chaos.__main__ import ARGS
from tests.chaos.application import Application
from tests.chaos.films import film
from tests.service import Service

SIZE = 150 * 1024**2
MARK = b"the end of the film"
PLACES = 6


@pytest.fixture(scope="module")
def long_film(served: Service, short_talk: Path) -> Path:
    """The film of a finished job, made as large as that of an hour by a hole in its middle."""
    with served.http() as http, short_talk.open("rb") as video:
        asked = {"target_lang": "fr", "source_lang": "en", "subtitles": "soft"}
        job = http.post("/v1/jobs", data=asked, files={"file": video}).json()["id"]
        with http.stream("GET", f"/v1/jobs/{job}/events", timeout=120) as events:
            assert '"completed"' in list(events.iter_lines())[-2]
    path = served.artifacts / f"{job}_translated.mp4"
    with path.open("r+b") as file:
        file.seek(SIZE - len(MARK))
        file.write(MARK)
    return path


def address(film: Path) -> str:
    return f"/v1/jobs/{film.name.partition('_')[0]}/artifacts/translated.mp4"


def memory(served: Service) -> int:
    """Bytes of their own that all processes of the service hold."""
    return sum(int(process.memory_full_info().uss) for process in served.processes())


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def test_a_film_waits_on_the_disk_for_a_client_that_reads_slowly(served: Service, long_film: Path) -> None:
    before, got, end = memory(served), 0, b""
    with served.http() as http, http.stream("GET", address(long_film), timeout=60) as answer:
        assert int(answer.headers["content-length"]) == SIZE
        for piece in answer.iter_bytes(256 * 1024):
            if not got:
                time.sleep(4)  # in which all of it could be read
                assert memory(served) - before < SIZE / 4
            got, end = got + len(piece), (end + piece)[-len(MARK) :]
    assert (got, end) == (SIZE, MARK)


def test_a_film_is_let_go_when_its_client_leaves(served: Service, long_film: Path) -> None:
    def is_open() -> bool:
        return str(long_film) in served.open_files()

    with served.http() as http, http.stream("GET", address(long_film), timeout=60) as answer:
        body = answer.iter_bytes(256 * 1024)
        next(body)
        assert is_open()
    assert within(10, lambda: not is_open())


def test_a_long_text_spoken_comes_whole(served: Service) -> None:
    """Fourteen megabytes in one piece."""
    text = "The castle stands on a hill above the old town. " * 85
    asked = {"model": "tts-1", "input": text[:4096], "response_format": "pcm"}
    with served.http() as http:
        answer = http.post("/v1/audio/speech", json=asked, timeout=120)
    assert answer.status_code == 200 and len(answer.content) == int(answer.headers["content-length"])
    assert len(answer.content) / (2 * 24_000) > 0.07 * 4096  # as long as the echo engine takes for its letters


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """A service with six places for calls and engines that take two seconds, behind a proxy that is nowhere."""
    engines = {**ARGS["engines"], "vad": {"engine": "echo"}}
    windows = {"min_s": 3, "max_s": 6, "at_once": 40}
    args = {**ARGS, "engines": engines, "pipeline": {**ARGS["pipeline"], "windows": windows}}
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    places = {"Ingress": {"num_replicas": 1, "max_ongoing_requests": PLACES}}
    service = Application(tmp_path_factory.mktemp("narrow"), args, {"CHAOS_DELAY_S": "2", **nowhere}, places)
    with service.gone_afterwards():
        service.start()
        yield service


def test_engines_are_not_asked_for_whom_has_left(narrow: Application, tmp_path: Path) -> None:
    """Forty clips of a recording wait for the recogniser, which hears four at once and takes two seconds for each."""
    recording = tmp_path / "recording.wav"
    tones = "aevalsrc=exprs='0.3*sin(2*PI*(300+t)*t)*lt(mod(t,4),3)':s=16000:d=240"
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", tones, recording], check=True)

    def heard(phase: str) -> int:
        lines = [json.loads(line) for line in narrow.journal.read_text().splitlines()]
        return sum(line["verb"] == "recognize" and line["phase"] == phase for line in lines)

    with (
        httpx.Client(base_url=narrow.http_url, timeout=4, trust_env=False) as http,
        recording.open("rb") as file,
        pytest.raises(httpx.ReadTimeout),
    ):
        asked = {"model": "whisper-1", "language": "en"}
        http.post("/v1/audio/transcriptions", data=asked, files={"file": file})
    assert heard("began") >= 30
    time.sleep(3)  # who was being heard is heard to the end
    over = heard("ended")
    assert not within(5, lambda: heard("ended") > over)


def test_streams_that_nobody_reads_end_with_their_clients(narrow: Application, tmp_path: Path) -> None:
    """Each has a place that another caller needs, and sends into a window of a few bytes; the job goes on for long."""
    video = narrow.take(film(tmp_path / "film.mp4", 1, 120))
    asked = pb.TranslationRequest(session_id="unread", file_path=str(video), source_lang="en", target_lang="es")
    options = [("grpc.enable_http_proxy", 0), ("grpc.http2.lookahead_bytes", 5), ("grpc.http2.bdp_probe", 0)]
    with grpc.insecure_channel(narrow.grpc_url, options=options) as channel:
        streams = [TranslationServiceStub(channel).TranslateVideo(asked) for _ in range(PLACES)]
        time.sleep(10)
        for stream in streams:
            stream.cancel()
    with grpc.insecure_channel(narrow.grpc_url, options=options[:1]) as channel:
        answer = TranslationServiceStub(channel).GetTranslationResult
        with pytest.raises(grpc.RpcError) as refused:
            answer(pb.ResultRequest(session_id="nobody"), timeout=10)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
