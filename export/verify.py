"""Is an artifact still what its manifest says? Checksums first, then the golden answers, and then, when the checkpoint
is at hand, the same text or the same recording through both.

Golden answers may differ a little between processors, because int8 kernels round differently (VNNI or not): so the
check asks for half of the sentences, or half of the words of a recording, which a damaged model does not reach.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from configs.engines import TranslationSettings
from configs.export import ExportSettings, RecognitionThresholds, TranslationThresholds
from export.parity import Figures, Parity, compare
from export.probes import PROBES
from export.reference import Checkpoint
from export.transcripts import Hearing, edits, listen, said
from export.translation import quiet, write
from models.artifact import Artifact, Verdict, damaged, read
from models.errors import ArtifactMissing
from models.translation.marian import MarianModel

T = TypeVar("T", TranslationThresholds, RecognitionThresholds)


@dataclass(frozen=True, slots=True)
class Finding:
    files: int
    golden: int  # answers that are as they were at export
    asked: int


def verify(folder: Path) -> Finding:
    """Raises ArtifactMissing, naming what is wrong and the command that makes the artifact again."""
    artifact = read(folder)
    broken = damaged(artifact)
    if broken:
        again = artifact.manifest.command
        raise ArtifactMissing(f"{', '.join(broken)} of {folder.name} changed since export; make it again: {again}")
    finding = Finding(len(artifact.manifest.files), _golden(artifact), len(artifact.manifest.golden))
    if 2 * finding.golden < finding.asked:
        raise ArtifactMissing(
            f"{folder.name} repeats only {finding.golden} of {finding.asked} golden sentences;"
            f" make it again: {artifact.manifest.command}"
        )
    return finding


def origin(folder: Path) -> str:
    """The hub name of the artifact's checkpoint; "" for one that was made from a folder."""
    source = read(folder).manifest.source
    return source if "/" in source else ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Search → figure → value, and what that comes to."""

    figures: dict[str, Figures]
    verdict: Verdict

    def insist(self, name: str) -> None:
        """Raises ArtifactMissing, with what artifact `name` missed, unless it passed."""
        if not self.verdict.passed:
            raise ArtifactMissing(
                f"{name} is too far from its checkpoint ({'; '.join(self.verdict.missed)});"
                " export it without quantisation, and check that --against names the checkpoint it was made from"
            )


def against(
    folder: Path,
    checkpoint: str,
    texts: Sequence[str] = (),
    recordings: Sequence[Path] = (),
    limits: Mapping[str, float] = MappingProxyType({}),
) -> Comparison:
    """Compares with the checkpoint: a translation model on `texts`, a recogniser on `recordings`; or on some of ours.

    Figures and verdict are written to the manifest, whether they please or not. `limits` take the place of thresholds
    of the settings. Raises ArtifactMissing for a checkpoint that cannot be had, and with nothing to compare on.
    """
    artifact = read(folder)
    if artifact.manifest.kind == "separation":
        raise ArtifactMissing(f"{folder.name} is not compared: the service asks it whether it takes a voice out")
    found, verdict = _judged(artifact, checkpoint, texts, recordings, limits)
    scores = {**artifact.manifest.scores, **found.scores()}
    write(folder, artifact.manifest.model_copy(update={"scores": scores, "verdict": verdict}))
    return Comparison(found.scores(), verdict)


def _judged(
    artifact: Artifact, name: str, texts: Sequence[str], recordings: Sequence[Path], limits: Mapping[str, float]
) -> tuple[Parity | Hearing, Verdict]:
    settings, manifest = ExportSettings(), artifact.manifest
    # on the hub, the very revision that was exported
    revision = manifest.revision if name == origin(artifact.folder) else None
    with quiet():
        if manifest.kind == "asr":
            hearing = listen(artifact, name, recordings, revision)
            return hearing, hearing.judged(_limited(settings.for_recognition(manifest.quantisation), limits))
        parity = compare(artifact, Checkpoint(name, revision), texts or _plain(artifact))
        return parity, parity.judged(_limited(settings.for_translation(manifest.quantisation), limits))


def _limited(thresholds: T, limits: Mapping[str, float]) -> T:
    """The thresholds with those of `limits` that they know."""
    known = {name: value for name, value in limits.items() if name in type(thresholds).model_fields}
    return thresholds.model_copy(update=known)


def _plain(artifact: Artifact) -> tuple[str, ...]:
    return tuple(text for language in artifact.manifest.source_languages for text in PROBES[language])


def _golden(artifact: Artifact) -> int:
    if not artifact.manifest.golden:
        return 0
    texts, expected = zip(*artifact.manifest.golden, strict=True)
    if artifact.manifest.kind == "asr":
        heard, known = said(artifact.folder).split(), expected[0].split()
        return int(2 * edits(heard, known) <= len(known))
    model = MarianModel(artifact, TranslationSettings(device="cpu", beam_size=1))
    return sum(a == b for a, b in zip(model.translate(texts), expected, strict=True))
