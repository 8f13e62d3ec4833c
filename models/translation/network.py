"""The exported graphs of one model, and the rows of a running batch with their caches.

A row is one hypothesis of one sentence. Live rows are the first ones of every buffer, so that a step binds a prefix of
each and copies nothing: the decoder writes its keys and values where they stay. Rows stand at different tokens and look
at sentences of different lengths; nothing is padded, and no row's result depends on another row.

The buffers have room for `rows` sentences of full length, in address space alone: they are anonymous memory that the
system fills page by page as rows grow, and `leave` gives the pages of a row back. So memory follows the tokens that are
alive. An fp16 model on CUDA keeps its caches there (`resident`); those of an fp32 model stay in the host's memory,
because the fp32 attention over caches exists for CPUs only.
"""

import logging
import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from configs.engines import TranslationSettings
from models.artifact import Artifact
from models.translation.resident import DeviceRows, Memory, passed

log = logging.getLogger(__name__)

Array = NDArray[Any]

Provider = str | tuple[str, dict[str, str]]
"""What computes a graph, as ONNX Runtime names it, with its options."""

ALIGNED = 64
"""Places of a cache row are a multiple of it, so that rows begin at a page."""

KINDS = {"tensor(int8)": np.int8, "tensor(float16)": np.float16, "tensor(float)": np.float32}
"""Types of graphs' inputs."""

ON_GPU = frozenset({"none", "float16"})
"""Quantisations that CUDA computes: the int8 kernels are the processor's."""


class Network:
    """The graphs. `layers`, `heads` and `size` (width of a head) are the decoder's.

    The decoder counts the words that it may say from 0; `words` (said words,) are their ids in the vocabulary.
    """

    def __init__(self, artifact: Artifact, settings: TranslationSettings) -> None:
        graphs = ("source_embedding", "encoder", "target_embedding", "decoder", "projection")
        providers = _providers(artifact, settings)
        self._source, self.encoder, self.embedding, self.decoder, self.projection = (
            _session(artifact.path(f"{graph}.onnx"), providers) for graph in graphs
        )
        self.words: Array = np.load(artifact.path("words.npy"))
        caches = [x for x in self.decoder.get_inputs() if x.name.startswith("self_keys_")]
        self.layers, self.heads, self.size = len(caches), caches[0].shape[1], caches[0].shape[3]
        self.kind, self.between = (np.dtype(KINDS[x.type]) for x in (caches[0], self.projection.get_inputs()[0]))
        self.remote = len(providers) > 1
        self.device = "cuda" if self.remote and self.kind == np.float16 else "cpu"
        self.carry = _session(artifact.path("carry.onnx"), providers) if self.device != "cpu" else None

    def remember(self, rows: Sequence[list[int]]) -> "Array | list[Memory]":
        """Keys and values of sentences of one length, as (rows, 2 × layers, heads, tokens, size), or on the device."""
        ids = np.array(rows, np.int64)
        places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        if self.carry:
            vectors = passed(self._source, {"ids": ids, "positions": places}, "vectors", self.device)
            group = passed(self.encoder, {"vectors": vectors}, "memory", self.device)
            return [(group, i) for i in range(len(rows))]
        (vectors,) = self._source.run(None, {"ids": ids, "positions": places})
        (memory,) = self.encoder.run(None, {"vectors": vectors})
        split: Array = memory.reshape(*ids.shape, 2 * self.layers, self.heads, self.size)
        return split.transpose(0, 2, 3, 1, 4)

    def rows(self, capacity: int, places: int) -> "Rows | DeviceRows":
        """Buffers for up to `capacity` rows of up to `places` tokens, source and target each."""
        return DeviceRows(self, places) if self.carry else Rows(self, capacity, places)


@dataclass(frozen=True, slots=True)
class _Bound:
    """What a step with a certain number of rows runs; buffers are bound once."""

    embedding: Any
    decoder: Any
    projection: Any


