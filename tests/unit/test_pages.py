"""The quality report as a page: everything that is in the report, nothing that a film could smuggle into it."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from serve_app.pages.quality import HEIGHT, WIDTH, clock, pace, page


def segment(number: int, start: float, end: float, **more: Any) -> dict[str, Any]:
    facts = {"id": number, "start": start, "end": end, "text": f"Sentence {number}.", "language": "en", "flags": []}
    spoken = {"translation": f"Frase {number}.", "place": start, "dub_end": end, "tempo": 1.0, "voice": "espeak:es"}
    return {**facts, **spoken, **more}


def report(*segments: dict[str, Any], duration: float = 90.0, **more: Any) -> dict[str, Any]:
    quality = {"lip_sync": 50.0, "voice": 100.0, "translation": None, "duration_match": True, "lufs": -23.0}
    return {
        "job": "a",
        "input": {"path": "talk.mp4"},
        "source_language": "en",
        "target_language": "es",
        "segments": list(segments),
        "stage_seconds": {"video_combination": 2.0, "initialization": 0.5},
        "output": {"duration": duration, "lufs": -23.0, "loudness": [-23.0] * round(duration)},
        "quality": {**quality, "mean_tempo": 1.02, "condensed": 0},
        "log": [{"timestamp": "2026-01-02T03:04:05Z", "level": "warning", "stage": "tts", "message": "Fallback"}],
        **more,
    }


def drawings(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(one) for one in re.findall(r"<svg.*?</svg>", html, re.S)]


def bars(drawing: ElementTree.Element) -> list[tuple[float, float, str, str]]:
    """Place, width, colour and sentence of each bar of a line."""
    found = [rect for rect in drawing.iter("rect") if rect.find("title") is not None]
    return [
        (float(r.attrib["x"]), float(r.attrib["width"]), r.attrib["fill"], r.findtext("title") or "") for r in found
    ]


def test_a_minute_a_line_and_a_sentence_across_its_end_goes_on_in_the_next():
    first, second = drawings(page(report(segment(1, 30, 45, place=31.0, dub_end=46.0), segment(2, 57, 63))))
    assert bars(first) == [
        (500.0, 250.0, "var(--heard)", "Sentence 1."),
        (950.0, 50.0, "var(--heard)", "Sentence 2."),
        (pytest.approx(516.7), 250.0, "var(--own)", "Frase 1."),
        (950.0, 50.0, "var(--own)", "Frase 2."),
    ]
    assert bars(second) == [(0.0, 50.0, "var(--heard)", "Sentence 2."), (0.0, 50.0, "var(--own)", "Frase 2.")]


def test_the_loudness_has_a_point_a_second_inside_the_drawing():
    made = report(segment(1, 1, 2), duration=70.0)
    made["output"]["loudness"] = [-70.0, -10.0, 0.0, *[-23.0] * 67]
    points = [line.attrib["points"].split() for drawing in drawings(page(made)) for line in drawing.iter("polyline")]
    assert [len(line) for line in points] == [60, 10]
    heights = [float(point.split(",")[1]) for line in points for point in line]
    assert max(heights) == HEIGHT == heights[0] and min(heights) == heights[1] == heights[2] > 0


def test_a_short_film_fills_its_line():
    [only] = drawings(page(report(segment(1, 0, 10), duration=10.0)))
    assert bars(only)[0][:2] == (0.0, WIDTH)


def test_what_a_film_says_stays_text():
    evil = segment(1, 1, 2, text="<script>alert(1)</script>", translation='"><img src=x onerror=alert(1)>')
    html = page(report(evil, input={"path": "<b>.mp4"}))
    assert "<script" not in html and "<img" not in html and "<b>" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2  # in the timeline and in the table


def test_nothing_is_fetched_from_anywhere():
    assert not re.findall(r"(?:src|href)=|url\(|@import|https?:", page(report(segment(1, 1, 2))))


def test_a_segment_that_nobody_spoke_is_in_the_table_and_not_in_the_dub():
    unsaid = segment(1, 1, 2, place=None, dub_end=None, tempo=None, voice=None, translation=None, flags=["empty"])
    html = page(report(unsaid, duration=10.0))
    assert [bar[2] for bar in bars(drawings(html)[0])] == ["var(--heard)"]
    assert "not spoken" in html and ">empty<" in html


def test_a_figure_that_is_not_known_is_not_made_up():
    html = page(report(segment(1, 1, 2)))
    assert re.search(r"translation without a doubt</dt><dd>unknown", html)
    assert re.search(r"in time with the picture</dt><dd>50 %", html)


def test_a_report_of_an_earlier_release_has_no_loudness_curve():
    made = report(segment(1, 1, 2))
    del made["output"]["loudness"]
    assert 'points=""' in page(made)


def test_stages_come_in_the_order_of_the_work():
    html = page(report(segment(1, 1, 2)))
    assert html.index(">initialization<") < html.index(">video combination<")


@pytest.mark.parametrize(
    ("tempo", "name"),
    [(None, "own"), (0.95, "slow"), (1.0, "own"), (1.1, "own"), (1.15, "brisk"), (1.35, "fast"), (1.4, "rushed")],
)
def test_a_tempo_has_a_colour(tempo, name):
    assert pace(tempo) == name


def test_times_as_people_write_them():
    assert [clock(seconds) for seconds in (0, 59.94, 61.25, 3600, None)] == [
        "0:00.0",
        "0:59.9",
        "1:01.2",
        "1:00:00.0",
        "–",
    ]


def test_a_share_of_nothing_is_no_unknown_one():
    made = report(segment(1, 1, 2))
    made["quality"] |= {"lip_sync": 0.0, "voice": 0.0}
    shown = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page(made)))
    assert (shown["in time with the picture"], shown["voice"]) == ("0 %", "0 %")
    assert shown["translation without a doubt"] == "unknown"
