"""Many models in the memory of a few: loaded at first use, the one that was used longest ago goes first.

What is held is measured, not estimated: the anonymous memory of this process (`RssAnon` and `VmSwap` of Linux), less
what it was before the first model. That is what a container's limit counts, whoever asked for it: weights, the copies
that the runtime packs for its kernels, the buffers of running batches. Pages of files are left out, since the system
drops them by itself. Two sizes of one model before and after its load would say less: what neighbours that run
meanwhile take and give back would be booked on it. Whether there is room is asked at each load, with twice the size of
the files, which is what a load was seen to take at its peak (1.6 to 2.1 times). What else grows or shrinks in this
process counts too, so a process that keeps its translation models in bounds had better keep nothing else.

Freed memory goes back to the system only when the C library is told to: without `malloc_trim`, an opus-mt-size model
that was dropped left 230 of its 230 MB behind.

One thread loads and evicts, one model at a time, while those that are there go on. An evicted model first says what it
was asked; whoever asks for it meanwhile asks for its next load. So with room for one model, two jobs of different pairs
take turns. A model above the budget is served alone. Memory of a GPU is not measured.
"""

import ctypes
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from models.artifact import Artifact
from models.futures import done, fail, forget, then

log = logging.getLogger(__name__)

SWELL = 2
"""Memory that a load takes at its peak, as a multiple of the files."""


class Closing(Protocol):
    def close(self) -> None:
        """Lets go of the memory. Whoever called the model has the answer by then."""
        ...


Model = TypeVar("Model", bound=Closing)
Answer = TypeVar("Answer")


class _Slot(Generic[Model]):
    """A model that is there or on its way, and a mark for each who uses it or waits for it.

    The marks are apart, because who holds the slot holds the model.
    """

    def __init__(self, artifact: Artifact) -> None:
        self.artifact, self.users = artifact, list[None]()
        self.model: Future[Model] = Future()
        self.model.set_running_or_notify_cancel()  # one of several who wait for it must not cancel it


class Shelf(Generic[Model]):
    """Models by artifact. `load` makes one and may raise; `budget` is in bytes, 0 for none. Safe in several threads."""

    def __init__(self, load: Callable[[Artifact], Model], budget: int = 0) -> None:
        self._load, self._budget = load, budget
        self._slots: dict[Path, _Slot[Model]] = {}  # the one used longest ago comes first
        self._idle = threading.Condition()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="loading")
        trim()  # memory that others freed would else be taken for room that is held
        self._before = held()

    @property
    def loaded(self) -> list[str]:
        """Names of the folders whose models are there, the one used longest ago first."""
        with self._idle:
            return [folder.name for folder, slot in self._slots.items() if slot.model.done()]

    def use(self, artifact: Artifact, work: "Callable[[Model], Future[Answer]]") -> "Future[Answer]":
        """What `work` makes of the model, which stays until then. An error of loading is the answer's error.

        After a failed load, the next use tries again.
        """
        with self._idle:
            slot = self._slots.pop(artifact.folder, None)
            fresh = slot is None
            slot = self._slots[artifact.folder] = slot or _Slot(artifact)
            slot.users.append(None)
            model = slot.model
            if fresh:
                self._loader.submit(self._fill, slot)
        answer = then(model, work)
        answer.add_done_callback(partial(self._leave, slot.users))
        return answer

    def _leave(self, users: list[None], _: "Future[Answer]") -> None:
        with self._idle:
            users.pop()
            self._idle.notify_all()

    def _fill(self, slot: _Slot[Model]) -> None:
        try:
            self._make_room(SWELL * sum(file.bytes for file in slot.artifact.manifest.files.values()))
            model = self._load(slot.artifact)
        except BaseException as error:
            forget(error)
            with self._idle:
                del self._slots[slot.artifact.folder]
            fail(slot.model, error)
        else:
            with self._idle:  # not the future that knows all who waited: it would keep their answers
                waiting, slot.model = slot.model, done(model)
            waiting.set_result(model)
        trim()
        self._make_room(0, keep=slot)

    def _make_room(self, size: int, keep: _Slot[Model] | None = None) -> None:
        """Evicts until `size` bytes more are within the budget, or nothing is left to evict."""
        while self._budget and held() - self._before + size > self._budget:
            with self._idle:
                there = [slot for slot in self._slots.values() if slot.model.done() and slot is not keep]
            if not there:
                if keep:
                    log.warning(
                        "the translation model %s alone is above the budget of memory", keep.artifact.folder.name
                    )
                return
            self._evict(there[0])

    def _evict(self, slot: _Slot[Model]) -> None:
        with self._idle:
            del self._slots[slot.artifact.folder]
            self._idle.wait_for(lambda: not slot.users)
        slot.model.result().close()
        trim()
        log.info("translation model %s made room", slot.artifact.folder.name)


def held() -> int:
    """Bytes of anonymous memory of this process; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "VmSwap:")))


def trim() -> None:
    """Gives freed memory back to the system, where the C library can."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back:
        give_back(0)
