"""How far a voice reaches beyond its words: to the edges of detected speech, and not into a neighbour."""

import pytest

from models.segment import Segment, Span
from serve_app.hearing.edges import reaching

WINDOW = Span(0.0, 10.0)


def edges(times: list[tuple[float, float]], speech: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where the voices of segments at `times` begin and end."""
    segments = [Segment(number, start, end, "a") for number, (start, end) in enumerate(times)]
    made = reaching(segments, [Span(*span) for span in speech], WINDOW)
    assert [(s.start, s.end) for s in made] == times
    return [pytest.approx((s.start - s.lead, s.end + s.trail)) for s in made]


def test_a_voice_reaches_to_the_edges_of_its_speech() -> None:
    assert edges([(1.0, 2.0)], [(0.8, 2.3)]) == [(0.8, 2.3)]


def test_speech_that_is_narrower_takes_nothing_away() -> None:
    assert edges([(1.0, 2.0)], [(1.2, 1.9)]) == [(1.0, 2.0)]


def test_speech_far_from_any_word_stays() -> None:
    assert edges([(5.0, 6.0)], [(1.0, 9.0)]) == [(4.5, 6.5)]


def test_neighbours_have_half_of_the_pause_each() -> None:
    assert edges([(1.0, 2.0), (2.4, 3.0)], [(0.9, 3.2)]) == [(0.9, 2.2), (2.2, 3.2)]


def test_a_voice_stays_in_its_window() -> None:
    assert edges([(0.1, 9.9)], [(-1.0, 12.0)]) == [(0.0, 10.0)]


def test_voices_at_once_keep_their_times() -> None:
    assert edges([(1.0, 3.0), (2.0, 4.0)], [(1.0, 4.0)]) == [(1.0, 3.0), (2.0, 4.0)]


def test_words_without_speech_keep_their_times() -> None:
    assert edges([(1.0, 2.0)], []) == [(1.0, 2.0)]
