"""What the engine thinks before its first word: the logits that a search chooses from.

The engine keeps them to itself, so this listens where it chooses, and ends the sentence there.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.translation.marian import MarianModel


def first_logits(model: MarianModel, row: list[int]) -> NDArray[np.float32]:
    """(vocabulary,) after the start token, for one row of source ids; the engine may rule words out with -inf."""
    ear = _Ear(model)
    ear.generate([row])
    return ear.heard


class _Ear(MarianModel):
    """A model's sessions under another choice."""

    heard: NDArray[np.float32]

    def __init__(self, model: MarianModel) -> None:
        self.__dict__.update(model.__dict__)

    def _choose(self, logits: Any, room: Any, said: list[list[int]]) -> Any:  # noqa: ARG002
        self.heard = logits[0].copy()
        return np.full(len(logits), self._end, np.int64)
