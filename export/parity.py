"""How close an artifact is to the checkpoint it was made from: the same text through both, greedy, side by side.

Four views, because each misses something. Token agreement is strict: one other word early on shifts all that follow.
chrF and BLEU take the checkpoint's text as the reference, and forgive a shift; they say how different it reads, not
which one is better. The error of the first step's logits needs no search at all: it shows a damaged weight long before
the text does.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.engines import TranslationSettings
from export.logits import first_logits
from models.artifact import Artifact
from models.errors import ArtifactMissing
from models.translation.marian import MarianModel

Ids = list[list[int]]
Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Parity:
    """`same` and `token_agreement` are shares; `bleu` and `chrf` 0–100; `logit_error` is the root mean square of the
    differences over the standard deviation of the checkpoint's logits."""

    sentences: int
    same: float
    token_agreement: float
    bleu: float
    chrf: float
    logit_error: float


@dataclass(frozen=True, slots=True)
class Thresholds:
    """An artifact on the wrong side of any of them is not to be served."""

    token_agreement: float = 0.85
    bleu: float = 80.0
    chrf: float = 90.0
    logit_error: float = 0.1

    def failed(self, parity: Parity) -> list[str]:
        """What was missed, in words; empty when all is well."""
        lowest = {name: value for name, value in asdict(self).items() if name != "logit_error"}
        found = asdict(parity)
        missed = [f"{name} {found[name]:g} is below {least:g}" for name, least in lowest.items() if found[name] < least]
        # written this way round, a NaN fails too
        if not parity.logit_error <= self.logit_error:
            missed.append(f"logit_error {parity.logit_error:g} is above {self.logit_error:g}")
        return missed


def compare(artifact: Artifact, checkpoint: str, texts: Sequence[str]) -> Parity:
    """Raises ArtifactMissing when the checkpoint, torch or sacrebleu cannot be had, or for no text at all."""
    if artifact.manifest.kind != "translation":
        raise ArtifactMissing(f"{artifact.folder.name} is no translation model; verify it without --against")
    if not any(text.strip() for text in texts):
        raise ArtifactMissing("there is no text to compare on; give --sentences a file with a sentence a line")
    model = MarianModel(artifact, TranslationSettings(device="cpu", beam_size=1))
    rows = [model.tokenizer.encode(text, artifact.manifest.target_prefix) for text in texts if text.strip()]
    theirs, their_logits = _checkpoint(checkpoint, artifact, [text for text in texts if text.strip()])
    ours = model.generate(rows)
    bleu, chrf = _likeness(*([model.tokenizer.decode(ids) for ids in side] for side in (ours, theirs)))
    return Parity(
        sentences=len(rows),
        same=round(float(np.mean([a == b for a, b in zip(ours, theirs, strict=True)])), 4),
        token_agreement=round(token_agreement(ours, theirs), 4),
        bleu=round(bleu, 1),
        chrf=round(chrf, 1),
        logit_error=round(logit_error([first_logits(model, row) for row in rows], their_logits), 4),
    )


def token_agreement(ours: Ids, theirs: Ids) -> float:
    """Share of places with the same token, over all places of the longer side."""
    equal = sum(a == b for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=False))
    return equal / sum(max(len(x), len(y)) for x, y in zip(ours, theirs, strict=True))


def logit_error(ours: Sequence[Logits], theirs: Sequence[Logits]) -> float:
    """Mean over sentences; words that either side rules out are left out. Infinite where vocabularies differ."""
    if any(a.shape != b.shape for a, b in zip(ours, theirs, strict=True)):
        return float("inf")
    errors = []
    for a, b in zip(ours, theirs, strict=True):
        both = np.isfinite(a) & np.isfinite(b)
        errors.append(np.sqrt(np.mean((a[both] - b[both]) ** 2)) / b[both].std())
    return float(np.mean(errors))


def _likeness(ours: list[str], theirs: list[str]) -> tuple[float, float]:
    try:
        import sacrebleu
    except ImportError:
        raise ArtifactMissing("scores need sacrebleu; install it with: pip install sacrebleu") from None
    # a text without any four tokens in a row would score 0 on the usual scale, even against itself
    bleu = sacrebleu.BLEU(effective_order=True).corpus_score(ours, [theirs]).score
    return bleu, sacrebleu.corpus_chrf(ours, [theirs]).score


def _checkpoint(name: str, artifact: Artifact, texts: Sequence[str]) -> tuple[Ids, list[Logits]]:
    """Target ids with the end, and the first step's logits, from torch in fp32, a sentence at a time."""
    try:
        import torch
    except ImportError:
        raise ArtifactMissing("the checkpoint runs in torch; install it with: pip install -e '.[export]'") from None
    tokenizer, network = _loaded(name)
    manifest, said, logits = artifact.manifest, [], []
    limit = min(TranslationSettings().max_length, manifest.positions)
    with torch.inference_mode():
        for text in texts:
            batch = tokenizer(f"{manifest.target_prefix} {text}".strip(), return_tensors="pt", truncation=True)
            start = torch.tensor([[network.config.decoder_start_token_id]])
            ids = network.generate(**batch, num_beams=1, do_sample=False, max_length=limit)
            said.append(ids[0].tolist()[1:])
            logits.append(network(**batch, decoder_input_ids=start).logits[0, -1].numpy())
    return said, logits


def _loaded(name: str) -> tuple[Any, Any]:
    from transformers import MarianMTModel, MarianTokenizer

    try:
        return MarianTokenizer.from_pretrained(name), MarianMTModel.from_pretrained(name).eval()
    except (OSError, ValueError, TypeError):
        raise ArtifactMissing(
            "the checkpoint after --against cannot be read; give the hub name or the folder that was exported"
        ) from None
