"""The rows of a running batch whose keys and values stay on a device.

They are one tensor for what the rows have said and one for what they look at. Rows that join, move, follow others or
leave are written down, and the next step begins with one run of the graph `carry` for each tensor, which puts them
where they belong; a step without such changes copies nothing, and the decoder writes into its input. Between the graphs
of a step nothing leaves the device; tokens go up, and logits come down. A row takes the places of a full sentence.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

if TYPE_CHECKING:
    from models.translation.network import Network

Array = NDArray[Any]

Memory = tuple[Any, int]
"""A group of sentences as the encoder left it on the device, and which of them."""


class Resident:
    """One tensor of keys or values. `source[i]` is where row i lies: in it, or behind it among those who join."""

    def __init__(self, network: "Network", places: int) -> None:
        self._network = network
        self._kind, self._inner = network.kind, (network.heads, places, network.size)
        shape = [2 * network.layers, 0, *self._inner]
        self._value = ort.OrtValue.ortvalue_from_shape_and_type(shape, self._kind.type, network.device, 0)
        width = 2 * network.layers * network.heads * network.size
        self._nobody = ort.OrtValue.ortvalue_from_numpy(np.empty((0, 1, width), self._kind), network.device, 0)
        self.source: list[int] = []

    def arrange(self, joining: Sequence[Any]) -> None:
        """Lets rows lie where they are counted."""
        order = list(range(len(self.source)))
        if not joining and self.source == order:
            return
        for group in joining[:-1]:
            self._carry(group, list(range(self.held + group.shape()[0])))
        self._carry(joining[-1] if joining else self._nobody, self.source)
        self.source = order

    @property
    def held(self) -> int:
        rows: int = self._value.shape()[1]
        return rows

    def bind(self, binding: Any, kind: str, count: int) -> None:
        """The first `count` rows of every layer as the decoder's input, and the same memory as its output."""
        shape, layer = [count, *self._inner], self.held * math.prod(self._inner) * self._kind.itemsize
        for i in range(self._network.layers):
            for j, part in enumerate(("keys", "values")):
                place = self._network.device, 0, self._kind.type, shape, self._value.data_ptr() + (2 * i + j) * layer
                binding.bind_input(f"{kind}_{part}_{i}", *place)
                binding.bind_output(f"new_{kind}_{part}_{i}", *place)

    def _carry(self, joining: Any, order: list[int]) -> None:
        given = {"cache": self._value, "fresh": joining, "order": np.array(order, np.int64)}
        self._value = passed(self._network.carry, given, "next", self._network.device)


class DeviceRows:
    """What `network.Rows` is, on a device."""

    def __init__(self, network: "Network", places: int) -> None:
        self._network = network
        self._said, self._memory = Resident(network, places), Resident(network, places)
        self._joining: list[Any] = []
        self._positions: list[int] = []
        self._lasts: list[int] = []

    def join(self, row: int, memory: Memory) -> None:
        """Row `row`, one of those there are or the next one, begins a sentence."""
        group, i = memory
        if not any(group is one for one in self._joining):
            self._joining.append(group)
        place = i
        for before in self._joining:
            if before is group:
                break
            place += before.shape()[0]
        for cache in (self._said, self._memory):
            cache.source[row : row + 1] = [cache.held + place]
        self._positions[row : row + 1], self._lasts[row : row + 1] = [0], [group.shape()[1] - 1]

    def step(self, count: int, tokens: Sequence[int]) -> Array:
        """One token further for the first `count` rows, fed with `tokens`: logits (count, words)."""
        self._cut(count)
        for cache in (self._said, self._memory):
            cache.arrange(self._joining)
        self._joining.clear()
        network = self._network
        ids = {"ids": np.array([tokens], np.int64).T, "positions": np.array([self._positions], np.int64).T}
        vectors = passed(network.embedding, ids, "vectors", network.device)
        lasts = {"self": self._positions, "memory": self._lasts}
        given: dict[str, Any] = {"vectors": vectors}
        for kind, last in lasts.items():
            given |= {f"{kind}_last": np.array(last, np.int32), f"{kind}_bound": np.array(max(last) + 1, np.int32)}
        states = passed(network.decoder, given, "states", network.device, self._bind)
        self._positions = [position + 1 for position in self._positions]
        logits: Array = passed(network.projection, {"states": states}, "logits", "cpu").numpy()
        return logits[:, 0]

    def follow(self, first: int, parents: Sequence[int]) -> None:
        """Rows `first`, `first + 1`, … continue what the rows `first + parents[0]`, … have said so far."""
        self._said.source[first : first + len(parents)] = [self._said.source[first + parent] for parent in parents]

    def move(self, source: int, target: int) -> None:
        """Row `target` takes over everything of row `source`."""
        for column in (self._said.source, self._memory.source, self._positions, self._lasts):
            column[target] = column[source]

    def leave(self, row: int) -> None:
        """The rows before `row` are left."""
        self._cut(row)

    def _bind(self, binding: Any) -> None:
        self._said.bind(binding, "self", len(self._positions))
        self._memory.bind(binding, "memory", len(self._positions))

    def _cut(self, count: int) -> None:
        for column in (self._said.source, self._memory.source, self._positions, self._lasts):
            del column[count:]


def passed(
    session: Any, inputs: Mapping[str, Any], output: str, device: str, more: Callable[[Any], None] | None = None
) -> Any:
    """The output as a value on `device`. Inputs are arrays of the host, or values that lie somewhere already."""
    binding = session.io_binding()
    for name, value in inputs.items():
        if isinstance(value, np.ndarray):
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        else:
            binding.bind_ortvalue_input(name, value)
    binding.bind_output(output, device)
    if more:
        more(binding)
    session.run_with_iobinding(binding)
    return binding.get_outputs()[0]
