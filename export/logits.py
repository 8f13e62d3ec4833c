"""What the engine thinks before its first word: the logits that a search chooses from.

The engine keeps them to itself, so this joins its batch as a search that listens, and ends there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.translation.batcher import Job
from models.translation.marian import MarianModel


def first_logits(model: MarianModel, row: list[int]) -> NDArray[np.float32]:
    """(vocabulary,) after the start token, for one row of source ids; -inf for words that are never said."""
    ear = _Ear()
    model._batcher.submit(Job(row, ear, 1)).result()
    logits = np.full(model.tokenizer.size, -np.inf, np.float32)
    logits[model.words] = ear.heard
    return logits


@dataclass(slots=True)
class _Ear:
    heard: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    width: int = 1

    def advance(self, logits: NDArray[np.float32]) -> Sequence[tuple[int, int]]:
        self.heard = logits[0].copy()
        return ()

    def best(self) -> list[list[int]]:
        return []
