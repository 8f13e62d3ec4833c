from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from configs.pipeline import SyncSettings
from models.errors import StageFailed
from models.segment import Segment, Span
from serve_app.isochrony import GENTLE, plan
from serve_app.jobs.report import Report
from serve_app.media import audio, ffmpeg
from serve_app.stages.sync import sync

RULES = SyncSettings()
RATE = 22_050


def place(*clips: tuple[float, float, float], end: float, start: float = 0.0):
    """plan for clips given as (start, end, spoken seconds)."""
    return plan([(Span(a, b), seconds) for a, b, seconds in clips], Span(start, end), RULES)


def test_a_clip_that_fits_is_not_touched():
    (only,) = place((1, 3, 2.1), end=10)
    assert (only.place, only.tempo) == (1, 1.0)


def test_a_longer_clip_is_played_a_little_faster_and_borrows_the_pause():
    first, second = place((1, 3, 3.0), (5, 6, 1), end=10)
    assert (first.place, second.place) == (1, 5)
    assert first.tempo == pytest.approx(1 + GENTLE * (RULES.natural_tempo - 1))
    assert first.end < 5 - RULES.keep_pause_s


def test_one_that_fills_the_pause_as_well_takes_the_slack_before_it_is_played_faster():
    first, second = place((1, 3, 4.5), (5, 6, 1), end=10)
    assert first.place == pytest.approx(1 - RULES.start_slack_s)
    assert second.place == pytest.approx(first.end + RULES.keep_pause_s)
    assert 5 < second.place < 5 + RULES.start_slack_s
    assert first.tempo == pytest.approx(1 + GENTLE * (RULES.natural_tempo - 1))


def test_a_shorter_clip_is_slowed_by_five_percent_at_most():
    assert place((1, 3, 1.0), end=10)[0].tempo == pytest.approx(RULES.min_tempo)


def test_a_crowded_clip_starts_a_little_early_before_it_is_rushed():
    first, second = place((1, 3, 2.45), (3.0, 5.0, 2), end=10)
    assert first.place == pytest.approx(1 - RULES.start_slack_s)
    assert 1.0 < first.tempo <= RULES.natural_tempo
    assert second.place <= 3.0 + RULES.start_slack_s + 1e-9
    assert second.place - first.end == pytest.approx(RULES.keep_pause_s)


def test_one_that_no_tempo_makes_fit_does_not_rush_its_neighbours():
    first, crowded, last = place((0, 2, 2.0), (3, 5, 60.0), (5.2, 7, 1.8), end=9)
    assert crowded.tempo > 5
    assert max(first.tempo, last.tempo) <= RULES.max_tempo + 1e-6
    assert last.end <= 9


def test_the_pause_before_is_used_when_the_greatest_tempo_is_not_enough():
    _, second, _ = place((0, 1, 1), (4, 5, 3.0), (5.1, 7, 1.8), end=9)
    assert second.place < 4 - RULES.start_slack_s
    assert second.tempo == pytest.approx(RULES.max_tempo)


def test_a_late_clip_pushes_the_next_and_a_pause_makes_up_for_it():
    first, second, third = place((0, 2, 4.0), (2.1, 4, 2.0), (8, 9, 1), end=12)
    assert second.place == pytest.approx(first.end + RULES.keep_pause_s)
    assert second.place > 2.1
    assert third.place == 8


def test_a_future_crowd_makes_earlier_clips_start_early():
    *_, last = placed = place((5, 6, 1), (8, 9, 9), end=10)
    assert last.end <= 10 + 1e-9
    assert all(p.tempo <= RULES.max_tempo + 1e-9 for p in placed)


def test_when_nothing_else_helps_those_that_are_too_long_are_rushed_and_nothing_is_cut():
    placed = place((0, 1, 3), (1, 2, 3), end=2)
    assert [p.tempo for p in placed] == pytest.approx([3 / (1 - RULES.keep_pause_s), 3], rel=1e-3)
    assert placed[1].end <= 2 + 1e-9
    assert [p.seconds for p in placed] == [3, 3]


def test_an_empty_window():
    assert plan([], Span(0, 10), RULES) == []


