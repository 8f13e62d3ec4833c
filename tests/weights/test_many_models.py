"""Several real models in one engine: memory, what is loaded when, and what is refused. All are the embedded one under
other manifests: which model answers is what matters here, not what it says."""

import gc
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from configs.engines import TranslationSettings
from models.artifact import MANIFEST, read
from models.errors import ArtifactMissing
from models.segment import Sentence
from models.translation.marian import Marian
from models.translation.shelf import held, trim

DEMO = Path(__file__).parents[2] / "models" / "demo" / "en-es"
TEXT = "The castle stands on a hill."
MIB = 2**20


def copy(folder: Path, source: str, **facts: object) -> Path:
    """The embedded model as `source` to English."""
    shutil.copytree(DEMO, folder / f"{source}-en")
    path = folder / f"{source}-en" / MANIFEST
    manifest = json.loads(path.read_text("utf-8")) | {"source_languages": [source], "target_language": "en"} | facts
    path.write_text(json.dumps(manifest), "utf-8")
    return path.parent


def engine(*folders: Path, **settings: object) -> Marian:
    gc.collect()  # errors that earlier tests caught keep their engines
    artifacts = tuple(map(str, (DEMO, *folders)))
    return Marian(TranslationSettings(artifacts=artifacts, device="cpu", beam_size=1).model_copy(update=settings))


def say(marian: Marian, source: str = "en", target: str = "es", text: str = TEXT) -> str:
    return marian.translate([Sentence(text, source, target)])[0].candidates[0]


def resident() -> int:
    trim()
    return held()


def test_an_evicted_models_memory_goes_back_and_it_says_the_same_again(tmp_path: Path) -> None:
    say(engine())  # what the runtime allocates once is not a model's
    folders = [copy(tmp_path, source) for source in ("fr", "de", "it", "pt", "ru")]
    pairs = [("en", "es"), *((folder.name[:2], "en") for folder in folders)]
    before, free = resident(), engine(*folders)
    said = [say(free, *pair) for pair in pairs]
    all_six = resident() - before
    assert free.loaded == [f"{source}-{target}" for source, target in pairs]
    del free

    before, tight = resident(), engine(*folders, memory_mb=16)
    assert [say(tight, *pair) for pair in pairs] == said
    assert tight.loaded == ["ru-en"]
    assert all_six > 20 * MIB and resident() - before < all_six / 2
    assert say(tight, *pairs[0]) == said[0]
    assert tight.loaded == ["en-es"]


def test_sentences_of_many_pairs_at_once_share_room_for_one_model(tmp_path: Path) -> None:
    """Those under way on a model that must go are finished first; a pair through English needs two in turn."""
    folders = copy(tmp_path, "fr"), copy(tmp_path, "de")
    pairs = [("en", "es"), ("fr", "es"), ("de", "en")] * 4
    tight, free = engine(*folders, memory_mb=8), engine(*folders, memory_mb=0)
    expected = [say(free, *pair) for pair in pairs[:3]] * 4
    futures = [tight.submit(Sentence(TEXT, *pair)) for pair in pairs]
    assert [future.result(60).candidates[0] for future in futures] == expected
    assert len(tight.loaded) == 1


def test_what_is_loaded_beforehand(tmp_path: Path) -> None:
    folders = copy(tmp_path, "fr"), copy(tmp_path, "de")
    loaded = {}
    for preload in ((), ("en-es",), ("*-en",), ("fr-es",), ("*",)):
        marian = engine(*folders, preload=preload)
        marian.preload()
        loaded[preload] = sorted(marian.loaded)
    assert list(loaded.values()) == [
        [], ["en-es"], ["de-en", "fr-en"], ["en-es", "fr-en"], ["de-en", "en-es", "fr-en"]
    ]  # fmt: skip


def test_a_pair_that_is_wanted_beforehand_and_missing_names_the_command() -> None:
    with pytest.raises(ArtifactMissing, match="no model translates en to de; make it with: python -m export trans"):
        engine(preload=("en-*", "en-de")).preload()


def test_a_model_that_forgot_its_golden_sentences_is_refused_and_the_others_work(tmp_path: Path) -> None:
    folder = copy(tmp_path, "fr", golden=[["Yes.", "Ja."], ["No.", "Nein."], ["Water.", "Wasser."], [TEXT, "Burg."]])
    marian = engine(folder)
    for _ in range(2):
        with pytest.raises(ArtifactMissing, match=r"fr-en knows only 0 of 4 golden sentences; .* export verify fr-en,"):
            say(marian, "fr", "en")
    assert "castillo" in say(marian)
    with pytest.raises(ArtifactMissing, match="fr-en knows only"):
        marian.preload()


