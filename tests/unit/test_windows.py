"""Windows cover the video without holes, and cuts lie in pauses."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.pipeline import WindowSettings
from models.segment import Span
from serve_app.hearing.windows import clips, free_time, windows

SETTINGS = WindowSettings(min_s=20, max_s=60, first_s=60)


@st.composite
def speeches(draw, longest=29.0):
    """(spans, duration): spans of at most `longest` seconds, pauses between none and five minutes."""
    spans, at = [], 0.0
    for _ in range(draw(st.integers(0, 30))):
        at += draw(st.sampled_from([0.0, 0.3, 1.0, 2.5, 30.0, 300.0]))
        end = at + draw(st.floats(0.1, longest))
        spans.append(Span(at, end))
        at = end
    return spans, at + draw(st.sampled_from([0.0, 0.5, 100.0]))


def inside_speech(cut, speech):
    return any(span.start + 1e-9 < cut < span.end - 1e-9 for span in speech)


@given(speeches())
def test_windows_partition_the_video_and_never_cut_speech(case):
    speech, duration = case
    cut = windows(speech, duration, SETTINGS)
    assert [one.end for one in cut[:-1]] == [two.start for two in cut[1:]]
    assert not cut or (cut[0].start, cut[-1].end) == (0.0, duration)
    assert all(0 < window.duration <= 80 for window in cut)
    assert not any(inside_speech(window.end, speech) for window in cut[:-1])


@given(speeches(longest=8.0))
def test_windows_have_their_length_when_there_are_pauses(case):
    speech, duration = case
    assert all(20 - 1e-6 <= window.duration <= 60 + 1e-6 for window in windows(speech, duration, SETTINGS)[:-1])


def test_a_short_video_is_one_window_and_an_empty_one_has_none():
    assert windows([Span(1, 50)], 55.0, SETTINGS) == [Span(0.0, 55.0)]
    assert windows([], 0.0, SETTINGS) == []


def test_the_first_window_is_short_for_the_early_preview_awaits_it():
    speech = [Span(0, 8), Span(9, 17), Span(17.5, 40), Span(43, 90)]
    assert windows(speech, 90.0, WindowSettings()) == [Span(0.0, 17.25), Span(17.25, 41.5), Span(41.5, 90.0)]
    assert windows(speech[:2], 19.0, WindowSettings()) == [Span(0.0, 19.0)]


@given(speeches(longest=4.0))
def test_the_first_window_is_as_long_as_was_asked_when_there_are_pauses(case):
    speech, duration = case
    cut = windows(speech, duration, WindowSettings(first_s=20))
    assert len(cut) < 2 or 10 - 1e-6 <= cut[0].duration <= 20 + 1e-6


def test_the_longest_pause_within_reach_is_cut_in_its_middle():
    speech = [Span(0, 25), Span(26, 40), Span(44, 58), Span(59, 90)]
    assert windows(speech, 90.0, SETTINGS) == [Span(0.0, 42.0), Span(42.0, 90.0)]


def test_a_span_that_covers_every_good_place_is_ended_before_or_after():
    assert windows([Span(0, 14), Span(16, 75)], 140.0, SETTINGS)[0] == Span(0.0, 15.0)
    assert windows([Span(0, 4), Span(6, 64)], 140.0, SETTINGS)[0].end > 64


def test_speech_without_any_pause_is_cut_at_the_limit():
    assert [window.end for window in windows([Span(0, 200)], 200.0, SETTINGS)] == [60.0, 120.0, 180.0, 200.0]
    assert windows([Span(0, 1), Span(2, 200)], 200.0, SETTINGS)[0].end == 1.5


def test_silence_is_cut_into_the_fewest_windows():
    assert len(windows([], 200.0, SETTINGS)) == 4
    assert len(windows([Span(0, 10)], 3610.0, SETTINGS)) <= 62


def test_neighbours_are_heard_together_and_far_ones_apart():
    speech = [Span(0, 2), Span(2.5, 5), Span(10, 12), Span(31, 33)]
    assert clips(speech, Span(0, 32), 29.0) == [Span(0, 5), Span(10, 12), Span(31, 32)]


def test_clips_end_at_the_longest_gap_that_fits():
    speech = [Span(0, 10), Span(11.5, 20), Span(20.5, 28), Span(28.3, 40)]
    assert clips(speech, Span(0, 60), 29.0) == [Span(0, 20), Span(20.5, 40)]


def test_a_span_that_is_too_long_is_cut_evenly():
    assert clips([Span(0, 60)], Span(0, 100), 29.0) == [Span(0, 20), Span(20, 40), Span(40, 60)]


def test_speech_without_a_pause_stays_whole_where_a_clip_may_be_longer_than_it_should():
    speech = [Span(0, 25), Span(25.5, 32), Span(32.5, 42), Span(42.5, 60)]
    assert clips(speech, Span(0, 60), 20.0, 29.0) == [Span(0, 25), Span(25.5, 42), Span(42.5, 60)]
    assert clips([Span(0, 32)], Span(0, 60), 20.0, 29.0) == [Span(0, 16), Span(16, 32)]


@given(speeches(longest=70.0), st.floats(0, 100), st.floats(1, 100))
def test_clips_hold_all_speech_of_the_window_and_fit(case, start, length):
    speech, _ = case
    window = Span(start, start + length)
    heard = clips(speech, window, 29.0)
    assert all(0 < clip.duration <= 29.0 + 1e-6 for clip in heard)
    assert all(one.end <= two.start for one, two in pairwise(heard))
    for span in speech:
        wanted = max(0.0, min(span.end, window.end) - max(span.start, window.start))
        covered = sum(max(0.0, min(span.end, clip.end) - max(span.start, clip.start)) for clip in heard)
        assert covered == pytest.approx(wanted, abs=1e-6)


def test_clips_may_use_all_of_the_pause_behind_their_window():
    speech = [Span(1, 10), Span(14, 20), Span(20, 30)]
    assert free_time(Span(0, 12), speech, 0.5) == Span(0, 13.5)
    assert free_time(Span(12, 20), speech, 0.5) == Span(13.5, 20)  # cut where nobody pauses
    assert free_time(Span(20, 40), speech, 0.5) == Span(20, 40)  # and the film ends
    assert free_time(Span(0, 13.8), speech, 0.5) == Span(0, 13.8)  # the middle of a short pause is later


@given(speeches(longest=70.0), st.floats(0, 2))
def test_the_clips_of_neighbours_share_a_border_and_none_lies_before_its_speech(case, lead_s):
    speech, duration = case
    cuts = windows(speech, duration, WindowSettings())
    free = [free_time(window, speech, lead_s) for window in cuts]
    assert all(one.end == two.start for one, two in pairwise(free))
    assert not cuts or (free[0].start == 0 and free[-1].end == cuts[-1].end)
    for window, own in zip(cuts, free, strict=True):
        begins = [span.start for span in speech if window.start <= span.start < window.end]
        assert own.start <= min(begins, default=own.start) and own.end >= window.end
