"""What a checkpoint's card and name tell, and which of the libraries' errors mean a full disk."""

import errno
from pathlib import Path

import pytest

from export.languages import languages, prefix
from export.origin import UNKNOWN, complete, licence, tools
from models.errors import ArtifactMissing


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ("---\nlicense: [mit, cc-by-4.0]\n---\n", "mit, cc-by-4.0"),
        ("---\nlicense: other\nlicense_name: own-terms\n---\n", "own-terms"),
        ("---\nlicense: other\n---\n", UNKNOWN),
        ("---\nlicense: [\n---\n", UNKNOWN),
        ("# no head at all\n", UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_the_licence_is_the_cards(tmp_path: Path, card: str | None, expected: str) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card, "utf-8")
    assert licence(str(tmp_path), None) == expected


def test_tools_have_versions_and_strangers_are_unknown() -> None:
    assert tools("onnxruntime")["onnxruntime"][0].isdigit()
    assert tools("no-such-package")["no-such-package"] == "unknown"


def test_damage_is_one_sentence_and_a_full_disk_is_not_damage() -> None:
    with pytest.raises(ArtifactMissing, match="the checkpoint x is incomplete; download it again"), complete("x"):
        raise KeyError("model.layers.0")
    with pytest.raises(OSError, match="No space"), complete("x"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_languages_are_told_by_the_name_or_by_whoever_asks() -> None:
    assert languages("Helsinki-NLP/opus-mt-en-jap") == (("en",), "ja")
    assert languages("Helsinki-NLP/opus-mt-tc-big-en-pt") == (("en",), "pt")
    assert languages("/some/where/opus-mt-ROMANCE-en/") == (("es", "fr", "it", "pt"), "en")
    assert languages("own", ("en", "de"), "fr") == (("en", "de"), "fr")
    with pytest.raises(ArtifactMissing, match="add --source and --target"):
        languages("own", ("en",), "klingon")


def test_the_target_token_is_found_or_asked_for() -> None:
    several = {">>por<<": 1, ">>pob<<": 2, "a": 3}
    assert prefix("Helsinki-NLP/opus-mt-tc-big-en-pt", "pt", several, None) == ">>por<<"
    assert prefix("own", "es", {"a": 1}, None) == ""
    assert prefix("own", "es", {">>spa<<": 1, ">>cat<<": 2}, None) == ">>spa<<"
    with pytest.raises(ArtifactMissing, match="add --prefix, one of: >>pob<< >>por<<"):
        prefix("own", "de", several, None)
