"""Any Marian checkpoint → an artifact that the engine serves: encoder, decoder with past, tokenizer, manifest.

optimum traces the checkpoint with torch; the two decoders (first token, later tokens) come out merged in one file.
int8 is by blocks: 32 weights of a row share a scale ahead of time, 32 activations of a row do so on the fly. Scaling
activations over a whole tensor, as ONNX Runtime's dynamic quantisation does, was tried first: it was a fifth faster on
batches, and a sentence's neighbours changed its wording in one case out of nine. With blocks no sentence knows of any
other: alone, in any batch and in any order it comes out the same. The price of eight bits is agreement with the
checkpoint: about one sentence in ten is worded differently; the manifest says how many were. Embeddings stay fp32.

Everything is made in a folder beside the target and moved in file by file, the manifest last.
"""

import json
import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.engines import TranslationSettings
from configs.pipeline import LANGUAGES
from export.probes import PROBES
from export.scores import read_pairs, score
from models.artifact import MANIFEST, Artifact, File, Manifest, digest, read
from models.errors import ArtifactMissing
from models.translation.marian import MarianModel
from models.translation.pairs import ISO3, MODELS

GRAPHS = {"encoder_model.onnx": "encoder.onnx", "decoder_model_merged.onnx": "decoder.onnx"}
"""optimum's file names → ours."""

BLOCK = 32
"""Weights, and activations, that share a scale."""

TOKENIZER = ("source.spm", "target.spm", "vocab.json", "target_vocab.json")
FAMILIES = {"jap": ("ja",), "ROMANCE": ("es", "fr", "it", "pt"), **{code: (code,) for code in LANGUAGES}}
"""Language codes in hub names → the ISO-639-1 codes that they stand for."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to export. Empty languages and prefix are worked out from the model's name and vocabulary."""

    model: str
    out: Path
    sources: tuple[str, ...] = ()
    target: str = ""
    prefix: str | None = None
    quantise: bool = True
    licence: str = ""
    sentences: tuple[str, ...] = ()
    test_sets: tuple[Path, ...] = ()


def export(order: Order) -> Artifact:
    """Makes the artifact and prints how it goes. Minutes for a full-size model, seconds for a small one.

    Raises ArtifactMissing when the checkpoint cannot be had, is no Marian model, or does not say which languages it
    translates.
    """
    with warnings.catch_warnings():
        _hush()
        return _export(order)


def _export(order: Order) -> Artifact:
    config = _config(order.model)
    _languages(order)
    for path in order.test_sets:
        read_pairs(path, 1)
    order.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=order.out.parent, prefix=".export-") as scratch:
        traced, stage = Path(scratch, "traced"), Path(scratch, "stage", order.out.name)
        stage.mkdir(parents=True)
        print(f"tracing {order.model} …")
        _trace(order.model, traced)
        print("quantising to int8 …" if order.quantise else "keeping fp32 …")
        _graphs(traced, stage, order.quantise)
        manifest = _describe(order, config, stage)
        manifest = _measure(order, Artifact(stage, manifest))
        (stage / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")
        _move_in(stage, order.out, manifest)
    artifact = read(order.out)
    print(f"{order.out}: {sum(file.bytes for file in artifact.manifest.files.values()) / 1e6:.1f} MB, ready")
    return artifact


def _hush() -> None:
    """Tracing warns at length about branches that are constant in Marian; the parity figure is the real check."""
    warnings.simplefilter("ignore")
    for name in ("optimum", "transformers", "torch", "root", "onnxruntime"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _config(model: str) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model)
    except (OSError, ValueError):
        raise ArtifactMissing(
            f"there is no checkpoint {model!r} in this folder or on the model hub, or the hub cannot be reached;"
            " check the name and the network, or give a folder that was downloaded elsewhere"
        ) from None
    if config.model_type != "marian":
        raise ArtifactMissing(
            f"{model} is a {config.model_type} model; give a Marian one, such as Helsinki-NLP/opus-mt-en-de"
        )
    return config


def _trace(model: str, folder: Path) -> None:
    from optimum.exporters.onnx import main_export

    try:
        main_export(model, folder, task="text2text-generation-with-past", device="cpu", do_validation=False)
    except (OSError, KeyError, ValueError) as error:
        raise ArtifactMissing(
            f"the checkpoint {model} is incomplete; download it again, weights and tokenizer"
        ) from error


def _graphs(traced: Path, stage: Path, quantise: bool) -> None:
    for theirs, ours in GRAPHS.items():
        if quantise:
            _quantise(traced / theirs, stage / ours)
        else:
            shutil.copyfile(traced / theirs, stage / ours)
    for name in TOKENIZER:
        if (traced / name).is_file():
            shutil.copyfile(traced / name, stage / name)


def _quantise(source: Path, target: Path) -> None:
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    # accuracy level 4: activations are int8 as well, and the products are sums of integers
    config = DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=True, accuracy_level=4, bits=8)
    quantizer = MatMulNBitsQuantizer(onnx.load(source), algo_config=config)
    quantizer.process()
    quantizer.model.save_model_to_file(str(target), False)


