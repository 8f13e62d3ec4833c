"""Many models in one go: which ones a pair needs, what is left alone, and that one failure ends only itself."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from configs.export import ExportSettings
from export.__main__ import app
from export.batch import for_all, for_pairs, named, run, table
from export.translation import Order
from models.artifact import MANIFEST, Artifact, digest, read
from models.errors import ArtifactMissing, OutOfSpace, UnsupportedLanguage
from models.translation.pairs import MODELS

ROOT = Path("models/local")


def made(order: Order) -> Artifact:
    order.out.mkdir(parents=True, exist_ok=True)
    (order.out / "encoder.onnx").write_bytes(b"weights")
    file = {"bytes": 7, "sha256": digest(order.out / "encoder.onnx")}
    facts = {
        "kind": "translation", "source": order.model, "revision": "1", "quantisation": order.quantisation,
        "created": "2026-01-01", "files": {"encoder.onnx": file},
        "scores": {"checkpoint.greedy": {"same": 0.9}, "checkpoint.beam4": {"chrf": 97.5}},
    }  # fmt: skip
    (order.out / MANIFEST).write_text(json.dumps(facts), "utf-8")
    return read(order.out)


def test_a_pair_is_its_model_or_its_two_models_each_once() -> None:
    assert [(order.model, order.out.name) for order in for_pairs(["en-de"], ROOT)] == [
        ("Helsinki-NLP/opus-mt-en-de", "en-de")
    ]
    through_english = for_pairs(["hy-fr", "hy-en"], ROOT)
    assert [order.out.name for order in through_english] == ["hy-en", "en-fr"]
    portuguese, chinese = for_pairs(["en-pt", "en-zh"], ROOT, quantise=False)
    assert (portuguese.model, portuguese.prefix) == ("Helsinki-NLP/opus-mt-tc-big-en-pt", ">>por<<")
    assert (chinese.prefix, chinese.quantise) == (">>cmn_Hans<<", False)


def test_all_are_all_of_the_table_in_folders_of_their_own() -> None:
    orders = for_all(ROOT)
    assert len({order.out for order in orders}) == len(orders) == len(MODELS)


@pytest.mark.parametrize(
    ("pair", "error", "words"),
    [
        ("ende", ArtifactMissing, "'ende' is no pair of languages; write --pair en-de"),
        ("en-en", ArtifactMissing, "en-en needs no model"),
        ("en-xx", UnsupportedLanguage, "the language 'xx' is not supported"),
    ],
)
def test_what_is_no_pair_is_said(pair: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        for_pairs([pair], ROOT)


def test_a_name_tells_its_folder() -> None:
    assert named("Helsinki-NLP/opus-mt-ROMANCE-en", ROOT).out.name == "es-fr-it-pt-en"
    with pytest.raises(ArtifactMissing, match="does not tell the languages"):
        named("somebody/model", ROOT)


def test_a_failure_ends_only_itself_and_the_table_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def some(order: Order) -> Artifact:
        if order.out.name == "en-fr":
            raise OutOfSpace("the disk is full")
        if order.out.name == "en-it":
            raise RuntimeError("a surprise")
        return made(order)

    outcomes = run(for_pairs(["en-fr", "en-de", "en-it", "en-es"], tmp_path), make=some)
    assert [outcome.state for outcome in outcomes] == ["failed", "made", "failed", "made"]
    assert outcomes[0].reason == "the disk is full"
    assert outcomes[2].reason == "it failed in an unforeseen way; export it alone to see how"
    assert "[2/4] Helsinki-NLP/opus-mt-en-de" in capsys.readouterr().out
    columns = {column.header: list(column.cells) for column in table(outcomes).columns}
    assert columns["folder"] == ["en-fr", "en-de", "en-it", "en-es"]
    assert columns["greedy same"] == ["", "90%", "", "90%"]
    assert columns["beam chrF"] == ["", "97.5", "", "97.5"]


def test_only_what_is_whole_and_made_that_way_is_left_alone(tmp_path: Path) -> None:
    orders = for_pairs(["en-fr", "en-de", "en-it"], tmp_path)
    for order in orders:
        made(order)
    (tmp_path / "en-de" / "encoder.onnx").write_bytes(b"flipped")
    (tmp_path / "en-it" / MANIFEST).unlink()
    assert [outcome.state for outcome in run(orders, make=made)] == ["there", "made", "made"]
    assert [outcome.state for outcome in run(orders, make=made)] == ["there", "there", "there"]
    assert {outcome.state for outcome in run(orders, again=True, make=made)} == {"made"}
    exact = for_pairs(["en-fr", "en-de", "en-it"], tmp_path, quantise=False)
    assert {outcome.state for outcome in run(exact, make=made)} == {"made"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["translation"], "name a checkpoint, or give --pair en-de"),
        (["translation", "a/opus-mt-en-de", "a/opus-mt-en-fr", "--out", "x"], "go with one name"),
        (["translation", "--pair", "en-de", "--prefix", ">>deu<<"], "go with one name"),
    ],
)
def test_what_does_not_go_together_is_said(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert words in done.output


def test_fp32_is_asked_for_more_than_int8() -> None:
    settings = ExportSettings()
    assert settings.for_translation("none").same == 1
    assert settings.for_translation("int8").same < 1
    assert settings.for_recognition("float32").word_error_rate == 0
    assert settings.for_recognition("int8").word_error_rate > 0
