"""Transcripts that come with a job: their times and speakers are kept, their marks are not, and damage is told."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UnreadableTranscript
from models.segment import Span
from serve_app.hearing.transcripts import MAX_BYTES, SHORTEST_S, Cue, apart, fitting, parse, read, segments, turns

SRT = """\
1
00:00:01,000 --> 00:00:02,500
Hello
there &amp; <i>you</i>

2
00:00:03,000 --> 00:00:04,000
{\\an8}[door slams] Hi. ♪ la la ♪

3
00:00:05,000 --> 00:00:06,000
[music]
"""

VTT = """\
WEBVTT

NOTE nobody says this

00:01.000 --> 00:03.000 line:0
<v Anna>Hello <b>you</b> &lt;3</v>
<v.loud Bob Smith>Hi to you!

second
01:00:02.000 --> 01:00:04.000
今日は
いい天気
"""


def test_srt_is_read_and_only_what_is_said_stays() -> None:
    assert parse(SRT.encode()) == [Cue(1.0, 2.5, "Hello there & you"), Cue(3.0, 4.0, "Hi.")]


def test_webvtt_is_read_with_its_voices_and_scripts_without_spaces() -> None:
    anna, bob, other = parse(VTT.encode())
    assert (anna.text, anna.speaker, bob.text, bob.speaker) == ("Hello you <3", "Anna", "Hi to you!", "Bob Smith")
    assert anna.start == 1.0 and bob.end == 3.0 and anna.end == bob.start == pytest.approx(2.09, abs=0.01)
    assert other == Cue(3602.0, 3604.0, "今日はいい天気")


@pytest.mark.parametrize("encode", [lambda s: s.encode("utf-8-sig"), lambda s: s.encode("utf-16")])
def test_byte_order_marks_and_line_ends_do_not_matter(encode) -> None:
    assert parse(encode(SRT.replace("\n", "\r\n"))) == parse(SRT.encode())


@pytest.mark.parametrize(
    "rows",
    [
        "00:01,000 --> 00:02,000\nOne.\n\n00:03,000 --> 00:04,000\n2024\n",
        "1\n\n00:00:01.000 --> 00:00:02.000\n\nOne.\n\n\n2\n\n0:00:03,0 --> 0:00:04,0\n2024\n",
        "1\n00:01.0 --> 00:02.0\nOne.\n2\n00:03,000 --> 00:04,000 X1:0 X2:9\n2024\n",
        "1\n00:00:01,000 --> 00:00:02,000\nOne.\n\n00:00:03,000 --> 00:00:04,000\n2024\n",
        "WEBVTT\n\n00:00:01,000 --> 00:00:02,000\nOne.\n\n7\n00:03.000 --> 00:04.000 align:start\n2024\n",
    ],
)
def test_no_cue_is_lost_for_the_form_of_its_times_or_a_number_that_is_missing(rows: str) -> None:
    assert parse(rows.encode()) == [Cue(1.0, 2.0, "One."), Cue(3.0, 4.0, "2024")]


ROLLING = """\
WEBVTT
Kind: captions

00:00:01.000 --> 00:00:02.470 align:start position:0%
&nbsp;
hello<00:00:01.480><c> world</c>

00:00:02.470 --> 00:00:02.480 align:start position:0%
hello world

00:00:02.480 --> 00:00:05.000 align:start position:0%
hello world
this<00:00:03.000><c> is</c>

00:00:05.000 --> 00:00:06.000
this is
all

