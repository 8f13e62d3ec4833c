"""`export verify --against`: an artifact beside its checkpoint, good and damaged, and what each threshold does."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from configs.engines import TranslationSettings
from configs.export import ExportSettings, TranslationThresholds
from export.__main__ import app
from export.logits import first_logits
from export.parity import Likeness, Parity, logit_error, token_agreement
from export.verify import against, origin
from models.artifact import MANIFEST, digest, read
from models.errors import ArtifactMissing
from models.translation.marian import MarianModel

REPOSITORY = Path(__file__).parents[2]
DEMO = REPOSITORY / "models" / "demo" / "en-es"
CHECKPOINT = REPOSITORY.parent / "shared" / "demo_mt" / "checkpoint"
TEXTS = ("Yes.", "Where did you put the keys?", "", "The army marched north for three days before it found the river.")
EQUAL = Likeness(same=1.0, token_agreement=1.0, bleu=100.0, chrf=100.0)
GOOD = Parity(sentences=3, greedy=EQUAL, beam=EQUAL, width=4, logit_error=0.0)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    return shutil.copytree(DEMO, tmp_path / "en-es")


@pytest.fixture(scope="module")
def checkpoint() -> str:
    if not CHECKPOINT.is_dir():
        pytest.skip("the demo checkpoint is not there")
    return str(CHECKPOINT)


def test_figures_and_verdict_are_written_and_the_rest_of_the_manifest_stays(artifact: Path, checkpoint: str) -> None:
    before = read(artifact).manifest
    comparison = against(artifact, checkpoint, TEXTS)
    after = read(artifact).manifest
    greedy, beam = (after.scores[f"checkpoint.{search}"] for search in ("greedy", "beam4"))
    assert {"checkpoint.greedy": greedy, "checkpoint.beam4": beam} == comparison.figures
    assert (greedy["sentences"], beam["sentences"]) == (3, 3)
    assert min(greedy["chrf"], beam["chrf"]) > 90
    assert 0 < greedy["logit_error"] < 0.1
    assert after.verdict == comparison.verdict
    assert after.model_copy(update={"scores": before.scores, "verdict": before.verdict}) == before
    assert not list(artifact.glob(".*"))


def test_the_command_line_fails_on_a_threshold_and_keeps_the_figures(artifact: Path, checkpoint: str) -> None:
    (artifact.parent / "text.tsv").write_text("Yes.\tSí.\n", "utf-8")
    command = ["verify", str(artifact), "--against", checkpoint, "--sentences", str(artifact.parent / "text.tsv")]
    assert CliRunner().invoke(app, command).exit_code == 0
    done = CliRunner().invoke(app, [*command, "--max-logit-error", "0.00001"])
    assert isinstance(done.exception, ArtifactMissing)
    assert "logit_error" in str(done.exception)
    assert "is above 1e-05" in str(done.exception)
    assert "checkpoint.beam4: sentences 1, same 1" in done.output
    manifest = read(artifact).manifest
    assert manifest.scores["checkpoint.greedy"]["sentences"] == 1
    assert manifest.verdict
    assert not manifest.verdict.passed
    assert manifest.verdict.thresholds["logit_error"] == 0.00001


def test_a_damaged_weight_is_missed_by_no_figure(artifact: Path, checkpoint: str) -> None:
    """A layer's scales with the wrong sign: the checksum is made to fit, the text is not."""
    graph = onnx.load(artifact / "encoder.onnx")
    scales = next(tensor for tensor in graph.graph.initializer if tensor.name.endswith("fc1.scales"))
    scales.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scales) * np.float32(-1), scales.name))
    onnx.save(graph, artifact / "encoder.onnx")
    facts = json.loads((artifact / MANIFEST).read_text("utf-8"))
    file = artifact / "encoder.onnx"
    facts["files"]["encoder.onnx"] = {"bytes": file.stat().st_size, "sha256": digest(file)}
    (artifact / MANIFEST).write_text(json.dumps(facts), "utf-8")
    comparison = against(artifact, checkpoint)
    missed = " ".join(comparison.verdict.missed)
    assert all(figure in missed for figure in ("token_agreement", "bleu", "chrf", "logit_error"))
    with pytest.raises(ArtifactMissing, match=r"en-es is too far from its checkpoint \(greedy"):
        comparison.insist("en-es")


