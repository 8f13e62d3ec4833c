"""A Marian checkpoint of any size with random weights, that nevertheless ends its sentences where it is told to.

Speed needs the sizes of a trained model, not its knowledge; but with random weights every engine would babble to its
own limit, and the engines limit themselves in different ways. So a few weights are set by hand. The vocabulary holds
counters, tokens whose embeddings are orthogonal to each other. The last decoder layer copies what it attends to, which
puts the source's counter n first, and its feed-forward part is a table that writes counter n - 1 over counter n, and
the end over counter 0. So every engine, greedy or with beams, counts down from n and stops, and what they say can be
compared token by token. All other weights stay random, and no engine can tell: none skips zeros or repeated tokens.

What it flatters: the distributions are as peaked as a sure model's, so a search that guesses the likely words first
guesses right. Use a trained checkpoint where that matters.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEMO = Path(__file__).resolve().parents[2] / "models" / "demo" / "en-es"
"""Whose SentencePiece models the checkpoint borrows."""

END = 0
COPIED, THRESHOLD, SHARPNESS = 0.45, 0.55, 4.0
"""A counter that was said reaches 0.8 of the full length in the last layer, one that is only copied 0.4."""


@dataclass(frozen=True, slots=True)
class Size:
    width: int
    layers: int  # of the encoder, and again of the decoder
    heads: int
    feed_forward: int
    vocabulary: int  # padding included
    longest: int  # tokens of a target sentence, end included; fewer than the width


SIZES = {
    "opus": Size(512, 6, 8, 2048, 65_001, 96),
    "tiny": Size(32, 2, 4, 64, 7_101, 12),
}
"""opus is that of the opus-mt models on the hub."""


def counter(size: Size, tokens: int) -> int:
    """The id of the source token that asks for a target of `tokens` tokens, end included; 2 … longest."""
    return size.vocabulary - 1 - size.longest + tokens - 1


def write(size: Size, folder: Path, seed: int = 5) -> Path:
    """Makes the checkpoint in `folder`, as transformers stores one, unless it is there. Always the same weights."""
    if not (folder / "config.json").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".checkpoint-") as scratch:
            stage = Path(scratch, "stage")
            _network(size, seed).save_pretrained(stage)
            _tokenizer(size, stage)
            stage.replace(folder)
    return folder


def _network(size: Size, seed: int) -> Any:
    import transformers

    library: Any = transformers  # its types say less than it does
    library.set_seed(seed)
    pad = size.vocabulary - 1
    sides: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        sides |= {f"{side}_layers": size.layers, f"{side}_ffn_dim": size.feed_forward}
        sides |= {f"{side}_attention_heads": size.heads}
    config = library.MarianConfig(
        **sides, d_model=size.width, vocab_size=size.vocabulary, decoder_vocab_size=size.vocabulary,
        pad_token_id=pad, eos_token_id=END, decoder_start_token_id=pad, forced_eos_token_id=END,
        activation_function="swish", scale_embedding=True, max_position_embeddings=512,
    )  # fmt: skip
    network = library.MarianMTModel(config)
    network.generation_config.bad_words_ids = [[pad]]
    _teach_to_count(network, size)
    return network


def _teach_to_count(network: Any, size: Size) -> None:
    """Long orthogonal embeddings for the end and the counters, short ones for the rest; then the copy and the table."""
    import torch

    with torch.no_grad():
        shared, last = network.model.shared.weight, network.model.decoder.layers[-1]
        shared.mul_(0.1 / shared.norm(dim=1, keepdim=True).clamp(min=1e-6))
        # decoding starts from a zero embedding, that is from a position and the mean: no axis may lie along them
        start = torch.stack([network.model.decoder.embed_positions.weight[0], torch.ones(size.width)])
        axes = torch.linalg.qr(torch.cat([start, torch.randn(size.longest, size.width)]).T).Q.T[2:]
        ids = [END, *(counter(size, tokens) for tokens in range(2, size.longest + 1))]
        shared[ids] = 8 * axes
        last.encoder_attn.v_proj.weight.copy_(torch.eye(size.width) - torch.outer(axes[0], axes[0]))
        last.encoder_attn.out_proj.weight.copy_(COPIED * torch.eye(size.width))
        full, units = size.width**0.5, slice(0, size.longest - 1)
        last.fc1.weight[units], last.fc1.bias[units] = SHARPNESS * axes[1:], -SHARPNESS * THRESHOLD * full
        last.fc2.weight[:, units] = 24 / SHARPNESS * axes[:-1].T


def _tokenizer(size: Size, folder: Path) -> None:
    """The demo's pieces, filled up with words that no text holds; the second half are those of the target side.

    opus-mt models are made like this: one table for the pieces of two languages, and a model for either side.
    """
    vocabulary: dict[str, int] = json.loads((DEMO / "vocab.json").read_text("utf-8"))
    pieces = sorted((piece for piece in vocabulary if piece != "<pad>"), key=vocabulary.__getitem__)
    pieces += [f"▁filler{i}" for i in range(len(pieces), size.vocabulary - 1)] + ["<pad>"]
    ids = {piece: i for i, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), "utf-8")
    shutil.copyfile(DEMO / "source.spm", folder / "source.spm")
    (folder / "target.spm").write_bytes(_side(pieces[size.vocabulary // 2 : -1]))


def _side(pieces: list[str]) -> bytes:
    """The demo's SentencePiece model with other pieces."""
    from sentencepiece import sentencepiece_model_pb2

    library: Any = sentencepiece_model_pb2  # made by protoc, without types
    model = library.ModelProto()
    model.ParseFromString((DEMO / "target.spm").read_bytes())
    del model.pieces[3:]  # unknown, beginning and end stay
    for rank, piece in enumerate(pieces):
        model.pieces.add(piece=piece, score=-float(rank))
    model.trainer_spec.vocab_size = len(model.pieces)
    data: bytes = model.SerializeToString()
    return data
