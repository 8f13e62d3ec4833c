"""What this machine has, what of it the service would use, and what would keep it from starting.

A list of findings, each with what to do about it. Nothing is started, downloaded or migrated, no weights are loaded,
and nothing leaves the machine unless it is asked for. A fault is what ends in a service that does not start or cannot
do a single job; a warning, what it will do less well than it could.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from shutil import which
from subprocess import SubprocessError
from tempfile import TemporaryFile
from typing import Literal

import httpx
import psutil
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from configs.app import AppSettings, Roots
from configs.environment import Tls, UnfitEnvironment
from configs.pipeline import LANGUAGES
from models.errors import DubError
from models.registry import load
from serve_app import machine
from serve_app.doors.tls import check
from serve_app.jobs import migrations
from serve_app.jobs.database import Database
from serve_app.media import ffmpeg, glyphs, limits, mp4
from serve_app.ports import free
from serve_app.resources import Config, asked, by_name, deployments, fitted, least, most

State = Literal["fine", "warning", "fault"]

SHARED_BYTES = 256 * 1024**2
MEMORY_BYTES = 2 * 1024**3
"""What the default application takes with a job under way, roughly."""
ONLINE = ("speech.platform.bing.com", 443)
REACH_S = 5.0
LETTERS = {
    "en": "Good", "hy": "Բարև", "ru": "Добрый", "es": "¿Qué?", "fr": "Français", "de": "Grüße",
    "it": "Perché", "pt": "Não", "zh": "你好", "ja": "こんにちは",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """`do` says what helps; empty where nothing is to be done."""

    about: str
    state: State
    said: str
    do: str = ""


Findings = Iterator[Finding]


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at: a config file, and its `args:`."""

    config: Config
    settings: AppSettings
    online: bool = False


def examine(patient: Patient) -> list[Finding]:
    return [finding for look in LOOKS for finding in safely(look, patient)]


def safely(look: Callable[[Patient], Findings], patient: Patient) -> Findings:
    """A look that fails is a finding, and the others go on."""
    about = look.__name__.replace("_", " ")
    try:
        yield from look(patient)
    except (DubError, UnfitEnvironment) as error:
        yield Finding(about, "fault", str(error))
    except Exception as error:  # whatever a library meets on a strange machine
        yield Finding(about, "fault", f"could not be looked at ({type(error).__name__})", "look into it, and ask again")


# -- the machine -------------------------------------------------------------------------------------------------------


def cores_and_memory(patient: Patient) -> Findings:
    there, wanted = machine.cores(), asked(patient.config, "num_cpus")
    few = f"the parts share them, though the config asks for {wanted:g}" if wanted > there else ""
    yield Finding("cores", "warning" if few else "fine", f"{there:g}", few)
    free_bytes, all_bytes = machine.memory()
    said = f"{gib(free_bytes)} available of {gib(all_bytes)}"
    if free_bytes < patient.settings.jobs.min_free_memory_bytes:
        yield Finding("memory", "fault", said, "Drivers take no job (jobs.min_free_memory_bytes); free some memory")
    elif free_bytes < MEMORY_BYTES:
        yield Finding("memory", "warning", said, f"{gib(MEMORY_BYTES)} are enough for the default application")
    else:
        yield Finding("memory", "fine", said)
    shared = psutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else 0  # noqa: S108 — Ray's own
    lack = "" if shared >= SHARED_BYTES else "Ray uses slow files instead; in a container: --shm-size=1g"
    yield Finding("shared memory", "warning" if lack else "fine", gib(shared), lack)


def gpu(patient: Patient) -> Findings:
    found = machine.gpu()
    wanted = asked(patient.config, "num_gpus") > 0
    if not found.seen:
        said = f"none that CTranslate2 sees, with driver {found.driver}" if found.driver else "none"
        install = "the config asks for one: the engines run on the CPU; check nvidia-smi, and --gpus all in a container"
        yield Finding("GPU", "warning" if wanted or found.driver else "fine", said, install if wanted else "")
        return
    kinds = [f"{name} with {gib(float(mib) * 2**20)}" for name, mib in machine.nvidia_smi("name", "memory.total")]
    told = [*kinds, f"driver {found.driver or 'unknown'}", *found.precisions]
    yield Finding("GPU", "fine", f"{found.seen}, {', '.join(told)}")
    if found.unfit:
        state: State = "fault" if wanted and by_name(patient.config) else "warning"
        yield Finding("CUDA", state, found.unfit, "install CUDA 12 and cuDNN 9, as the Dockerfile does")
    if not found.onnxruntime:
        yield Finding("ONNX Runtime", "fine", "built for CPUs: translation stays there")
    if not wanted:
        yield Finding("profile", "warning", "a GPU is here and the config asks for none", "--config configs/gpu.yaml")


