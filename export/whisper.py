"""Any Whisper checkpoint of transformers → a CTranslate2 folder that the recogniser serves, with a manifest.

The conversion is CTranslate2's own; this adds what makes it an artifact: the tokenizer and the features' settings
beside the weights, checksums, origin and licence, a comparison with the checkpoint, and a folder that is there whole or
not at all. The result goes into the settings as `asr: {model: FOLDER}`. The recogniser computes in int8 on a processor
whatever the folder holds, unless `compute_type` says otherwise; float16 is for GPUs.

The checkpoint is read twice, once to be converted and once to be heard, because both at once would need twice the
memory.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.export import ExportSettings
from export.origin import commit, complete, config, licence, revision, source_name, tools
from export.staging import staged
from export.transcripts import EXAMPLE, GOLDEN, Original, compared, said
from export.translation import listed, quiet, today, write
from models.artifact import Artifact, Manifest, read
from models.errors import ArtifactMissing

QUANTISATIONS = ("int8", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32")
"""CTranslate2's names."""

BESIDE = ("tokenizer.json", "preprocessor_config.json")
"""What the recogniser reads beside CTranslate2's own files."""


@dataclass(frozen=True, slots=True)
class Order:
    model: str
    out: Path
    quantisation: str = "int8"
    licence: str = ""


def export(order: Order) -> Artifact:
    """Makes the artifact and prints how it goes.

    Raises ArtifactMissing when the checkpoint cannot be had, is no Whisper model, or for an unknown quantisation, and
    OutOfSpace for a full disk; then what was at `order.out` before is still there.
    """
    if order.quantisation not in QUANTISATIONS:
        raise ArtifactMissing(f"{order.quantisation} is no quantisation; choose one of: {', '.join(QUANTISATIONS)}")
    with quiet():
        found = config(order.model, "whisper", EXAMPLE)
        with staged(order.out) as stage:
            write(stage, _make(order, found, stage))
        artifact = read(order.out)
    print(f"{order.out}: {sum(file.bytes for file in artifact.manifest.files.values()) / 1e6:.1f} MB, ready")
    return artifact


def _make(order: Order, config: Any, stage: Path) -> Manifest:
    print(f"converting {order.model}, {order.quantisation} …")
    _convert(order, config, stage)
    print("comparing with the checkpoint …")
    original = Original(order.model, commit(config))
    original.save_tokenizer(stage.parent / "tokenizer")
    for name in BESIDE:
        shutil.copyfile(stage.parent / "tokenizer" / name, stage / name)
    return _measured(_describe(order, config, stage), stage, original)


def _convert(order: Order, config: Any, stage: Path) -> None:
    from ctranslate2.converters import TransformersConverter

    with complete(order.model):
        converter = TransformersConverter(order.model, revision=commit(config))
        converter.convert(str(stage), quantization=order.quantisation, force=True)


def _describe(order: Order, config: Any, stage: Path) -> Manifest:
    return Manifest(
        kind="asr",
        source=source_name(order.model),
        revision=revision(order.model, config),
        quantisation=order.quantisation,
        tools=tools("ctranslate2", "faster-whisper", "transformers", "torch"),
        licence=order.licence or licence(order.model, commit(config)),
        created=today(),
        positions=config.max_target_positions,
        files=listed(stage),
    )


def _measured(manifest: Manifest, stage: Path, original: Original) -> Manifest:
    hearing = compared(stage, original)
    verdict = hearing.judged(ExportSettings().for_recognition(manifest.quantisation))
    agreeing = f"{hearing.token_agreement:.0%} of tokens, word error rate {hearing.word_error_rate:g}"
    print(f"a short recording: {agreeing} beside the checkpoint")
    if not verdict.passed:
        print(
            f"on this one, {'; '.join(verdict.missed)}: verify it with --audio and recordings of yours before it serves"
        )
    golden = ((GOLDEN, said(stage)),)
    facts = {"parity": agreeing, "verdict": verdict, "golden": golden, "scores": hearing.scores()}
    return manifest.model_copy(update=facts)
