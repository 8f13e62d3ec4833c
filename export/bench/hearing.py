"""The clock of the recognition benchmark, the error rates, and what a listener weighs.

Word errors are jiwer's, over all recordings of a scenario, after Whisper's own normaliser: without punctuation and
case, numbers as digits; its table of British spellings is left empty. A request's wait runs from the moment at which
all clients are let go.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from export.bench.listeners import OURS, Listener, Pick
from export.bench.memory import megabytes
from export.bench.recordings import Recording
from export.bench.work import SETTLE_S
from models.errors import UnsupportedLanguage


@dataclass(frozen=True, slots=True)
class Scene:
    """Recordings that come at the same time, one a client; `told` says whether the language comes with them."""

    name: str
    recordings: tuple[Recording, ...]
    picks: tuple[Pick, ...]
    told: bool = True


@dataclass(frozen=True, slots=True)
class Take:
    sound: float  # seconds of it, over all recordings
    seconds: float
    said: tuple[str, ...]
    waits: tuple[float, ...]  # seconds of each recording

    @property
    def speed(self) -> float:
        """Seconds of sound in a second: the real-time factor upside down."""
        return self.sound / self.seconds


@dataclass(frozen=True, slots=True)
class Load:
    """Megabytes of a process of its own: with its libraries, and at its highest, after the long file."""

    base_mb: float
    peak_mb: float


def take(listener: Listener, scene: Scene) -> Take:
    time.sleep(SETTLE_S)
    gate = threading.Barrier(len(scene.recordings) + 1)

    def client(recording: Recording) -> tuple[str, float]:
        gate.wait()
        asked = time.perf_counter()
        try:
            text = listener.listen(recording.path, recording.language if scene.told else "")
        except UnsupportedLanguage:  # ours refuses where it cannot tell; every word is missing then
            text = ""
        return text, time.perf_counter() - asked

    with ThreadPoolExecutor(len(scene.recordings)) as pool:
        asked = [pool.submit(client, recording) for recording in scene.recordings]
        gate.wait()
        began = time.perf_counter()
        answers = [one.result() for one in asked]
        seconds = time.perf_counter() - began
    sound = sum(recording.seconds for recording in scene.recordings)
    return Take(sound, seconds, tuple(text for text, _ in answers), tuple(wait for _, wait in answers))


def word_error_rate(recordings: Sequence[Recording], said: Sequence[str]) -> float:
    import jiwer
    from transformers.models.whisper import english_normalizer as whisper

    normalizers: Any = whisper
    english, basic = normalizers.EnglishTextNormalizer({}), normalizers.BasicTextNormalizer()
    plain = [(english if one.language == "en" else basic) for one in recordings]
    truth = [" ".join(clean(one.words).split()) for clean, one in zip(plain, recordings, strict=True)]
    heard = [" ".join(clean(text).split()) for clean, text in zip(plain, said, strict=True)]
    return float(jiwer.wer(truth, heard))


def weigh(pick: Pick, recording: Recording) -> Load:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as child:
        return child.submit(_weigh, pick, recording).result()


def _weigh(pick: Pick, recording: Recording) -> Load:
    import faster_whisper  # noqa: F401

    if pick.kind == OURS:
        import serve_app.doors.transcribe  # noqa: F401
    base = megabytes("VmRSS")
    pick.build().listen(recording.path, recording.language)
    return Load(base, megabytes("VmHWM"))
