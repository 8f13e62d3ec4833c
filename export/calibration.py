"""What each layer of a checkpoint is fed: the ranges that int8 spreads its 256 codes over.

The checkpoint translates some text and some nonsense, and every linear layer is watched meanwhile. Nonsense, pieces
drawn at random, is there because a few sentences do not reach the ends of the ranges; on the embedded model it reaches
them as well as a hundred sentences do, so the exporter needs no corpus. The range is what 99 of 100 rows keep within:
of the others a value or two is clipped, which costs less than coarser codes for all.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from export.graphs import Fed

NONSENSE, LONG = 16, 24
"""Rows that are drawn at random, and their pieces."""

WITHIN = 0.99
"""Share of rows that keep within each end of the range."""


def feeds(network: Any, rows: Sequence[list[int]], longest: int = 48) -> dict[str, Fed]:
    """Layer's name → what it is fed when `network` (a MarianMTModel) translates these source ids, and nonsense."""
    import torch

    seen: dict[str, list[tuple[float, float]]] = {}
    with torch.inference_mode():
        for row in [*rows, *_nonsense(network.config)]:
            source = torch.tensor([row])
            said = network.generate(input_ids=source, num_beams=1, do_sample=False, max_length=longest)
            with _watched(network, seen):
                network(input_ids=source, decoder_input_ids=said)
    return {name: _fed(ends) for name, ends in seen.items()}


def _nonsense(config: Any) -> list[list[int]]:
    random = np.random.default_rng(0)
    special = {config.pad_token_id, config.eos_token_id}
    ids = [i for i in range(config.vocab_size) if i not in special]
    return [[*random.choice(ids, LONG).tolist(), config.eos_token_id] for _ in range(NONSENSE)]


@contextmanager
def _watched(network: Any, seen: dict[str, list[tuple[float, float]]]) -> Iterator[None]:
    """Notes the ends of every row that a linear layer is fed."""
    from torch.nn import Linear

    def watch(name: str) -> Any:
        def note(_layer: Any, fed: Any) -> None:
            flat = fed[0].flatten(0, -2)
            seen.setdefault(name, []).extend(zip(flat.amin(-1).tolist(), flat.amax(-1).tolist(), strict=True))

        return note

    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, Linear)]
    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _fed(ends: list[tuple[float, float]]) -> Fed:
    lows, highs = np.array(ends).T
    low, high = float(np.quantile(lows, 1 - WITHIN)), float(np.quantile(highs, WITHIN))
    return Fed(low, high, float(np.median(np.maximum(-lows, highs))))
