"""Room 4 with engines that are plain functions."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.pipeline import TranslateSettings
from models.errors import StageFailed
from models.segment import Segment, Sentence, segments_from_json, to_json
from models.translation.quality import speech_seconds
from serve_app.jobs.memory import Memory
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import key
from serve_app.stages.translate import Engine as Ask
from serve_app.stages.translate import Once, translate

Answers = Callable[[str], tuple[str, ...]]


class Engine:
    """Answers from a table or a function, and remembers what it was asked."""

    def __init__(self, answers: Answers | dict[str, str]) -> None:
        self.asked: list[str] = []
        self._answers: Answers = (lambda text: (answers[text],)) if isinstance(answers, dict) else answers

    async def __call__(self, sentence: Sentence) -> Sentence:
        self.asked.append(sentence.text)
        await asyncio.sleep(0)
        return replace(sentence, candidates=self._answers(sentence.text))


def segments(*texts: str, seconds: float = 4.0) -> list[Segment]:
    return [Segment(i, 5.0 * i, 5.0 * i + seconds, text) for i, text in enumerate(texts)]


async def run(
    work: list[Segment],
    engine: Ask,
    report: Report | None = None,
    target: str = "es",
    settings: TranslateSettings = TranslateSettings(),  # noqa: B008
) -> list[Segment]:
    report = report or Report("job")
    return await translate(work, source="en", target=target, translate=engine, settings=settings, report=report)


async def test_segments_keep_their_order_and_gain_a_translation() -> None:
    given = segments("Good morning.", "", "Good night.")
    done = await run(given, Engine({"Good morning.": "Buenos días.", "Good night.": "Buenas noches."}))
    assert [s.translation for s in done] == ["Buenos días.", "", "Buenas noches."]
    assert [(s.id, s.start, s.end, s.text) for s in done] == [(s.id, s.start, s.end, s.text) for s in given]
    assert all(s.flags == () and not s.condensed for s in done)


async def test_the_same_language_asks_nobody() -> None:
    engine = Engine({})
    done = await run(segments("Good morning."), engine, target="en")
    assert done[0].translation == "Good morning."
    assert engine.asked == []


async def test_progress_counts_the_seconds_of_speech() -> None:
    report = Report("job")
    report.expect_speech(8.0)
    await run(segments("Good morning."), Engine({"Good morning.": "Buenos días."}), report)
    report.finish("initialization"), report.finish("audio_extraction"), report.finish("transcription")
    assert report.snapshot().stage_percent == pytest.approx(50)


async def test_several_sentences_are_translated_one_by_one_and_joined() -> None:
    engine = Engine({"Yes.": "Sí.", "I do.": "Quiero."})
    done = await run(segments("Yes. I do."), engine)
    assert done[0].translation == "Sí. Quiero."
    assert sorted(engine.asked) == ["I do.", "Yes."]


async def test_equal_sentences_are_translated_once_in_the_whole_job() -> None:
    engine = Engine({"Yes.": "Sí.", "No.": "No."})
    once = Once(engine)
    await run(segments("Yes.", "Yes. No.", "Yes."), once)
    await run(segments("No."), once)
    assert sorted(engine.asked) == ["No.", "Yes."]


async def test_another_process_remembers_what_was_said_with_the_same_settings(tmp_path: Path) -> None:
    engine = Engine({"Yes.": "Sí.", "No.": "No."})
    await run(segments("Yes."), Once(engine, Memory(tmp_path / "said"), "a"))
    done = await run(segments("Yes. No."), Once(engine, Memory(tmp_path / "said"), "a"))
    assert (done[0].translation, engine.asked) == ("Sí. No.", ["Yes.", "No."])
    await run(segments("Yes."), Once(engine, Memory(tmp_path / "said"), "b"))
    assert engine.asked == ["Yes.", "No.", "Yes."]


@pytest.mark.parametrize("left", [7, [], [[], []], ["a"], [None, None]])
async def test_what_another_version_kept_is_asked_again(tmp_path: Path, left: object) -> None:
    engine = Engine({"Yes.": "Sí."})
    memory = Memory(tmp_path / "said")
    memory.keep(key("a", Sentence("Yes.", "en", "es")), left)
    assert (await run(segments("Yes."), Once(engine, memory, "a")))[0].translation == "Sí."
    assert engine.asked == ["Yes."]


async def test_a_failure_is_not_remembered() -> None:
    answers = iter([StageFailed("translation", "busy", transient=True), "Sí."])

    async def flaky(sentence: Sentence) -> Sentence:
        answer = next(answers)
        if isinstance(answer, StageFailed):
            raise answer
        return replace(sentence, candidates=(answer,))

    once = Once(flaky)
    with pytest.raises(StageFailed):
        await once(Sentence("Yes.", "en", "es"))
    assert (await once(Sentence("Yes.", "en", "es"))).candidates == ("Sí.",)


async def test_an_error_ends_the_others_and_comes_through() -> None:
    ended: list[str] = []

    async def engine(sentence: Sentence) -> Sentence:
        if sentence.text == "Bad.":
            raise StageFailed("translation", "the model failed")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(sentence.text)
            raise
        return sentence

    with pytest.raises(StageFailed, match="the model failed"):
        await run(segments("Slow.", "Bad."), engine)
    await asyncio.sleep(0)
    assert ended == ["Slow."]


async def test_an_address_is_held_by_a_number_and_put_back() -> None:
    engine = Engine({"Visit 24 for details.": "Para más detalles, visite 24."})
    done = await run(segments("Visit https://a.org/x for details."), engine)
    assert done[0].translation == "Para más detalles, visite https://a.org/x."
    assert done[0].flags == ()


async def test_an_address_that_no_number_holds_is_translated_around() -> None:
    engine = Engine(
        {
            "Visit 24 for details.": "Visite para más detalles.",
            "Visit 30 for details.": "Visite 30 y 30 para más detalles.",
            "Visit": "Visite.",
            "for details.": "Para más detalles.",
        }
    )
    report = Report("job")
    done = await run(segments("Visit https://a.org/x for details."), engine, report)
    assert done[0].translation in (
        "Visite https://a.org/x para más detalles.",
        "Visite https://a.org/x y https://a.org/x para más detalles.",
    )
    assert done[0].flags == ()
    assert {line.level for line in report.lines()} == {"info"}


async def test_a_damaged_number_is_held_in_the_second_try() -> None:
    engine = Engine({"Born in 1847.": "Nació en 187.", "Born in 30.": "Nació en 30."})
    report = Report("job")
    done = await run(segments("Born in 1847."), engine, report)
    assert (done[0].translation, done[0].flags) == ("Nació en 1847.", ())
    (line,) = report.lines()
    assert line.message == "segment 0 was translated again with its numbers and terms held fast"
    assert line.extra == {"flags": ["numbers"]}


TERMS = TranslateSettings(glossary={"en-es": {"graphics card": "tarjeta gráfica"}, "en-fr": {"graphics card": "x"}})


async def test_a_term_is_left_to_the_engine_first_and_held_when_it_did_not_come_out() -> None:
    easy = Engine({"My graphics card.": "Mi tarjeta gráfica."})
    assert (await run(segments("My graphics card."), easy, settings=TERMS))[0].translation == "Mi tarjeta gráfica."
    hard = Engine({"My graphics card.": "Mi imagen.", "My 30.": "Mi 30."})
    assert (await run(segments("My graphics card."), hard, settings=TERMS))[0].translation == "Mi tarjeta gráfica."


async def test_a_term_that_is_lost_in_every_way_is_a_flag() -> None:
    engine = Engine(lambda text: {"My graphics card.": ("Mi imagen.",)}.get(text, ("",)))
    done = await run(segments("My graphics card."), engine, settings=TERMS)
    assert done[0].translation == "tarjeta gráfica."
    done = await run(
        segments("My graphics card."), Engine({"My graphics card.": "Mi imagen.", "My 30.": "Mi.", "My": "Mi"})
    )
    assert done[0].flags == ()


async def test_form_comes_back() -> None:
    engine = Engine({"Look out!": "Cuidado.", "The house is on fire": "La casa arde.", "Yes.": "Sí."})
    done = await run(segments("- LOOK OUT! THE HOUSE IS ON FIRE 🎉", "— Yes. ♪"), engine)
    assert [s.translation for s in done] == ["- ¡CUIDADO! LA CASA ARDE 🎉", "— Sí. ♪"]


async def test_white_space_and_signs_pass_and_control_characters_are_named() -> None:
    report = Report("job")
    given = segments("", " \n\t ", "12:30", "🎉", "\x07", "Y\u200bes.")
    done = await run(given, Engine({"Yes.": "Sí."}), report)
    assert [s.translation for s in done] == ["", " \n\t ", "12:30", "🎉", "", "Sí."]
    assert [line.message for line in report.lines()] == [
        "control characters of segment 4 were left out: U+0007",
        "control characters of segment 5 were left out: U+200B",
    ]


async def test_alternatives_have_times_and_scores_and_are_few() -> None:
    async def engine(sentence: Sentence) -> Sentence:
        return replace(sentence, candidates=("Nació en 1874.", "Nació en 1847.", "En 1847."), scores=(-0.1, -0.2, -0.3))

    few = TranslateSettings(alternatives=1)
    (all_of,), (one_of,) = (
        await run(segments("In 1847."), engine),
        await run(segments("In 1847."), engine, settings=few),
    )
    assert (all_of.translation, all_of.score) == ("Nació en 1847.", -0.2)
    assert [(other.text, other.score) for other in all_of.alternatives] == [
        ("En 1847.", -0.3),
        ("Nació en 1874.", -0.1),
    ]
    assert all_of.alternatives[0].seconds == round(speech_seconds("En 1847.", "es"), 2)
    assert one_of.alternatives == all_of.alternatives[:1]
    assert segments_from_json(json.loads(json.dumps(to_json([all_of])))) == [all_of]


async def test_without_scores_there_is_none() -> None:
    done = await run(segments("Yes."), Engine({"Yes.": "Sí."}))
    assert (done[0].score, done[0].alternatives) == (None, ())


ODD = st.text(max_size=50) | st.text(alphabet="aB .!?…\"'«»“”()-—♪🎉\u200d漢Я1234,:/@.org\x07\n", max_size=50)


@given(ODD, ODD)
def test_no_text_and_no_answer_breaks_it(text: str, said: str) -> None:
    done = asyncio.run(run(segments(text), Engine(lambda _: (said, said + "."))))
    assert isinstance(done[0].translation, str)
    if not text.strip():
        assert done[0].translation == text


def test_a_glossary_names_pairs_of_the_ten_languages() -> None:
    for pair in ("en", "en-nl", "en_es", "en-es-fr"):
        with pytest.raises(ValidationError):
            TranslateSettings(glossary={pair: {"a": "b"}})
    with pytest.raises(ValidationError):
        TranslateSettings(glossary={"en-es": {" ": "b"}})


async def test_a_looping_sentence_is_tried_again_in_clauses() -> None:
    whole = "When the rain had stopped, we went to the old town."
    engine = Engine(
        {
            whole: "Cuando la la la la la.",
            "When the rain had stopped,": "Cuando dejó de llover,",
            "we went to the old town.": "fuimos al casco antiguo.",
        }
    )
    done = await run(segments(whole), engine)
    assert done[0].translation == "Cuando dejó de llover, fuimos al casco antiguo."
    assert done[0].flags == ()


async def test_what_stays_wrong_is_a_flag_and_a_warning() -> None:
    report = Report("job")
    done = await run(segments("Born in 1847."), Engine(lambda _: ("Nació en 1874.",)), report)
    assert done[0].flags == ("numbers",)
    line = report.lines()[-1]
    assert (line.level, line.stage, line.chunk_id) == ("warning", "translation", "0")
    assert line.message == "check the translation of segment 0: a number is missing or changed"
    assert line.extra == {"flags": ["numbers"]}


async def test_another_candidate_that_passes_wins_over_the_first() -> None:
    engine = Engine(lambda _: ("Nació en 1874.", "Nació en 1847."))
    done = await run(segments("Born in 1847."), engine)
    assert (done[0].translation, done[0].flags, done[0].condensed) == ("Nació en 1847.", (), False)


LONG = "Hoy vamos a hablar un poco de la larga historia de esta ciudad."
SHORT = "Hoy, la historia de esta ciudad."


async def test_a_shorter_candidate_is_taken_when_the_slot_is_short() -> None:
    engine = Engine(lambda _: (LONG, SHORT))
    text = "Today we talk about the history of this city."
    fits, tight = await run(segments(text), engine), await run(segments(text, seconds=2.0), engine)
    assert (fits[0].translation, fits[0].condensed) == (LONG, False)
    assert (tight[0].translation, tight[0].condensed) == (SHORT, True)


async def test_the_pause_before_the_next_segment_counts_as_room() -> None:
    engine = Engine(lambda _: (LONG, SHORT))
    text = "Today we talk about the history of this city."
    done = await run(segments(text, text, seconds=2.0), engine)
    assert [s.condensed for s in done] == [False, True]


async def test_a_shorter_candidate_with_a_fault_is_not_taken() -> None:
    engine = Engine(lambda _: ("En el año 1847 nació en una casa grande.", "Nació en 1874."))
    done = await run(segments("He was born in 1847 in a big house.", seconds=1.0), engine)
    assert "1847" in str(done[0].translation)
    assert not done[0].condensed
