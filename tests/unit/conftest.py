"""A recording of tones, for tests that listen without understanding, and databases for those that keep rows."""

import numpy as np
import pytest
import soundfile

from tests import postgres

RATE = 16_000


@pytest.fixture
def wav(tmp_path):
    """Writes a WAV of `duration` seconds with a tone in each span."""

    def write(*spans, duration):
        audio = np.zeros(round(duration * RATE), np.float32)
        for start, end in spans:
            part = audio[round(start * RATE) : round(end * RATE)]
            part[:] = 0.3 * np.sin(2 * np.pi * 300 * np.arange(len(part)) / RATE)
        soundfile.write(tmp_path / "sound.wav", audio, RATE, subtype="PCM_16")
        return tmp_path / "sound.wav"

    return write


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server for the whole session; skipped where there is none."""
    if reason := postgres.why_not():
        pytest.skip(reason)
    with postgres.running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """The address of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    return request.getfixturevalue("postgresql").emptied()
