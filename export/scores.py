"""BLEU and chrF of a translation model over a test set: lines of source, a tab, reference."""

from pathlib import Path

from export.parity import scorer
from models.errors import ArtifactMissing
from models.translation.marian import MarianModel


def read_pairs(path: Path, limit: int) -> list[tuple[str, str]]:
    """The first `limit` (source, reference) pairs. Raises ArtifactMissing for a file without any."""
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    rows = [line.split("\t") for line in lines[:limit]]
    pairs = [(row[0], row[1]) for row in rows if len(row) >= 2]
    if not pairs:
        raise ArtifactMissing(f"{path.name} holds no sentence pairs; give lines of source, a tab, and reference")
    return pairs


def score(model: MarianModel, path: Path, limit: int = 200) -> dict[str, float]:
    """sentences, bleu and chrf (0–100, sacreBLEU's defaults) over the first `limit` lines of `path`."""
    sacrebleu = scorer()
    pairs = read_pairs(path, limit)
    said, references = model.translate([source for source, _ in pairs]), [[reference for _, reference in pairs]]
    bleu, chrf = sacrebleu.corpus_bleu(said, references).score, sacrebleu.corpus_chrf(said, references).score
    return {"sentences": len(pairs), "bleu": round(bleu, 1), "chrf": round(chrf, 1)}