class Rows:
    """The rows of a running batch. A row's tokens are counted from its `join` on."""

    def __init__(self, network: Network, capacity: int, places: int) -> None:
        self._network = network
        places = math.ceil(places / ALIGNED) * ALIGNED
        shape = (2 * network.layers, capacity, network.heads, places, network.size)
        self._said, self._memory = _Paged(shape, network.kind), _Paged(shape, network.kind)
        width = network.heads * network.size
        self._tokens, self._positions = np.zeros((2, capacity, 1), np.int64)
        self._vectors, self._states = np.zeros((2, capacity, 1, width), network.between)
        self._self_last, self._memory_last = np.zeros((2, capacity), np.int32)
        self._self_bound, self._memory_bound = np.zeros((), np.int32), np.zeros((), np.int32)
        self._logits = np.empty((capacity, 1, len(network.words)), np.float32)
        self._bound: dict[int, _Bound] = {}

    def join(self, row: int, memory: Array) -> None:
        """Row `row` begins a sentence: its memory is (2 × layers, heads, tokens, size)."""
        tokens = memory.shape[2]
        self._memory.array[:, row, :, :tokens] = memory
        self._memory_last[row], self._positions[row] = tokens - 1, 0

    def step(self, count: int, tokens: Sequence[int]) -> Array:
        """One token further for the first `count` rows, fed with `tokens`: logits (count, words).

        They are overwritten by the next step.
        """
        self._tokens[:count, 0] = tokens
        self._self_last[:count] = self._positions[:count, 0]
        self._self_bound[...] = self._self_last[:count].max() + 1
        self._memory_bound[...] = self._memory_last[:count].max() + 1
        # what is bound for another device is copied there at once, and not again at the next step
        bound = None if self._network.remote else self._bound.get(count)
        bound = bound or self._bound.setdefault(count, self._bind(count))
        self._network.embedding.run_with_iobinding(bound.embedding)
        self._network.decoder.run_with_iobinding(bound.decoder)
        self._network.projection.run_with_iobinding(bound.projection)
        self._positions[:count] += 1
        return self._logits[:count, 0]

    def follow(self, first: int, parents: Sequence[int]) -> None:
        """Rows `first`, `first + 1`, … continue what the rows `first + parents[0]`, … have said so far."""
        moved = [(first + i, first + parent) for i, parent in enumerate(parents) if i != parent]
        if moved:
            into, out_of = (list(rows) for rows in zip(*moved, strict=True))
            said = int(self._positions[first, 0])
            self._said.array[:, into, :, :said] = self._said.array[:, out_of, :, :said]

    def move(self, source: int, target: int) -> None:
        """Row `target` takes over everything of row `source`."""
        said, tokens = int(self._positions[source, 0]), int(self._memory_last[source]) + 1
        self._said.array[:, target, :, :said] = self._said.array[:, source, :, :said]
        self._memory.array[:, target, :, :tokens] = self._memory.array[:, source, :, :tokens]
        self._positions[target], self._memory_last[target] = said, tokens - 1

    def leave(self, row: int) -> None:
        """Gives the memory of a row back to the system."""
        self._said.forget(row)
        self._memory.forget(row)

    def _bind(self, count: int) -> _Bound:
        network = self._network
        decoder = {"vectors": self._vectors[:count]}
        decoder |= {"self_last": self._self_last[:count], "memory_last": self._memory_last[:count]}
        decoder |= {"self_bound": self._self_bound, "memory_bound": self._memory_bound}
        caches = {
            f"{kind}_{part}_{i}": cache.array[2 * i + j, :count]
            for kind, cache in (("self", self._said), ("memory", self._memory))
            for i in range(network.layers)
            for j, part in enumerate(("keys", "values"))
        }
        written = {f"new_{name}": cache for name, cache in caches.items()}
        ids = {"ids": self._tokens[:count], "positions": self._positions[:count]}
        return _Bound(
            _binding(network.embedding, ids, {"vectors": self._vectors[:count]}),
            _binding(network.decoder, decoder | caches, written | {"states": self._states[:count]}),
            _binding(network.projection, {"states": self._states[:count]}, {"logits": self._logits[:count]}),
        )


class _Paged:
    """An array whose pages exist from their first use on. Axis 1 counts rows."""

    def __init__(self, shape: tuple[int, ...], kind: np.dtype[Any]) -> None:
        self._pages = mmap.mmap(-1, kind.itemsize * math.prod(shape))
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            self._pages.madvise(mmap.MADV_NOHUGEPAGE)
        self.array: Array = np.frombuffer(self._pages, kind).reshape(shape)

    def forget(self, row: int) -> None:
        layers, rows, *inner = self.array.shape
        size = self.array.itemsize * math.prod(inner)
        if size % mmap.PAGESIZE == 0 and hasattr(mmap, "MADV_DONTNEED"):
            for layer in range(layers):
                self._pages.madvise(mmap.MADV_DONTNEED, (layer * rows + row) * size, size)


def _binding(session: Any, inputs: dict[str, Array], outputs: dict[str, Array]) -> Any:
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    for name, array in outputs.items():
        binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
    return binding


def on_gpu(artifact: Artifact, settings: TranslationSettings) -> bool:
    whole = artifact.manifest.quantisation in ON_GPU
    return settings.device != "cpu" and whole and "CUDAExecutionProvider" in ort.get_available_providers()


def _providers(artifact: Artifact, settings: TranslationSettings) -> list[Provider]:
    """CUDA for fp16 and fp32 artifacts where it is there."""
    cuda = on_gpu(artifact, settings)
    if settings.device == "cuda" and not cuda:
        whole = artifact.manifest.quantisation in ON_GPU
        reason = "is not there" if whole else "takes models exported with --fp16 or --no-quantise"
        log.warning("CUDA was asked for and %s: %s runs on the CPU", reason, artifact.folder.name)
    return [("CUDAExecutionProvider", _arena(settings)), "CPUExecutionProvider"] if cuda else ["CPUExecutionProvider"]


def _arena(settings: TranslationSettings) -> dict[str, str]:
    """How CUDA's memory grows: by what is asked for, not by doubling, so that a limit is one to the end."""
    limit = {"gpu_mem_limit": str(settings.gpu_memory_mb * 2**20)} if settings.gpu_memory_mb else {}
    return {"arena_extend_strategy": "kSameAsRequested", **limit}


def _session(path: Path, providers: list[Provider]) -> Any:
    options = ort.SessionOptions()
    # the batcher has a thread for each processor
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # the fused node takes five times as long as the sum and the norm apart
    apart = ["SkipLayerNormFusion"]
    return ort.InferenceSession(str(path), options, providers=providers, disabled_optimizers=apart)
