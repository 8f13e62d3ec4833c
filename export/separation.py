"""A checkpoint of Spleeter with two stems → a folder that the separation shelf serves, with a manifest.

The checkpoint is TensorFlow's, and TensorFlow is not needed: its index is a small table of names, shapes and places in
one file of floats, and the network is a U-Net of twelve layers, written down here once as ONNX. It masks magnitudes of
left and right, (2, blocks, 512 frames, 1024 bins): once for the voice, once for the rest. What lies around it is done
by sherpa-onnx.

It knows this one network, and says so when a checkpoint is another: names and shapes have to agree.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.origin import tools
from export.staging import staged
from export.translation import listed, today, write
from models.artifact import Artifact, Manifest, digest, read
from models.errors import ArtifactMissing

EXAMPLE = "python -m export separation path/to/2stems --out models/local/spleeter"
STEMS = ("vocals", "accompaniment")
WIDTHS = (16, 32, 64, 128, 256, 512)
EPSILON = 1e-3  # of Keras' batch normalisation
BINS, FRAMES = 1024, 512
FOOTER, FLOAT, VARINT, BYTES, FIXED32 = 48, 1, 0, 2, 5

Weights = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Order:
    model: Path
    out: Path
    licence: str = "MIT"


def export(order: Order) -> Artifact:
    """Makes the artifact. Raises ArtifactMissing when there is no such checkpoint, OutOfSpace for a full disk."""
    weights = checkpoint(order.model)
    with staged(order.out) as stage:
        for number, stem in enumerate(STEMS):
            Network(weights, number).save(stage / f"{stem}.onnx", stem)
        write(stage, _describe(order, stage))
    artifact = read(order.out)
    print(f"{order.out}: {sum(file.bytes for file in artifact.manifest.files.values()) / 1e6:.1f} MB, ready")
    return artifact


def _describe(order: Order, stage: Path) -> Manifest:
    return Manifest(
        kind="separation",
        source=order.model.name,
        revision=digest(_one(order.model, "*.data-00000-of-00001"))[:12],
        quantisation="none",
        opset=Network.OPSET,
        tools=tools("onnx"),
        licence=order.licence,
        created=today(),
        files=listed(stage),
    )


# -- TensorFlow's checkpoint -------------------------------------------------------------------------------------------


def checkpoint(folder: Path) -> Weights:
    """The float tensors of a checkpoint of one part, by name. Raises ArtifactMissing."""
    index, data = _one(folder, "*.index").read_bytes(), _one(folder, "*.data-00000-of-00001").read_bytes()
    try:
        return dict(_tensors(index, data))
    except (IndexError, ValueError, KeyError, struct.error) as error:
        raise ArtifactMissing(f"the checkpoint in {folder.name} is damaged; get it again") from error


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
    if len(found) != 1:
        raise ArtifactMissing(f"{folder.name} is no checkpoint of TensorFlow ({pattern}); for example: {EXAMPLE}")
    return found[0]


def _tensors(index: bytes, data: bytes) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The index is a table of blocks: its footer says where the block lies that says where the others lie."""
    footer = _numbers(index[-FOOTER:], 4)
    for _, place in _entries(index, footer[2], footer[3]):
        for name, entry in _entries(index, *_numbers(place, 2)):
            told = dict(_fields(entry)) if name else {}
            if told.get(1) == FLOAT:
                shape = [dict(_fields(size)).get(1, 0) for field, size in _fields(told.get(2, b"")) if field == 2]
                first, size = told.get(4, 0), told.get(5, 0)
                yield name.decode(), np.frombuffer(data[first : first + size], "<f4").reshape(shape)


