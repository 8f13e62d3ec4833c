"""Graphs in float16, for CUDA: weights, caches and what passes between the graphs; the logits come out in fp32.

The conversion is ONNX Runtime's own. Sums inside products, norms and softmax are fp32 in its CUDA kernels; on a
processor it puts casts around what has no float16 kernel, which is slow and good for comparing.

On a device nobody can reach into a cache with NumPy, so a graph of its own, `carry`, makes the next cache out of the
last one: which rows go on, in which order, and the memories of those who join.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from export.graph import Graph

KEPT = ["logits"]
"""Inputs and outputs that stay fp32: the search compares and sums them."""


def half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph in float16."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # shapes are not needed, and inferring them knows nothing of ONNX Runtime's own operators
    made: onnx.ModelProto = convert_float_to_float16(
        model, keep_io_types=KEPT, disable_shape_infer=True, force_fp16_initializers=True
    )
    return made


def carry(config: Any) -> onnx.ModelProto:
    """cache (2 × layers, rows, heads, places, size) and fresh (joining, tokens, 2 × layers × width), as the encoder
    gives it → next: of the rows and then the joining ones, those that `order` names, each as often as it does.
    """
    graph, layers, heads = Graph({}), 2 * config.decoder_layers, config.decoder_attention_heads
    size = config.d_model // heads
    cache = graph.input("cache", TensorProto.FLOAT16, [layers, "rows", heads, "places", size])
    fresh = graph.input("fresh", TensorProto.FLOAT16, ["joining", "tokens", layers * config.d_model])
    order = graph.input("order", TensorProto.INT64, ["next_rows"])
    apart = graph.add("Reshape", fresh, graph.weight("apart", np.array([0, 0, layers, heads, size], np.int64)))
    turned = graph.add("Transpose", apart, perm=[2, 0, 3, 1, 4])
    places = graph.add("Shape", cache, start=3, end=4)
    missing = graph.add("Sub", places, graph.add("Shape", turned, start=3, end=4))
    axes = graph.weight("axes", np.array([3], np.int64))
    nothing = graph.weight("nothing", np.array([0], np.int64))
    sides = graph.add("Concat", nothing, missing, axis=0)
    padded = graph.add("Pad", turned, sides, "", axes)
    graph.add("Gather", graph.add("Concat", cache, padded, axis=1), order, axis=1, outputs=("next",))
    return graph.model("carry", {"next": [layers, "next_rows", heads, "places", size]}, TensorProto.FLOAT16)
