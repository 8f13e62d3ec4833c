"""The measure of the old voice sees one that is there, at its level, and calls a new one none."""

import numpy as np
import pytest

from models.segment import Span
from tests.bench.oldvoice import leak_db

RATE = 16_000
SPANS = [Span(0.5, 14.0), Span(15.0, 29.5)]


def voice(seed: int) -> np.ndarray:
    """Thirty seconds of noise with the spectrum and the syllables of speech, more or less."""
    random = np.random.default_rng(seed)
    noise = np.convolve(random.normal(size=30 * RATE), np.exp(-np.arange(40) / 8), "same")
    syllables = np.abs(np.sin(np.arange(30 * RATE) / RATE * 2 * np.pi * random.uniform(1.5, 2.5)))
    return (0.05 * noise * syllables).astype(np.float32)


@pytest.mark.parametrize("level", [0, -10, -20, -30])
@pytest.mark.parametrize("delay", [0, 90])
def test_a_leak_is_measured_at_its_level(level: float, delay: int) -> None:
    old = voice(1)
    leaked = np.pad(old, (delay, 0))[: len(old)] * 10 ** (level / 20)
    assert leak_db(old, (voice(2) + leaked).astype(np.float32), RATE, SPANS) == pytest.approx(level, abs=2)


def test_another_voice_is_no_leak() -> None:
    assert leak_db(voice(1), voice(2), RATE, SPANS) < -38
    assert leak_db(voice(1), np.zeros(30 * RATE, np.float32), RATE, SPANS) < -100