def _entries(table: bytes, first: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Names and values of a block; a name is written as how much it shares with the one before, and the rest."""
    block = table[first : first + size]
    end = size - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    at, name = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        name = name[:shared] + block[at : at + own]
        yield name, block[at + own : at + own + length]
        at += own + length


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of the fields of a protobuf message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
        elif tag & 7 == BYTES:
            size, at = _varint(message, at)
            yield tag >> 3, message[at : at + size]
            at += size
        else:
            at += 4 if tag & 7 == FIXED32 else 8


def _numbers(packed: bytes, count: int) -> list[int]:
    found, at = [], 0
    for _ in range(count):
        value, at = _varint(packed, at)
        found.append(value)
    return found


def _varint(packed: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = packed[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


# -- the network -------------------------------------------------------------------------------------------------------


class Network:
    """The U-Net of stem `number`. Raises ArtifactMissing when the checkpoint has other layers."""

    OPSET = 17

    def __init__(self, weights: Weights, number: int) -> None:
        self._weights = weights
        self._nodes: list[Any] = []
        self._constants: dict[str, NDArray[np.float32]] = {}
        convs, norms, ups = ((layers * number) for layers in (7, 12, 6))
        sound = here = self._add("Transpose", ["x"], perm=[1, 0, 2, 3])
        down = []
        for depth, width in enumerate(WIDTHS):
            into = WIDTHS[depth - 1] if depth else 2
            here = self._layer("Conv", here, f"conv2d_{convs + depth}", (5, 5, into, width), **_HALVED)
            down.append(here)
            here = self._add("LeakyRelu", [self._norm(here, norms + depth)], alpha=0.2)
        here = down[-1]
        for depth, width in enumerate((*WIDTHS[-2::-1], 1)):
            into = WIDTHS[-1 - depth] * (2 if depth else 1)
            name = f"conv2d_transpose_{ups + depth}"
            here = self._layer("ConvTranspose", here, name, (5, 5, width, into), **_HALVED)
            here = self._norm(self._add("Relu", [here]), norms + len(WIDTHS) + depth)
            if depth + 1 < len(WIDTHS):
                here = self._add("Concat", [down[-2 - depth], here], axis=1)
        here = self._layer("Conv", here, f"conv2d_{convs + 6}", (4, 4, 1, 2), dilations=[2, 2], pads=[3, 3, 3, 3])
        masked = self._add("Mul", [self._add("Sigmoid", [here]), sound])
        self._add("Transpose", [masked], out="y", perm=[1, 0, 2, 3])

    def save(self, path: Path, comment: str) -> None:
        import onnx
        from onnx import helper, numpy_helper

        shape: list[str | int] = [2, "blocks", FRAMES, BINS]
        ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in "xy"]
        tensors = [numpy_helper.from_array(value, name) for name, value in self._constants.items()]
        graph = helper.make_graph(self._nodes, comment, ends[:1], ends[1:], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.OPSET)], ir_version=8)
        helper.set_model_props(model, {"model_type": "spleeter", "stems": "2", "comment": comment})
        onnx.checker.check_model(model)
        onnx.save(model, str(path))

    def _add(self, kind: str, inputs: list[str], out: str = "", **attributes: Any) -> str:
        from onnx import helper

        out = out or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [out], **attributes))
        return out

    def _layer(self, kind: str, here: str, name: str, shape: tuple[int, ...], **attributes: Any) -> str:
        """A convolution; TensorFlow's kernels are (height, width, in, out), and (…, out, in) for a transposed one."""
        name = name.removesuffix("_0")
        kernel = self._constant(f"{name}/kernel", shape, (3, 2, 0, 1))
        width = shape[2] if kind == "ConvTranspose" else shape[3]
        return self._add(kind, [here, kernel, self._constant(f"{name}/bias", (width,))], **attributes)

    def _norm(self, here: str, number: int) -> str:
        name = f"batch_normalization_{number}".removesuffix("_0")
        parts = [self._constant(f"{name}/{part}") for part in ("gamma", "beta", "moving_mean", "moving_variance")]
        return self._add("BatchNormalization", [here, *parts], epsilon=EPSILON)

    def _constant(self, name: str, shape: tuple[int, ...] | None = None, order: tuple[int, ...] | None = None) -> str:
        value = self._weights.get(name)
        if value is None or (shape is not None and value.shape != shape):
            raise ArtifactMissing(f"this is no checkpoint of Spleeter with two stems: {name} is not as it should be")
        self._constants[name] = np.ascontiguousarray(value if order is None else value.transpose(order))
        return name


_HALVED = {"strides": [2, 2], "pads": [1, 1, 2, 2]}  # what TensorFlow calls "same"
