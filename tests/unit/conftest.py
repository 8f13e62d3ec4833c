"""A recording of tones, for tests that listen without understanding."""

import numpy as np
import pytest
import soundfile

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