def ffmpeg_and_encoders(patient: Patient) -> Findings:
    if absent := [name for name in limits.PROGRAMS if which(name) is None]:
        yield Finding("ffmpeg", "fault", f"cannot be bound: no {', '.join(absent)} here", "apt install util-linux")
        return
    binary = ffmpeg.binary()
    try:
        found = machine.ffmpeg_version(binary)
        lacks = machine.ffmpeg_lacks(binary, ("libx264", "aac"), ("subtitles", "sidechaincompress"))
    except (OSError, SubprocessError):
        yield Finding("ffmpeg", "fault", "cannot be run", "pip install imageio-ffmpeg, or unset IMAGEIO_FFMPEG_EXE")
        return
    missing = f", without {', '.join(lacks)}" if lacks else ""
    yield Finding("ffmpeg", "fault" if lacks else "fine", found + missing, "use another build" if lacks else "")
    yield Finding("video encoder", "fine", mp4.choose_encoder(patient.settings.pipeline.mux.encoder))


def fonts(patient: Patient) -> Findings:
    """For burnt-in subtitles; soft ones are drawn by the player."""
    lacking = [
        language
        for language, text in LETTERS.items()
        if glyphs.choose(
            text, language, patient.settings.pipeline.subtitle.style.font, patient.settings.pipeline.mux.fonts
        ).missing
    ]
    said = f"no letters for {', '.join(lacking)}" if lacking else f"letters for all {len(LETTERS)} languages"
    yield Finding("fonts", "warning" if lacking else "fine", said, "pip install 'dubserve[cjk]'" if lacking else "")


# -- the models --------------------------------------------------------------------------------------------------------


def models(patient: Patient) -> Findings:
    from serve_app.commands.models import HERE, found

    rows = list(found(patient.settings))
    for row in rows:
        if row.state != HERE:
            absent = row.kind == "asr" and "pull" in row.state  # it is fetched at the start where there is a network
            yield Finding(f"{row.kind} {row.name}", "warning" if absent else "fault", row.state)
        else:
            yield Finding(f"{row.kind} {row.name}", "fine", row.languages or "here")
    if patient.settings.engines.translation.engine == "marian" and not any(row.kind == "translation" for row in rows):
        yield Finding(
            "translation", "fault", "no model", "dubserve models pull en-es, or name one in engines.translation"
        )


def voices(patient: Patient) -> Findings:
    tts = load("tts", "fallback", patient.settings.engines.tts)
    mute = [language for language in LANGUAGES if not tts.supports(language)]
    said = f"none for {', '.join(mute)}" if mute else f"for all {len(LANGUAGES)} languages"
    engines = ", ".join(patient.settings.engines.tts.engines)
    yield Finding(
        "voices", "warning" if mute else "fine", f"{said} ({engines})", "add an engine to tts" if mute else ""
    )
    if "edge" not in patient.settings.engines.tts.engines:
        return
    if not patient.online:
        yield Finding("online speech", "fine", "not asked; --online asks")
        return
    try:
        socket.create_connection(ONLINE, REACH_S).close()
    except OSError:
        yield Finding(
            "online speech", "warning", "not reachable", "the next engine in engines.tts.engines speaks instead"
        )
    else:
        yield Finding("online speech", "fine", "reachable")


# -- what it stands on -------------------------------------------------------------------------------------------------


