"""`export verify --against`: an artifact beside its checkpoint, good and damaged, and what each threshold does."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from configs.engines import TranslationSettings
from export.__main__ import app
from export.logits import first_logits
from export.parity import Parity, Thresholds, compare, logit_error, token_agreement
from export.verify import against
from models.artifact import MANIFEST, read
from models.errors import ArtifactMissing
from models.translation.marian import MarianModel

REPOSITORY = Path(__file__).parents[2]
DEMO = REPOSITORY / "models" / "demo" / "en-es"
CHECKPOINT = REPOSITORY.parent / "shared" / "demo_mt" / "checkpoint"
TEXTS = ("Yes.", "Where did you put the keys?", "", "The army marched north for three days before it found the river.")
GOOD = Parity(sentences=3, same=1.0, token_agreement=1.0, bleu=100.0, chrf=100.0, logit_error=0.0)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return shutil.copytree(DEMO, tmp_path / "en-es")


@pytest.fixture(scope="module")
def checkpoint() -> str:
    if not CHECKPOINT.is_dir():
        pytest.skip("the demo checkpoint is not there")
    return str(CHECKPOINT)


def test_the_figures_are_written_to_the_manifest_and_the_rest_of_it_stays(artifact: Path, checkpoint: str) -> None:
    before = read(artifact).manifest
    parity = against(artifact, checkpoint, TEXTS)
    after = read(artifact).manifest
    assert (parity.sentences, after.scores["checkpoint"]["chrf"]) == (3, parity.chrf)
    assert parity.chrf > 90
    assert 0 < parity.logit_error < 0.1
    assert after.model_copy(update={"scores": before.scores}) == before
    assert not list(artifact.glob(".*"))


def test_the_command_line_fails_on_a_threshold_and_keeps_the_figures(artifact: Path, checkpoint: str) -> None:
    (artifact.parent / "text.tsv").write_text("Yes.\tSí.\n", "utf-8")
    command = ["verify", str(artifact), "--against", checkpoint, "--sentences", str(artifact.parent / "text.tsv")]
    assert CliRunner().invoke(app, command).exit_code == 0
    done = CliRunner().invoke(app, [*command, "--max-logit-error", "0.00001"])
    assert isinstance(done.exception, ArtifactMissing)
    assert "logit_error" in str(done.exception)
    assert "is above 1e-05" in str(done.exception)
    assert json.loads((artifact / MANIFEST).read_text("utf-8"))["scores"]["checkpoint"]["sentences"] == 1


def test_without_text_plain_sentences_are_compared(artifact: Path, checkpoint: str) -> None:
    assert against(artifact, checkpoint, thresholds=Thresholds(0, 0, 0)).sentences == 6


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"token_agreement": 0.5}, "token_agreement 0.5 is below 0.85"),
        ({"bleu": 79.9}, "bleu 79.9 is below 80"),
        ({"chrf": 10.0}, "chrf 10 is below 90"),
        ({"logit_error": 0.2}, "logit_error 0.2 is above 0.1"),
        ({"logit_error": float("nan")}, "logit_error nan is above 0.1"),
    ],
)
def test_each_threshold_catches_its_own_figure(values: dict[str, float], words: str) -> None:
    facts = {name: getattr(GOOD, name) for name in GOOD.__slots__} | values
    assert Thresholds().failed(Parity(**facts)) == [words]


def test_nothing_is_missed_by_equal_models() -> None:
    assert Thresholds().failed(GOOD) == []


def test_token_agreement_counts_places_of_the_longer_side() -> None:
    assert token_agreement([[5, 6, 0], [1, 0]], [[5, 6, 7, 0], [1, 0]]) == pytest.approx(4 / 6)


def test_logit_error_is_relative_and_leaves_out_what_is_ruled_out() -> None:
    theirs = np.array([1.0, 3.0, 5.0, -np.inf], np.float32)
    assert logit_error([theirs + np.float32(0.5)], [theirs]) == pytest.approx(0.5 / theirs[:3].std())
    assert logit_error([theirs[:2]], [theirs]) == float("inf")


def test_first_logits_point_at_the_first_word_and_leave_the_model_alone() -> None:
    model = MarianModel(read(DEMO), TranslationSettings(device="cpu"))
    row = model.tokenizer.encode("Where did you put the keys?")
    said = model.generate([row])
    logits = first_logits(model, row)
    assert logits.shape == (7000,)
    assert int(logits.argmax()) == said[0][0]
    assert model.generate([row]) == said


def test_what_cannot_be_compared_is_said(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match="checkpoint after --against cannot be read"):
        against(artifact, str(tmp_path / "nothing"), TEXTS)
    with pytest.raises(ArtifactMissing, match="there is no text to compare on"):
        against(artifact, "any", (" ",))
    manifest = json.loads((artifact / MANIFEST).read_text("utf-8")) | {"kind": "whisper"}
    (artifact / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(ArtifactMissing, match="is no translation model; verify it without --against"):
        compare(read(artifact), "any", TEXTS)
    assert "checkpoint" not in read(artifact).manifest.scores
