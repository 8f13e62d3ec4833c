"""Is an artifact still what its manifest says? Checksums first, then, for translation, the golden sentences.

Golden sentences may differ a little between processors, because int8 kernels round differently (VNNI or not): so the
check asks for half of them, which a swapped or damaged model does not reach.
"""

from dataclasses import dataclass
from pathlib import Path

from configs.engines import TranslationSettings
from models.artifact import Artifact, damaged, read
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


def _golden(artifact: Artifact) -> int:
    if artifact.manifest.kind != "translation" or not artifact.manifest.golden:
        return 0
    texts, expected = zip(*artifact.manifest.golden, strict=True)
    said = MarianModel(artifact, TranslationSettings(device="cpu", beam_size=1)).translate(texts)
    return sum(a == b for a, b in zip(said, expected, strict=True))