00:00:07.000 --> 00:00:08.000
all
"""


def test_captions_that_roll_up_are_said_once() -> None:
    said = [(cue.start, cue.text) for cue in parse(ROLLING.encode())]
    assert said == [(1.0, "hello world"), (2.48, "this is"), (5.0, "all"), (7.0, "all")]  # the last one is said again


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("- Hi there.\n- Hello!", "Hi there. Hello!"),
        ("&gt;&gt; So what?\n– Well…", "So what? Well…"),
        ("-5 degrees, I think\nI <3 it and 1 < 2", "-5 degrees, I think I <3 it and 1 < 2"),
        ("It was (I think) over.", "It was (I think) over."),
        ("(I did not, you know.)", "(I did not, you know.)"),
    ],
)
def test_marks_of_dialogue_are_not_said_and_what_only_looks_like_one_is(shown: str, said: str) -> None:
    assert [cue.text for cue in parse(f"1\n00:00:01,000 --> 00:00:02,000\n{shown}\n".encode())] == [said]


@pytest.mark.parametrize("sound", ["(door slams)", "(APPLAUSE)\n(music)", "（拍手）"])
def test_a_cue_that_is_nothing_but_a_sound_is_left_out(sound: str) -> None:
    cues = parse(f"1\n00:00:01,000 --> 00:00:02,000\n{sound}\n\n{SRT}".encode())
    assert cues == parse(SRT.encode())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "neither SRT nor WebVTT"),
        (b"Dear all, this is no transcript.", "neither SRT nor WebVTT"),
        (b"\x89PNG\r\n\x1a\n\xff\xff", "not encoded as UTF-8"),
        ("1\n00:00:03,000 --> 00:00:04,000\né\n".encode("latin-1"), "not encoded as UTF-8"),
        (b"1\n00:00:05,000 --> 00:00:02,500\nHello\n", "00:00:05.000 of the transcript ends before it begins"),
        (SRT.replace("00:00:03,000", "00:xx:03,000").encode(), "cannot be read, mend it: '00:xx:03,000 --> 00:00:04"),
        (SRT.replace("00:00:03,000 -->", "00:00:03,000 ->").encode(), "cannot be read, mend it: '00:00:03,000 ->"),
        (VTT.replace("01:00:02.000", "01:00:02").encode(), "cannot be read, mend it: '01:00:02 --> 01:00:04.000'"),
        (b"1\n00:00:05,000 --> 00:00:06,000\n[music]\n", "says nothing"),
        (b"WEBVTT\n", "says nothing"),
    ],
)
def test_a_broken_file_says_what_to_mend(content: bytes, told: str) -> None:
    with pytest.raises(UnreadableTranscript) as failure:
        parse(content)
    assert told in str(failure.value)


def test_a_file_that_is_gone_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(UnreadableTranscript, match="not there any more") as failure:
        read(tmp_path / "none.srt")
    assert str(tmp_path) not in str(failure.value)
    with (tmp_path / "huge.srt").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UnreadableTranscript, match="larger than 16 MiB"):
        read(tmp_path / "huge.srt")
    (tmp_path / "good.srt").write_text(SRT)
    assert len(read(tmp_path / "good.srt")) == 2


times = st.floats(0, 20).map(lambda seconds: round(seconds, 3))


@settings(deadline=None)
@given(st.lists(st.tuples(times, st.floats(0.001, 5)), max_size=25))
def test_cues_at_the_same_time_share_it_and_lose_no_text(rows) -> None:
    cues = sorted(
        (Cue(start, start + length, f"w{n}") for n, (start, length) in enumerate(rows)),
        key=lambda cue: (cue.start, cue.end),
    )
    made = apart(cues)
    assert sorted(" ".join(cue.text for cue in made).split()) == sorted(cue.text for cue in cues)
    assert all(one.end <= two.start + 1e-9 for one, two in pairwise(made))
    alone = [cue for cue in made if " " not in cue.text]  # two that have no room side by side become one
    assert all(cue in cues or cue.end - cue.start >= SHORTEST_S - 1e-9 for cue in alone)
    assert max((cue.end for cue in made), default=0) == max((cue.end for cue in cues), default=0)


def test_a_transcript_of_another_film_is_refused_and_a_credit_at_the_end_is_cut() -> None:
    cues = [Cue(1, 2, "a"), Cue(8, 12, "b"), Cue(12, 13, "c")]
    assert fitting(cues, 10.0) == [Cue(1, 2, "a"), Cue(8, 10, "b")]
    with pytest.raises(UnreadableTranscript, match="another film"):
        fitting(cues, 5.0)


def test_cues_become_the_segments_of_the_window_in_which_they_begin() -> None:
    cues = [Cue(1, 2, "a", "Anna"), Cue(9, 12, "b"), Cue(12, 13, "c", "Bob")]
    made = segments(cues, Span(5, 12), "de", 1001)
    assert [(s.id, s.start, s.end, s.text, s.language, s.speaker) for s in made] == [
        (1001, 9, 12, "b", "de", "speaker 1")
    ]
    assert [turn.speaker for turn in turns(cues)] == ["Anna", "speaker 1", "Bob"]
    assert turns(cues[1:2]) == ()
