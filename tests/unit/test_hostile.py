"""Hostile files: refused with a code before anything is decoded, and never obeyed."""

import asyncio
import contextlib
import ctypes
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from configs.app import AppSettings
from configs.pipeline import PipelineSettings, PrepareSettings
from models.errors import DubError, StageFailed, UnreadableMedia
from serve_app.doors.access import Access
from serve_app.doors.desk import Desk
from serve_app.doors.http import build_api
from serve_app.doors.speech import Announcer
from serve_app.doors.transcribe import Transcriber, decode
from serve_app.hearing import transcripts
from serve_app.jobs.tenants import Tenants
from serve_app.media import ffmpeg, limits
from serve_app.media.look import look
from tests.data.hostile import LURES, USELESS, claiming, crowded, luring, silent
from tests.data.media import clip, make, tone
from tests.unit import test_access
from tests.unit.test_access import House, nothing, ready

house = test_access.house
SETTINGS = PipelineSettings()
FORMATS = ",".join(SETTINGS.prepare.containers)
LIBC = ctypes.CDLL(None)
IN_OPEN = 0x20


def complaint(error: BaseException, folder: Path) -> str:
    sentence = str(error)
    assert str(folder) not in sentence and "Traceback" not in sentence and "Error" not in sentence
    return sentence


# -- more than they are ------------------------------------------------------------------------------------------------


@pytest.fixture
def looking(house: House) -> Iterator[httpx.AsyncClient]:
    """The HTTP door of a service that looks into what it is sent."""
    settings = AppSettings()
    access = Access(Tenants(house.store.database), anonymous=True)
    desk = Desk(house.store, settings, house.roots, nothing, nothing, nothing, look)
    transcriber = Transcriber(settings, house.roots.work, *[nothing] * 5)
    api = build_api(desk, access, ready, transcriber, Announcer(nothing, settings.pipeline.speak), settings)
    return httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://door")


@pytest.mark.parametrize("wrong", USELESS)
async def test_a_useless_upload_is_refused_and_does_not_stay(
    house: House,
    looking: httpx.AsyncClient,
    tmp_path: Path,
    wrong: str,
) -> None:
    video = USELESS[wrong](tmp_path / "film.mp4")
    jobs = len(house.store.jobs())
    async with looking as http:
        with video.open("rb") as file:
            answer = await http.post("/v1/jobs", data={"target_lang": "es"}, files={"file": file})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unreadable_media"), wrong
    complaint(Exception(answer.json()["error"]["message"]), tmp_path)
    assert list(house.roots.uploads.iterdir()) == [] and len(house.store.jobs()) == jobs


async def test_a_film_is_taken_and_stays(house: House, looking: httpx.AsyncClient, tmp_path: Path) -> None:
    async with looking as http:
        content = clip(tmp_path / "film.mp4", 0.5).read_bytes()
        answer = await http.post("/v1/jobs", data={"target_lang": "es"}, files={"file": ("a.mp4", content)})
    assert answer.status_code == 202, answer.text
    assert len(list(house.roots.uploads.iterdir())) == 1


async def test_a_header_is_not_believed(tmp_path: Path) -> None:
    claims = claiming(tmp_path / "film.mp4", 10)
    assert (await look(claims, SETTINGS.prepare)).duration == pytest.approx(2.0, abs=0.05)
    with pytest.raises(UnreadableMedia, match=r"lasts 10.0 hours and at most 5"):
        await look(claims, PrepareSettings(max_duration_s=5 * 3600))


async def test_what_takes_too_long_to_look_into_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia, match="too long"):
        await look(clip(tmp_path / "film.mp4", 0.5), PrepareSettings(look_s=0.001))


async def test_many_streams_are_refused_for_little(tmp_path: Path) -> None:
    film = crowded(tmp_path / "film.mp4", 1000)
    before = spent_by_children()
    with pytest.raises(UnreadableMedia, match="far more than the 64 streams"):
        await look(film, SETTINGS.prepare)
    assert spent_by_children() - before < 2.0


