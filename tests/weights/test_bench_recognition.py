"""The recognition benchmark with the smallest model and few clips: what is read aloud, heard, counted and printed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.bench import recordings
from export.bench.hearing import Load, Scene, Take, take, weigh, word_error_rate
from export.bench.listeners import BATCHED, OURS, WHISPER, Pick
from export.bench.narration import SENTENCES
from export.bench.recognition import LONGEST_S, SHORTEST_S, Plan, bench, scenes
from export.bench.recognition_report import Found, line
from export.bench.recordings import Recording
from models.errors import ArtifactMissing, UnsupportedLanguage


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def found(room: Path) -> str:
    return bench(Plan(room, rounds=1, clients=3, only="clips"))


def test_the_last_line_is_json_with_positive_ratios(found: str) -> None:
    values = json.loads(found)
    for rival in ("whispermodel", "batched"):
        low, high = values[f"spread_clips_{rival}"]
        assert 0 < low <= values[f"ratio_clips_{rival}"] <= high
    assert (values["benchmark"], values["model"], values["rounds"]) == ("recognition", "tiny.en", 1)
    assert set(values["real_time_factor"]["clips"]) == {OURS, WHISPER, BATCHED}
    for middle, late in values["p50_p95_s"]["clips"].values():
        assert 0 < middle <= late


def test_everybody_hears_what_was_read(found: str) -> None:
    assert all(rate <= 0.2 for rate in json.loads(found)["wer"]["clips"].values())


def test_the_plot_is_a_png(found: str, room: Path) -> None:
    assert found
    assert (room / "recognition-tiny.en.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_speech_is_made_once_and_clips_are_short(found: str, room: Path) -> None:
    assert found
    before = {path.name: path.read_bytes() for path in (room / "speech").glob("en-*.wav")}
    shelf = {scene.name: scene for scene in scenes(Plan(room))}
    assert len(before) == len(SENTENCES["en"]) == 20
    assert all((room / "speech" / name).read_bytes() == content for name, content in before.items())
    clips = shelf["clips"].recordings
    assert len(clips) == 16 and all(SHORTEST_S <= one.seconds <= LONGEST_S for one in clips)
    [long] = shelf["long"].recordings
    assert long.seconds > 100 and all(text in long.words for text in SENTENCES["en"])
    assert {one.language for one in shelf["mixed"].recordings} == {"en", "es", "de"} and not shelf["mixed"].told


def test_there_is_no_mixed_scene_without_its_model(room: Path) -> None:
    assert [scene.name for scene in scenes(Plan(room, mixed_model="nobody/none"))] == ["long", "clips"]


def test_a_list_of_real_recordings(media: Path, tmp_path: Path) -> None:
    words = (
        "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
    )
    listing = tmp_path / "list.tsv"
    listing.write_text(f"{media / 'jfk.flac'}\ten\t{words}\n")
    [one] = recordings.listed(listing, tmp_path)
    assert (one.language, one.words, one.seconds) == ("en", words, pytest.approx(11.0, abs=0.01))
    for pick in (Pick(OURS, "tiny.en", 2), Pick(WHISPER, "tiny.en", 2, words=True), Pick(BATCHED, "tiny.en", 2)):
        assert word_error_rate([one], [pick.build().listen(one.path, "en")]) == 0, pick.name


@pytest.mark.parametrize("text", ["x.wav\ten", "nowhere.wav\ten\tHello.", "list.tsv\ten\tHello."])
def test_a_list_that_is_of_no_use(tmp_path: Path, text: str) -> None:
    listing = tmp_path / "list.tsv"
    listing.write_text(text)
    with pytest.raises(ArtifactMissing, match=r"line 1 of list\.tsv is of no use; write a sound file, a tab"):
        recordings.listed(listing, tmp_path)


def test_a_joined_file_has_its_pauses(tmp_path: Path) -> None:
    one = recordings.golden(tmp_path)
    assert one.seconds == pytest.approx(2.583, abs=0.01)
    both = recordings.joined([one, one], tmp_path / "both.wav", silence_s=5.0)
    assert both.seconds == pytest.approx(2 * one.seconds + sum(recordings.PAUSES_S[:2]) + 5.0, abs=0.01)
    assert both.words == f"{one.words} {one.words}"
    silence = both.audio()[round((both.seconds - 2) * 16_000) :]
    assert 0 < np.abs(silence[-8000:]).max() < 0.01


def test_words_are_counted_without_case_and_marks() -> None:
    one = Recording(Path("x"), "en", "I won't pay twenty dollars, Mr. Brown!")
    assert word_error_rate([one], ["i will not pay $20 mister brown"]) == 0
    other = Recording(Path("y"), "es", "¿Dónde está la casa?")
    assert word_error_rate([one, other], ["I won't pay twenty dollars Mr Brown", "dónde está"]) == pytest.approx(2 / 11)


class Deaf:
    name = "deaf"

    def listen(self, path: Path, language: str) -> str:
        if not language:
            raise UnsupportedLanguage("nobody can tell")
        return language


def test_a_language_that_is_refused_is_heard_as_nothing(tmp_path: Path) -> None:
    one = recordings.golden(tmp_path)
    told = take(Deaf(), Scene("x", (one, one), ()))
    assert (told.said, told.sound) == (("en", "en"), pytest.approx(2 * one.seconds))
    assert take(Deaf(), Scene("x", (one,), (), told=False)).said == ("",)
    assert word_error_rate([one], [""]) == 1.0


def test_ratios_are_medians_and_memory_is_compared() -> None:
    def takes(*seconds: float) -> list[Take]:
        return [Take(12.0, second, ("x",), (second,)) for second in seconds]

    results = {("long", OURS): takes(1, 2, 4), ("long", f"{BATCHED} + words"): takes(2, 2, 2)}
    errors = dict.fromkeys(results, 0.25)
    values = json.loads(line({}, Found(results, errors, {OURS: Load(1, 50), BATCHED: Load(1, 200)})))
    assert (values["ratio_long_batched_words"], values["spread_long_batched_words"]) == (1.0, [0.5, 2.0])
    assert values["ratio_memory_batched"] == 0.25
    assert values["real_time_factor"]["long"][OURS] == round(2 / 12, 4)
    assert values["wer"]["long"][OURS] == 0.25


def test_memory_is_that_of_a_child(room: Path, found: str) -> None:
    assert found
    load = weigh(Pick(OURS, "tiny.en", 1), recordings.golden(room))
    assert 0 < load.base_mb < load.peak_mb


def test_what_is_missing_is_said_before_anything_runs(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(room, only="clips", clients=1)
    with pytest.raises(ArtifactMissing, match=r"engines\.asr\.model is no folder"):
        bench(replace(plan, model="./nowhere"))
    monkeypatch.setattr("export.bench.recognition.find_spec", lambda name: None)
    with pytest.raises(ArtifactMissing, match=r"needs matplotlib; install it with: pip install -e '\.\[bench\]'"):
        bench(plan)