@st.composite
def windows(draw):
    """A window, segments in it that ascend without overlap, and clips of any length."""
    at = begin = draw(st.floats(0, 50_000))
    spoken = []
    for _ in range(draw(st.integers(1, 8))):
        start = at + draw(st.floats(0, 3))
        at = start + draw(st.floats(0.2, 12))
        spoken.append((Span(start, at), draw(st.floats(0.05, 20))))
    return spoken, Span(begin, at + draw(st.floats(0, 3)))


@settings(deadline=None)
@given(windows())
def test_never_an_overlap_never_outside_the_window(case):
    spoken, window = case
    placed = plan(spoken, window, RULES)
    assert len(placed) == len(spoken)
    assert placed[0].place >= window.start - 1e-6
    assert placed[-1].end <= window.end + 1e-6
    for before, after in pairwise(placed):
        assert before.end <= after.place + 1e-6


@settings(deadline=None)
@given(windows())
def test_the_tempo_is_exceeded_only_in_a_window_that_is_too_short(case):
    spoken, window = case
    placed = plan(spoken, window, RULES)
    assert min(p.tempo for p in placed) >= RULES.min_tempo - 1e-9
    packed = sum(s for _, s in spoken) / RULES.max_tempo + RULES.keep_pause_s * (len(spoken) - 1)
    if packed <= window.duration:
        assert max(p.tempo for p in placed) <= RULES.max_tempo + 1e-6


@settings(deadline=None)
@given(windows())
def test_clips_that_fit_their_segments_start_with_them(case):
    spoken, window = case
    spoken = [(span, min(seconds, span.duration - 0.1)) for span, seconds in spoken]
    assume(all(seconds > 0 for _, seconds in spoken))
    for (span, _), placement in zip(spoken, plan(spoken, window, RULES), strict=True):
        assert abs(placement.place - span.start) <= RULES.start_slack_s + 1e-6
        assert placement.end <= span.end + RULES.end_slack_s + 1e-6


@settings(deadline=None)
@given(windows())
def test_the_last_second_chance_a_segment_after_a_long_pause_is_on_time(case):
    """Drift does not outlive a pause: a clip is late only because the one before it ends late."""
    spoken, window = case
    placed = plan(spoken, window, RULES)
    for index in range(1, len(placed)):
        late = placed[index].place - spoken[index][0].start
        gap = placed[index].place - placed[index - 1].end
        assert late <= 1e-6 or gap <= RULES.keep_pause_s + 1e-6


@settings(deadline=None, max_examples=30)
@given(windows(), st.integers(0, 2**32 - 1))
def test_no_change_of_one_clip_makes_the_plan_better(case, seed):
    """The plan is the cheapest: shift or stretch any clip within the rules, and the documented cost does not fall."""
    spoken, window = case
    assume(sum(s for _, s in spoken) / RULES.max_tempo < window.duration - len(spoken) * RULES.keep_pause_s)
    placed = plan(spoken, window, RULES)
    before, noise = cost(spoken, placed), np.random.default_rng(seed)
    for index, clip in enumerate(placed):
        other = replace(clip, place=clip.place + noise.normal() * 0.1, tempo=clip.tempo * np.exp(noise.normal() * 0.05))
        tried = [*placed[:index], other, *placed[index + 1 :]]
        if allowed(tried, window):
            assert cost(spoken, tried) >= before - 1e-6


def allowed(placed, window) -> bool:
    edges = placed[0].place >= window.start and placed[-1].end <= window.end
    tempos = all(RULES.min_tempo <= clip.tempo <= RULES.max_tempo for clip in placed)
    return edges and tempos and all(b.place - a.end >= RULES.keep_pause_s for a, b in pairwise(placed))


def cost(spoken, placed) -> float:
    """The table at the top of `isochrony`, added up."""
    total = 0.0
    for (span, seconds), clip in zip(spoken, placed, strict=True):
        moved = clip.place - span.start
        total += (1.0 if moved > 0 else 1.2) * min(abs(moved), RULES.start_slack_s)
        total += 6 * max(0.0, abs(moved) - RULES.start_slack_s)
        ends = clip.end - span.end
        total += (1.1 if ends > 0 else 0.9) * max(0.0, abs(ends) - RULES.end_slack_s)
        total += 0.5 * max(0.0, seconds / clip.tempo - seconds)
        for low, high, price in ((1.0, 1.1, 0.8), (1.1, 1.2, 3.0), (1.2, 1.35, 4.0), (1.35, 1e9, 50.0)):
            tempo = min(max(clip.tempo, low), high)
            total += price * (seconds / low - seconds / tempo)
    return total


