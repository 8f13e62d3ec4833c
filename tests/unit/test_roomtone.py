import numpy as np
import pytest

from serve_app.media.roomtone import LOUDEST, RoomTone

RATE = 48_000


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def room(seconds: float, level: float = 0.002, seed: int = 1) -> np.ndarray:
    """Dull noise, in both channels the same: most of it below 1 kHz."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    dull = np.convolve(noise, np.ones(48) / 48, "same")
    return np.repeat((dull / rms(dull) * level).astype(np.float32)[:, None], 2, axis=1)


def speech(seconds: float) -> np.ndarray:
    """Syllables of a fifth of a second, and gaps as long."""
    times = np.arange(round(seconds * RATE)) / RATE
    tone = 0.2 * np.sin(2 * np.pi * 150 * times) * (np.sin(2 * np.pi * 2.5 * times) > 0)
    return np.repeat(tone.astype(np.float32)[:, None], 2, axis=1)


def low_share(sound: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(sound[:, 0])) ** 2
    return float(power[: len(power) // 24].sum() / power.sum())


def test_it_is_as_loud_and_as_dull_as_the_room():
    tone = RoomTone(RATE, 2)
    for second in range(5):
        tone.hear(room(1, seed=second))
    made = tone.make(2 * RATE)
    assert made.shape == (2 * RATE, 2)
    assert 0.0015 < rms(made) < 0.0021  # the quietest moments are a little quieter
    assert low_share(made) == pytest.approx(low_share(room(2)), abs=0.1)
    assert low_share(made) > 0.8


def test_it_finds_the_room_between_the_words_and_brings_no_word_back():
    tone, said = RoomTone(RATE, 2), speech(4)
    for second in range(4):
        tone.hear(said[second * RATE : (second + 1) * RATE] + room(1, seed=second))
    made = tone.make(4 * RATE)
    assert rms(made) < 0.004
    spectrum = np.abs(np.fft.rfft(made[:, 0])) ** 2
    assert spectrum[4 * 150] < 50 * np.median(spectrum[4 * 100 : 4 * 200])  # the voice's own frequency does not ring


def test_pieces_join_without_a_seam():
    whole, pieces = RoomTone(RATE, 2), RoomTone(RATE, 2)
    for tone in (whole, pieces):
        tone.hear(room(2))
    parts = [pieces.make(size) for size in (1, 4_799, 960, 17_000, 3_000)]
    made = np.concatenate(parts)
    assert rms(np.diff(made, axis=0)) == pytest.approx(rms(np.diff(whole.make(len(made)), axis=0)), rel=0.1)


def test_a_silent_room_stays_silent_and_music_is_no_room():
    silent, loud = RoomTone(RATE, 2), RoomTone(RATE, 2)
    assert not silent.make(100).any()  # nothing heard yet
    silent.hear(np.zeros((RATE, 2), np.float32))
    assert not silent.make(RATE).any()
    loud.hear(room(2, level=0.1))
    assert rms(loud.make(2 * RATE)) == pytest.approx(LOUDEST, rel=0.15)


def test_an_offset_is_no_sound():
    tone = RoomTone(RATE, 2)
    tone.hear(np.full((RATE, 2), 0.5, np.float32))
    assert not tone.make(RATE).any()


def test_a_piece_too_short_to_learn_from_is_passed_over():
    tone = RoomTone(RATE, 2)
    tone.hear(room(0.01))
    assert not tone.make(1_000).any()