def _describe(order: Order, config: Any, stage: Path) -> Manifest:
    sources, target = _languages(order)
    files = {f.name: File(bytes=f.stat().st_size, sha256=digest(f)) for f in sorted(stage.iterdir())}
    return Manifest(
        kind="translation",
        source=_source_name(order.model),
        revision=getattr(config, "_commit_hash", None) or _fingerprint(Path(order.model)),
        quantisation=f"int8-block{BLOCK}" if order.quantise else "none",
        source_languages=sources,
        target_language=target,
        target_prefix=_prefix(order, target, stage),
        licence=order.licence or "see the model card of the checkpoint",
        created=datetime.now(UTC).date().isoformat(),
        tokens={"start": config.decoder_start_token_id, "end": config.eos_token_id, "pad": config.pad_token_id},
        positions=config.max_position_embeddings,
        files=files,
    )


def _source_name(model: str) -> str:
    """A hub name as it is; of a folder only its own name, since artifacts travel and paths do not."""
    return Path(model).absolute().name if Path(model).is_dir() else model


def _fingerprint(folder: Path) -> str:
    """A revision for a checkpoint without one: the digest over its weight files."""
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    return "sha256:" + "+".join(digest(path)[:12] for path in weights)


def _languages(order: Order) -> tuple[tuple[str, ...], str]:
    """Source and target codes: as ordered, else from the table of known models, else from the model's name."""
    known = [pair for pair, model in MODELS.items() if model.name == order.model]
    named = re.search(r"opus-mt-(?:tc-big-|tc-base-)?([A-Za-z]+)-([A-Za-z]+)$", order.model)
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    if named:
        sources, targets = (FAMILIES.get(code, ()) for code in named.groups())
    elif known:
        sources, targets = ((known[0][side],) for side in (0, 1))
    sources, targets = order.sources or sources, (order.target,) if order.target else targets
    if not sources or len(targets) != 1 or not set(sources + targets) <= set(LANGUAGES):
        raise ArtifactMissing(
            f"the name {_source_name(order.model)} does not tell the languages;"
            f" add --source and --target, out of {', '.join(LANGUAGES)}"
        )
    return sources, targets[0]


def _prefix(order: Order, target: str, stage: Path) -> str:
    """The target token: as ordered, else of a known model, else the only one that fits a vocabulary with several."""
    vocabulary = json.loads((stage / "vocab.json").read_text("utf-8"))
    tokens = sorted(piece for piece in vocabulary if re.fullmatch(r">>.+<<", piece))
    known = [model.prefix for model in MODELS.values() if model.name == order.model and model.prefix]
    wanted = order.prefix if order.prefix is not None else next(iter(known), None)
    if wanted is None:
        fitting = [token for token in tokens if token == f">>{ISO3[target]}<<"]
        wanted = "" if len(tokens) < 2 else next(iter(fitting), None)
    if wanted is None or (wanted and wanted not in tokens):
        raise ArtifactMissing(f"this model serves several target languages; add --prefix, one of: {' '.join(tokens)}")
    return wanted


def _measure(order: Order, artifact: Artifact) -> Manifest:
    """The manifest with parity, golden translations and scores, measured on the very files that will be served."""
    language = artifact.manifest.source_languages[0]
    engine = MarianModel(artifact, TranslationSettings(device="cpu"))
    probes = order.sentences or PROBES[language]
    ours = engine.translate(probes)
    theirs = _reference(order.model, artifact.manifest, probes)
    agreeing = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(f"{agreeing} of {len(probes)} sentences read exactly as the checkpoint's own (greedy)")
    scores = {path.stem: score(engine, path) for path in order.test_sets}
    for name, values in scores.items():
        print(f"{name}: {values}")
    golden = tuple(zip(PROBES[language], engine.translate(PROBES[language]), strict=True))
    facts = {"parity": f"{agreeing} of {len(probes)} sentences", "golden": golden, "scores": scores}
    return artifact.manifest.model_copy(update=facts)


def _reference(model: str, manifest: Manifest, texts: Sequence[str]) -> list[str]:
    """What the checkpoint itself says, in torch, greedy, a sentence at a time."""
    import torch
    from transformers import MarianMTModel, MarianTokenizer

    tokenizer, network = MarianTokenizer.from_pretrained(model), MarianMTModel.from_pretrained(model).eval()
    said = []
    with torch.inference_mode():
        for text in texts:
            batch = tokenizer(f"{manifest.target_prefix} {text}".strip(), return_tensors="pt", truncation=True)
            limit = min(TranslationSettings().max_length, manifest.positions)
            ids = network.generate(**batch, num_beams=1, do_sample=False, max_length=limit)
            said.append(tokenizer.decode(ids[0], skip_special_tokens=True))
    return said


def _move_in(stage: Path, out: Path, manifest: Manifest) -> None:
    out.mkdir(exist_ok=True)
    for name in (*manifest.files, MANIFEST):
        (stage / name).replace(out / name)
