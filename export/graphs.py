"""The four graphs of a Marian model, written node by node from the checkpoint's weights.

Tracing gives a decoder with one position for the whole batch and a cache that is copied at every token. Here each row
has its own position and its own lengths, and the caches are buffers of fixed size that GroupQueryAttention reads and
writes in place, so sentences may stand at different tokens in one batch:

    embedding   ids, positions → vectors
    encoder     vectors of sentences of one length → keys and values of every decoder layer's cross-attention
    decoder     one vector a row, caches, lengths → one state a row
    projection  states → scores of the words; a part of its own, since it is the greater half of the work

int8 is per row and per column: a column of weights has a scale made ahead of time, a row of activations one made on the
fly, and the products are sums of integers. Dynamic quantisation as ONNX Runtime does it has one scale for a whole
activation, so that neighbours change a sentence; scales by blocks of 32 (MatMulNBits) avoid that too, at three to four
times the cost from eight rows on. Without VNNI (processors before 2019) pairs of products may saturate, which costs
agreement; `verify` tells. Attention, norms and sums stay fp32.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Weights = Mapping[str, Array]
"""The checkpoint's tensors by transformers' names."""

OPSET, IR = 18, 9
EPSILON = 1e-5
ACTIVATIONS = {"swish": "QuickGelu", "silu": "QuickGelu", "gelu": "Gelu", "relu": "Relu"}
"""transformers' names → operators; QuickGelu with alpha 1 is swish."""