def folders(patient: Patient) -> Findings:
    try:
        roots = Roots.from_environment()
    except OSError:
        yield Finding("folders", "fault", "cannot be made", "check UPLOADS_DIR, ARTIFACTS_DIR and TEMP_WORK_DIR")
        return
    for name in ("uploads", "artifacts", "work"):
        folder = getattr(roots, name)
        try:
            with TemporaryFile(dir=folder) as probe:
                probe.write(b"x")
        except OSError:
            yield Finding(f"folder {name}", "fault", f"{folder} cannot be written to", "check its owner and its mount")
            continue
        left = psutil.disk_usage(str(folder)).free
        full = left < patient.settings.jobs.min_free_disk_bytes
        advice = "Drivers take no job (jobs.min_free_disk_bytes); free some space" if full else ""
        yield Finding(f"folder {name}", "warning" if full else "fine", f"{folder}, {gib(left)} free", advice)


def database(_: Patient) -> Findings:
    url = make_url(Roots.from_environment().database_url.get_secret_value())
    server = url.get_backend_name() != "sqlite"
    kind = "PostgreSQL" if server else "SQLite"
    if not server and not Path(url.database or "").is_file():
        yield Finding("database", "fine", "SQLite, made at the first start")
        return
    url = url.update_query_dict({"connect_timeout": str(int(REACH_S))}) if server else url
    with closing(Database(url.render_as_string(hide_password=False))) as opened:
        try:
            with opened.read() as connection:
                current = migrations.is_current(connection)
        except SQLAlchemyError:
            yield Finding(
                "database", "fault", f"{kind} does not answer", "check DATABASE_URL, and that the server runs"
            )
            return
    yield Finding("database", "fine", f"{kind}, {'up to date' if current else 'brought up to date at the next start'}")


def ports(patient: Patient) -> Findings:
    http, grpc = (patient.config.get(name) or {} for name in ("http_options", "grpc_options"))
    tls = Tls.from_environment()
    if tls:
        check(tls)
    doors = [("HTTP", http.get("port", 8000)), ("gRPC", grpc.get("port", 9000)), *([("TLS", tls.port)] if tls else [])]
    taken = [f"{door} port {port}" for door, port in doors if not free(port)]
    if taken and answers(http.get("port", 8000), secure=bool(http.get("ssl_certfile"))):
        yield Finding("ports", "warning", "a service of this kind runs here already", "a second one needs other ports")
    elif taken:
        yield Finding("ports", "fault", f"{', '.join(taken)} taken", "stop what listens there, or name another port")
    else:
        yield Finding("ports", "fine", ", ".join(f"{door} {port}" for door, port in doors))
    if http.get("host") not in ("127.0.0.1", "localhost", "::1") and not http.get("ssl_certfile"):
        yield Finding("HTTP", "warning", "listens beyond this machine without TLS", "put a proxy with TLS in front")
    if patient.settings.ingress.anonymous and http.get("host") not in ("127.0.0.1", "localhost", "::1"):
        yield Finding("keys", "warning", "whoever reaches the service may use it", "ingress: {anonymous: false}")


def answers(port: int, secure: bool) -> bool:
    try:
        url = f"http{'s' if secure else ''}://127.0.0.1:{port}/healthz"
        return bool(httpx.get(url, timeout=REACH_S, trust_env=False, verify=False).json() == {"status": "alive"})  # noqa: S501
    except (httpx.HTTPError, ValueError):
        return False


def what_runs_where(patient: Patient) -> Findings:
    yield Finding("Ray", "fine", version("ray"))
    gpus = machine.gpu()
    fits, _ = fitted(patient.config, {"CPU": machine.cores(), "GPU": float(gpus.seen)}, lambda: gpus.unfit)
    for part in deployments(fits):
        options, fewest, all_of_it = part.get("ray_actor_options", {}), least(part), most(part)
        many = f"{fewest}" if fewest == all_of_it else f"{fewest} to {all_of_it}"
        where = f", {options['num_gpus']:g} GPU" if options.get("num_gpus") else ""
        yield Finding(part["name"], "fine", f"{many}, each with {options.get('num_cpus', 1):g} cores{where}")


LOOKS: tuple[Callable[[Patient], Findings], ...] = (
    cores_and_memory, gpu, ffmpeg_and_encoders, fonts, models, voices, folders, database, ports, what_runs_where,
)  # fmt: skip


def gib(size: float) -> str:
    return f"{size / 1024**3:.1f} GiB"
