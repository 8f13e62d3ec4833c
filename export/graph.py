"""Nodes and weights of a graph as it is written: layers in fp32, or in int8 where it is known what they are fed.

int8: a column of weights has a scale made from the weights; what a layer is fed has a range that was seen in the
checkpoint (`calibration`), so that no sentence changes the scale of another, and the product, its scale and its bias
are one node. A layer that is fed with far outliers gets a scale for each row, made on the fly, at the price of six more
nodes. Without VNNI, as on many processors of AMD, products are added in pairs of sixteen bits: codes of weights are so
small that none exceeds them, and every processor comes to the same sums.
Caches of keys and values are int8 too, a scale each value; attention itself, norms and sums stay fp32.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Weights = Mapping[str, Array]
"""The checkpoint's tensors by transformers' names."""

OPSET, IR = 18, 9
FLOAT = TensorProto.FLOAT
EPSILON = 1e-5
ACTIVATIONS = {"swish": "QuickGelu", "silu": "QuickGelu", "gelu": "Gelu", "relu": "Relu"}
"""transformers' names → operators; QuickGelu with alpha 1 is swish."""


PAIR = 127.0
"""The sum of two neighbours' codes, rounding aside: times 255 it fits sixteen bits."""

WIDE = 4.0
"""Largest value over the usual largest of a row, from which on a common scale would waste more than two bits."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a layer was fed: the ends of the range, and the median of the largest magnitudes of rows. And what it gave:
    the largest magnitude of each value (width,)."""

    low: float
    high: float
    usual: float
    gave: Array

    @property
    def steady(self) -> bool:
        return max(-self.low, self.high) <= WIDE * self.usual

    @property
    def scale(self) -> float:
        return max(self.high - min(self.low, 0.0), 1e-6) / 255

    @property
    def zero(self) -> int:
        """The code of 0."""
        return round(-min(self.low, 0.0) / self.scale)

    @property
    def steps(self) -> Array:
        """What one code stands for in a cache of what the layer gave, (width,)."""
        return np.maximum(self.gave / 127, 1e-6).astype(np.float32)


class Graph:
    """Nodes and weights in the order in which they were added; values go by name.

    `seen` tells by layer's name what it is fed and gives; without an entry a layer stays fp32, and without any so do
    tables and caches.
    """

    def __init__(self, seen: Mapping[str, Seen]) -> None:
        self.seen = seen
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

    def linear(self, x: str, names: Sequence[str], weights: Weights) -> str:
        """x · matrix + bias for the layers of these names side by side; they are fed the same."""
        matrix = np.concatenate([weights[f"{name}.weight"].T for name in names], axis=1)
        bias = np.concatenate([weights[f"{name}.bias"] for name in names])
        return self.product(x, "+".join(names), matrix, bias, self.seen.get(names[0]))

    def product(self, x: str, name: str, matrix: Array, bias: Array | None, fed: "Seen | None") -> str:
        """x · matrix + bias, the matrix as (in, out); in int8 when it is known what the layer is fed."""
        offset = "" if bias is None else self.weight(f"{name}.bias", bias.astype(np.float32))
        if fed is None:
            y = self.add("MatMul", x, self.weight(f"{name}.matrix", matrix))
            return self.add("Add", y, offset) if offset else y
        codes, scales = unsaturated(matrix)
        columns = self.weight(f"{name}.codes", codes), self.weight(f"{name}.scales", scales)
        if fed.steady:
            return self._steady(x, name, fed, columns, offset)
        return self._by_rows(x, columns, offset)

    def _steady(self, x: str, name: str, fed: "Seen", columns: tuple[str, str], offset: str) -> str:
        scale = self.weight(f"{name}.scale", np.array(fed.scale, np.float32))
        zero = self.weight(f"{name}.zero", np.array(fed.zero, np.uint8))
        x = self.add("QuantizeLinear", x, scale, zero)
        return self.fused("MatMulIntegerToFloat", x, columns[0], scale, columns[1], zero, "", offset)

    def _by_rows(self, x: str, columns: tuple[str, str], offset: str) -> str:
        """A row of zeros divides by zero and stays zero."""
        axis = self.weight("last", np.array([-1], np.int64))
        one, middle = self.weight("one", np.array(1, np.float32)), self.weight("middle", np.array(128, np.uint8))
        largest = self.add("ReduceMax", self.add("Abs", x), axis, keepdims=1)
        scale = self.add("Mul", largest, self.weight("per_127", np.array(1 / 127, np.float32)))
        x = self.add("QuantizeLinear", self.add("Div", x, scale), one, middle)
        y = self.add("Mul", self.fused("MatMulIntegerToFloat", x, columns[0], one, columns[1], middle), scale)
        return self.add("Add", y, offset) if offset else y

    def table(self, ids: str, name: str, rows: Array) -> str:
        """The rows of a table of vectors."""
        if not self.seen:
            return self.add("Gather", self.weight(f"{name}.rows", rows), ids)
        codes, scales = coded(rows, axis=1)
        picked = self.add("Gather", self.weight(f"{name}.codes", codes), ids)
        picked = self.add("Cast", picked, to=FLOAT)
        return self.add("Mul", picked, self.add("Gather", self.weight(f"{name}.scales", scales[:, None]), ids))

    def norm(self, x: str, residual: str, name: str, weights: Weights) -> str:
        """LayerNorm(x + residual)."""
        parts = (self.weight(f"{name}.{part}", weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.add("LayerNormalization", self.add("Add", x, residual), *parts, axis=-1, epsilon=EPSILON)

    def activation(self, x: str, name: str) -> str:
        kind = ACTIVATIONS[name]
        if kind == "QuickGelu":
            return self.fused(kind, x, alpha=1.0)
        return self.add(kind, x, domain="" if kind == "Relu" else "com.microsoft")

    @property
    def cache(self) -> int:
        """The type of keys and values."""
        return TensorProto.INT8 if self.seen else FLOAT

    def model(self, name: str, outputs: Mapping[str, list[str | int]], kind: int = FLOAT) -> onnx.ModelProto:
        """`kind` is the outputs' type, but for that of `new_…`, which are caches."""
        kinds = {output: self.cache if output.startswith("new_") else kind for output in outputs}
        infos = [helper.make_tensor_value_info(output, kinds[output], shape) for output, shape in outputs.items()]
        graph = helper.make_graph(self._nodes, name, self._inputs, infos, list(self._weights.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="export")


def coded(matrix: Array, axis: int) -> tuple[Array, Array]:
    """int8 codes and the fp32 scales along the other axis, symmetric around zero."""
    scales = np.maximum(np.abs(matrix).max(axis, keepdims=True) / 127, np.float32(1e-12))
    return np.rint(matrix / scales).astype(np.int8), scales.squeeze(axis).astype(np.float32)


def unsaturated(matrix: Array) -> tuple[Array, Array]:
    """The same for a matrix (in, out) of weights, by column, whose pairs stay within sixteen bits."""
    rows = np.pad(matrix, ((0, len(matrix) % 2), (0, 0))).reshape(-1, 2, matrix.shape[1])
    pairs = np.maximum(np.maximum(rows, 0).sum(1), np.maximum(-rows, 0).sum(1)).max(0)
    scales = np.maximum(np.maximum(np.abs(matrix).max(0) / 127, pairs / PAIR), 1e-12).astype(np.float32)
    return np.rint(matrix / scales).astype(np.int8), scales
