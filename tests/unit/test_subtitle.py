"""Room 7: the rules hold for any plausible speech, and the files read back."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.pipeline import SubtitleSettings, SubtitleStyle
from models.segment import Segment, Word
from serve_app.cues import Cue, Layout
from serve_app.media.ass import Look
from serve_app.phrases import joined, tokenize
from serve_app.stages.subtitle import Subtitles, subtitle, write

RULES = SubtitleSettings()
LATIN = st.text("abcdefghijklmnop", min_size=1, max_size=12)
KANA = st.sampled_from("きょうはカメラをもって、山ー川東京へいきました。")
HAN = st.sampled_from("你好世界我们今天去看电影吧这是一个很长的句子")


def tracks(segments: list[Segment], source: str = "en", target: str = "es", duration: float = 600.0) -> Subtitles:
    return subtitle(
        segments, source_lang=source, target_lang=target, duration=duration, frame_rate=25.0, settings=RULES
    )


def text_of(cues, language: str = "en") -> str:
    return joined([line for cue in cues for line in cue.lines], language)


@st.composite
def speech(draw: st.DrawFn) -> list[Segment]:
    """Sentences at 8–15 characters a second with pauses, translated by sentences of any length."""
    segments, at = [], draw(st.floats(0, 3))
    for number in range(draw(st.integers(1, 8))):
        words = draw(st.lists(LATIN, min_size=1, max_size=25))
        text = " ".join(words)
        length = max(0.3, len(text) / draw(st.floats(8, 15)))
        translation = " ".join(draw(st.lists(LATIN, min_size=1, max_size=30)))
        segments.append(
            Segment(number, at, at + length, text, translation=translation, place=at, spoken=length, tempo=1.0)
        )
        at += length + draw(st.floats(0.0, 2.0))
    return segments


@settings(max_examples=60, deadline=None)
@given(speech())
def test_any_speech_keeps_the_rules(segments: list[Segment]) -> None:
    made = tracks(segments)
    for cues, texts in (
        (made.original, [s.text for s in segments]),
        (made.translated, [s.translation for s in segments]),
    ):
        assert text_of(cues).split() == " ".join(texts).split()
        assert all(len(cue.lines) <= 2 and all(len(line) <= 42 for line in cue.lines) for cue in cues)
        assert all(0 <= cue.start < cue.end <= min(600, cue.start + 7.0005) for cue in cues)
        assert all(after.start - cue.end >= 0.0799 for cue, after in pairwise(cues))
    for cues, name in ((made.original, "en"), (made.translated, "es"), (made.bilingual, "en and es")):
        short = [number for number, cue in enumerate(cues, 1) if cue.end - cue.start < 0.9995]
        said = [line for line in made.unmet if f"({name})" in line and "1 s are the least" in line]
        assert [line.split()[1] for line in said] == list(map(str, short))


@settings(max_examples=40, deadline=None)
@given(st.lists(HAN, min_size=1, max_size=90).map("".join), st.floats(1, 20))
def test_chinese_is_cut_between_characters(text: str, length: float) -> None:
    made = tracks([Segment(1, 1.0, 1.0 + length, text)], source="zh", target="en")
    assert "".join(line for cue in made.original for line in cue.lines) == text
    assert all(len(line) <= 16 for cue in made.original for line in cue.lines)


@settings(max_examples=40, deadline=None)
@given(st.lists(KANA, min_size=1, max_size=70).map("".join), st.floats(1, 20))
def test_japanese_lines_are_short_and_begin_with_no_mark(text: str, length: float) -> None:
    made = tracks([Segment(1, 1.0, 1.0 + length, text)], source="ja", target="en")
    lines = [line for cue in made.original for line in cue.lines]
    assert "".join(lines) == text
    assert all(len(line) <= 13 for line in lines if not set(line[1:]) <= set("ー。、ょ"))
    assert not any(line[0] in "ー。、ょ" for line in lines[1:])
    assert all(after.start - cue.end >= 0.0799 for cue, after in pairwise(made.original))
    assert all(cue.end - cue.start <= 7.0005 for cue in made.original)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("zh", "我们今天去看电影，然后在河边吃了一顿很好的晚饭。"),
        ("ja", "今日は友だちと映画を見て、川のそばで夕食を食べました。"),
    ],
)
def test_spoken_at_an_unhurried_pace_no_rule_is_broken(language: str, text: str) -> None:
    made = tracks([Segment(1, 1.0, 7.0, text)], source=language, target="en")
    assert made.unmet == ()
    assert all(cue.end - cue.start >= 1.0 for cue in made.original)
    assert all(sum(map(len, cue.lines)) / (cue.end - cue.start) <= 17 for cue in made.original)
    assert all(len(cue.lines) <= 2 for cue in made.original)


@pytest.mark.parametrize(
    "text",
    [
        "价格是1,000.50美元，请看https://a.bc/d?e=f。",
        "我用 Ray Serve 和 GPT-4。",
        "他说：“你好！”然后走了。",
        "（笑）好…",
    ],
)
def test_tokens_give_the_text_back(text: str) -> None:
    tokens = tokenize(text, "zh")
    assert joined(tokens, "zh").replace(" ", "") == text.replace(" ", "")
    assert not any(token[0] in "，。！”）…" for token in tokens)


def test_latin_words_inside_chinese_keep_their_blank() -> None:
    assert "Ray Serve" in joined(tokenize("我用Ray Serve写", "zh"), "zh")
    assert "https://a.bc/d?e=f" in tokenize("看https://a.bc/d?e=f。", "zh")[1]


def test_cues_follow_the_words() -> None:
    words = [
        *(Word(1.0 + 0.3 * n, 1.3 + 0.3 * n, f" word{n:02}", 0.9) for n in range(12)),
        *(Word(7.0 + 0.3 * n, 7.3 + 0.3 * n, f" word{n:02}", 0.9) for n in range(12, 24)),
    ]
    text = "".join(word.text for word in words).strip()
    made = tracks([Segment(1, 1.0, 14.2, text, words=tuple(words))])
    late = next(cue for cue in made.original if "word12" in " ".join(cue.lines))
    assert late.lines[0].startswith("word12")
    assert late.start == pytest.approx(10.6, abs=0.01)


def test_translated_cues_follow_the_placed_speech() -> None:
    made = tracks([Segment(1, 5.0, 7.0, "One two three", translation="Uno", place=5.4, spoken=2.4, tempo=1.2)])
    assert (made.translated[0].start, made.translated[0].end) == (5.4, 7.4)
    assert (made.original[0].start, made.original[0].end) == (5.0, 7.0)
    assert made.bilingual[0].lines == ("One two three", "Uno")


def test_a_fast_cue_grows_into_the_pause() -> None:
    text = "thirty-four characters of speech!!"
    made = tracks([Segment(1, 1.0, 2.0, text), Segment(2, 9.0, 10.0, "Next one")])
    assert made.original[0].end == pytest.approx(3.0, abs=0.01)
    assert made.unmet == ()


def test_what_cannot_be_read_is_said_and_shown() -> None:
    text = "sixty characters of speech that nobody can read in one second"
    made = tracks([Segment(1, 1.0, 1.9, text), Segment(2, 2.0, 3.9, text)])
    assert text_of(made.original) == f"{text} {text}"
    assert any("characters a second" in line for line in made.unmet)


def test_a_word_longer_than_a_line_is_shown_whole_and_said() -> None:
    address = "https://example.org/" + "a" * 40
    made = tracks([Segment(1, 1.0, 6.0, f"see {address} now")])
    assert address in [line for cue in made.original for line in cue.lines]
    assert any("longer than a line" in line for line in made.unmet)


@pytest.mark.parametrize(
    ("cue", "says"),
    [
        (Cue(1.0, 3.0, ("seventy characters, which is more than can be", "read in the two seconds")), "34 characters"),
        (Cue(1.0, 1.967, ("Yes.",)), "is shown for 0.967 s, and 1 s are the least"),
        (Cue(1.0, 8.2, ("Yes.",)), "is shown for 7.2 s, and 7 s are the most"),
        (Cue(1.0, 8.96, ("Yes.",)), "ends 40 ms before the next one, and 80 ms are the least"),
        (Cue(1.0, 3.0, ("One", "two", "three")), "has 3 lines"),
        (Cue(1.0, 4.0, ("a" * 43,)), "longer than a line"),
    ],
)
def test_each_rule_that_is_broken_is_said(cue: Cue, says: str) -> None:
    layout = Layout(RULES, duration=20_000, gap=80)
    said = layout.complaints([cue, Cue(9.0, 11.0, ("Good.",))], "es")
    assert any(line.startswith("Subtitle 1 (es) ") and says in line for line in said)
    assert not any("Subtitle 2" in line for line in said)
    kept = Cue(1.0, 2.0, ("Yes.",)), Cue(2.08, 9.08, ("a" * 42, "b" * 42))
    assert layout.complaints(kept, "es") == []


def test_in_both_languages_the_translation_is_what_has_to_be_read() -> None:
    layout = Layout(RULES, duration=20_000, gap=80)
    original = ("an original of many words, which nobody", "has to read, for it stands above")
    assert layout.complaints([Cue(1.0, 3.0, (*original, "Das ist es."), above=2)], "de", above="en") == []
    [said] = layout.complaints([Cue(1.0, 3.0, ("It is.", *original), above=1)], "de", above="en")
    assert said == "Subtitle 1 (en and de) has to be read at 36 characters a second"
    [said] = layout.complaints([Cue(1.0, 3.0, ("你" * 17, "Das ist es."), above=1)], "de", above="zh")
    assert "longer than a line" in said


def test_what_the_bilingual_track_cannot_keep_is_said() -> None:
    made = tracks([Segment(1, 1.0, 6.0, "see " + "a" * 43, translation="mira", place=1.0, spoken=5.0, tempo=1.0)])
    assert list(made.unmet) == [
        "Subtitle 1 (en) holds a word that is longer than a line",
        "Subtitle 1 (en and es) holds a word that is longer than a line",
    ]


def test_a_short_sentence_before_a_long_one_is_shown_for_its_second() -> None:
    text = "a sentence that is too long to be shown with another one, and in no hurry at all"
    made = tracks([Segment(1, 1.387, 1.75, "Well."), Segment(2, 1.838, 7.5, text)])
    [first, second, *_] = made.original
    assert (first.start, first.end) == (0.887, 1.887)
    assert second.start == pytest.approx(1.967) and made.unmet == ()


def test_a_cue_gives_its_short_neighbour_a_second_even_where_neither_can_be_read_in_time() -> None:
    slow = [Word(1.0 + 0.3 * n, 1.3 + 0.3 * n, f" word{n:02}", 0.9) for n in range(10)]
    fast = [Word(4.0 + 0.06 * n, 4.06 + 0.06 * n, f" word{n:02}", 0.9) for n in range(10, 20)]
    text = "".join(word.text for word in (*slow, *fast)).strip()
    made = tracks([Segment(1, 1.0, 4.6, text, words=(*slow, *fast)), Segment(2, 4.7, 7.0, "b" * 40)])
    assert made.unmet and all("has to be read at" in line for line in made.unmet)
    assert all(cue.end - cue.start >= 0.9995 for cue in made.original)


def test_short_neighbours_are_shown_together() -> None:
    made = tracks([Segment(1, 1.0, 1.3, "Yes."), Segment(2, 1.35, 3.0, "I know that.")])
    assert len(made.original) == 1
    assert text_of(made.original) == "Yes. I know that."


def test_overlapping_speakers_do_not_overlap_on_screen() -> None:
    made = tracks([Segment(1, 1.0, 6.0, "a " * 30), Segment(2, 2.0, 7.0, "b " * 30)])
    assert all(cue.end < after.start for cue, after in pairwise(made.original))
    assert text_of(made.original).count("b") == 30


def test_the_last_word_stays_inside_the_video() -> None:
    made = tracks([Segment(1, 9.7, 10.4, "Thanks.")], duration=10.0)
    assert (made.original[0].start, made.original[0].end) == (9.0, 10.0)


def test_same_language_shows_the_text_itself() -> None:
    made = tracks([Segment(1, 1.0, 2.0, "Hello there")], source="en", target="en")
    assert made.translated == made.original


def test_nothing_said_gives_nothing() -> None:
    assert tracks([Segment(1, 1.0, 2.0, "  ")]) == Subtitles((), (), ())


def test_the_files_read_back(tmp_path) -> None:
    made = tracks(
        [Segment(1, 3661.5, 3663.0, "a < b --> c & d"), Segment(2, 3670.0, 3672.0, "Ուր ես")], duration=4000.0
    )
    write(made.original, tmp_path / "x.srt", Look(SubtitleStyle()))
    srt = (tmp_path / "x.srt").read_text(encoding="utf-8")
    blocks = srt.strip().split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == ["1", "2"]
    assert blocks[0].split("\n")[1] == "01:01:01,500 --> 01:01:03,000"
    assert blocks[1].endswith("Ուր ես")
    assert len(re.findall("-->", srt)) == 2
    vtt = (tmp_path / "x.vtt").read_text(encoding="utf-8")
    assert vtt.startswith("WEBVTT\n\n01:01:01.500 --> 01:01:03.000\na &lt; b --&gt; c &amp; d\n\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.ass", "x.srt", "x.vtt"]
