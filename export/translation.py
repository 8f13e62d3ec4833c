"""Any Marian checkpoint → an artifact that the engine serves: graphs, tokenizer, manifest.

The graphs are written from the weights, without tracing (`graphs` says how, and what int8 is here). The price of eight
bits is agreement with the checkpoint: about one sentence in ten is worded differently; the manifest says how many were.

An artifact that misses the thresholds on the few sentences of an export is kept, with that verdict in its manifest:
they are too few to condemn it. `verify` with text of your own is the judge, and its exit status the gate.
"""

import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx

from configs.export import ExportSettings
from export import graphs
from export.calibration import watch
from export.graph import ACTIVATIONS, OPSET
from export.half import carry, half
from export.languages import languages, prefix
from export.origin import commit, complete, licence, revision, source_name, tools
from export.parity import GREEDY, SERVED, compare
from export.probes import PROBES
from export.reference import EXAMPLE, Checkpoint
from export.scores import read_pairs, score
from export.staging import staged
from models.artifact import MANIFEST, Artifact, File, Manifest, digest, read
from models.errors import ArtifactMissing
from models.translation.marian import MarianModel
from models.translation.tokenizer import Tokenizer

NAMES = {"none": "fp32", "float16": "fp16"}
TOKENIZER = ("source.spm", "target.spm", "vocab.json", "target_vocab.json")


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
    half: bool = False  # float16, whatever `quantise` says

    @property
    def quantisation(self) -> str:
        """As the manifest names it."""
        return "float16" if self.half else "int8" if self.quantise else "none"


def export(order: Order) -> Artifact:
    """Makes the artifact and prints how it goes. Minutes for a full-size model, seconds for a small one.

    Raises ArtifactMissing when the checkpoint cannot be had, is no Marian model, or does not say which languages it
    translates, and OutOfSpace for a full disk; then what was at `order.out` before is still there.
    """
    with quiet():
        checkpoint = Checkpoint(order.model)
        _feasible(order, checkpoint)
        with staged(order.out) as stage:
            manifest = _make(order, checkpoint, stage)
            write(stage, manifest)
        artifact = read(order.out)
    print(f"{order.out}: {sum(file.bytes for file in artifact.manifest.files.values()) / 1e6:.1f} MB, ready")
    return artifact


def write(folder: Path, manifest: Manifest) -> None:
    """Puts the manifest into its folder in one step."""
    fresh = folder / f".{MANIFEST}.part"
    fresh.write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")
    fresh.replace(folder / MANIFEST)


def listed(stage: Path) -> dict[str, File]:
    """Size and checksum of every file that was made."""
    return {path.name: File(bytes=path.stat().st_size, sha256=digest(path)) for path in sorted(stage.iterdir())}


def today() -> str:
    return datetime.now(UTC).date().isoformat()


@contextmanager
def quiet() -> Iterator[None]:
    """The libraries warn at length about settings that play no part here."""
    speaks = logging.root.manager.disable
    logging.disable(logging.WARNING)  # transformers sets its loggers' levels anew when it is imported
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(speaks)


def _feasible(order: Order, checkpoint: Checkpoint) -> None:
    """What can be known to fail fails before the weights are read."""
    languages(order.model, order.sources, order.target)
    for path in order.test_sets:
        read_pairs(path, 1)
    activation = checkpoint.config.activation_function
    if activation not in ACTIVATIONS:
        raise ArtifactMissing(
            f"{order.model} uses the activation {activation}, which cannot be exported;"
            f" give a model with one of: {', '.join(ACTIVATIONS)}, such as {EXAMPLE}"
        )


def _make(order: Order, checkpoint: Checkpoint, stage: Path) -> Manifest:
    print(f"reading {order.model} …")
    _tokenizer(checkpoint, stage)
    print(f"writing the graphs, {NAMES.get(order.quantisation, order.quantisation)} …")
    _graphs(order, checkpoint, stage)
    manifest = _describe(order, checkpoint, stage)
    print("comparing with the checkpoint, greedy and with beams …")
    return _measure(order, Artifact(stage, manifest), checkpoint)


def _tokenizer(checkpoint: Checkpoint, stage: Path) -> None:
    with complete(checkpoint.name):
        scratch = stage.with_name(f"{stage.name}.tokenizer")
        checkpoint.tokenizer.save_pretrained(scratch)
    for name in TOKENIZER:
        if (scratch / name).is_file():
            shutil.copyfile(scratch / name, stage / name)


def _graphs(order: Order, checkpoint: Checkpoint, stage: Path) -> None:
    weights, config = checkpoint.weights(), checkpoint.config
    tokenizer = Tokenizer(stage)
    source, target = np.arange(config.vocab_size), np.array(tokenizer.sayable())
    rows = [tokenizer.encode(text) for text in PROBES[languages(order.model, order.sources, order.target)[0][0]]]
    seen = watch(checkpoint.network, rows) if order.quantisation == "int8" else {}
    written = {
        "source_embedding": graphs.embedding(weights, config, "encoder", source, seen),
        "encoder": graphs.encoder(weights, config, seen),
        "target_embedding": graphs.embedding(weights, config, "decoder", target, seen),
        "decoder": graphs.decoder(weights, config, seen),
        "projection": graphs.projection(weights, config, target, seen),
    }
    if order.half:
        written = {name: half(graph) for name, graph in written.items()} | {"carry": carry(config)}
    for name, graph in written.items():
        onnx.save(graph, stage / f"{name}.onnx")
    np.save(stage / "words.npy", target)


def _describe(order: Order, checkpoint: Checkpoint, stage: Path) -> Manifest:
    sources, target = languages(order.model, order.sources, order.target)
    vocabulary, config = json.loads((stage / "vocab.json").read_text("utf-8")), checkpoint.config
    return Manifest(
        kind="translation",
        source=source_name(order.model),
        revision=revision(order.model, config),
        quantisation=order.quantisation,
        opset=OPSET,
        tools=tools("onnx", "onnxruntime", "transformers", "torch"),
        source_languages=sources,
        target_language=target,
        target_prefix=prefix(order.model, target, vocabulary, order.prefix),
        licence=order.licence or licence(order.model, commit(config)),
        created=today(),
        tokens={"start": config.decoder_start_token_id, "end": config.eos_token_id, "pad": config.pad_token_id},
        positions=config.max_position_embeddings,
        files=listed(stage),
    )


def _measure(order: Order, artifact: Artifact, checkpoint: Checkpoint) -> Manifest:
    """The manifest with parity, verdict, golden translations and scores, of the very files that will be served."""
    manifest, language = artifact.manifest, artifact.manifest.source_languages[0]
    parity = compare(artifact, checkpoint, order.sentences or PROBES[language])
    verdict = parity.judged(ExportSettings().for_translation(manifest.quantisation))
    agreeing = f"{round(parity.greedy.same * parity.sentences)} of {parity.sentences} sentences"
    print(f"{agreeing} read exactly as the checkpoint's own (greedy), chrF {parity.greedy.chrf:g}")
    if not verdict.passed:
        print(f"on these few, {'; '.join(verdict.missed)}: verify it with --sentences and more text before it serves")
    greedy, engine = (MarianModel(artifact, settings) for settings in (GREEDY, SERVED))
    scores = {path.stem: score(engine, path) for path in order.test_sets}
    for name, values in scores.items():
        print(f"{name}: {values}")
    golden = tuple(zip(PROBES[language], greedy.translate(PROBES[language]), strict=True))
    facts = {"parity": agreeing, "verdict": verdict, "golden": golden, "scores": scores | parity.scores()}
    return manifest.model_copy(update=facts)