class Graph:
    """Nodes and weights in the order in which they were added; values go by name."""

    def __init__(self, int8: bool) -> None:
        self._int8 = int8
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, kind: int, shape: list[str | int]) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def weight(self, name: str, value: Array) -> str:
        self._weights.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, *inputs: str, outputs: tuple[str, ...] = (), domain: str = "", **attributes: Any) -> str:
        """A node; returns the name of its first output."""
        outputs = outputs or (f"{kind}_{len(self._nodes)}",)
        self._nodes.append(helper.make_node(kind, list(inputs), list(outputs), domain=domain, **attributes))
        return outputs[0]

    def fused(self, kind: str, *inputs: str, outputs: tuple[str, ...] = (), **attributes: Any) -> str:
        """A node of ONNX Runtime's own operators."""
        return self.add(kind, *inputs, outputs=outputs, domain="com.microsoft", **attributes)

    def linear(self, x: str, name: str, matrix: Array, bias: Array | None = None) -> str:
        """x · matrix (+ bias), the matrix as (in, out)."""
        y = self._scaled(*self.product(x, name, matrix))
        return y if bias is None else self.add("Add", y, self.weight(f"{name}.bias", bias))

    def product(self, x: str, name: str, matrix: Array) -> tuple[str, str]:
        """x · matrix as (values, the scale that each row of them still lacks, "" for none)."""
        if not self._int8:
            return self.add("MatMul", x, self.weight(f"{name}.matrix", matrix)), ""
        codes, scales = coded(matrix, axis=0)
        x, scale = self._coded_rows(x)
        weights = self.weight(f"{name}.codes", codes), self._one(), self.weight(f"{name}.scales", scales)
        return self.fused("MatMulIntegerToFloat", x, *weights, self._middle()), scale

    def table(self, ids: str, name: str, rows: Array) -> str:
        """The rows of a table of vectors."""
        if not self._int8:
            return self.add("Gather", self.weight(f"{name}.rows", rows), ids)
        codes, scales = coded(rows, axis=1)
        picked = self.add("Gather", self.weight(f"{name}.codes", codes), ids)
        picked = self.add("Cast", picked, to=TensorProto.FLOAT)
        return self.add("Mul", picked, self.add("Gather", self.weight(f"{name}.scales", scales[:, None]), ids))

    def norm(self, x: str, residual: str, name: str, weights: Weights, bias: Array | None = None) -> str:
        """LayerNorm(x + bias + residual)."""
        if bias is not None:
            x = self.add("Add", x, self.weight(f"{name}.inner_bias", bias))
        parts = (self.weight(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.add("LayerNormalization", self.add("Add", x, residual), *parts, axis=-1, epsilon=EPSILON)

    def activation(self, x: str, name: str) -> str:
        kind = ACTIVATIONS[name]
        if kind == "QuickGelu":
            return self.fused(kind, x, alpha=1.0)
        return self.add(kind, x, domain="" if kind == "Relu" else "com.microsoft")

    def model(self, name: str, outputs: Mapping[str, list[str | int]]) -> onnx.ModelProto:
        infos = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape) for output, shape in outputs.items()]
        graph = helper.make_graph(self._nodes, name, self._inputs, infos, list(self._weights.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="export")

    def _scaled(self, y: str, scale: str) -> str:
        return self.add("Mul", y, scale) if scale else y

    def _coded_rows(self, x: str) -> tuple[str, str]:
        """x in eight bits around 128, and the scale of each row; a row of zeros divides by zero and stays zero."""
        axis = self.weight("last", np.array([-1], np.int64))
        largest = self.add("ReduceMax", self.add("Abs", x), axis, keepdims=1)
        scale = self.add("Mul", largest, self.weight("per_127", np.array(1 / 127, np.float32)))
        return self.add("QuantizeLinear", self.add("Div", x, scale), self._one(), self._middle()), scale

    def _one(self) -> str:
        return self.weight("one", np.array(1, np.float32))

    def _middle(self) -> str:
        return self.weight("middle", np.array(128, np.uint8))


def coded(matrix: Array, axis: int) -> tuple[Array, Array]:
    """int8 codes and the fp32 scales along the other axis, symmetric around zero."""
    scales = np.maximum(np.abs(matrix).max(axis, keepdims=True) / 127, np.float32(1e-12))
    return np.rint(matrix / scales).astype(np.int8), scales.squeeze(axis).astype(np.float32)


def embedding(weights: Weights, config: Any, side: str, int8: bool) -> onnx.ModelProto:
    """ids (rows, tokens), positions (rows, tokens) → vectors (rows, tokens, width)."""
    graph = Graph(int8)
    ids = graph.input("ids", TensorProto.INT64, ["rows", "tokens"])
    positions = graph.input("positions", TensorProto.INT64, ["rows", "tokens"])
    scale = np.float32(config.d_model**0.5 if config.scale_embedding else 1)
    words = graph.table(ids, "words", weights[f"model.{side}.embed_tokens.weight"] * scale)
    places = graph.weight("places", weights[f"model.{side}.embed_positions.weight"])
    graph.add("Add", words, graph.add("Gather", places, positions), outputs=("vectors",))
    return graph.model("embedding", {"vectors": ["rows", "tokens", config.d_model]})


def encoder(weights: Weights, config: Any, int8: bool) -> onnx.ModelProto:
    """vectors (rows, tokens, width) → memory (rows, tokens, 2 × layers × width): key and value of each decoder layer.

    All rows have the same number of tokens: nothing is padded, so nothing has to be masked.
    """
    graph = Graph(int8)
    x = graph.input("vectors", TensorProto.FLOAT, ["rows", "tokens", config.d_model])
    for i in range(config.encoder_layers):
        x = _encoder_layer(graph, x, f"model.encoder.layers.{i}", weights, config)
    attentions = (f"model.decoder.layers.{i}.encoder_attn" for i in range(config.decoder_layers))
    names = [f"{attention}.{part}_proj" for attention in attentions for part in "kv"]
    y = graph.linear(x, "memory", *_stacked(weights, names))
    graph.add("Identity", y, outputs=("memory",))
    return graph.model("encoder", {"memory": ["rows", "tokens", 2 * config.decoder_layers * config.d_model]})


def _encoder_layer(graph: Graph, x: str, name: str, weights: Weights, config: Any) -> str:
    attn, heads = f"{name}.self_attn", config.encoder_attention_heads
    width = config.d_model
    both = graph.linear(x, f"{attn}.qkv", *_stacked(weights, [f"{attn}.{part}_proj" for part in "qkv"]))
    sizes = graph.weight("thirds", np.array([width] * 3, np.int64))
    parts = tuple(f"{attn}.{part}" for part in "qkv")
    graph.add("Split", both, sizes, outputs=parts, axis=-1)
    y = graph.fused("MultiHeadAttention", *parts, num_heads=heads)
    x = _after(graph, y, x, f"{attn}.out_proj", f"{attn}_layer_norm", weights)
    return _feed_forward(graph, x, name, weights, config)


def decoder(weights: Weights, config: Any, int8: bool) -> onnx.ModelProto:
    """One token of every row: vectors (rows, 1, width) → states (rows, 1, width).

    `self_last` and `memory_last` (rows) are indices of the last place that a row attends to: its own position, and its
    sentence's last token. `self_bound` and `memory_bound` are the largest of them plus one. Caches are
    (rows, heads, places, width / heads); `new_…` are to be bound to the same buffers.
    """
    graph, heads = Graph(int8), config.decoder_attention_heads
    x = graph.input("vectors", TensorProto.FLOAT, ["rows", 1, config.d_model])
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
                graph.input(f"{kind}_{part}_{i}", TensorProto.FLOAT, shape)
                outputs[f"new_{kind}_{part}_{i}"] = shape
        x = _decoder_layer(graph, x, nothing, i, weights, config)
    graph.add("Identity", x, outputs=("states",))
    return graph.model("decoder", outputs)


def _decoder_layer(graph: Graph, x: str, nothing: str, i: int, weights: Weights, config: Any) -> str:
    name = f"model.decoder.layers.{i}"
    attn, cross = f"{name}.self_attn", f"{name}.encoder_attn"
    qkv = graph.linear(x, f"{attn}.qkv", *_stacked(weights, [f"{attn}.{part}_proj" for part in "qkv"]))
    y = _cached(graph, (qkv, "", ""), "self", i, config)
    x = _after(graph, y, x, f"{attn}.out_proj", f"{attn}_layer_norm", weights)
    query = graph.linear(x, f"{cross}.q_proj", *_stacked(weights, [f"{cross}.q_proj"]))
    y = _cached(graph, (query, nothing, nothing), "memory", i, config)
    x = _after(graph, y, x, f"{cross}.out_proj", f"{cross}_layer_norm", weights)
    return _feed_forward(graph, x, name, weights, config)


def _cached(graph: Graph, fresh: tuple[str, str, str], kind: str, i: int, config: Any) -> str:
    """Attention of one query a row over its cache; no new keys and values means that the cache is complete."""
    heads = config.decoder_attention_heads
    caches = tuple(f"{kind}_{part}_{i}" for part in ("keys", "values"))
    y, causal = f"{kind}_attention_{i}", int(kind == "self")
    outputs = (y, *(f"new_{cache}" for cache in caches))
    inputs = (*fresh, *caches, f"{kind}_last", f"{kind}_bound")
    return graph.fused(
        "GroupQueryAttention", *inputs, outputs=outputs, num_heads=heads, kv_num_heads=heads, causal=causal
    )


def _feed_forward(graph: Graph, x: str, name: str, weights: Weights, config: Any) -> str:
    hidden = graph.linear(x, f"{name}.fc1", *_stacked(weights, [f"{name}.fc1"]))
    hidden = graph.activation(hidden, config.activation_function)
    return _after(graph, hidden, x, f"{name}.fc2", f"{name}.final_layer_norm", weights)


def _after(graph: Graph, y: str, residual: str, projection: str, norm: str, weights: Weights) -> str:
    """A block's last projection, the residual and the norm."""
    matrix, bias = _stacked(weights, [projection])
    return graph.norm(graph.linear(y, projection, matrix), residual, norm, weights, bias)


def projection(weights: Weights, config: Any, int8: bool) -> onnx.ModelProto:
    """states (rows, 1, width) → scores (rows, 1, words) and scales (rows, 1, 1), whose product are the logits.

    The greatest score of a row is its greatest logit, so a greedy search never multiplies. With a bias, or in fp32,
    the scores are the logits and the scales are one.
    """
    graph = Graph(int8)
    states = graph.input("states", TensorProto.FLOAT, ["rows", 1, config.d_model])
    matrix = weights["lm_head.weight"].T
    bias = weights.get("final_logits_bias")
    scores, scale = graph.product(states, "words", matrix)
    if bias is not None and bias.any():
        scores, scale = graph.add("Add", graph._scaled(scores, scale), graph.weight("bias", bias.reshape(-1))), ""
    graph.add("Identity", scores, outputs=("scores",))
    outputs: dict[str, list[str | int]] = {"scores": ["rows", 1, matrix.shape[1]]}
    if scale:
        graph.add("Identity", scale, outputs=("scales",))
        outputs["scales"] = ["rows", 1, 1]
    return graph.model("projection", outputs)


def _stacked(weights: Weights, names: list[str]) -> tuple[Array, Array]:
    """Several linear layers as one: matrices (in, out) side by side, and biases."""
    matrices = [weights[f"{name}.weight"].T for name in names]
    return np.concatenate(matrices, axis=1), np.concatenate([weights[f"{name}.bias"] for name in names])
