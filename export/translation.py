"""Any Marian checkpoint → an artifact that the engine serves: graphs, tokenizer, manifest.

The graphs are written from the weights, without tracing (`graphs` says how, and what int8 is here). The price of eight
bits is agreement with the checkpoint: about one sentence in ten is worded differently; the manifest says how many were.

Everything is made in a folder beside the target and moved in file by file, the manifest last.
"""

import json
import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.engines import TranslationSettings
from configs.pipeline import LANGUAGES
from export import graphs
from export.probes import PROBES
from export.scores import read_pairs, score
from models.artifact import MANIFEST, Artifact, File, Manifest, digest, read
from models.errors import ArtifactMissing
from models.translation.marian import MarianModel
from models.translation.pairs import ISO3, MODELS

SERVED = TranslationSettings(device="cpu")
GREEDY = TranslationSettings(device="cpu", beam_size=1)
"""Parity and golden sentences are greedy, which shows the graphs best; scores are those of the search that serves."""

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
        stage = Path(scratch, "stage", order.out.name)
        stage.mkdir(parents=True)
        print(f"writing the graphs of {order.model}, {'int8' if order.quantise else 'fp32'} …")
        _tokenizer(order.model, Path(scratch, "tokenizer"), stage)
        _graphs(order.model, config, stage, order.quantise)
        manifest = _describe(order, config, stage)
        manifest = _measure(order, Artifact(stage, manifest))
        (stage / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")
        _move_in(stage, order.out, manifest)
    artifact = read(order.out)
    print(f"{order.out}: {sum(file.bytes for file in artifact.manifest.files.values()) / 1e6:.1f} MB, ready")
    return artifact


def _hush() -> None:
    """The libraries warn at length about settings that play no part here."""
    warnings.simplefilter("ignore")
    for name in ("transformers", "torch", "onnxruntime"):
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


def _tokenizer(model: str, scratch: Path, stage: Path) -> None:
    from transformers import MarianTokenizer

    with _complete(model):
        MarianTokenizer.from_pretrained(model).save_pretrained(scratch)
    for name in TOKENIZER:
        if (scratch / name).is_file():
            shutil.copyfile(scratch / name, stage / name)


def _graphs(model: str, config: Any, stage: Path, quantise: bool) -> None:
    import onnx

    weights = _weights(model)
    written = {
        "embedding": graphs.embedding(weights, config, "encoder", quantise),
        "encoder": graphs.encoder(weights, config, quantise),
        "decoder": graphs.decoder(weights, config, quantise),
        "projection": graphs.projection(weights, config, quantise),
    }
    if not config.share_encoder_decoder_embeddings:
        written["target_embedding"] = graphs.embedding(weights, config, "decoder", quantise)
    for name, graph in written.items():
        onnx.save(graph, stage / f"{name}.onnx")


def _weights(model: str) -> graphs.Weights:
    from transformers import MarianMTModel

    with _complete(model):
        network = MarianMTModel.from_pretrained(model)
    return {name: tensor.float().numpy() for name, tensor in network.state_dict().items()}


@contextmanager
def _complete(model: str) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ArtifactMissing(
            f"the checkpoint {model} is incomplete; download it again, weights and tokenizer"
        ) from error


def _describe(order: Order, config: Any, stage: Path) -> Manifest:
    sources, target = _languages(order)
    files = {f.name: File(bytes=f.stat().st_size, sha256=digest(f)) for f in sorted(stage.iterdir())}
    return Manifest(
        kind="translation",
        source=_source_name(order.model),
        revision=getattr(config, "_commit_hash", None) or _fingerprint(Path(order.model)),
        quantisation="int8-rows" if order.quantise else "none",
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
    greedy, engine = (MarianModel(artifact, settings) for settings in (GREEDY, SERVED))
    probes = order.sentences or PROBES[language]
    ours = greedy.translate(probes)
    theirs = _reference(order.model, artifact.manifest, probes)
    agreeing = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(f"{agreeing} of {len(probes)} sentences read exactly as the checkpoint's own (greedy)")
    scores = {path.stem: score(engine, path) for path in order.test_sets}
    for name, values in scores.items():
        print(f"{name}: {values}")
    golden = tuple(zip(PROBES[language], greedy.translate(PROBES[language]), strict=True))
    facts = {"parity": f"{agreeing} of {len(probes)} sentences", "golden": golden, "scores": scores}
    return artifact.manifest.model_copy(update=facts)


def _reference(model: str, manifest: Manifest, texts: Sequence[str]) -> list[str]:
    """What the checkpoint itself says, in torch, greedy, a sentence at a time."""
    import torch
    from transformers import MarianMTModel, MarianTokenizer

    tokenizer, network = MarianTokenizer.from_pretrained(model), MarianMTModel.from_pretrained(model).eval()
    torch.set_num_threads(1)  # two would spend their time waiting for each other on a busy machine
    said = []
    with torch.inference_mode():
        for text in texts:
            batch = tokenizer(f"{manifest.target_prefix} {text}".strip(), return_tensors="pt", truncation=True)
            limit = min(GREEDY.max_length, manifest.positions)
            ids = network.generate(**batch, num_beams=1, do_sample=False, max_length=limit)
            said.append(tokenizer.decode(ids[0], skip_special_tokens=True))
    return said


def _move_in(stage: Path, out: Path, manifest: Manifest) -> None:
    out.mkdir(exist_ok=True)
    for name in (*manifest.files, MANIFEST):
        (stage / name).replace(out / name)
