"""One local cluster with echo engines for all tests of this folder."""

from collections.abc import Iterator

import pytest

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
