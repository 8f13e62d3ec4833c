"""How close an artifact is to the checkpoint it was made from: the same text through both, side by side.

Four views, because each misses something. Token agreement is strict: one other word early on shifts all that follow.
chrF and BLEU take the checkpoint's text as the reference, and forgive a shift; they say how different it reads, not
which one is better. The error of the first step's logits needs no search at all: it shows a damaged weight long before
the text does. The first three are taken of a greedy search and of a beam search, since each hides what the other shows:
greedy never looks at second best words, and a beam finds its way back from one wrong word.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from configs.engines import TranslationSettings
from configs.export import TranslationThresholds
from export.logits import first_logits
from export.reference import Checkpoint, Ids, Logits, prefixed
from models.artifact import Artifact, Verdict
from models.errors import ArtifactMissing
from models.translation.marian import MarianModel

SERVED = TranslationSettings(device="cpu")
GREEDY = TranslationSettings(device="cpu", beam_size=1)

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of one search. `same` and `token_agreement` are shares of sentences and tokens; `bleu` and `chrf` 0–100."""

    same: float
    token_agreement: float
    bleu: float
    chrf: float


@dataclass(frozen=True, slots=True)
class Parity:
    """`logit_error`: root mean square of the differences over the standard deviation of the checkpoint's logits."""

    sentences: int
    greedy: Likeness
    beam: Likeness
    width: int
    logit_error: float

    def scores(self) -> dict[str, Figures]:
        """As the manifest keeps them: search → figure → value."""
        count = {"sentences": float(self.sentences)}
        greedy = count | asdict(self.greedy) | {"logit_error": self.logit_error}
        return {"checkpoint.greedy": greedy, f"checkpoint.beam{self.width}": count | asdict(self.beam)}

    def judged(self, thresholds: TranslationThresholds) -> Verdict:
        """By figures that have to be reached in both searches, and an error that may not be exceeded."""
        least = thresholds.model_dump(exclude={"logit_error"})
        missed = [
            f"{search} {name} {found[name]:g} is below {value:g}"
            for search, found in (("greedy", asdict(self.greedy)), (f"beam {self.width}", asdict(self.beam)))
            for name, value in least.items()
            if not found[name] >= value  # written this way round, a NaN fails too
        ]
        if not self.logit_error <= thresholds.logit_error:
            missed.append(f"logit_error {self.logit_error:g} is above {thresholds.logit_error:g}")
        return Verdict(passed=not missed, missed=tuple(missed), thresholds=thresholds.model_dump())


def compare(artifact: Artifact, checkpoint: Checkpoint, texts: Sequence[str]) -> Parity:
    """Both searches on `texts`; those that are empty or longer than the model's limit are left out.

    Raises ArtifactMissing when the checkpoint, torch or sacrebleu cannot be had, or when no text is left.
    """
    greedy, beam = MarianModel(artifact, GREEDY), MarianModel(artifact, SERVED)
    limit = min(SERVED.max_length, artifact.manifest.positions)
    fitting = [text for text in texts if text.strip() and len(_row(greedy, artifact, text)) <= limit]
    if not fitting:
        raise ArtifactMissing("there is no text to compare on; give --sentences a file with a sentence a line")
    asked = prefixed(fitting, artifact.manifest.target_prefix)
    ours = [first_logits(greedy, _row(greedy, artifact, text)) for text in fitting]
    return Parity(
        sentences=len(fitting),
        greedy=_likeness(greedy, artifact, checkpoint, fitting, GREEDY),
        beam=_likeness(beam, artifact, checkpoint, fitting, SERVED),
        width=SERVED.beam_size,
        logit_error=round(logit_error(ours, [checkpoint.first_logits(text) for text in asked]), 6),
    )


def _row(model: MarianModel, artifact: Artifact, text: str) -> list[int]:
    return model.tokenizer.encode(text, artifact.manifest.target_prefix)


def _likeness(
    model: MarianModel, artifact: Artifact, checkpoint: Checkpoint, texts: Sequence[str], search: TranslationSettings
) -> Likeness:
    rows = [_row(model, artifact, text) for text in texts]
    limit = min(search.max_length, artifact.manifest.positions)
    options = {"length_penalty": search.length_penalty} if search.beam_size > 1 else {}
    asked = prefixed(texts, artifact.manifest.target_prefix)
    ours = model.generate(rows)
    # the engine's own limit for a source of that length, start included
    theirs = [
        checkpoint.translate(text, search.beam_size, min(limit, 3 * len(row) + 17), **options)
        for text, row in zip(asked, rows, strict=True)
    ]
    bleu, chrf = _overlap(*([model.tokenizer.decode(ids) for ids in side] for side in (ours, theirs)))
    same = float(np.mean([a == b for a, b in zip(ours, theirs, strict=True)]))
    return Likeness(round(same, 4), round(token_agreement(ours, theirs), 4), round(bleu, 1), round(chrf, 1))


def token_agreement(ours: Ids, theirs: Ids) -> float:
    """Share of places with the same token, over all places of the longer side; 1 where nobody says anything."""
    equal = sum(a == b for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=False))
    places = sum(max(len(x), len(y)) for x, y in zip(ours, theirs, strict=True))
    return equal / places if places else 1.0


def logit_error(ours: Sequence[Logits], theirs: Sequence[Logits]) -> float:
    """Mean over sentences; words that either side rules out are left out. Infinite where vocabularies differ."""
    if any(a.shape != b.shape for a, b in zip(ours, theirs, strict=True)):
        return float("inf")
    errors = []
    for a, b in zip(ours, theirs, strict=True):
        both = np.isfinite(a) & np.isfinite(b)
        errors.append(np.sqrt(np.mean((a[both] - b[both]) ** 2)) / b[both].std())
    return float(np.mean(errors))


def _overlap(ours: list[str], theirs: list[str]) -> tuple[float, float]:
    """BLEU and chrF of our text, with theirs as the reference."""
    sacrebleu: Any = scorer()
    if ours == theirs:
        return 100.0, 100.0  # also where both say nothing, which would score 0
    # a text without any four tokens in a row would score 0 on the usual scale, even against itself
    bleu = sacrebleu.BLEU(effective_order=True).corpus_score(ours, [theirs]).score
    return bleu, sacrebleu.corpus_chrf(ours, [theirs]).score


def scorer() -> Any:
    """The module sacrebleu. Raises ArtifactMissing where it is not installed."""
    try:
        import sacrebleu
    except ImportError:
        raise ArtifactMissing("scores need sacrebleu; install it with: pip install sacrebleu") from None
    return sacrebleu