def test_half_of_the_golden_sentences_are_enough(tmp_path: Path) -> None:
    golden = [list(pair) for pair in read(DEMO).manifest.golden]
    half = [*golden[:3], *([text, "Nein"] for text, _ in golden[3:])]
    assert say(engine(copy(tmp_path, "fr", golden=half)), "fr", "en")
    with pytest.raises(ArtifactMissing, match="knows only 2 of 6"):
        say(engine(copy(tmp_path, "de", golden=[*half[:2], *half[3:], [TEXT, "Nein"]])), "de", "en")


@pytest.mark.parametrize("width", [1, 4])
def test_golden_sentences_hold_whatever_the_settings_forbid(width: int) -> None:
    words = tuple(text.strip(".") for _, text in read(DEMO).manifest.golden)
    engine(beam_size=width, bad_words=("a", "de", *words), max_length=24, no_repeat_ngram=1).preload()


def test_damaged_graphs_name_the_command_that_looks_at_them(tmp_path: Path) -> None:
    folder = copy(tmp_path, "fr")
    graph = folder / "decoder.onnx"
    whole = graph.read_bytes()
    marian = engine(folder)
    graph.write_bytes(bytes(len(whole)))
    with pytest.raises(ArtifactMissing, match="model fr-en cannot be loaded; look at it with: python -m export verify"):
        say(marian, "fr", "en")
    graph.write_bytes(whole[:-9])
    with pytest.raises(ArtifactMissing, match=r"decoder\.onnx of fr-en is missing or cut short; make it again: python"):
        say(marian, "fr", "en")
    graph.write_bytes(whole)
    assert say(marian, "fr", "en")


def test_an_error_keeps_no_weights(tmp_path: Path) -> None:
    folder = copy(tmp_path, "fr")
    (folder / "projection.onnx").write_bytes(bytes((folder / "projection.onnx").stat().st_size))
    marian = engine(folder)
    say(marian)
    before = resident()
    errors = [marian.submit(Sentence(TEXT, "fr", "en")).exception(30) for _ in range(6)]
    assert all(isinstance(error, ArtifactMissing) and error.__cause__ for error in errors)
    assert resident() - before < 12 * MIB


def test_weights_that_turned_to_noise_are_refused(tmp_path: Path) -> None:
    """The file, nearly all of it one table, loads: only the golden sentences know."""
    folder = copy(tmp_path, "fr")
    graph = folder / "projection.onnx"
    content = np.frombuffer(graph.read_bytes(), np.uint8).copy()
    middle = slice(len(content) // 8, len(content) // 8 * 7)
    content[middle] = content[middle][::-1]
    graph.write_bytes(content.tobytes())
    with pytest.raises(ArtifactMissing, match=r"fr-en knows only [012] of 6 golden sentences"):
        say(engine(folder), "fr", "en")


def test_a_model_that_was_exported_again_is_read_again(tmp_path: Path) -> None:
    folder = copy(tmp_path, "fr")
    tight = engine(folder, memory_mb=8)
    say(tight, "fr", "en")
    say(tight)
    assert tight.loaded == ["en-es"]
    shutil.rmtree(folder)
    copy(tmp_path, "fr", golden=[["Yes.", "Ja."]])
    with pytest.raises(ArtifactMissing, match="knows only 0 of 1"):
        say(tight, "fr", "en")


def test_a_caller_with_one_sentence_does_not_wait_for_one_with_hundreds() -> None:
    marian = engine(cache_tokens=600)
    many = [marian.submit(Sentence(f"{TEXT} It has {n} rooms.", "en", "es"), "many") for n in range(300)]
    one = marian.submit(Sentence("We need water.", "en", "es"), "one")
    assert "agua" in one.result(30).candidates[0]
    assert sum(future.done() for future in many) < 60
    for future in many:
        future.cancel()


def test_sentences_that_are_given_up_end_at_once() -> None:
    marian = engine()
    say(marian)
    many = [marian.submit(Sentence(f"{TEXT} It has {n} rooms.", "en", "es")) for n in range(400)]
    given_up = [future.cancel() for future in reversed(many)]
    assert sum(given_up) > 350
    assert "agua" in say(marian, text="We need water.")
    batcher = marian.model("en", "es")._batcher
    for worker in list(batcher._workers):
        worker.join(1)
    assert not batcher._workers
    assert not batcher._waiting


def test_scores_are_mean_log_probabilities_beside_their_candidates(tmp_path: Path) -> None:
    wide = engine(copy(tmp_path, "fr"), beam_size=4)
    long = " ".join([TEXT, "We need water."] * 30)
    sentences = [Sentence(TEXT, "en", "es"), Sentence(long, "en", "es"), Sentence(TEXT, "fr", "es")]
    for done in wide.translate(sentences):
        assert len(done.scores) == len(done.candidates) > 1
        assert -3 < done.scores[0] < 0 and all(score < 0 for score in done.scores)
    first = wide.translate(sentences[:1])[0]
    assert list(first.scores) == sorted(first.scores, reverse=True)
    (empty,) = wide.translate([Sentence("", "en", "es")])
    assert (empty.candidates, empty.scores) == (("",), ())
    assert engine().translate(sentences[:1])[0].scores == ()
