"""What the bench of dubs measures with: an old voice, a clip where it is, whole or cut, and cues that are bad."""

from pathlib import Path

import numpy as np
import pytest

from models.segment import Span
from tests.bench.dubs import cue_faults, found
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


def test_a_clip_is_found_where_it_is_and_one_that_lacks_an_end_is_cut() -> None:
    clip = voice(3)[: 2 * RATE]
    film = 0.3 * voice(4)[: 10 * RATE]
    film[3 * RATE : 5 * RATE] += clip
    assert found(clip, film, 2.9) == (pytest.approx(3.0, abs=0.001), False)
    film[round(4.7 * RATE) : 5 * RATE] -= clip[round(1.7 * RATE) :]
    assert found(clip, film, 3.1) == (pytest.approx(3.0, abs=0.001), True)


def test_cues_that_break_a_rule_are_counted(tmp_path: Path) -> None:
    srt = tmp_path / "a.srt"
    good = "1\n00:00:01,000 --> 00:00:03,000\nHello there.\n\n2\n00:00:03,080 --> 00:00:05,000\nAnd you?\n"
    srt.write_text(good)
    assert not any(cue_faults(srt).values())
    srt.write_text(good.replace("03,080", "03,010") + "\n3\n00:00:06,000 --> 00:00:06,500\n" + "x" * 43 + "\n")
    assert cue_faults(srt) == {"lines": 1, "seconds": 1, "pace": 1, "gap": 1}
