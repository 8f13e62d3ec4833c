"""`dubserve doctor` finds what would keep the service from starting, and says so with its exit code."""

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import trustme
import yaml
from sqlalchemy import text
from typer.testing import CliRunner

from configs.app import AppSettings
from serve_app import doctor, machine
from serve_app.__main__ import app
from serve_app.doctor import Finding, Patient, examine
from serve_app.jobs.database import Database
from serve_app.media import limits
from tests.conftest import REPOSITORY
from tests.service import free_port, sealed

ECHO = {"asr": {"engine": "echo"}, "translation": {"engine": "echo"}, "tts": {"engines": ["espeak"]}}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Roots of a service that would start."""
    for name in ("UPLOADS_DIR", "ARTIFACTS_DIR", "TEMP_WORK_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("DATABASE_URL", "DATABASE_URL_FILE", "GRPC_TLS_CERT_FILE", "GRPC_TLS_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def patient(name: str = "serve_config.yaml", **args: Any) -> Patient:
    config = yaml.safe_load((REPOSITORY / name).read_text())
    config["grpc_options"]["port"], config["http_options"]["port"] = free_port(), free_port()
    if args:
        config["applications"][0]["args"] = args
    return Patient(config, AppSettings.model_validate(config["applications"][0]["args"]))


def findings(looked_at: Patient, look: Any) -> dict[str, Finding]:
    return {finding.about: finding for finding in doctor.safely(look, looked_at)}


def test_a_machine_on_which_the_service_starts(home: Path) -> None:
    found = examine(patient())
    assert [one for one in found if one.state == "fault"] == []
    assert {"cores", "memory", "ffmpeg", "fonts", "voices", "database", "ports", "Translator"} <= {
        x.about for x in found
    }
    assert all(one.do for one in found if one.state == "warning" and "pull" not in one.said)
    assert not (home / "TEMP_WORK_DIR" / ".jobs.sqlite").exists(), "nothing is made but the folders"


def test_the_command_prints_it_and_ends_with_1_at_a_fault(home: Path) -> None:
    path = home / "serve_config.yaml"
    config = patient(engines=ECHO).config
    path.write_text(yaml.safe_dump(config))
    runner = CliRunner()
    told = runner.invoke(app, ["doctor", "--config", str(path), "--json"], env=dict(os.environ))
    rows = json.loads(told.stdout)
    assert told.exit_code == 0 and {row["state"] for row in rows} <= {"fine", "warning"}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", config["grpc_options"]["port"]))
        taken.listen()
        told = runner.invoke(app, ["doctor", "--config", str(path)], env=dict(os.environ))
    assert told.exit_code == 1 and f"gRPC port {config['grpc_options']['port']} taken" in told.stdout
    path.write_text("applications: [{args: {nonsense: 1}}]")
    assert runner.invoke(app, ["doctor", "--config", str(path)], env=dict(os.environ)).exit_code == 2


def test_models_that_are_not_there(home: Path) -> None:
    found = findings(patient(engines={"translation": {"artifacts": []}, "asr": {"model": "./nowhere"}}), doctor.models)
    assert found["asr ./nowhere"].state == "fault"
    found = findings(patient(engines={"asr": {"model": "large-v3"}}), doctor.models)
    assert found["asr large-v3"].state == "warning" and "pull" in found["asr large-v3"].said


def test_a_damaged_model(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (home / "broken").mkdir()
    (home / "broken" / "manifest.json").write_text("{")
    found = findings(patient(engines={"translation": {"artifacts": [str(home / "broken")]}}), doctor.models)
    assert found["translation broken"].state == "fault"


def test_languages_without_a_voice(home: Path) -> None:
    [voices] = findings(patient(engines={"tts": {"engines": ["piper"]}}), doctor.voices).values()
    assert voices.state == "warning" and "none for en, hy" in voices.said


def test_online_speech_is_asked_for_only_when_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = patient(engines={"tts": {"engines": ["edge", "espeak"]}})
    monkeypatch.setattr(doctor, "ONLINE", ("127.0.0.1", free_port()))
    assert findings(looked_at, doctor.voices)["online speech"].said.startswith("not asked")
    asked = Patient(looked_at.config, looked_at.settings, online=True)
    assert findings(asked, doctor.voices)["online speech"].state == "warning"
    with socket.create_server(("127.0.0.1", 0)) as there:
        monkeypatch.setattr(doctor, "ONLINE", there.getsockname())
        assert findings(asked, doctor.voices)["online speech"].said == "reachable"


def test_a_folder_that_cannot_be_written_to(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").touch()
    monkeypatch.setenv("UPLOADS_DIR", str(home / "file" / "uploads"))
    [folders] = findings(patient(), doctor.folders).values()
    assert folders.state == "fault" and "UPLOADS_DIR" in folders.do


def test_a_full_disk_and_little_memory_are_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = patient(jobs={"min_free_disk_bytes": 2**60, "min_free_memory_bytes": 2**60})
    assert findings(greedy, doctor.folders)["folder work"].state == "warning"
    assert findings(greedy, doctor.cores_and_memory)["memory"].state == "fault"


# -- the database ------------------------------------------------------------------------------------------------------


def database(home: Path) -> Finding:
    [found] = findings(patient(), doctor.database).values()
    return found


def test_a_store_that_is_up_to_date_or_too_new(home: Path) -> None:
    (home / "TEMP_WORK_DIR").mkdir()
    store = Database(f"sqlite:///{home / 'TEMP_WORK_DIR' / '.jobs.sqlite'}")
    assert "made at the first start" in database(home).said
    with store.write() as connection:
        connection.execute(text("CREATE TABLE other (x INTEGER)"))
    assert "brought up to date" in database(home).said
    store.create()
    assert database(home) == Finding("database", "fine", "SQLite, up to date")
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    assert database(home).state == "fault" and "newer release" in database(home).said


def test_a_server_that_does_not_answer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://dub:hunter2@127.0.0.1:{free_port()}/dub")
    found = database(home)
    assert found.state == "fault" and "PostgreSQL does not answer" in found.said and "hunter2" not in str(found)


# -- ports and certificates --------------------------------------------------------------------------------------------


def test_certificates_that_do_not_fit(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in sealed(trustme.CA(), home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GRPC_TLS_ADDRESS", f"localhost:{free_port()}")
    assert "TLS" in findings(patient(), doctor.ports)["ports"].said
    trustme.CA().issue_cert("x").private_key_pem.write_to_path(home / "KEY.pem")
    assert "its own key" in findings(patient(), doctor.ports)["ports"].said


def test_doors_that_are_wide_open_are_told(home: Path) -> None:
    wide = patient()
    wide.config["http_options"]["host"] = "0.0.0.0"
    found = findings(wide, doctor.ports)
    assert found["HTTP"].state == found["keys"].state == "warning"


# -- the GPU -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "missing", "profile", "expected"),
    [
        (0, (), "serve_config.yaml", {"GPU": "fine"}),
        (0, (), "configs/gpu.yaml", {"GPU": "warning"}),
        (1, (), "configs/gpu.yaml", {"GPU": "fine"}),
        (1, ("libcudnn.so.9",), "configs/gpu.yaml", {"GPU": "fine", "CUDA": "warning"}),
        (1, (), "serve_config.yaml", {"GPU": "fine", "profile": "warning"}),
    ],
)
def test_a_gpu_and_a_profile(
    home: Path, monkeypatch: pytest.MonkeyPatch, seen: int, missing: tuple[str, ...], profile: str, expected: Any
) -> None:
    there = machine.Gpu("570.1", seen, ("float16",), True, missing) if seen else machine.Gpu("", 0, (), True, ())
    monkeypatch.setattr(machine, "gpu", lambda: there)
    found = findings(patient(profile), doctor.gpu)
    assert {about: finding.state for about, finding in found.items()} == expected


def test_a_gpu_is_told_by_name_and_cuda_by_name_is_a_fault_without_its_libraries(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = home / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(home), prepend=os.pathsep)
    there = machine.Gpu("570.1", 1, ("float16",), True, ("libcudnn.so.9",))
    monkeypatch.setattr(machine, "gpu", lambda: there)
    looked_at = patient("configs/gpu.yaml")
    found = findings(looked_at, doctor.gpu)
    assert found["GPU"].said == "1, NVIDIA H200 with 140.4 GiB, driver 570.1, float16"
    assert found["CUDA"].said == "libcudnn.so.9 cannot be opened"
    assert "GPU" not in findings(looked_at, doctor.what_runs_where)["Recognizer"].said, "it runs on the CPU"
    looked_at.config["applications"][0]["args"]["engines"]["asr"]["device"] = "cuda"
    assert findings(looked_at, doctor.gpu)["CUDA"].state == "fault"


def test_what_the_engines_see_is_asked_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import ctranslate2

    found = machine.gpu()
    assert found.seen == ctranslate2.get_cuda_device_count()
    assert found.onnxruntime == ("CUDAExecutionProvider" in onnxruntime.get_available_providers())
    assert set(found.missing) <= set(machine.CUDA_LIBRARIES) and machine.opens("libc.so.6")
    assert not machine.opens("libnothing.so.1")


def test_cores_follow_the_limit_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = float(len(os.sched_getaffinity(0)))
    for content, cores in (("50000 100000\n", 0.5), ("max 100000\n", allowed), ("nonsense", allowed)):
        (tmp_path / "cpu.max").write_text(content)
        monkeypatch.setattr(machine, "CGROUP", tmp_path)
        assert machine.cores() == cores
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "nothing")
    assert machine.cores() == allowed


def test_memory_follows_the_limit_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    total = machine.memory()[1]
    limit, idle = 512 * 1024**2, 100 * 1024**2
    for name, content in {"max": limit, "current": limit, "stat": f"anon 1\ninactive_file {idle}"}.items():
        (tmp_path / f"memory.{name}").write_text(f"{content}\n")
    assert machine.memory() == (idle, limit)
    assert limits.memory.__wrapped__() == limit * 3 // 4, "what ffmpeg may take leaves room in it too"
    assert findings(patient(), doctor.cores_and_memory)["memory"].said == "0.1 GiB available of 0.5 GiB"
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.memory()[1] == total


# -- ffmpeg and fonts --------------------------------------------------------------------------------------------------


def test_an_ffmpeg_that_cannot_be_bound_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    [found] = findings(patient(), doctor.ffmpeg_and_encoders).values()
    assert (found.state, found.do) == ("fault", "apt install util-linux")


def test_an_ffmpeg_that_lacks_something_or_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.ffmpeg, "binary", lambda: "/nowhere/ffmpeg")
    assert findings(patient(), doctor.ffmpeg_and_encoders)["ffmpeg"].state == "fault"
    poor = home / "ffmpeg"
    poor.write_text("#!/bin/sh\necho ffmpeg version 1.0 copyright\necho ' V..... libx264 h264'\n")
    poor.chmod(0o755)
    monkeypatch.setattr(doctor.ffmpeg, "binary", lambda: str(poor))
    found = findings(patient(), doctor.ffmpeg_and_encoders)["ffmpeg"]
    assert found.state == "fault" and "aac" in found.said and "libx264" not in found.said
    assert shutil.which("ffmpeg", path=str(home)) and subprocess.run([poor], check=True, capture_output=True).stdout


def test_languages_whose_letters_nobody_has(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.glyphs, "WHEEL", "no_such_wheel")
    monkeypatch.setattr(doctor.glyphs, "SYSTEM", ())
    [fonts] = findings(patient(), doctor.fonts).values()
    assert fonts.state == "warning" and fonts.said == "no letters for zh, ja" and "cjk" in fonts.do


def test_a_look_that_fails_is_a_finding_and_tells_no_secrets(home: Path) -> None:
    def broken(_: Patient) -> Any:
        raise RuntimeError("hunter2")

    [found] = doctor.safely(broken, patient())
    assert (found.about, found.state) == ("broken", "fault") and "hunter2" not in str(found)


def test_what_runs_where_follows_the_machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpu", lambda: machine.Gpu("570.1", 1, ("float16",), True, ()))
    monkeypatch.setattr(machine, "cores", lambda: 16.0)
    found = findings(patient("configs/gpu.yaml"), doctor.what_runs_where)
    assert found["Recognizer"].said == "1 to 2, each with 1 cores, 0.45 GPU"
    monkeypatch.setattr(machine, "gpu", lambda: machine.Gpu("", 0, (), True, ()))
    assert "GPU" not in findings(patient("configs/gpu.yaml"), doctor.what_runs_where)["Recognizer"].said
