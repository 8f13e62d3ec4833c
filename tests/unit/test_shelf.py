"""Which models are there, with models that are nothing but memory: 64 MB each."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path

import numpy as np
import pytest

from models.artifact import Artifact, File, Manifest
from models.futures import done
from models.translation.shelf import SWELL, Shelf, held

SIZE = 64 * 2**20
ROOM = SIZE // SWELL
"""What the files of a model are said to weigh, so that a load wants its size."""


class Block:
    """Real memory, in pieces of the size that the C library keeps for itself when they are freed."""

    def __init__(self, name: str) -> None:
        self.name, self.closed = name, False
        self.memory = [np.ones(2**16, np.uint8) for _ in range(SIZE // 2**16)]

    def close(self) -> None:
        self.closed = True
        self.memory.clear()


class Maker:
    """Loads blocks, one of which can be held back, and remembers the order."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.blocks: dict[str, Block] = {}
        self.gates: dict[str, threading.Event] = {}
        self.broken: set[str] = set()

    def __call__(self, artifact: Artifact) -> Block:
        name = artifact.folder.name
        if name in self.gates:
            assert self.gates[name].wait(10)
        self.loads.append(name)
        if name in self.broken:
            raise ValueError(f"{name} is broken")
        self.blocks[name] = Block(name)
        return self.blocks[name]


def artifact(name: str) -> Artifact:
    files = {"weights": File(bytes=ROOM, sha256="0" * 64)}
    manifest = Manifest(kind="translation", source="x", revision="1", quantisation="none", created="", files=files)
    return Artifact(Path("/models", name), manifest)


def name_of(block: Block) -> "Future[str]":
    return done(block.name)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def maker() -> Iterator[Maker]:
    maker = Maker()
    yield maker
    for block in maker.blocks.values():
        block.close()


def test_a_model_is_loaded_at_its_first_use_and_kept(maker: Maker) -> None:
    shelf = Shelf(maker)
    assert maker.loads == []
    assert [shelf.use(artifact("a"), name_of).result(10) for _ in range(3)] == ["a"] * 3
    assert maker.loads == shelf.loaded == ["a"]


def test_memory_of_the_one_used_longest_ago_goes_back(maker: Maker) -> None:
    shelf = Shelf(maker, budget=2 * SIZE + SIZE // 2)
    before = held()
    for name in ("a", "b", "a", "c"):
        assert shelf.use(artifact(name), name_of).result(10) == name
    shelf.use(artifact("c"), done).result(10)
    assert shelf.loaded == ["a", "c"]
    assert maker.blocks["b"].closed
    assert held() - before < 2.6 * SIZE  # three would hold more; the process may give other things back meanwhile
    assert shelf.use(artifact("b"), name_of).result(10) == "b"
    assert maker.loads == ["a", "b", "c", "b"]
    assert shelf.loaded == ["c", "b"]


def test_without_a_budget_all_stay(maker: Maker) -> None:
    shelf = Shelf(maker)
    for name in "abc":
        shelf.use(artifact(name), name_of).result(10)
    assert shelf.loaded == ["a", "b", "c"]


def test_what_is_under_way_ends_before_its_model_goes(maker: Maker) -> None:
    """And who asks for the model on its way out gets its next load."""
    shelf = Shelf(maker, budget=SIZE + SIZE // 2)
    shelf.use(artifact("a"), name_of).result(10)
    first, slow = maker.blocks["a"], Future[str]()
    under_way = shelf.use(artifact("a"), lambda _: slow)
    other = shelf.use(artifact("b"), name_of)
    while "a" in shelf.loaded:
        wait([other], 0.01)
    again = shelf.use(artifact("a"), name_of)
    assert not wait([other, again], 0.2).done
    assert not first.closed and maker.loads == ["a"]
    slow.set_result("spoken")
    assert [future.result(10) for future in (under_way, other, again)] == ["spoken", "b", "a"]
    assert maker.loads == ["a", "b", "a"] and first.closed


def test_a_load_holds_up_nobody_with_another_model(maker: Maker) -> None:
    shelf = Shelf(maker)
    shelf.use(artifact("a"), name_of).result(10)
    maker.gates["b"] = threading.Event()
    other = shelf.use(artifact("b"), name_of)
    assert shelf.use(artifact("a"), name_of).result(1) == "a"
    assert not other.done()
    maker.gates["b"].set()
    assert other.result(10) == "b"


def test_all_who_want_a_missing_model_share_its_load(maker: Maker) -> None:
    shelf = Shelf(maker)
    maker.gates["a"] = threading.Event()
    futures: list[Future[str]] = []
    threads = [threading.Thread(target=lambda: futures.append(shelf.use(artifact("a"), name_of))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert futures[0].cancel()
    maker.gates["a"].set()
    assert [future.result(10) for future in futures[1:]] == ["a"] * 7
    assert maker.loads == ["a"]


def test_a_failed_load_is_heard_by_all_who_wait_and_tried_again(maker: Maker) -> None:
    shelf = Shelf(maker)
    maker.gates["a"], maker.broken = threading.Event(), {"a"}
    futures = [shelf.use(artifact("a"), name_of) for _ in range(3)]
    maker.gates["a"].set()
    for future in futures:
        with pytest.raises(ValueError, match="a is broken"):
            future.result(10)
    assert maker.loads == ["a"]
    maker.broken.clear()
    assert shelf.use(artifact("a"), name_of).result(10) == "a"


def test_a_model_above_the_budget_is_served_alone_and_that_is_said(
    maker: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf(maker, budget=SIZE // 4)
    assert [shelf.use(artifact(name), name_of).result(10) for name in ("a", "b")] == ["a", "b"]
    shelf.use(artifact("c"), name_of).result(10)
    assert maker.blocks["a"].closed and maker.blocks["b"].closed
    assert "translation model a alone is above the budget" in caplog.text


def test_an_error_in_the_work_is_its_callers_and_the_model_stays(maker: Maker) -> None:
    shelf = Shelf(maker)

    def refuse(_: Block) -> "Future[str]":
        raise ValueError("not this one")

    with pytest.raises(ValueError, match="not this one"):
        shelf.use(artifact("a"), refuse).result(10)
    assert shelf.use(artifact("a"), name_of).result(10) == "a"
    assert maker.loads == ["a"]


def test_neither_answers_nor_the_shelf_itself_are_kept(maker: Maker) -> None:
    gc.collect()
    gc.disable()
    try:
        shelf = Shelf(maker)
        maker.gates["a"] = threading.Event()
        answers = [shelf.use(artifact("a"), done) for _ in range(3)]
        maker.gates["a"].set()
        assert shelf.use(artifact("a"), name_of).result(10) == "a"
        kept = [weakref.ref(answer) for answer in answers]
        gone = [weakref.ref(shelf), weakref.ref(maker.blocks.pop("a"))]
        answers.clear()
        until(lambda: not any(answer() for answer in kept))
        del shelf
        until(lambda: not any(one() for one in gone))
    finally:
        gc.enable()
