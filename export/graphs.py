"""The four graphs of a Marian model, written node by node from the checkpoint's weights.

Tracing gives a decoder with one position for the whole batch and a cache that is copied at every token. Here each row
has its own position and its own lengths, and the caches are buffers of fixed size that GroupQueryAttention reads and
writes in place, so sentences may stand at different tokens in one batch:

    embedding   ids, positions → vectors
    encoder     vectors of sentences of one length → keys and values of every decoder layer's cross-attention
    decoder     one vector a row, caches, lengths → one state a row
    projection  states → scores of the words; a part of its own, since it is the greater half of the work

int8 and its layers are in `graph`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from export.graph import FLOAT, Array, Graph, Seen, Weights


def embedding(weights: Weights, config: Any, side: str, words: Array, seen: Mapping[str, Seen]) -> onnx.ModelProto:
    """ids (rows, tokens), positions (rows, tokens) → vectors (rows, tokens, width). Id i stands for `words[i]`."""
    graph = Graph(seen)
    ids = graph.input("ids", TensorProto.INT64, ["rows", "tokens"])
    positions = graph.input("positions", TensorProto.INT64, ["rows", "tokens"])
    scale = np.float32(config.d_model**0.5 if config.scale_embedding else 1)
    vectors = graph.table(ids, "words", weights[f"model.{side}.embed_tokens.weight"][words] * scale)
    places = graph.weight("places", weights[f"model.{side}.embed_positions.weight"])
    graph.add("Add", vectors, graph.add("Gather", places, positions), outputs=("vectors",))
    return graph.model("embedding", {"vectors": ["rows", "tokens", config.d_model]})


def encoder(weights: Weights, config: Any, seen: Mapping[str, Seen]) -> onnx.ModelProto:
    """vectors (rows, tokens, width) → memory (rows, tokens, 2 × layers × width): key and value of each decoder layer.

    All rows have the same number of tokens: nothing is padded, so nothing has to be masked.
    """
    graph = Graph(seen)
    x = graph.input("vectors", FLOAT, ["rows", "tokens", config.d_model])
    for i in range(config.encoder_layers):
        x = _encoder_layer(graph, x, f"model.encoder.layers.{i}", weights, config)
    attentions = (f"model.decoder.layers.{i}.encoder_attn" for i in range(config.decoder_layers))
    names = [f"{attention}.{part}_proj" for attention in attentions for part in "kv"]
    if seen:
        codes = graph.linear(
            x, names, {name: value for layer in names for name, value in _in_steps(layer, weights, seen)}
        )
        unit = graph.weight("unit", np.array(1, np.float32)), graph.weight("none", np.array(0, np.int8))
        graph.add("QuantizeLinear", codes, *unit, outputs=("memory",))
    else:
        graph.add("Identity", graph.linear(x, names, weights), outputs=("memory",))
    shape: list[str | int] = ["rows", "tokens", 2 * config.decoder_layers * config.d_model]
    return graph.model("encoder", {"memory": shape}, graph.cache)


def _in_steps(layer: str, weights: Weights, seen: Mapping[str, Seen]) -> Iterator[tuple[str, Array]]:
    """The layer's weights, so that it gives codes."""
    steps = seen[layer].steps
    yield f"{layer}.weight", weights[f"{layer}.weight"] / steps[:, None]
    yield f"{layer}.bias", weights[f"{layer}.bias"] / steps


def _encoder_layer(graph: Graph, x: str, name: str, weights: Weights, config: Any) -> str:
    attn, heads = f"{name}.self_attn", config.encoder_attention_heads
    both = graph.linear(x, [f"{attn}.{part}_proj" for part in "qkv"], weights)
    sizes = graph.weight("thirds", np.array([config.d_model] * 3, np.int64))
    parts = tuple(f"{attn}.{part}" for part in "qkv")
    graph.add("Split", both, sizes, outputs=parts, axis=-1)
    y = graph.fused("MultiHeadAttention", *parts, num_heads=heads)
    x = _after(graph, y, x, f"{attn}.out_proj", f"{attn}_layer_norm", weights)
    return _feed_forward(graph, x, name, weights, config)


