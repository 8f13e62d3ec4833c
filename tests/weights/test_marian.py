"""The engine with the embedded English–Spanish model: what it says, and that batching does not change the mechanics."""

import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from configs.engines import TranslationSettings
from export.probes import PROBES
from export.verify import verify
from models.artifact import MANIFEST
from models.errors import ArtifactMissing, UnsupportedLanguage
from models.registry import load
from models.segment import Sentence
from models.translation.marian import Marian, available

DEMO = Path(__file__).parents[2] / "models" / "demo" / "en-es"
SETTINGS = TranslationSettings(artifacts=(str(DEMO),), device="cpu", beam_size=1)


@pytest.fixture(scope="module")
def marian() -> Marian:
    engine: Marian = load("translation", "marian", SETTINGS)
    return engine


def copy(folder: Path, **facts: object) -> Path:
    """The demo model under another manifest: the mechanics of routes do not care what the weights say."""
    shutil.copytree(DEMO, folder)
    manifest = json.loads((folder / MANIFEST).read_text("utf-8")) | facts
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    return folder


def say(engine: Marian, *texts: str, source: str = "en", target: str = "es") -> list[str]:
    return [s.candidates[0] for s in engine.translate([Sentence(text, source, target) for text in texts])]


def test_plain_sentences_come_out_in_spanish(marian: Marian) -> None:
    said = say(marian, "A triangle has three sides and three angles.", "", "Where are you?", "   ")
    assert said[0] == "Un triángulo tiene tres lados y tres ángulos."
    assert said[1] == said[3] == ""
    assert said[2].startswith("¿Dónde")


def test_sentences_come_back_whole_and_in_order(marian: Marian) -> None:
    given = [
        Sentence(text, "en", "es") for text in ("Yes.", "The longer sentence stands between the short ones.", "No.")
    ]
    done = marian.translate(given)
    assert [(s.text, s.source, s.target) for s in done] == [(s.text, s.source, s.target) for s in given]
    assert all(len(s.candidates) == 1 for s in done)
    assert marian.translate([]) == []


def test_the_golden_sentences_and_checksums_hold() -> None:
    verdict = verify(DEMO)
    assert verdict.files == 9
    assert verdict.golden >= verdict.asked / 2 > 0


def test_the_same_batch_says_the_same_twice_and_in_threads(marian: Marian) -> None:
    texts = ("The castle stands on a hill.", "We need water.", "Press the button twice to open the door.")
    expected = say(marian, *texts)
    with ThreadPoolExecutor(4) as pool:
        assert all(said == expected for said in pool.map(lambda _: say(marian, *texts), range(8)))


def test_padding_is_never_said_and_every_row_ends(marian: Marian) -> None:
    model = marian.model("en", "es")
    rows = [
        model.tokenizer.encode(text) for text in ("Go.", "The old king looked at the sea for a long time.", "zxq vbn")
    ]
    for ids in model.generate(rows):
        assert ids[-1] == 0
        assert 0 not in ids[:-1]
        assert 6999 not in ids


def test_length_is_bounded_for_any_input() -> None:
    model = Marian(SETTINGS.model_copy(update={"max_length": 12})).model("en", "es")
    (ids,) = model.generate([model.tokenizer.encode("qqq www " * 3)])
    assert len(ids) <= 11
    assert ids[-1] == 0


def test_text_beyond_the_models_length_is_cut_and_nothing_is_dropped() -> None:
    engine = Marian(SETTINGS.model_copy(update={"max_length": 24}))
    model = engine.model("en", "es")
    text = " ".join(["The king is old."] * 12)
    pieces = model._pieces(text, "en")
    assert all(len(piece) <= 24 for piece in pieces)
    assert say(engine, text)[0].count("rey") >= 8
    assert len(model._pieces("x" * 100, "en")) > 1


def test_a_repeated_ngram_can_be_forbidden() -> None:
    free = Marian(SETTINGS).model("en", "es")
    strict = Marian(SETTINGS.model_copy(update={"no_repeat_ngram": 2})).model("en", "es")
    rows = [free.tokenizer.encode("Katherine Johnson visited Ljubljana with Mr. Nguyen.")]

    loose, tight = list(pairwise(free.generate(rows)[0])), list(pairwise(strict.generate(rows)[0]))
    assert len(set(loose)) < len(loose)
    assert len(set(tight)) == len(tight)


def test_pairs_are_read_from_manifests_without_weights(tmp_path: Path) -> None:
    copy(tmp_path / "romance", source_languages=["es", "fr"], target_language="en")
    for graph in ("source_embedding.onnx", "encoder.onnx", "target_embedding.onnx", "decoder.onnx", "projection.onnx"):
        path = tmp_path / "romance" / graph
        path.write_bytes(bytes(path.stat().st_size))
    settings = SETTINGS.model_copy(update={"artifacts": (str(DEMO), f"{tmp_path}/*")})
    assert available(settings) == {("en", "es"), ("es", "en"), ("fr", "en")}
    assert Marian(settings).pairs == available(settings)