def spent_by_children() -> float:
    """Seconds of a processor: how long it takes depends on whoever else is at work."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


# -- never obeyed ------------------------------------------------------------------------------------------------------


@dataclass
class Canary:
    """A server and a file that nobody has any business with."""

    url: str
    file: Path
    watch: int
    calls: list[str] = field(default_factory=list)

    def hits(self) -> int:
        """How often either was touched since the last question."""
        opened = 0
        try:
            while os.read(self.watch, 4096):
                opened += 1
        except BlockingIOError:
            pass
        calls, self.calls[:] = len(self.calls), []
        return opened + calls


@pytest.fixture
def canary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canary]:
    file = clip(tmp_path_factory.mktemp("elsewhere") / "canary.mov", 0.5)
    watch = LIBC.inotify_init1(os.O_NONBLOCK)
    assert LIBC.inotify_add_watch(watch, os.fsencode(file), IN_OPEN) > 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Canary(f"http://127.0.0.1:{server.getsockname()[1]}/canary.ts", file, watch)
        thread = threading.Thread(target=answer, args=(server, found.calls))
        thread.start()
        yield found
        server.shutdown(socket.SHUT_RDWR)
    thread.join()
    os.close(watch)


def answer(server: socket.socket, calls: list[str]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        calls.append("called")
        connection.close()


def careless(path: Path, *options: str) -> None:
    """What a reader without our guards would do."""
    command = [ffmpeg.binary(), "-v", "quiet", "-nostdin", *options, "-i", str(path), "-f", "null", "-"]
    subprocess.run(command, check=False, timeout=60)


FILMS = ("reference to http", "reference to file")
"""Lures that are films as well: they may be read, or not."""

CARELESS = {
    "hls to http": ("-protocol_whitelist", "file,http,tcp"),
    "hls to file": ("-protocol_whitelist", "file", "-allowed_extensions", "ALL", "-extension_picky", "0"),
    "concat list": ("-safe", "0"),
    "reference to file": ("-enable_drefs", "1", "-use_absolute_path", "1"),
}


@pytest.mark.parametrize("lure", CARELESS)
def test_the_lures_work_on_a_careless_reader(tmp_path: Path, canary: Canary, lure: str) -> None:
    careless(luring(lure, tmp_path / "film.m3u8", canary.url, canary.file), *CARELESS[lure])
    assert canary.hits() > 0


@pytest.mark.parametrize("name", ["film.mp4", "film.m3u8"])
@pytest.mark.parametrize("lure", LURES)
async def test_no_lure_works_here(tmp_path: Path, canary: Canary, lure: str, name: str) -> None:
    path = luring(lure, tmp_path / name, canary.url, canary.file)
    readers = (
        look(path, SETTINGS.prepare),
        decode(path, tmp_path / "out.wav", 10.0, SETTINGS),
        ffmpeg.run([*ffmpeg.source(path, formats=FORMATS), "-f", "null", "-"], stage="mux", stall_s=30),
    )
    refusals = await asyncio.gather(*readers, return_exceptions=True)
    assert canary.hits() == 0
    for refused in refusals if lure not in FILMS else ():
        assert isinstance(refused, DubError)
        complaint(refused, tmp_path)


def test_a_transcript_is_text_and_nothing_else(tmp_path: Path, canary: Canary) -> None:
    for lure in ("hls to http", "concat list", "subtitles"):
        path = luring(lure, tmp_path / "talk.srt", canary.url, canary.file)
        try:
            transcripts.read(path)
        except DubError as refused:
            complaint(refused, tmp_path)
    assert canary.hits() == 0


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x.mp4", "concat:a|b", "pipe:0", "data:video/mp4;base64,AA"])
async def test_an_address_is_only_ever_the_name_of_a_file(tmp_path: Path, address: str) -> None:
    with pytest.raises(UnreadableMedia, match="cannot be read"):
        await look(tmp_path / address, SETTINGS.prepare)
    assert ffmpeg.source(address, formats="wav")[-1].startswith("file:/")
    assert ffmpeg.source(address, formats="wav")[:4] == ["-protocol_whitelist", "file", "-format_whitelist", "wav"]


# -- and never out of bounds -------------------------------------------------------------------------------------------

ENDLESS = ["-f", "lavfi", "-i", "anullsrc=d=100000000"]


async def test_a_file_may_grow_to_its_limit_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "working", lambda wall_s: limits.Limits(limits.memory(), 100_000, 600))
    with pytest.raises(StageFailed, match="more than this service allows") as failure:
        await ffmpeg.run([*ENDLESS, "-f", "s16le", ffmpeg.file_url(tmp_path / "o")], stage="mux", stall_s=30)
    assert not failure.value.transient
    assert (tmp_path / "o").stat().st_size <= 100_000


async def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "working", lambda wall_s: limits.Limits(300 * 1024**2, 10**9, 600))
    large = ["-f", "lavfi", "-i", "color=size=8000x8000:rate=1:duration=1,format=gbrpf32"]
    for source, frames in ((large, 0), (tone(0.01), 1)):
        out = tmp_path / "frames"
        with contextlib.suppress(StageFailed):
            await ffmpeg.run([*source, "-f", "framecrc", ffmpeg.file_url(out)], stage="mux", stall_s=30)
        assert len([line for line in out.read_text().splitlines() if not line.startswith("#")]) == frames


async def test_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = ["-re", *ENDLESS, "-f", "null", "-"]
    with pytest.raises(StageFailed, match="more than this service allows"):
        await ffmpeg.run(slow, stage="mux", stall_s=30, wall_s=1.0)
    monkeypatch.setattr(limits, "working", lambda wall_s: limits.Limits(limits.memory(), 10**9, 1))
    with pytest.raises(StageFailed):
        await ffmpeg.run([*ENDLESS, "-f", "null", "-"], stage="mux", stall_s=30)


async def test_time_is_bounded_for_sound_that_trickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "trickle"
    program.write_text("#!/bin/sh\nwhile head -c 160 /dev/zero; do sleep 0.5; done\n")
    program.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "binary", lambda: str(program))
    began, heard = time.monotonic(), 0
    sound = ffmpeg.pcm([], stage="mux", stall_s=30, rate=8000, channels=1, chunk_s=0.005, wall_s=1.0)
    with pytest.raises(StageFailed, match="more than this service allows"):
        async for _ in sound:
            heard += 1
    assert 3 <= heard <= 8 and time.monotonic() - began < 10  # a block of them takes half a second and is given 0.3


TELL_LIMITS = "import resource as r; print(*(r.getrlimit(w)[0] for w in (r.RLIMIT_DATA, r.RLIMIT_FSIZE, r.RLIMIT_CPU)))"
TELL_LIMITS += "; print('NoNewPrivs:\\t1\\n' in open('/proc/self/status').read())"


def test_who_looks_into_a_file_has_lowered_its_limits_before() -> None:
    looked = f"p.probe = lambda *_: exec({TELL_LIMITS!r}, {{}}) or exit()"
    script = f"from serve_app.media import probe as p; {looked}; p.main('', {PrepareSettings().model_dump_json()!r})"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    bounds = limits.reading(PrepareSettings().look_s)
    assert told.split() == [str(bounds.memory), str(bounds.file), str(bounds.cpu), "True"]


def test_limits_are_those_of_the_child_alone(tmp_path: Path) -> None:
    """Read back from the kernel, in a child of ours and in this process."""
    bounds = limits.reading(60.0)
    command = limits.confined(bounds, ["python3", "-c", TELL_LIMITS])
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(bounds.memory), str(1024**2), "60", "True"]
    assert make(tmp_path / "still.wav", *tone(0.1)).stat().st_size > 0
    assert silent(tmp_path / "film.mp4").stat().st_size > 0


# -- and told no more than it needs ------------------------------------------------------------------------------------

SECRETS = {
    "DATABASE_URL": "postgresql://dub:password@db/dub",
    "WEBHOOK_SECRET": "a secret of webhooks",
    "RAY_AUTH_TOKEN": "a token of Ray",
    "AWS_SECRET_ACCESS_KEY": "a key of somebody else",
}
NEEDED = {"LC_ALL": "C.UTF-8", "FONTCONFIG_FILE": "/etc/fonts/fonts.conf", "CUDA_VISIBLE_DEVICES": "0"}


@pytest.fixture
def curious(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A program in place of ffmpeg and of the Python that looks into files: writes down what it is told."""
    for name, value in (SECRETS | NEEDED).items():
        monkeypatch.setenv(name, value)
    program = tmp_path / "curious"
    program.write_text(f"#!/bin/sh\n(env; grep NoNewPrivs /proc/self/status) > {tmp_path}/told\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("FFMPEG", str(program))
    monkeypatch.setattr(sys, "executable", str(program))
    ffmpeg.binary.cache_clear()
    yield tmp_path / "told"
    ffmpeg.binary.cache_clear()


async def hear(film: Path) -> None:
    sound = ffmpeg.pcm(["-i", str(film)], stage="mux", stall_s=30, rate=8000, channels=1)
    assert [chunk async for chunk in sound] == []


CHILDREN = {
    "run": lambda film: ffmpeg.run(["-i", str(film), "-f", "null", "-"], stage="mux", stall_s=30),
    "pcm": hear,
    "short": lambda film: ffmpeg.in_thread(lambda: ffmpeg.short(["-i", str(film)], timeout_s=30)),
    "look": lambda film: look(film, SETTINGS.prepare),
}


@pytest.mark.parametrize("child", CHILDREN)
async def test_no_child_is_told_a_secret(curious: Path, child: str) -> None:
    with pytest.raises((StageFailed, subprocess.CalledProcessError)):
        await CHILDREN[child](curious)
    *told, rights = curious.read_text().splitlines()
    names = {line.partition("=")[0] for line in told}
    assert not names & SECRETS.keys() and {f"{name}={value}" for name, value in NEEDED.items()} <= set(told)
    assert "PATH" in names and not any(secret in line for line in told for secret in SECRETS.values())
    if child != "look":  # which sets its limits itself, once it has begun
        assert rights.split() == ["NoNewPrivs:", "1"]
