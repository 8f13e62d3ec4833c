"""What is amiss is told with its sentence, and a dub below its bounds ends as its operator wants."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.app import AppSettings
from configs.engines import TtsSettings
from configs.pipeline import PipelineSettings, QualitySettings
from models.errors import StageFailed
from models.segment import Segment, Span, Speech, Transcript, Utterance, Word
from models.tts import fallback
from serve_app import local
from serve_app.attempt import dub
from serve_app.gates import Fault, coverage, faults, gates, judge
from serve_app.jobs.job import Quality, Request
from serve_app.jobs.report import Report
from serve_app.jobs.workspace import Workspace, artifacts
from serve_app.media.probe import Source
from serve_app.pages.quality import page
from serve_app.quality import measure
from serve_app.stages.mux import Mixed
from tests.unit.test_pipeline import ECHO

RULES = PipelineSettings()
GOOD = Segment(1, 1.0, 3.0, "Hello.", translation="Hola.", speech="1.wav", spoken=2.0, place=1.0, tempo=1.0, dub="d")


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"retries": ("edge broke off",)}, "respoken", "edge broke off"),
        ({"flags": ("numbers", "length")}, "translation", "numbers, length"),
        ({"translation": ""}, "untranslated", "nothing is said"),
        ({"speech": None, "place": None, "tempo": None, "dub": None}, "silent", "no engine"),
        ({"tempo": 1.42}, "rushed", "1.42"),
        ({"place": 1.4}, "misplaced", "0.40 s after the original"),
        ({"understood": 0.2}, "misunderstood", "20% of its words"),
    ],
)
def test_each_fault_names_its_sentence(change: dict[str, Any], kind: str, says: str) -> None:
    [fault] = faults([replace(GOOD, **change), replace(GOOD, id=2)], [], RULES)
    assert (fault.kind, fault.segment, fault.start, fault.mended) == (kind, 1, 1.0, kind == "respoken")
    assert says in fault.message


def test_a_good_dub_has_none_and_speech_without_a_sentence_is_one() -> None:
    assert faults([GOOD, replace(GOOD, id=2, text="…", translation="", speech=None)], [], RULES) == []
    [fault] = faults([GOOD], [Span(7.0, 9.0)], RULES)
    assert (fault.kind, fault.segment, fault.start, fault.end) == ("unheard", None, 7.0, 9.0)


def segments(*spans: tuple[float, float]) -> list[Segment]:
    return [Segment(number, start, end, "words") for number, (start, end) in enumerate(spans, 1)]


def test_coverage_is_the_share_of_detected_speech_in_sentences() -> None:
    speech = [Span(0, 10), Span(20, 30)]
    assert coverage(speech, segments((0, 10), (20, 30))) == (100.0, [])
    share, missed = coverage(speech, segments((0, 10)))
    assert share == 50.0 and missed == [Span(20, 30)]
    share, missed = coverage(speech, segments((0, 10), (20.3, 24), (25.0, 29.8)))
    assert share == pytest.approx(99, abs=1.1) and missed == []
    assert coverage([], segments((0, 1))) == (None, [])
    assert coverage(speech, []) == (0.0, speech)


spans = st.lists(st.tuples(st.floats(0, 50), st.floats(0.5, 9)), max_size=8)


@given(spans, spans)
def test_coverage_is_what_counting_finds(spoken: list[tuple[float, float]], kept: list[tuple[float, float]]) -> None:
    at, speech = 0.0, []
    for gap, length in spoken:
        speech.append(Span(at + gap, at + gap + length))
        at = speech[-1].end
    share, _ = coverage(speech, segments(*((start, start + length) for start, length in kept)))
    times = np.arange(0, at, 0.01)
    inside = np.any([(times >= s.start) & (times < s.end) for s in speech], axis=0) if speech else np.zeros(0, bool)
    near = [(times >= start - 0.4) & (times < start + length + 0.4) for start, length in kept]
    covered = inside & np.any(near, axis=0) if kept else np.zeros(len(times), bool)
    assert share is None if not speech else share == pytest.approx(100 * covered.sum() / inside.sum(), abs=3)


def test_a_gate_without_a_measurement_is_passed() -> None:
    assert all(gate.passed for gate in gates(Quality(), QualitySettings()))
    short = [gate.name for gate in gates(Quality(spoken=90.0, coverage=99.0, lip_sync=49.9), QualitySettings())]
    assert short == ["spoken", "coverage", "translation", "lip_sync", "understood", "voice", "tempo"]
    failed = [gate.name for gate in gates(Quality(spoken=90.0, lip_sync=49.9), QualitySettings()) if not gate.passed]
    assert failed == ["spoken", "lip_sync"]


def test_what_falls_short_is_a_warning_or_a_failure() -> None:
    short = Quality(spoken=50.0, coverage=95.0)
    report = Report("job")
    judge(gates(short, QualitySettings()), QualitySettings(), report)
    [line] = report.lines()
    assert (line.level, "50 % of the sentences are spoken, and 95 % are wanted" in line.message) == ("warning", True)
    assert report.insights()[0].kind == "warning"
    strict = QualitySettings(on_failure="fail")
    with pytest.raises(StageFailed, match="below the wanted quality: 50 % of the sentences are spoken"):
        judge(gates(short, strict), strict, Report("job"))
    judge(gates(Quality(spoken=100.0), strict), strict, Report("job"))


FILM = Source("a.mp4", 1, 60.0, "mov", 0, "h264", 640, 360, 25.0, 1, "aac", 0.0, 1)


@pytest.mark.parametrize(
    ("tempos", "lufs", "short", "says"),
    [
        ([1.2, 1.3, 1.3, 1.3], -23.0, "voice", "25 % of the sentences are well spoken"),
        ([1.0, 1.0, 1.2, 1.3], -30.0, "voice", "38 % of the sentences are well spoken"),
        ([1.0, 1.0, 1.3, 1.5], -23.0, "tempo", "75 % of the sentences that are spoken are no faster"),
    ],
)
def test_a_voice_in_a_hurry_or_out_of_bounds_falls_short(
    tempos: list[float], lufs: float, short: str, says: str
) -> None:
    spoken = [replace(GOOD, id=number, tempo=tempo, spoken=2.0 * tempo) for number, tempo in enumerate(tempos, 1)]
    measured = measure(spoken, FILM, Mixed(60.0, lufs, -2.0, 1), RULES)
    strict = QualitySettings(on_failure="fail")
    assert [gate.name for gate in gates(measured, strict) if not gate.passed] == [short]
    with pytest.raises(StageFailed, match=says):
        judge(gates(measured, strict), strict, Report("job"))
    content = QualitySettings(on_failure="fail", min_voice=20, min_tempo=20)
    judge(gates(measured, content), content, Report("job"))


def test_the_page_shows_what_is_amiss() -> None:
    fault = Fault("silent", "no engine <could> say it", 61.0, 63.0, 1007)
    facts = {
        "job": "a", "input": {"path": "talk.mp4"}, "source_language": "en", "target_language": "es", "segments": [],
        "stage_seconds": {}, "output": {"duration": 5.0}, "log": [],
        "quality": {"lip_sync": None, "voice": None, "translation": None, "duration_match": True, "lufs": None,
                    "mean_tempo": None, "condensed": 0, "spoken": 87.5, "coverage": 91.2, "understood": 66.6},
        "gates": [{"name": "spoken", "value": 87.5, "wanted": 95.0, "passed": False}],
        "faults": [vars_of(fault)],
    }  # fmt: skip
    html = page(facts)
    assert "1:01.0–1:03.0" in html and ">1007<" in html and "no engine &lt;could&gt; say it" in html
    assert "88 %, too little" in html and "67 %" in html and "91 %" in html


def vars_of(fault: Fault) -> dict[str, Any]:
    return {name: getattr(fault, name) for name in fault.__slots__}


# -- whole jobs, with engines that are bad in known ways


class Bad:
    """The first engine of a shelf: what it makes of a sentence is up to `how`, for the sentence after the first."""

    def __init__(self, how: str) -> None:
        self.how, self.victim = how, ""

    def supports(self, language: str) -> bool:
        return True

    def speak(self, utterances: list[Utterance]) -> list[Speech]:
        return [self.say(one) for one in utterances]

    def say(self, utterance: Utterance) -> Speech:
        samples = round(len(utterance.text) * 0.07 / utterance.rate * 22_050)
        tone = (0.2 * np.sin(np.arange(samples) / 16)).astype(np.float32)
        if "word7" in utterance.text:
            self.victim = utterance.text
            tone = {
                "empty": tone[:0],
                "truncated": tone[:800],
                "silent": 0 * tone,
                "click": np.where(np.arange(samples) < 50, tone, 0).astype(np.float32),
            }.get(self.how, tone)
        return Speech(tone, 22_050, "bad:voice")


async def run(folder: Path, video: Path, engines: Any, **quality: Any) -> dict[str, Any]:
    settings = AppSettings.model_validate({**ECHO, "pipeline": {**ECHO["pipeline"], "quality": quality}})
    request = Request("job", str(video), "en", "es", subtitles="none")
    report = Report("job")
    result = await dub(request, engines, settings, Workspace(folder / "work", "job"), artifacts(folder, "job"), report)
    facts: dict[str, Any] = json.loads(Path(result.report).read_text())
    return facts


def shelf(bad: Bad, monkeypatch: pytest.MonkeyPatch, *, alone: bool = False) -> Any:
    """The echo engines, with a bad voice before the echo voice."""
    load = fallback.load
    monkeypatch.setattr(fallback, "load", lambda shelf, name, s: bad if name == "bad" else load(shelf, name, s))
    tts = TtsSettings(engines=("bad",) if alone else ("bad", "echo"), tries=1)
    engines = AppSettings.model_validate(ECHO).engines.model_copy(update={"tts": tts})
    return local.models(engines)


async def test_the_report_has_the_fields_that_are_documented(
    tmp_path: Path, short_talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "use.md").read_text("utf-8")
    section = text.partition("### The report")[2].partition("\n## ")[0]
    facts = await run(tmp_path, short_talk, shelf(Bad("fine"), monkeypatch))
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.M)) == sorted(facts)
    assert f"| `version` | {facts['version']} |" in section
    [row] = re.findall(r"^\| `segments` \| (.*) \|$", section, re.M)
    assert set(re.findall(r"`(\w+)`", row)) <= set(facts["segments"][0])


@pytest.mark.parametrize("how", ["empty", "truncated", "silent", "click"])
async def test_a_bad_clip_is_said_by_another_engine_and_told_with_its_sentence(
    how: str, tmp_path: Path, short_talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = Bad(how)
    facts = await run(tmp_path, short_talk, shelf(bad, monkeypatch))
    [row] = [row for row in facts["segments"] if row["translation"] == bad.victim]
    assert row["voice"].startswith("echo:") and "bad:voice" in row["retries"][0]
    [fault] = [fault for fault in facts["faults"] if fault["kind"] == "respoken"]
    assert (fault["segment"], fault["mended"]) == (row["id"], True)
    assert [line["chunk_id"] for line in facts["log"] if "said by the echo" in line["message"]] == [str(row["id"])]
    assert {row["voice"] for row in facts["segments"]} == {"bad:voice", row["voice"]}


async def test_a_sentence_that_nobody_can_say_is_a_fault_and_the_policy_decides(
    tmp_path: Path, short_talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = Bad("silent")
    facts = await run(tmp_path / "warn", short_talk, shelf(bad, monkeypatch, alone=True), min_spoken=99)
    [silent] = [row["id"] for row in facts["segments"] if not row["spoken_at_all"]]
    assert [fault["segment"] for fault in facts["faults"] if fault["kind"] == "silent"] == [silent]
    [gate] = [gate for gate in facts["gates"] if not gate["passed"]]
    assert (gate["name"], gate["wanted"]) == ("spoken", 99) and gate["value"] == facts["quality"]["spoken"] < 99
    failed = tmp_path / "fail"
    with pytest.raises(StageFailed, match="of the sentences are spoken"):
        await run(failed, short_talk, shelf(bad, monkeypatch, alone=True), min_spoken=99, on_failure="fail")
    assert not list(failed.glob("job*.mp4"))

    facts = json.loads((failed / "job_report.json").read_text())
    assert [row["id"] for row in facts["segments"] if not row["spoken_at_all"]] == [silent]
    assert [fault["segment"] for fault in facts["faults"] if fault["kind"] == "silent"] == [silent]
    assert [gate["name"] for gate in facts["gates"] if not gate["passed"]] == ["spoken"]
    assert "Below the wanted quality" in (failed / "job_report.html").read_text()
    assert (failed / "job_translated_subtitles.srt").stat().st_size
    assert not list((failed / "work" / "job").glob("attempt-*"))

    await run(failed, short_talk, shelf(bad, monkeypatch, alone=True), min_spoken=50, on_failure="fail")
    assert (failed / "job_translated.mp4").stat().st_size
    assert "Below the wanted quality" not in (failed / "job_report.html").read_text()


async def test_of_several_targets_none_is_delivered_when_one_falls_short(
    tmp_path: Path, short_talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = shelf(Bad("silent"), monkeypatch, alone=True)
    settings = {**ECHO, "pipeline": {**ECHO["pipeline"], "quality": {"min_spoken": 99, "on_failure": "fail"}}}
    request = Request("job", str(short_talk), "en", "es", subtitles="none", also=("fr",))
    place, workspace = artifacts(tmp_path, "job"), Workspace(tmp_path / "work", "job")
    with pytest.raises(StageFailed, match="its report names the sentences"):
        await dub(request, engines, AppSettings.model_validate(settings), workspace, place, Report("job"))
    assert {path.name for path in tmp_path.glob("job_report*.json")} == {"job_report.json", "job_report.fr.json"}
    assert not list(tmp_path.glob("job*.mp4"))


async def test_the_back_check_finds_a_wrong_language_and_has_it_said_by_another(
    tmp_path: Path, short_talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = shelf(Bad("fine"), monkeypatch)
    said: list[str] = []

    async def recognize(clip: Any) -> Transcript:
        if clip.language != "es":
            return await engines.recognize(clip)
        words = said.pop(0) if said else "[es] word1 word2 word3 word4 word5 word6 word7 word8 word9."
        return Transcript((Word(0, 1, words, 0.9),), "es")

    said += ["something else altogether", "[es] word1 word2 word3 word4 word5 word6."]
    facts = await run(tmp_path, short_talk, replace(engines, recognize=recognize), back_check=True)
    retried = [row for row in facts["segments"] if row["retries"]]
    assert len(retried) == 1 and "was not understood" in retried[0]["retries"][0]
    assert retried[0]["voice"].startswith("echo:") and retried[0]["understood"] > 0.5
    assert all(row["understood"] is not None for row in facts["segments"])
    assert facts["quality"]["understood"] > 50
