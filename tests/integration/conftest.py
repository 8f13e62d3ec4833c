"""One local cluster with echo engines for all tests of this folder."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.telemetry.logs import OURS
from tests.service import Service, service

ECHO = {
    "engines": {
        "vad": {"engine": "echo"},
        "asr": {"engine": "echo"},
        "translation": {"engine": "echo"},
        "tts": {"engines": ["echo"]},
    },
    "jobs": {"lease_s": 4.0, "tick_s": 0.2},
    "ingress": {"max_audio_bytes": 2 * 1024**2, "plaintext_from": ["127.0.0.0/8"]},
    "webhooks": {"every_s": 0.2, "backoff_s": 0.2, "allowed_networks": ["127.0.0.0/8"]},
    "pipeline": {"mux": {"x264_preset": "ultrafast"}},
}


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("service"), ECHO) as running:
        yield running


@pytest.fixture(autouse=True)
def own_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For shells without a cluster, which begin in the process of the test as they would in one of their own."""
    for name in ("UPLOADS_DIR", "ARTIFACTS_DIR", "TEMP_WORK_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(tempfile, "tempdir", tempfile.tempdir)
    yield
    for name in OURS:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).setLevel(logging.NOTSET)