def test_without_text_plain_sentences_are_compared(artifact: Path, checkpoint: str) -> None:
    assert against(artifact, checkpoint).figures["checkpoint.greedy"]["sentences"] == 6


def test_text_that_is_too_long_for_the_model_is_left_out(artifact: Path, checkpoint: str) -> None:
    assert against(artifact, checkpoint, ("Yes.", "yes " * 600)).figures["checkpoint.greedy"]["sentences"] == 1


def test_an_artifact_from_a_folder_has_no_checkpoint_on_the_hub(artifact: Path) -> None:
    assert origin(artifact) == ""
    facts = json.loads((artifact / MANIFEST).read_text("utf-8")) | {"source": "Helsinki-NLP/opus-mt-en-es"}
    (artifact / MANIFEST).write_text(json.dumps(facts), "utf-8")
    assert origin(artifact) == "Helsinki-NLP/opus-mt-en-es"
    done = CliRunner().invoke(app, ["verify", str(artifact), "--quick"])
    assert (done.exit_code, "not compared with its checkpoint\n" in done.output) == (0, True)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"same": 0.7}, "same 0.7 is below 0.8"),
        ({"token_agreement": 0.5}, "token_agreement 0.5 is below 0.75"),
        ({"bleu": 79.9}, "bleu 79.9 is below 80"),
        ({"chrf": 10.0}, "chrf 10 is below 90"),
        ({"chrf": float("nan")}, "chrf nan is below 90"),
    ],
)
def test_each_threshold_catches_its_own_figure_in_both_searches(values: dict[str, float], words: str) -> None:
    thresholds = TranslationThresholds(same=0.8)
    assert replace(GOOD, greedy=replace(EQUAL, **values)).judged(thresholds).missed == (f"greedy {words}",)
    assert replace(GOOD, beam=replace(EQUAL, **values)).judged(thresholds).missed == (f"beam 4 {words}",)


@pytest.mark.parametrize("error", [0.2, float("nan")])
def test_the_logits_have_a_threshold_of_their_own(error: float) -> None:
    verdict = replace(GOOD, logit_error=error).judged(TranslationThresholds())
    assert verdict.missed == (f"logit_error {error:g} is above 0.1",)


def test_nothing_is_missed_by_equal_models() -> None:
    verdict = GOOD.judged(ExportSettings().exact_translation)
    assert (verdict.passed, verdict.missed) == (True, ())


def test_one_other_sentence_is_too_much_for_fp32() -> None:
    parity = replace(GOOD, beam=replace(EQUAL, same=0.998))
    assert parity.judged(ExportSettings().for_translation("none")).missed == ("beam 4 same 0.998 is below 1",)


def test_token_agreement_counts_places_of_the_longer_side() -> None:
    assert token_agreement([[5, 6, 0], [1, 0]], [[5, 6, 7, 0], [1, 0]]) == pytest.approx(4 / 6)
    assert token_agreement([[]], [[]]) == 1


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


def test_what_cannot_be_compared_is_said(artifact: Path, checkpoint: str, tmp_path: Path) -> None:
    before = read(artifact).manifest.verdict
    with pytest.raises(ArtifactMissing, match="there is no checkpoint"):
        against(artifact, str(tmp_path / "nothing"), TEXTS)
    with pytest.raises(ArtifactMissing, match="there is no text to compare on"):
        against(artifact, checkpoint, (" ",))
    assert read(artifact).manifest.verdict == before


def test_without_sacrebleu_its_installation_is_named(
    artifact: Path, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ArtifactMissing, match="install it with: pip install sacrebleu"):
        against(artifact, checkpoint, TEXTS)
