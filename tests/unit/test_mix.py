"""The mix: to the sample, silent under speech, flat in memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from configs.pipeline import PrepareSettings
from models.segment import Segment, Span
from serve_app.media.mix import HEADROOM, SPREAD, Mixer, envelope, mixed
from serve_app.media.probe import probe
from tests.data.media import clip

RATE = 48_000


def click(path: Path, seconds: float = 0.1, rate: int = RATE) -> str:
    """A clip whose first sample is 0.8 and whose other ones are 0.4."""
    sound = np.full(round(seconds * rate), 0.4, np.float32)
    sound[0] = 0.8
    soundfile.write(path, sound, rate, subtype="FLOAT")
    return str(path)


def render(mixer: Mixer, seconds: float, original: float = 0.0, chunk: int = RATE) -> np.ndarray:
    total = round(seconds * RATE)
    blocks = [np.full((min(chunk, total - at), 2), original, np.float32) for at in range(0, total, chunk)]
    return np.concatenate([mixer.mix(block, n * chunk) for n, block in enumerate(blocks)])


@pytest.mark.parametrize("place", [0.0, 0.75, 0.95, 1.0, 1.23457])
def test_a_dub_lies_exactly_where_it_was_placed(tmp_path: Path, place: float) -> None:
    segment = Segment(1, place, place + 0.1, "a", place=place, dub=click(tmp_path / "a.wav"))
    out = render(Mixer([segment], RATE, 0.12), 2.0)
    at = round(place * RATE)
    assert not out[:at].any()
    assert out[at] == pytest.approx([0.8 * SPREAD * HEADROOM] * 2)
    assert out[at + 1 : at + 4800] == pytest.approx(0.4 * SPREAD * HEADROOM)
    assert not out[at + 4800 :].any()


def test_the_original_is_gone_under_speech_and_dub_and_kept_elsewhere(tmp_path: Path) -> None:
    segment = Segment(1, 2.0, 3.0, "a", place=2.5, dub=click(tmp_path / "a.wav", 1.0))
    out = render(Mixer([segment], RATE, 0.12), 6.0, original=0.5)[:, 0] / HEADROOM
    assert not out[2 * RATE : round(2.5 * RATE)].any()
    assert out[round(2.6 * RATE) : round(3.5 * RATE)] == pytest.approx(0.4 * SPREAD)
    assert out[: round(1.88 * RATE)] == pytest.approx(0.5)
    assert out[round(3.63 * RATE) :] == pytest.approx(0.5)
    assert out[round(1.94 * RATE)] == pytest.approx(0.25, abs=0.001)
    assert np.abs(np.diff(out[: round(2.4 * RATE)])).max() < 0.001


def test_the_original_is_gone_as_far_as_its_voice_reaches() -> None:
    out = render(Mixer([Segment(1, 2.0, 3.0, "a", lead=0.2, trail=0.3)], RATE, 0.1), 5.0, original=0.5)[:, 0] / HEADROOM
    assert not out[round(1.8 * RATE) : round(3.3 * RATE)].any()
    assert out[: round(1.7 * RATE)] == pytest.approx(0.5)
    assert out[round(3.41 * RATE) :] == pytest.approx(0.5)


def test_a_segment_without_a_voice_is_silent(tmp_path: Path) -> None:
    out = render(Mixer([Segment(1, 1.0, 2.0, "a")], RATE, 0.1), 3.0, original=0.5)
    assert not out[RATE : 2 * RATE].any()
    assert out[0, 0] == 0.25


def test_the_room_stays_where_its_sound_is_taken_out() -> None:
    hiss = np.random.default_rng(5).normal(0, 0.002, (4 * RATE, 2)).astype(np.float32)
    mixer = Mixer([Segment(1, 1.0, 3.0, "a")], RATE, 0.1)
    out = np.concatenate([mixer.mix(hiss[at : at + RATE], at) for at in range(0, 4 * RATE, RATE)]) / HEADROOM
    under, kept = out[RATE : 3 * RATE], out[round(3.1 * RATE) :]
    assert kept == pytest.approx(hiss[round(3.1 * RATE) :])
    assert under.std() == pytest.approx(kept.std(), rel=0.35)
    alike = np.corrcoef(under[:, 0], hiss[RATE : 3 * RATE, 0])[0, 1]
    assert abs(alike) < 0.02  # it is made anew: nothing of what was there


def test_no_segments_change_nothing() -> None:
    assert np.all(render(Mixer([], RATE, 0.1), 2.0, original=0.5) == 0.25)


def test_speech_from_the_first_sample_is_gone_from_the_first_sample() -> None:
    assert not render(Mixer([Segment(1, 0.0, 1.0, "a")], RATE, 0.1), 1.0, original=0.5).any()


def test_short_pauses_do_not_pump() -> None:
    times, gains = envelope([Span(1.0, 2.0), Span(2.2, 3.0), Span(3.5, 4.0)], 0.12)
    assert np.interp([2.1, 3.25, 3.5, 4.06], times, gains) == pytest.approx([0.0, 1.0, 0.0, 0.5])
    assert np.all(np.diff(times) >= 0)


def test_another_rate_is_resampled(tmp_path: Path) -> None:
    segment = Segment(1, 0.0, 0.5, "a", place=0.0, dub=click(tmp_path / "a.wav", 0.5, 22_050))
    out = render(Mixer([segment], RATE, 0.1), 1.0)
    assert np.flatnonzero(np.abs(out[:, 0]) > 0.01)[-1] == pytest.approx(RATE / 2, abs=30)


def test_a_thousand_segments_hold_one_clip_at_a_time(tmp_path: Path) -> None:
    path = click(tmp_path / "a.wav")
    segments = [Segment(n, n * 0.5, n * 0.5 + 0.1, "a", place=n * 0.5, dub=path) for n in range(1200)]
    mixer, seen, clicks = Mixer(segments, RATE, 0.1), 0, 0
    for second in range(600):
        out = mixer.mix(np.zeros((RATE, 2), np.float32), second * RATE)
        clicks += np.count_nonzero(out[:, 0] > 0.25)
        seen = max(seen, len(mixer._playing))
    assert (clicks, seen) == (1200, 0)


async def test_the_stream_is_as_long_as_the_video(tmp_path: Path) -> None:
    source = probe(clip(tmp_path / "a.mp4"), PrepareSettings())
    for duration in (2.0, 3.3333, 1.25):
        blocks = mixed(replace(source, duration=duration), [], rate=RATE, fade_s=0.1, stage="mux", stall_s=10)
        sound = np.frombuffer(b"".join([block async for block in blocks]), np.float32).reshape(-1, 2)
        assert len(sound) == round(duration * RATE)
        assert np.abs(sound[: RATE // 2]).max() == pytest.approx(0.125 * SPREAD * HEADROOM, rel=0.05)
