"""What each layer of a checkpoint is fed and gives: the ranges that int8 spreads its 256 codes over.

The checkpoint translates some text and some nonsense, and every linear layer is watched meanwhile. Nonsense, pieces
drawn at random, is there because a few sentences do not reach the ends of the ranges; on the embedded model it reaches
them as well as a hundred sentences do, so the exporter needs no corpus. The range is what 99 of 100 rows keep within:
of the others a value or two is clipped, which costs less than coarser codes for all.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from export.graph import Seen

NONSENSE, LONG = 16, 24
"""Rows that are drawn at random, and their pieces."""

WITHIN = 0.99
"""Share of rows that keep within each end of the range."""


def watch(network: Any, rows: Sequence[list[int]], longest: int = 48) -> dict[str, Seen]:
    """Layer's name → what was seen when `network` (a MarianMTModel) translates these source ids, and nonsense."""
    import torch

    notes: defaultdict[str, Notes] = defaultdict(Notes)
    with torch.inference_mode():
        for row in [*rows, *_nonsense(network.config)]:
            source = torch.tensor([row])
            said = network.generate(input_ids=source, num_beams=1, do_sample=False, max_length=longest)
            with _watched(network, notes):
                network(input_ids=source, decoder_input_ids=said)
    return {name: taken.summary() for name, taken in notes.items()}


@dataclass(slots=True)
class Notes:
    """Of one layer: the ends of every row that it was fed, and the largest magnitude of each value that it gave."""

    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)
    gave: Any = 0.0

    def take(self, fed: Any, gave: Any) -> None:
        rows = fed.flatten(0, -2)
        self.lows += rows.amin(-1).tolist()
        self.highs += rows.amax(-1).tolist()
        self.gave = np.maximum(self.gave, gave.flatten(0, -2).abs().amax(0).numpy())

    def summary(self) -> Seen:
        lows, highs = np.array(self.lows), np.array(self.highs)
        low, high = float(np.quantile(lows, 1 - WITHIN)), float(np.quantile(highs, WITHIN))
        return Seen(low, high, float(np.median(np.maximum(-lows, highs))), self.gave)


def _nonsense(config: Any) -> list[list[int]]:
    random = np.random.default_rng(0)
    special = {config.pad_token_id, config.eos_token_id}
    ids = [i for i in range(config.vocab_size) if i not in special]
    return [[*random.choice(ids, LONG).tolist(), config.eos_token_id] for _ in range(NONSENSE)]


@contextmanager
def _watched(network: Any, notes: defaultdict[str, Notes]) -> Iterator[None]:
    from torch.nn import Linear

    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, Linear)]
    hooks = [
        layer.register_forward_hook(lambda _layer, fed, gave, name=name: notes[name].take(fed[0], gave))
        for name, layer in layers
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
