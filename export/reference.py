"""The checkpoint itself, run in torch: what an artifact is measured against.

It is asked a sentence at a time, in fp32 and on one thread: no padding, no half precision and no company that could
explain a difference. That is slow (about a second a sentence at opus-mt size), so a comparison takes few sentences.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.origin import commit, complete, config, whole

Ids = list[list[int]]
Logits = NDArray[np.float32]

EXAMPLE = "Helsinki-NLP/opus-mt-en-de"


class Checkpoint:
    """A Marian checkpoint, by hub name or folder; `config` is transformers'.

    Raises ArtifactMissing when it cannot be had, is of another family, or is incomplete.
    """

    def __init__(self, name: str, revision: str | None = None) -> None:
        self.name, self._revision = name, revision
        self.config = config(name, "marian", EXAMPLE, revision)
        self._loaded: tuple[Any, Any] | None = None

    @property
    def tokenizer(self) -> Any:
        return self._load()[0]

    @property
    def network(self) -> Any:
        return self._load()[1]

    def weights(self) -> dict[str, NDArray[Any]]:
        """The tensors by transformers' names, in fp32."""
        return {name: tensor.numpy() for name, tensor in self._load()[1].state_dict().items()}

    def translate(self, text: str, width: int, longest: int, **options: Any) -> list[int]:
        """Target ids with the end, by a search of `width` beams. `longest` counts the start token too."""
        import torch

        tokenizer, network = self._load()
        batch = tokenizer(text, return_tensors="pt")
        options |= {"num_beams": width, "do_sample": False, "early_stopping": False, "max_length": longest}
        with torch.inference_mode():
            ids: list[int] = network.generate(**batch, **options)[0].tolist()[1:]
        return ids[: ids.index(self.config.eos_token_id) + 1] if self.config.eos_token_id in ids else ids

    def first_logits(self, text: str) -> Logits:
        """(vocabulary,) after the start token."""
        import torch

        tokenizer, network = self._load()
        start = torch.tensor([[self.config.decoder_start_token_id]])
        with torch.inference_mode():
            logits: Logits = (
                network(**tokenizer(text, return_tensors="pt"), decoder_input_ids=start).logits[0, -1].numpy()
            )
        return logits

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import MarianMTModel, MarianTokenizer

            torch.set_num_threads(1)  # two would spend their time waiting for each other on a busy machine
            files: dict[str, Any] = {"revision": commit(self.config) or self._revision}
            with complete(self.name):
                tokenizer = MarianTokenizer.from_pretrained(self.name, **files)
                network, loading = MarianMTModel.from_pretrained(self.name, output_loading_info=True, **files)
            whole(self.name, loading)
            self._loaded = tokenizer, network.float().eval()
        return self._loaded


def prefixed(texts: Sequence[str], prefix: str) -> list[str]:
    """The texts behind the model's target token, where it wants one."""
    return [f"{prefix} {text}".strip() for text in texts]