async def test_a_dub_does_not_run_over_a_part_that_keeps_its_sound(tmp_path):
    kept = Segment(2, 2.1, 4.0, "said in the language of the dub already", translation="")
    segments = [spoken(tmp_path, 1, 0.5, 2.0, 2.2), kept, spoken(tmp_path, 3, 4.1, 6.0, 1.9)]
    report = Report("job")
    report.expect_speech(6)
    first, second, third = await sync(segments, window=Span(0, 7), folder=tmp_path, settings=RULES, report=report)
    assert first.place is not None and first.tempo is not None
    assert first.place + 2.2 / first.tempo <= 2.1 + 1e-6
    assert second.place is None and third.place == pytest.approx(4.1)


def tone(seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def spoken(folder, number: int, start: float, end: float, seconds: float) -> Segment:
    path = folder / f"{number}.wav"
    audio.write(path, tone(seconds), RATE)
    return Segment(number, start, end, "words", speech=str(path), spoken=seconds, voice="echo:tone")


async def test_clips_are_written_as_planned(tmp_path):
    segments = [
        spoken(tmp_path, 1, 0.5, 1.5, 1.4),
        Segment(2, 2.0, 2.5, "nobody spoke this"),
        spoken(tmp_path, 3, 3.0, 4.0, 1.0),
    ]
    report = Report("job")
    report.expect_speech(2.5)
    done = await sync(segments, window=Span(0, 5), folder=tmp_path, settings=RULES, report=report)
    first, second, third = done
    assert (second.place, second.tempo, second.dub) == (None, None, None)
    assert (third.place, third.tempo) == (3.0, 1.0)
    assert first.tempo == pytest.approx(1 + GENTLE * (RULES.natural_tempo - 1))
    sound, rate = audio.read(first.dub)
    assert len(sound) / rate == pytest.approx(1.4 / first.tempo, abs=0.001)
    assert sound[0] == 0 and abs(sound[-1]) < 0.001
    assert np.abs(sound[-2000:]).max() > 0.2
    assert first.place + len(sound) / rate <= third.place
    assert report.snapshot().segments_done == 0 and [line.level for line in report.lines()] == ["debug"]


async def test_a_hopeless_window_is_reported(tmp_path):
    report = Report("job")
    segments = [spoken(tmp_path, 7, 0.0, 1.0, 2.0)]
    (done,) = await sync(segments, window=Span(0, 1), folder=tmp_path, settings=RULES, report=report)
    assert done.tempo == pytest.approx(2.0)
    assert len(audio.read(done.dub)[0]) == pytest.approx(RATE, rel=0.01)
    (warning,) = [line for line in report.lines() if line.level == "warning"]
    assert "2.00 times" in warning.message and warning.chunk_id == "7"


async def test_a_window_in_which_nobody_spoke(tmp_path):
    report = Report("job")
    segments = [Segment(1, 0, 1, "a"), replace(Segment(2, 1, 2, "b"), place=9.0, tempo=2.0, dub="old")]
    done = await sync(segments, window=Span(0, 5), folder=tmp_path / "new", settings=RULES, report=report)
    assert [(s.place, s.tempo, s.dub) for s in done] == [(None, None, None)] * 2
    assert report.lines() == []


async def test_a_clip_that_cannot_be_stretched_fails_the_room(tmp_path, monkeypatch):
    monkeypatch.setattr(ffmpeg, "binary", lambda: "/nonexistent/ffmpeg")
    segments = [spoken(tmp_path, 1, 0.0, 1.0, 2.0)]
    with pytest.raises(StageFailed, match="audio_sync"):
        await sync(segments, window=Span(0, 1), folder=tmp_path, settings=RULES, report=Report("job"))
