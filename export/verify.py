"""Is an artifact still what its manifest says? Checksums first, then, for translation, the golden sentences, and, when
the checkpoint is at hand, the same text through both.

Golden sentences may differ a little between processors, because int8 kernels round differently (VNNI or not): so the
check asks for half of them, which a swapped or damaged model does not reach.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from configs.engines import TranslationSettings
from export.parity import Parity, Thresholds, compare
from export.probes import PROBES
from models.artifact import MANIFEST, Artifact, damaged, read
from models.errors import ArtifactMissing
from models.translation.marian import MarianModel


@dataclass(frozen=True, slots=True)
class Verdict:
    files: int
    golden: int  # sentences that read as they did at export
    asked: int


def verify(folder: Path) -> Verdict:
    """Raises ArtifactMissing, naming what is wrong and the command that makes the artifact again."""
    artifact = read(folder)
    broken = damaged(artifact)
    if broken:
        again = artifact.manifest.command
        raise ArtifactMissing(f"{', '.join(broken)} of {folder.name} changed since export; make it again: {again}")
    verdict = Verdict(len(artifact.manifest.files), _golden(artifact), len(artifact.manifest.golden))
    if 2 * verdict.golden < verdict.asked:
        raise ArtifactMissing(
            f"{folder.name} repeats only {verdict.golden} of {verdict.asked} golden sentences;"
            f" make it again: {artifact.manifest.command}"
        )
    return verdict


def against(folder: Path, checkpoint: str, texts: Sequence[str] = (), thresholds: Thresholds = Thresholds()) -> Parity:  # noqa: B008
    """Compares with the checkpoint, on `texts` or on plain sentences of ours, and writes the figures to the manifest.

    They are written whether they please or not. Raises ArtifactMissing, naming what was missed, for thresholds that
    are not met, and for a checkpoint that cannot be had.
    """
    artifact = read(folder)
    parity = compare(artifact, checkpoint, texts or _plain(artifact))
    _write(artifact, parity)
    missed = thresholds.failed(parity)
    if missed:
        raise ArtifactMissing(
            f"{folder.name} is too far from its checkpoint ({', '.join(missed)}); export it with --no-quantise"
        )
    return parity


def _plain(artifact: Artifact) -> tuple[str, ...]:
    return tuple(text for language in artifact.manifest.source_languages for text in PROBES[language])


def _write(artifact: Artifact, parity: Parity) -> None:
    scores = {**artifact.manifest.scores, "checkpoint": {name: float(x) for name, x in asdict(parity).items()}}
    manifest = artifact.manifest.model_copy(update={"scores": scores})
    fresh = artifact.folder / f".{MANIFEST}.part"
    fresh.write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")
    fresh.replace(artifact.folder / MANIFEST)


def _golden(artifact: Artifact) -> int:
    if artifact.manifest.kind != "translation" or not artifact.manifest.golden:
        return 0
    texts, expected = zip(*artifact.manifest.golden, strict=True)
    said = MarianModel(artifact, TranslationSettings(device="cpu", beam_size=1)).translate(texts)
    return sum(a == b for a, b in zip(said, expected, strict=True))
