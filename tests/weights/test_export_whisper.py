"""Whisper checkpoints become folders that the recogniser serves: a trained one that understands, an untrained one, and
what is said when it cannot be done."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from configs.engines import AsrSettings
from configs.export import RecognitionThresholds
from export.__main__ import app
from export.transcripts import Hearing, edits
from export.verify import against, verify
from export.whisper import Order, export
from models.artifact import MANIFEST, Artifact, read
from models.asr.faster_whisper import FasterWhisper
from models.asr.weights import languages, locate
from models.errors import ArtifactMissing
from models.golden import clip
from tests.weights.whisper_checkpoint import trained, untrained

TALK = Path(__file__).parents[1] / "data" / "talk.mp4"
SAID = "Good morning and welcome to the museum."

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.en as transformers knows it."""
    return trained(tmp_path_factory.mktemp("hub") / "whisper-tiny.en")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("hub") / "whisper-untrained")


@pytest.fixture(scope="module")
def int8(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export(Order(str(checkpoint), tmp_path_factory.mktemp("out") / "whisper-tiny.en", licence="MIT"))


@pytest.fixture
def copy(int8: Artifact, tmp_path: Path) -> Path:
    return shutil.copytree(int8.folder, tmp_path / "whisper-tiny.en")


def changed(checkpoint: Path, folder: Path, factors: dict[str, float]) -> Path:
    """A copy of the checkpoint with tensors multiplied, or left out where the factor is 0."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(checkpoint, folder)
    tensors = load_file(folder / "model.safetensors")
    for name, factor in factors.items():
        tensor = tensors.pop(name)
        tensors |= {name: tensor * np.float32(factor)} if factor else {}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def hear(folder: Path) -> str:
    [transcript] = FasterWhisper(AsrSettings(model=str(folder), device="cpu")).recognize([clip()])
    return "".join(word.text for word in transcript.words).strip()


def test_a_trained_checkpoint_still_understands(int8: Artifact) -> None:
    assert hear(int8.folder) == SAID
    assert locate(str(int8.folder)) == int8.folder
    assert languages(AsrSettings(model=str(int8.folder))) == {"en"}


def test_its_manifest_tells_everything(int8: Artifact, checkpoint: Path) -> None:
    manifest = int8.manifest
    assert (manifest.kind, manifest.source, manifest.quantisation) == ("asr", "whisper-tiny.en", "int8")
    assert manifest.revision.startswith("sha256:")
    assert (manifest.licence, manifest.positions) == ("MIT", 448)
    assert set(manifest.tools) == {"exporter", "ctranslate2", "faster-whisper", "transformers", "torch"}
    assert manifest.golden == (("golden.flac", SAID),)
    assert manifest.scores["checkpoint.greedy"] == {"recordings": 1, "token_agreement": 1, "word_error_rate": 0}
    assert manifest.verdict
    assert manifest.verdict.passed
    assert manifest.files["model.bin"].bytes < (checkpoint / "model.safetensors").stat().st_size / 3
    assert manifest.command == (
        "python -m export whisper --quantisation int8 whisper-tiny.en --out models/local/whisper-tiny.en"
    )
    assert {path.name for path in int8.folder.iterdir()} == {MANIFEST, *manifest.files}


def test_verify_hears_a_whole_talk_beside_the_checkpoint(copy: Path, checkpoint: Path) -> None:
    assert verify(copy).golden == 1
    figures = against(copy, str(checkpoint), recordings=[TALK]).figures["checkpoint.greedy"]
    assert figures["recordings"] == 1
    assert figures["token_agreement"] > 0.9
    assert figures["word_error_rate"] < 0.1
    assert read(copy).manifest.scores["checkpoint.greedy"] == figures


def test_another_model_fails_on_the_command_line(copy: Path, tiny: Path, checkpoint: Path, tmp_path: Path) -> None:
    strange = changed(checkpoint, tmp_path / "other", {"model.encoder.layers.3.fc1.weight": -1})
    done = CliRunner().invoke(app, ["verify", str(copy), "--against", str(strange)])
    assert isinstance(done.exception, ArtifactMissing)
    assert "whisper-tiny.en is too far from its checkpoint (token_agreement" in str(done.exception)
    assert "word_error_rate" in str(done.exception)
    assert not read(copy).manifest.verdict.passed  # type: ignore[union-attr]
    lenient = ["verify", str(copy), "--against", str(strange), "--min-agreement", "0", "--max-wer", "1000"]
    assert CliRunner().invoke(app, lenient).exit_code == 0
    with pytest.raises(ArtifactMissing, match="has another vocabulary; name the checkpoint that was converted"):
        against(copy, str(tiny))


def test_other_golden_words_are_not_repeated(copy: Path) -> None:
    facts = json.loads((copy / MANIFEST).read_text("utf-8")) | {"golden": [["golden.flac", "Something else entirely."]]}
    (copy / MANIFEST).write_text(json.dumps(facts), "utf-8")
    with pytest.raises(ArtifactMissing, match=r"repeats only 0 of 1 golden sentences; .* export whisper"):
        verify(copy)


def test_a_recording_that_cannot_be_heard_is_named(copy: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "noise.wav").write_text("no sound", "utf-8")
    for path in (tmp_path / "noise.wav", tmp_path / "nothing.wav"):
        with pytest.raises(ArtifactMissing, match=f"{path.stem}.wav holds no sound that can be read; give --audio"):
            against(copy, str(checkpoint), recordings=[path])


def test_an_untrained_multilingual_one_in_fp32_says_the_same_tokens(tiny: Path, tmp_path: Path) -> None:
    artifact = export(Order(str(tiny), tmp_path / "out", "float32"))
    assert artifact.manifest.scores["checkpoint.greedy"]["token_agreement"] == 1
    assert languages(AsrSettings(model=str(artifact.folder))) is None
    with pytest.raises(ArtifactMissing, match="failed its golden question"):  # it can be run, and has learned nothing
        FasterWhisper(AsrSettings(model=str(artifact.folder), device="cpu"))


def test_what_cannot_be_converted_is_said_and_leaves_nothing(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ArtifactMissing, match="int3 is no quantisation; choose one of: int8, "):
        export(Order(str(tiny), out, "int3"))
    with pytest.raises(ArtifactMissing, match="there is no checkpoint"):
        export(Order(str(tmp_path / "nothing"), out))
    from transformers import T5Config

    T5Config().save_pretrained(tmp_path / "t5")
    with pytest.raises(ArtifactMissing, match=r"is a t5 model; give a Whisper one, such as openai/whisper-small"):
        export(Order(str(tmp_path / "t5"), out))
    broken = shutil.copytree(tiny, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes()[:100_000])
    with pytest.raises(ArtifactMissing, match="broken is incomplete; download it again"):
        export(Order(str(broken), out))
    assert {path.name for path in tmp_path.iterdir()} == {"t5", "broken"}


def test_lost_tensors_leave_the_old_artifact(tiny: Path, copy: Path, tmp_path: Path) -> None:
    broken = changed(tiny, tmp_path / "broken", {"model.encoder.conv1.weight": 0})
    before = read(copy).manifest
    with pytest.raises(ArtifactMissing, match=r"is incomplete, it lacks model\.encoder\.conv1\.weight"):
        export(Order(str(broken), copy))
    assert read(copy).manifest == before
    assert {path.name for path in tmp_path.iterdir()} == {"broken", copy.name}


def test_the_command_line_makes_one_too(tiny: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["whisper", str(tiny), "--out", str(tmp_path / "out"), "--quantisation", "float16"])
    assert done.exit_code == 0, done.output
    assert read(tmp_path / "out").manifest.quantisation == "float16"


def test_each_threshold_catches_its_own_figure() -> None:
    good, thresholds = Hearing(1, 1.0, 0.0), RecognitionThresholds()
    assert good.judged(thresholds).passed
    assert replace(good, token_agreement=0.5).judged(thresholds).missed == ("token_agreement 0.5 is below 0.9",)
    assert replace(good, word_error_rate=0.5).judged(thresholds).missed == ("word_error_rate 0.5 is above 0.1",)


def test_edits_are_the_fewest() -> None:
    assert edits("the cat sat".split(), "the cat sat".split()) == 0
    assert edits("the bat sat down".split(), "the cat sat".split()) == 2
    assert edits([], "the cat".split()) == 2
    assert edits("the cat".split(), []) == 2
