"""The engines under test, behind one verb: source ids in, target ids out, both with the end token.

Each is given the same threads. CTranslate2 can spend them inside one batch (2x1: two threads, one worker) or on parts
of it (1x2); both run, and ratios are taken against the faster one. Converting ids to its pieces and back is counted in
its time: it is microseconds beside a decoder step.
"""

import json
import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from configs.engines import TranslationSettings
from models.artifact import read
from models.translation.marian import MarianModel

Rows = list[list[int]]
Beams = tuple[int, ...]
Request = tuple[list[int], int, Future[list[int]]]
"""Source ids, beam, and who waits for the target ids."""

OURS, CTRANSLATE2, TORCH = "ours", "ctranslate2", "torch"


class Engine(Protocol):
    name: str
    beams: Beams
    """The beam sizes it offers, out of 1 and 4."""

    def translate(self, rows: Rows, beam: int) -> Rows:
        """Target ids of one batch, without start and padding. May be called from several threads."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """How to build an engine, in this process or in a child. `workers` split a batch and share the threads."""

    kind: str
    folder: Path
    threads: int
    workers: int = 1

    def build(self) -> Engine:
        if self.kind == OURS:
            return Ours(self)
        return CTranslate2(self) if self.kind == CTRANSLATE2 else Torch(self)


class Ours:
    """A model per beam size, since the size is a setting; the second is loaded when it is first asked for."""

    name = OURS

    def __init__(self, choice: Choice) -> None:
        self._artifact = read(choice.folder)
        self._settings = TranslationSettings(device="cpu", threads=choice.threads)
        self.beams: Beams = (1, 4) if "beam_size" in TranslationSettings.model_fields else (1,)
        self._models = {1: self._load(1)}

    def translate(self, rows: Rows, beam: int) -> Rows:
        if beam not in self._models:
            self._models[beam] = self._load(beam)
        return self._models[beam].generate(rows)

    def _load(self, beam: int) -> MarianModel:
        return MarianModel(self._artifact, self._settings.model_copy(update={"beam_size": beam}))


class CTranslate2:
    beams: Beams = (1, 4)

    def __init__(self, choice: Choice) -> None:
        import ctranslate2

        inside = max(1, choice.threads // choice.workers)
        self.name = f"{CTRANSLATE2} {inside}x{choice.workers}"
        self._workers = choice.workers
        self._translator = ctranslate2.Translator(
            str(choice.folder), device="cpu", compute_type="int8", intra_threads=inside, inter_threads=choice.workers
        )
        source, target = (folder_vocabulary(choice.folder, side) for side in ("source", "target"))
        self._pieces = {i: piece for piece, i in source.items()}
        self._ids = target

    def translate(self, rows: Rows, beam: int) -> Rows:
        pieces = [[self._pieces[i] for i in row] for row in rows]
        share = -(-len(rows) // self._workers)
        results = self._translator.translate_batch(pieces, beam_size=beam, max_batch_size=share, return_end_token=True)
        return [[self._ids[piece] for piece in result.hypotheses[0]] for result in results]


class Torch:
    """transformers' generate in fp32; greedy only, since its beams would take most of the benchmark's time."""

    name = TORCH
    beams: Beams = (1,)

    def __init__(self, choice: Choice) -> None:
        import torch
        from transformers import MarianMTModel

        torch.set_num_threads(choice.threads)
        self._torch = torch
        self._network = MarianMTModel.from_pretrained(choice.folder).eval()
        self._end, self._pad = (self._network.config.eos_token_id, self._network.config.pad_token_id)

    def translate(self, rows: Rows, beam: int) -> Rows:
        longest = max(map(len, rows))
        source = self._torch.tensor([row + [self._pad] * (longest - len(row)) for row in rows])
        with self._torch.inference_mode():
            ids = self._network.generate(
                input_ids=source, attention_mask=(source != self._pad).long(),
                num_beams=beam, do_sample=False, max_length=256,
            )  # fmt: skip
        return [self._until_end(line[1:]) for line in ids.tolist()]

    def _until_end(self, ids: list[int]) -> list[int]:
        return ids[: ids.index(self._end) + 1] if self._end in ids else ids


class Window:
    """An engine that waits for company: requests that come within `wait_s` of the first one share its batch.

    All of a batch get the beam of its first.
    """

    def __init__(self, engine: Engine, wait_s: float = 0.010, most: int = 32) -> None:
        self.name, self.beams = f"{engine.name} window", engine.beams
        self._engine, self._wait_s, self._most = engine, wait_s, most

        self._asked: queue.SimpleQueue[Request] = queue.SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def translate(self, rows: Rows, beam: int) -> Rows:
        waiting: list[Future[list[int]]] = [Future() for _ in rows]
        for row, future in zip(rows, waiting, strict=True):
            self._asked.put((row, beam, future))
        return [future.result() for future in waiting]

    def _serve(self) -> None:
        while True:
            batch = self._gather()
            try:
                said = self._engine.translate([row for row, _, _ in batch], batch[0][1])
            except Exception as error:  # whatever it is, those who wait have to hear of it
                for *_, future in batch:
                    future.set_exception(error)
                continue
            for (*_, future), ids in zip(batch, said, strict=True):
                future.set_result(ids)

    def _gather(self) -> list[Request]:
        batch = [self._asked.get()]
        until = time.perf_counter() + self._wait_s
        while len(batch) < self._most and (left := until - time.perf_counter()) > 0:
            try:
                batch.append(self._asked.get(timeout=left))
            except queue.Empty:
                break
        return batch


def folder_vocabulary(folder: Path, side: str) -> dict[str, int]:
    """Piece → id, as CTranslate2 stores it: one list for both sides, or one each."""
    shared = folder / "shared_vocabulary.json"
    path = shared if shared.is_file() else folder / f"{side}_vocabulary.json"
    return {piece: i for i, piece in enumerate(json.loads(path.read_text("utf-8")))}