def decoder(weights: Weights, config: Any, seen: Mapping[str, Seen]) -> onnx.ModelProto:
    """One token of every row: vectors (rows, 1, width) → states (rows, 1, width).

    `self_last` and `memory_last` (rows) are indices of the last place that a row attends to: its own position, and its
    sentence's last token. `self_bound` and `memory_bound` are the largest of them plus one. Caches are
    (rows, heads, places, width / heads); `new_…` are to be bound to the same buffers.
    """
    graph, heads = Graph(seen), config.decoder_attention_heads
    x = graph.input("vectors", FLOAT, ["rows", 1, config.d_model])
    for kind in ("self", "memory"):
        graph.input(f"{kind}_last", TensorProto.INT32, ["rows"])
        graph.input(f"{kind}_bound", TensorProto.INT32, [])
    first, tokens = graph.weight("first", np.array([0], np.int64)), graph.weight("tokens", np.array([1], np.int64))
    nothing = graph.add("Slice", x, first, first, tokens)
    outputs: dict[str, list[str | int]] = {"states": ["rows", 1, config.d_model]}
    for i in range(config.decoder_layers):
        for kind in ("self", "memory"):
            for part in ("keys", "values"):
                shape: list[str | int] = ["rows", heads, f"{kind}_places", config.d_model // heads]
                graph.input(f"{kind}_{part}_{i}", graph.cache, shape)
                outputs[f"new_{kind}_{part}_{i}"] = shape
        x = _decoder_layer(graph, x, nothing, i, weights, config)
    graph.add("Identity", x, outputs=("states",))
    return graph.model("decoder", outputs)


def _decoder_layer(graph: Graph, x: str, nothing: str, i: int, weights: Weights, config: Any) -> str:
    name = f"model.decoder.layers.{i}"
    attn, cross = f"{name}.self_attn", f"{name}.encoder_attn"
    qkv = graph.linear(x, [f"{attn}.{part}_proj" for part in "qkv"], weights)
    y = _cached(graph, (qkv, "", ""), "self", i, config)
    x = _after(graph, y, x, f"{attn}.out_proj", f"{attn}_layer_norm", weights)
    query = graph.linear(x, [f"{cross}.q_proj"], weights)
    y = _cached(graph, (query, nothing, nothing), "memory", i, config)
    x = _after(graph, y, x, f"{cross}.out_proj", f"{cross}_layer_norm", weights)
    return _feed_forward(graph, x, name, weights, config)


def _cached(graph: Graph, fresh: tuple[str, str, str], kind: str, i: int, config: Any) -> str:
    """Attention of one query a row over its cache; no new keys and values means that the cache is complete."""
    heads = config.decoder_attention_heads
    caches = tuple(f"{kind}_{part}_{i}" for part in ("keys", "values"))
    outputs = (f"{kind}_attention_{i}", *(f"new_{cache}" for cache in caches))
    inputs = (*fresh, *caches, f"{kind}_last", f"{kind}_bound", *_cache_scales(graph, kind, i, heads))
    coded = {"k_quant_type": "PER_CHANNEL", "v_quant_type": "PER_CHANNEL", "kv_cache_bit_width": 8}
    sizes = {"num_heads": heads, "kv_num_heads": heads, "causal": int(kind == "self")}
    return graph.fused("GroupQueryAttention", *inputs, outputs=outputs, **sizes, **(coded if graph.seen else {}))


def _cache_scales(graph: Graph, kind: str, i: int, heads: int) -> tuple[str, ...]:
    """Behind the operator's other optional inputs; none where caches are fp32."""
    if not graph.seen:
        return ()
    attention = f"model.decoder.layers.{i}.{'self_attn' if kind == 'self' else 'encoder_attn'}"
    steps = {part: graph.seen[f"{attention}.{part}_proj"].steps.reshape(heads, 1, -1) for part in "kv"}
    return ("",) * 5 + tuple(graph.weight(f"{kind}_{part}_steps_{i}", value) for part, value in steps.items())


def _feed_forward(graph: Graph, x: str, name: str, weights: Weights, config: Any) -> str:
    hidden = graph.activation(graph.linear(x, [f"{name}.fc1"], weights), config.activation_function)
    return _after(graph, hidden, x, f"{name}.fc2", f"{name}.final_layer_norm", weights)


def _after(graph: Graph, y: str, residual: str, projection: str, norm: str, weights: Weights) -> str:
    """A block's last projection, the residual and the norm."""
    return graph.norm(graph.linear(y, [projection], weights), residual, norm, weights)


def projection(weights: Weights, config: Any, words: Array, seen: Mapping[str, Seen]) -> onnx.ModelProto:
    """states (rows, 1, width) → logits (rows, 1, words) of the words of these ids."""
    graph = Graph(seen)
    states = graph.input("states", FLOAT, ["rows", 1, config.d_model])
    bias = weights.get("final_logits_bias", np.zeros(1)).reshape(-1)
    offset = bias[words] if bias.any() else None
    logits = graph.product(states, "words", weights["lm_head.weight"][words].T, offset, seen.get("lm_head"))
    graph.add("Identity", logits, outputs=("logits",))
    return graph.model("projection", {"logits": ["rows", 1, len(words)]})
