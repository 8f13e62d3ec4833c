"""The tokenizer on the embedded model's own tables; agreement with transformers is in tests/weights."""

import json
import shutil
from pathlib import Path

import pytest

from models.translation.tokenizer import Tokenizer

FOLDER = Path(__file__).parents[2] / "models" / "demo" / "en-es"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(FOLDER)


def test_text_comes_back_from_its_ids(tokenizer: Tokenizer) -> None:
    text = "Hoy vamos a hablar de la historia de esta ciudad."
    ids = tokenizer.encode(text)
    assert ids[-1] == tokenizer.end
    assert tokenizer.unknown not in ids
    assert tokenizer.decode(ids) == text


def test_a_prefix_is_one_token_and_is_never_said(tokenizer: Tokenizer) -> None:
    table = json.loads((FOLDER / "vocab.json").read_text("utf-8"))
    assert tokenizer.encode("Hello.", ">>spa<<") == [table[">>spa<<"], *tokenizer.encode("Hello.")]
    assert tokenizer.decode(tokenizer.encode("Hello.", ">>spa<<")) == "Hello."
    assert tokenizer.knows("")
    assert tokenizer.knows(">>spa<<")
    assert not tokenizer.knows(">>fra<<")


def test_special_tokens_in_the_text_are_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("one </s> two >>spa<< three <pad>")
    assert ids.count(tokenizer.end) == 1
    assert json.loads((FOLDER / "vocab.json").read_text("utf-8"))[">>spa<<"] not in ids


def test_empty_text_is_the_end_alone(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("") == [tokenizer.end]
    assert tokenizer.decode([tokenizer.end]) == ""


def test_signs_without_a_piece_are_unknown_and_are_left_out(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("漢")
    assert tokenizer.unknown in ids
    assert tokenizer.decode([*ids, 10**6]) == ""


def test_a_model_with_two_vocabularies_decodes_with_the_second(tmp_path: Path) -> None:
    for name in ("source.spm", "target.spm", "vocab.json"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "target_vocab.json").write_text(json.dumps({"▁gato": 5, "</s>": 0}), "utf-8")
    assert Tokenizer(tmp_path).decode([5, 0]) == "gato"
