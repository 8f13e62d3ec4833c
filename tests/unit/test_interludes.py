"""Another language for a while, which no vote came across: who notices, who is believed, and what is told."""

from itertools import pairwise

import pytest

from configs.pipeline import RecognizeSettings
from models.segment import Span, Transcript, Word
from serve_app.hearing.languages import Spoken
from serve_app.jobs.report import Report
from serve_app.stages.recognize import recognize

SETTINGS = RecognizeSettings()
SPEECH = [Span(start, start + 5) for start in range(0, 60, 6)]
TIMES = [at for at in range(60) if at % 6 < 5]


class Ears:
    """German from second 24 to `until`, English before and after; a word a second, whose probability falls when it is
    heard in the wrong language."""

    def __init__(self, likeness=0.95, wrong=0.4, until=36):
        self.likeness, self.wrong, self.until = likeness, wrong, until

    async def __call__(self, clip):
        own = "de" if 24 <= (clip.start + clip.end) / 2 < self.until else "en"
        language = clip.language or own
        times = [at for at in TIMES if clip.start <= at < clip.end]
        rights = [0.9 if language == ("de" if 24 <= at < self.until else "en") else self.wrong for at in times]
        rows = zip(times, rights, strict=True)
        words = tuple(Word(float(at), at + 0.9, f" {language}{at}", sure) for at, sure in rows)
        if clip.language:
            return Transcript(words, language, 0.0, (), own, self.likeness)
        return Transcript(words, language, self.likeness)


@pytest.fixture
def report():
    return Report("job")


async def heard(wav, ears, report, settings=SETTINGS):
    return await recognize(wav(duration=60), Span(0, 60), SPEECH, Spoken("en"), ears, settings, 1, report)


def said(made):
    return [(word.text.strip(), one.language) for one in made for word in one.words]


@pytest.mark.parametrize(("clip_s", "until"), [(6.0, 36), (20.0, 36), (20.0, 42), (24.0, 48)])
async def test_what_is_in_another_language_is_heard_in_its_own_and_told(wav, report, clip_s, until):
    made = await heard(wav, Ears(until=until), report, SETTINGS.model_copy(update={"clip_s": clip_s}))
    right = ["de" if 24 <= at < until else "en" for at in TIMES]
    assert said(made) == [(f"{language}{at}", language) for language, at in zip(right, TIMES, strict=True)]
    assert all(one.end <= two.start for one, two in pairwise(made))
    assert [one.id for one in made] == list(range(1, len(made) + 1))
    [line] = [line.message for line in report.lines() if line.level == "warning"]
    assert line.startswith("another language for a while: de from 0:2") and line.endswith("; recognised in its own")
    [insight] = report.insights()
    [[start, end, language]] = insight.data["spans"]
    assert 23 <= start <= 24 and until - 1 <= end <= until and language == "de"


@pytest.mark.parametrize(
    ("ears", "rules"),
    [
        (Ears(likeness=0.6), {}),
        (Ears(wrong=0.95), {}),  # heard in its own it is less likely than before: an accent, a song
        (Ears(), {"languages": "one"}),
        (Ears(), {"min_language_s": 30.0}),
    ],
)
async def test_who_is_not_sure_changes_nothing(wav, report, ears, rules):
    made = await heard(wav, ears, report, SETTINGS.model_copy(update=rules))
    assert said(made) == [(f"en{at}", "en") for at in TIMES]
    assert report.insights() == []
