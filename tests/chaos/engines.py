"""Echo engines that take time and write down every call, for a service that is killed while they work.

A call is two lines of the journal, one when it begins and one when its answer is given away; each line is one write to
a file that is only appended to, so that a kill loses at most the line that it interrupts. Calls are told apart by what
was asked. The recogniser hears words that are made from the sound, so that no two films ever ask for the same sentence.

Named in a config as `tests.chaos.engines:Recognizer` and so on; CHAOS_JOURNAL is the file, CHAOS_DELAY_S the time that
each call takes. Of translators that are called `StuckTranslator`, the one that is first asked by a job writes its
process id into CHAOS_STUCK and never answers any more.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from configs.engines import AsrSettings, TranslationSettings, TtsSettings, VadSettings
from models import echo, golden
from models.segment import Clip, Sentence, Span, Speech, Transcript, Utterance, Word

Answer = TypeVar("Answer")

AT_ONCE = 4
LETTERS = str.maketrans("0123456789abcdef", "bcdfghjklmnpqrst")


def journaled(verb: str, asked: str, work: Callable[[], Answer]) -> Answer:
    """What `work` gives, after the delay, with a line before and after."""
    _write("began", verb, asked)
    return _answered(verb, asked, work)


def _answered(verb: str, asked: str, work: Callable[[], Answer]) -> Answer:
    time.sleep(float(os.environ.get("CHAOS_DELAY_S", "0")))
    answer = work()
    _write("ended", verb, asked)
    return answer


def _write(phase: str, verb: str, asked: str) -> None:
    line = {"at": time.time(), "pid": os.getpid(), "phase": phase, "verb": verb, "asked": asked}
    handle = os.open(os.environ["CHAOS_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, json.dumps(line).encode() + b"\n")
    finally:
        os.close(handle)


def _name(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def sound(clip: Clip) -> str:
    return _name(clip.start, clip.language, hashlib.sha256(clip.audio.tobytes()).hexdigest())


class Vad(echo.EchoVad):
    def __init__(self, settings: VadSettings) -> None:
        super().__init__(settings)

    def detect(self, clips: list[Clip]) -> list[list[Span]]:
        return [journaled("detect", sound(clip), partial(self._detect, clip)) for clip in clips]


class Recognizer(echo.EchoRecognizer):
    def __init__(self, settings: AsrSettings) -> None:
        super().__init__(settings)
        self._threads = ThreadPoolExecutor(AT_ONCE)

    def recognize(self, clips: list[Clip]) -> list[Transcript]:
        """Asked by the golden question alone: what it wants to hear."""
        return [Transcript(tuple(Word(0.0, 1.0, f" {word}", 1.0) for word in golden.WORDS), "en") for _ in clips]

    def submit(self, clip: Clip, caller: str = "") -> "Future[Transcript]":
        _write("began", "recognize", sound(clip))
        return self._threads.submit(_answered, "recognize", sound(clip), partial(self._heard, clip))

    def _heard(self, clip: Clip) -> Transcript:
        heard = self._recognize(clip)
        own = sound(clip)[:6].translate(LETTERS)
        return replace(heard, words=tuple(replace(w, text=w.text.replace("word", own)) for w in heard.words))


class Translator(echo.EchoTranslator):
    def __init__(self, settings: TranslationSettings) -> None:
        super().__init__(settings)
        self._threads = ThreadPoolExecutor(AT_ONCE)

    def submit(self, sentence: Sentence, caller: str = "") -> "Future[Sentence]":
        asked = _name(sentence.text, sentence.source, sentence.target)
        _write("began", "translate", asked)
        return self._threads.submit(_answered, "translate", asked, lambda: self.translate([sentence])[0])


class StuckTranslator(Translator):
    def submit(self, sentence: Sentence, caller: str = "") -> "Future[Sentence]":
        try:
            with Path(os.environ["CHAOS_STUCK"]).open("x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            pass
        if Path(os.environ["CHAOS_STUCK"]).read_text() == str(os.getpid()):
            _write("began", "translate", _name(sentence.text, sentence.source, sentence.target))
            return Future()
        return super().submit(sentence, caller)


class Tts(echo.EchoTts):
    def __init__(self, settings: TtsSettings) -> None:
        super().__init__(settings)

    def speak(self, utterances: list[Utterance]) -> list[Speech]:
        return [self._say(one) for one in utterances]

    def _say(self, one: Utterance) -> Speech:
        return journaled("speak", _name(asdict(one)), lambda: super(Tts, self).speak([one])[0])
