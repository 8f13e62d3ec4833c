"""The exporter, against torch: the same tokens, the same ids, and clear words when it cannot work."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from configs.engines import TranslationSettings
from export.translation import Order, export
from models.artifact import Artifact, read
from models.errors import ArtifactMissing
from models.translation.marian import MarianModel
from models.translation.tokenizer import Tokenizer

REPOSITORY = Path(__file__).parents[2]
DEMO = REPOSITORY / "models" / "demo" / "en-es"
CHECKPOINT = REPOSITORY.parent / "shared" / "demo_mt" / "checkpoint"
TEXTS = (
    "Hello everyone, and welcome back to the channel.",
    "A triangle has three sides and three angles.",
    "Yes.",
    "The museum opens at 10 o'clock and closes at 6:30.",
    "You can pay at the desk, or online.",
    "Where did you put the keys?",
    "The army marched north for three days before it found the river.",
    "Click the button in the upper right corner of the window.",
    "In 1847, the town had about 1,200 people.",
    "He said: “I am not afraid of you!”",
    "Mix the flour, the eggs and the milk until smooth.",
    "Stars are born in clouds of gas and dust.",
    "If it rains tomorrow, we will stay at home and read.",
    "My sister's friend lives in a small house near the sea.",
    "This option is not available for shared printers.",
    "The dragon slept under the mountain for a thousand years.",
    "Thank you very much!",
    "How much water does a plant need every day?",
    "We lost the war, but we did not lose our hope.",
    "Open the file, change the second line, and save it again.",
    "naïve café — 東京 ½ €5",
)

FEW = ("Yes.",)

pytestmark = pytest.mark.filterwarnings("ignore")
"""transformers warns about settings that play no part here."""


@pytest.fixture(scope="module")
def checkpoint() -> Path:
    if not CHECKPOINT.is_dir():
        pytest.skip("the demo checkpoint is not there")
    return CHECKPOINT


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained Marian checkpoint with the demo's tokenizer, named like one on the hub."""
    from transformers import MarianConfig, MarianMTModel, set_seed

    set_seed(3)
    sizes: dict[str, Any] = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "vocab_size": 7000}
    sizes |= {
        f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in (("ffn_dim", 48), ("attention_heads", 4))
    }
    config = MarianConfig(
        **sizes, decoder_vocab_size=7000, pad_token_id=6999, eos_token_id=0, decoder_start_token_id=6999,
        forced_eos_token_id=0, max_position_embeddings=64, init_std=0.4,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("hub") / "opus-mt-en-es"
    network = MarianMTModel(config)
    network.generation_config.bad_words_ids = [[6999]]
    network.save_pretrained(folder)
    for name in ("source.spm", "target.spm", "vocab.json"):
        shutil.copy(DEMO / name, folder)
    return folder


def reference(
    checkpoint: Path, texts: tuple[str, ...], beams: int = 1, start: list[int] | None = None, **options: Any
) -> list[list[int]]:
    """The ids that torch finds, without start and padding; `start` is what its decoder begins with."""
    import torch
    from transformers import MarianMTModel, MarianTokenizer

    torch.set_num_threads(1)
    tokenizer = MarianTokenizer.from_pretrained(checkpoint)
    network = MarianMTModel.from_pretrained(checkpoint).eval()
    options |= {"num_beams": beams, "do_sample": False}
    options |= {"decoder_input_ids": torch.tensor([start])} if start else {}
    with torch.inference_mode():
        batches = [tokenizer(text, return_tensors="pt") for text in texts]
        return [network.generate(**batch, **options)[0].tolist()[1:] for batch in batches]


def engine(artifact: Artifact, **settings: Any) -> MarianModel:
    return MarianModel(artifact, TranslationSettings(device="cpu", **({"beam_size": 1} | settings)))


@pytest.fixture(scope="module")
def fp32(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export(Order(str(tiny), tmp_path_factory.mktemp("out") / "traced", quantise=False, sentences=FEW))


def test_the_tokenizer_agrees_with_transformers(tiny: Path) -> None:
    from transformers import MarianTokenizer

    theirs, ours = MarianTokenizer.from_pretrained(tiny), Tokenizer(tiny)
    for text in (*TEXTS, "  two  spaces ", "tab\tand\nline", "ALL CAPS!!", "1,000.50", "Ünïcödé 🙂"):
        ids = theirs(text)["input_ids"]
        assert ours.encode(text) == ids
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert ours.encode("Hello.", ">>spa<<") == theirs(">>spa<< Hello.")["input_ids"]


def test_fp32_says_the_same_tokens_as_torch_to_the_last_place(fp32: Artifact, tiny: Path) -> None:
    """Untrained weights babble until the limit, which a trained model seldom reaches."""
    model = engine(fp32, max_length=40)
    ours = model.generate([model.tokenizer.encode(text) for text in TEXTS])
    limits = [min(40, 3 * len(model.tokenizer.encode(text)) + 17) for text in TEXTS]
    expected = [reference(tiny, (text,), max_length=limit)[0] for text, limit in zip(TEXTS, limits, strict=True)]
    assert ours == expected
    assert max(map(len, ours)) == 39


def test_the_demo_checkpoint_in_fp32_equals_torch(checkpoint: Path, tmp_path: Path) -> None:
    artifact = export(Order(str(checkpoint), tmp_path / "en-es", ("en",), "es", quantise=False, sentences=TEXTS[:3]))
    assert artifact.manifest.parity == "3 of 3 sentences"
    model = engine(artifact)
    rows = [model.tokenizer.encode(text) for text in TEXTS]
    expected = reference(checkpoint, TEXTS, max_length=256)
    assert model.generate(rows) == expected
    assert [model.generate([row])[0] for row in rows] == expected
    assert engine(artifact, batch_tokens=64, cache_tokens=256).generate(rows) == expected


def test_beams_in_fp32_equal_torch_and_end_where_torch_ends(checkpoint: Path, tmp_path: Path) -> None:
    artifact = export(Order(str(checkpoint), tmp_path / "en-es", ("en",), "es", quantise=False, sentences=FEW))
    for penalty in (1.0, 0.4):
        model = engine(artifact, beam_size=4, length_penalty=penalty)
        rows = [model.tokenizer.encode(text) for text in TEXTS]
        assert model.generate(rows) == reference(checkpoint, TEXTS, 4, max_length=256, length_penalty=penalty)


@pytest.mark.parametrize("beams", [1, 4])
def test_openings_and_greatest_lengths_equal_torch_row_by_row(checkpoint: Path, tmp_path: Path, beams: int) -> None:
    """Rows with openings of none to three tokens, and with other limits, all in one running batch."""
    artifact = export(Order(str(checkpoint), tmp_path / "en-es", ("en",), "es", quantise=False, sentences=FEW))
    model = engine(artifact, beam_size=beams)
    rows = [model.tokenizer.encode(text) for text in TEXTS]
    spoken = [list(model.tokenizer.spellings(words)[0]) for words in ("el", "un día", "no sé si", "ayer")]
    openings = [spoken[i % 4][: i % 5] for i in range(len(TEXTS))]
    longest = [(4, 1, 60, 17)[i % 4] for i in range(len(TEXTS))]
    said = model.generate(rows, openings, longest)
    start = artifact.manifest.tokens["start"]
    expected = [
        reference(checkpoint, (text,), beams, start=[start, *opening], max_new_tokens=most)[0]
        for text, opening, most in zip(TEXTS, openings, longest, strict=True)
    ]
    assert said == [ids[: ids.index(0) + 1] for ids in expected]
    assert all(len(ids) - len(opening) <= most for ids, opening, most in zip(said, openings, longest, strict=True))
    assert len({len(opening) for opening in openings}) > 2
    assert [model.generate([row], [opening], [most])[0] for row, opening, most in
            zip(rows, openings, longest, strict=True)] == said  # fmt: skip
    assert model.generate(rows, openings) != model.generate(rows)


def test_an_opening_that_cannot_be_said_is_refused(fp32: Artifact) -> None:
    model = engine(fp32, max_length=12)
    row = model.tokenizer.encode("Yes.")
    with pytest.raises(ValueError, match="never says"):
        model.generate([row], [[123456]])
    with pytest.raises(ValueError, match="no room"):
        model.generate([row], [[5] * 11])
    with pytest.raises(ValueError, match="none is allowed"):
        model.generate([row], longest=[0])
    assert len(model.generate([row], [[5] * 10])[0]) == 11


def test_untrained_beams_equal_torch_to_the_last_place(fp32: Artifact, tiny: Path) -> None:
    model = engine(fp32, max_length=20, beam_size=3)
    ours = model.generate([model.tokenizer.encode(text) for text in TEXTS])
    expected = reference(tiny, TEXTS, 3, max_length=20)
    assert ours == [ids[: ids.index(0) + 1] for ids in expected]
    assert max(map(len, ours)) == 19


def test_rules_of_speech_equal_those_of_torch(checkpoint: Path, tmp_path: Path) -> None:
    artifact = export(Order(str(checkpoint), tmp_path / "en-es", ("en",), "es", quantise=False, sentences=FEW))
    model = engine(artifact, no_repeat_ngram=2, bad_words=("de", "la"))
    banned = [list(ids) for word in ("de", "la") for ids in model.tokenizer.spellings(word)]
    rows = [model.tokenizer.encode(text) for text in TEXTS]
    rules: dict[str, Any] = {"no_repeat_ngram_size": 2, "bad_words_ids": [[6999], *banned]}
    ours = model.generate(rows)
    assert ours == reference(checkpoint, TEXTS, max_length=256, **rules)
    assert ours != engine(artifact).generate(rows)


def test_an_untied_vocabulary_and_a_bias_are_exported_too(tiny: Path, tmp_path: Path) -> None:
    import torch
    from transformers import MarianMTModel

    network = MarianMTModel.from_pretrained(tiny)
    network.config.share_encoder_decoder_embeddings = False
    network.config.tie_word_embeddings = False
    network = MarianMTModel(network.config)
    torch.manual_seed(4)
    network.final_logits_bias.normal_()
    network.generation_config.bad_words_ids = [[6999]]
    folder = shutil.copytree(tiny, tmp_path / "opus-mt-en-es")
    network.save_pretrained(folder)
    artifact = export(Order(str(folder), tmp_path / "out", quantise=False, sentences=FEW))
    assert "target_embedding.onnx" in artifact.manifest.files
    model = engine(artifact, max_length=12)
    texts = TEXTS[:5]
    ours = model.generate([model.tokenizer.encode(text) for text in texts])
    assert ours == reference(folder, texts, max_length=12)


def test_int8_is_smaller_and_its_manifest_tells_everything(tiny: Path, fp32: Artifact, tmp_path: Path) -> None:
    artifact = export(Order(str(tiny), tmp_path / "int8", licence="CC-BY-4.0"))
    manifest = artifact.manifest
    assert read(tmp_path / "int8").manifest == manifest
    assert (manifest.source, manifest.quantisation, manifest.licence) == ("opus-mt-en-es", "int8", "CC-BY-4.0")
    assert manifest.pairs == {("en", "es")}
    assert manifest.tokens == {"start": 6999, "end": 0, "pad": 6999}
    assert manifest.positions == 64
    assert manifest.revision.startswith("sha256:")
    assert manifest.parity.endswith("of 6 sentences")
    assert manifest.opset == 18
    assert set(manifest.tools) == {"exporter", "onnx", "onnxruntime", "transformers", "torch"}
    assert manifest.tools["onnx"] == onnx.__version__
    assert manifest.verdict is not None
    assert manifest.verdict.thresholds["chrf"] == 90
    assert set(manifest.scores) == {"checkpoint.greedy", "checkpoint.beam4"}
    for graph in ("encoder.onnx", "decoder.onnx"):
        assert manifest.files[graph].bytes < fp32.manifest.files[graph].bytes  # its embeddings, nearly all of it, stay
    assert list(tmp_path.iterdir()) == [tmp_path / "int8"]


def test_what_lies_beside_an_artifact_stays_when_it_is_made_again(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "en-es").mkdir()
    (tmp_path / "en-es" / "README.md").write_text("mine", "utf-8")
    export(Order(str(tiny), tmp_path / "en-es", quantise=False, sentences=FEW))
    assert (tmp_path / "en-es" / "README.md").read_text("utf-8") == "mine"


def test_a_prefix_must_be_known_to_the_vocabulary(tiny: Path, tmp_path: Path) -> None:
    assert export(Order(str(tiny), tmp_path / "a", prefix=">>spa<<", sentences=FEW)).manifest.target_prefix == ">>spa<<"
    with pytest.raises(ArtifactMissing, match=r"add --prefix, one of: >>spa<<"):
        export(Order(str(tiny), tmp_path / "b", prefix=">>fra<<"))
    assert not (tmp_path / "b").exists()


def test_a_checkpoint_of_another_family_is_refused(tmp_path: Path) -> None:
    from transformers import T5Config

    T5Config().save_pretrained(tmp_path / "t5")
    with pytest.raises(ArtifactMissing, match="is a t5 model; give a Marian one"):
        export(Order(str(tmp_path / "t5"), tmp_path / "out", ("en",), "es"))


def test_languages_that_nobody_named_are_asked_for(tiny: Path, tmp_path: Path) -> None:
    unnamed = shutil.copytree(tiny, tmp_path / "mymodel")
    with pytest.raises(
        ArtifactMissing, match="the name mymodel does not tell the languages; add --source and --target"
    ):
        export(Order(str(unnamed), tmp_path / "out"))


def test_a_checkpoint_without_weights_is_incomplete(tiny: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(tiny, tmp_path / "opus-mt-en-es")
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").unlink()
    with pytest.raises(ArtifactMissing, match="is incomplete; download it again, weights and tokenizer"):
        export(Order(str(broken), tmp_path / "out"))
    (broken / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ArtifactMissing, match="is incomplete"):
        export(Order(str(broken), tmp_path / "out"))
    (broken / "model.safetensors").write_bytes(weights)
    (broken / "source.spm").unlink()
    with pytest.raises(ArtifactMissing, match="is incomplete"):
        export(Order(str(broken), tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.iterdir()) == [broken]


def test_tensors_that_transformers_would_make_up_are_missed(tiny: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    broken = shutil.copytree(tiny, tmp_path / "opus-mt-en-es")
    tensors = load_file(broken / "model.safetensors")
    del tensors["model.decoder.layers.1.fc1.weight"]
    save_file(tensors, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(ArtifactMissing, match=r"is incomplete, it lacks model\.decoder\.layers\.1\.fc1\.weight"):
        export(Order(str(broken), tmp_path / "out"))


def test_an_activation_that_no_operator_does_is_named(tiny: Path, tmp_path: Path) -> None:
    odd = shutil.copytree(tiny, tmp_path / "opus-mt-en-es")
    config = json.loads((odd / "config.json").read_text("utf-8")) | {"activation_function": "tanh"}
    (odd / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ArtifactMissing, match="uses the activation tanh, which cannot be exported; give a model with"):
        export(Order(str(odd), tmp_path / "out"))


def test_without_the_exporters_libraries_their_installation_is_named(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ArtifactMissing, match=r"install it with: pip install -e '\.\[export\]'"):
        export(Order(str(tiny), tmp_path / "out"))


def test_the_licence_is_read_from_the_card_unless_it_is_given(tiny: Path, tmp_path: Path) -> None:
    carded = shutil.copytree(tiny, tmp_path / "opus-mt-en-es")
    (carded / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# A card\n", "utf-8")
    order = Order(str(carded), tmp_path / "out", sentences=FEW)
    assert export(order).manifest.licence == "cc-by-4.0"
    assert export(replace(order, licence="MIT")).manifest.licence == "MIT"
    (carded / "README.md").write_text("# A card that says nothing\n", "utf-8")
    assert export(order).manifest.licence == "see the model card of the checkpoint"


def test_scores_are_measured_on_a_test_set(tiny: Path, tmp_path: Path) -> None:
    rows = tmp_path / "mine.tsv"
    rows.write_text("Yes.\tSí.\nNo.\tNo.\n", "utf-8")
    scores = export(Order(str(tiny), tmp_path / "out", test_sets=(rows,), sentences=FEW)).manifest.scores
    assert scores["mine"]["sentences"] == 2
    assert 0 <= scores["mine"]["chrf"] <= 100
    with pytest.raises(ArtifactMissing, match=r"empty\.tsv holds no sentence pairs"):
        export(Order(str(tiny), tmp_path / "other", test_sets=(tmp_path / "empty.tsv",), sentences=FEW))