def test_pairs_are_mixed_and_go_through_english_where_they_must(tmp_path: Path, marian: Marian) -> None:
    folder = copy(tmp_path / "fr-en", source_languages=["fr"], target_language="en")
    engine = Marian(SETTINGS.model_copy(update={"artifacts": (str(DEMO), str(folder))}))
    text = "The castle stands on a hill."
    given = [Sentence(text, "fr", "es"), Sentence(text, "en", "es"), Sentence(text, "es", "es")]
    done = [s.candidates[0] for s in engine.translate(given)]
    assert done[1] == say(marian, text)[0]
    assert done[0] == say(marian, done[1])[0]
    assert done[2] == text


def test_a_pair_without_a_model_names_the_command(marian: Marian) -> None:
    with pytest.raises(ArtifactMissing, match=r"python -m export translation Helsinki-NLP/opus-mt-en-de --out"):
        say(marian, "Hello.", target="de")
    with pytest.raises(UnsupportedLanguage, match="choose one of: en, hy"):
        say(marian, "Hello.", target="nl")


def test_cuda_that_cannot_be_used_is_said_and_the_cpu_works(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        said = say(Marian(SETTINGS.model_copy(update={"device": "cuda"})), "We need water.")
    assert "agua" in said[0]
    assert "runs on the CPU" in caplog.text


def test_a_flipped_byte_is_found_by_verify(tmp_path: Path) -> None:
    folder = copy(tmp_path / "en-es")
    graph = bytearray((folder / "encoder.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (folder / "encoder.onnx").write_bytes(graph)
    with pytest.raises(ArtifactMissing, match=r"encoder\.onnx of en-es changed since export"):
        verify(folder)


def test_another_models_golden_sentences_are_not_repeated(tmp_path: Path) -> None:
    golden = [["Yes.", "Ja."], ["No.", "Nein."]]
    with pytest.raises(ArtifactMissing, match="repeats only 0 of 2 golden"):
        verify(copy(tmp_path / "en-es", golden=golden))


def test_a_sentence_does_not_know_its_neighbours(marian: Marian) -> None:
    """Alone, in any batch and in any order, with or without padding: the same words."""
    texts = [*PROBES["en"], "The king is old.", "The river comes from the mountains.", "The price is 250 euros."]
    alone = [say(marian, text)[0] for text in texts]
    assert say(marian, *texts) == alone
    assert say(marian, *reversed(texts)) == alone[::-1]
    assert say(marian, *texts[::2]) == alone[::2]


def test_joining_and_leaving_in_mid_flight_changes_nothing(marian: Marian) -> None:
    """Many callers at once, each with its own sentences, on a budget that a few sentences fill."""
    texts = [*PROBES["en"], "The king is old.", "The river comes from the mountains.", "The price is 250 euros."]
    alone = {text: say(marian, text) for text in texts}
    tight = Marian(SETTINGS.model_copy(update={"cache_tokens": 300, "batch_tokens": 64}))
    with ThreadPoolExecutor(12) as pool:
        done = [(text, pool.submit(say, tight, text)) for text in texts * 4]
        assert all(future.result() == alone[text] for text, future in done)


def test_beams_give_candidates_best_first_and_do_not_know_their_neighbours() -> None:
    wide = Marian(SETTINGS.model_copy(update={"beam_size": 4, "candidates": 3}))
    sentences = [Sentence(text, "en", "es") for text in PROBES["en"]]
    together = wide.translate(sentences)
    assert together == [wide.translate([sentence])[0] for sentence in sentences]
    for sentence in together:
        assert 1 < len(sentence.candidates) <= 3
        assert len(set(sentence.candidates)) == len(sentence.candidates)


def test_a_long_text_in_pieces_has_candidates_too() -> None:
    wide = Marian(SETTINGS.model_copy(update={"beam_size": 2, "max_length": 24}))
    (done,) = wide.translate([Sentence(" ".join(["The king is old."] * 12), "en", "es")])
    assert len(done.candidates) == 2
    assert all(text.count("rey") >= 8 for text in done.candidates)


def test_bad_words_are_not_said() -> None:
    text = "The castle stands on a hill."
    free = say(Marian(SETTINGS), text)[0]
    strict = say(Marian(SETTINGS.model_copy(update={"bad_words": ("castillo",)})), text)[0]
    assert "castillo" in free
    assert "castillo" not in strict


def test_futures_are_there_before_the_words(marian: Marian) -> None:
    future = marian.submit(Sentence("We need water.", "en", "es"))
    assert "agua" in future.result(30).candidates[0]
    with pytest.raises(ArtifactMissing):
        marian.submit(Sentence("We need water.", "en", "de"))


def test_memory_follows_the_tokens_that_are_alive(marian: Marian) -> None:
    rows = marian.model("en", "es")._batcher._network.rows(64, 256)
    resident = _resident_kb()
    for row in range(64):
        rows._said.array[:, row] = 1
    grown = _resident_kb() - resident
    for row in range(64):
        rows.leave(row)
    assert grown > 10_000
    assert _resident_kb() - resident < grown / 4


def _resident_kb() -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
