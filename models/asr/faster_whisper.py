"""Whisper on CTranslate2: clips of all callers share its batches, each in a window that fits it.

Clips are at most 30 s and cut at silences already, so one pass without timestamp tokens hears all of a clip, its cost
is bounded, and word times come from the cross-attention. What is heard in one does not depend on its neighbours: no
state is carried from clip to clip, and nobody is padded for another's sake.

A clip in doubt is heard again, as one more turn of its caller: first in the full window of 30 s, then with a search
that may not repeat itself. Attempts differ by rule, never by chance, so a recording has one transcript; they are
bounded in number and in time. The best of them counts, and what still cannot be believed is dropped and says why.
Loops are cut out, the words around them stay.

Word times are good to about 0.2 s, and they swallow pauses: whoever knows where speech is should pull them to it. There
is no notion of who speaks, and a clip is in one language.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil

from configs.engines import AsrSettings
from models.asr.batcher import Batcher, Limits
from models.asr.device import load
from models.asr.doubt import NO_SPEECH, Decoded, behind, doubtful, merit, objection
from models.asr.loops import without_loops
from models.asr.network import FRAMES_PER_S, FULL, MAX_TOKENS, Network, Search, Timed
from models.asr.weights import languages
from models.errors import UnsupportedLanguage
from models.futures import done, gather, then
from models.meter import Meter
from models.segment import RECOGNITION_RATE, Audio, Clip, Transcript, Word

__all__ = ["FasterWhisper", "languages"]

MAX_S = 30.0
"""The encoder's window; a longer clip is heard in halves."""

MIN_S = 0.05
"""Nothing is said in less; the spectrum of a few samples is not defined."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """One attempt at one clip. `language` and its probability are those told or detected; `detected` is what a
    multilingual model hears, with its probability, whatever it was told."""

    decoded: Decoded
    words: list[Word]
    language: str
    probability: float
    detected: tuple[str, float] = ("", 0.0)


@dataclass(slots=True, eq=False)
class Job:
    """A clip on its way through the attempts. `window` is in frames, `language` None as long as nobody told it."""

    clip: Clip
    window: int
    search: Search
    language: str | None
    probability: float = 0.0
    attempt: int = 0
    began: float = field(default_factory=time.monotonic)
    best: Hearing | None = None
    spectrum: Audio | None = None

    @property
    def key(self) -> tuple[str | None, int, Search]:
        return self.language, self.window, self.search

    @property
    def seconds(self) -> float:
        return self.window / FRAMES_PER_S


class FasterWhisper:
    """Thread-safe. `languages` is {"en"} for an English-only model and None (any) for a multilingual one."""

    def __init__(self, settings: AsrSettings) -> None:
        self._settings = settings
        self._network, workers = load(settings)
        self.languages: frozenset[str] | None = None if self._network.multilingual else frozenset({"en"})
        limits = Limits(workers, settings.batch_s, settings.batch_wait_s)
        self.meter = Meter(on_gpu=self._network.on_gpu)
        hear = partial(_hear, self._network)
        self._batcher: Batcher[Job, Hearing] = Batcher(self._prepare, hear, limits, self.meter)

    def recognize(self, clips: list[Clip]) -> list[Transcript]:
        """Raises UnsupportedLanguage for a clip whose language the model does not hear."""
        for clip in clips:
            self._require(clip.language)
        return gather([self.submit(clip) for clip in clips]).result()

    def submit(self, clip: Clip, caller: str = "") -> "Future[Transcript]":
        """The same for one clip, without waiting; a language that the model does not hear is raised at once.

        Callers are served in turn. Cancelling the future takes the clip out of the queue.
        """
        self._require(clip.language)
        language = clip.language or (next(iter(self.languages)) if self.languages else None)
        if clip.duration < MIN_S:
            return done(Transcript((), language or "en"))
        if clip.duration > MAX_S:
            return self._halved(clip, caller)
        window = fitting(clip.duration, self._settings)
        return self._ask(Job(clip, window, Search(self._settings.beam_size), language), caller)

    def _require(self, language: str | None) -> None:
        from faster_whisper.tokenizer import _LANGUAGE_CODES

        hears = self.languages or frozenset(_LANGUAGE_CODES)
        if language is not None and language not in hears:
            raise UnsupportedLanguage(
                f"speech in {language!r} cannot be recognised by this model, which hears: {', '.join(sorted(hears))}"
            )

    def _ask(self, job: Job, caller: str) -> "Future[Transcript]":
        heard = self._batcher.submit(job, caller, first=job.attempt > 0)
        return then(heard, partial(self._settled, job, caller))

    def _settled(self, job: Job, caller: str, heard: Hearing) -> "Future[Transcript]":
        job.language, job.probability = heard.language, heard.probability
        job.best = self._better(heard, job.best)
        if doubtful(heard.decoded, heard.words, job.clip.end, self._settings) and self._may_again(job):
            return self._ask(self._again(job), caller)
        transcript = transcribed(job.best, job.clip, self._settings)
        return done(transcript) if transcript else self._halved(replace(job.clip, language=job.language), caller)

    def _better(self, heard: Hearing, before: Hearing | None) -> Hearing:
        """An attempt that hears silence has the last word: it heard more of it than those before."""
        if before is None or objection(heard.decoded, heard.words, self._settings) == NO_SPEECH:
            return heard
        return max((heard, before), key=lambda one: merit(one.decoded, self._settings))

    def _may_again(self, job: Job) -> bool:
        settings = self._settings
        return job.attempt < settings.retries and time.monotonic() - job.began < settings.retry_s

    def _again(self, job: Job) -> Job:
        """The next attempt: all the silence the encoder knows, then no repetitions."""
        search = job.search
        if job.window == FULL:
            search = Search(search.beam, self._settings.retry_penalty, self._settings.retry_unrepeated)
        return replace(job, window=FULL, search=search, attempt=job.attempt + 1)

    def _halved(self, clip: Clip, caller: str) -> "Future[Transcript]":
        """A clip that is too long, or said more than the decoder can hold: each half on its own."""
        middle = len(clip.audio) // 2
        second = Clip(clip.audio[middle:], clip.start + middle / RECOGNITION_RATE, clip.language)
        halves = [self.submit(one, caller) for one in (replace(clip, audio=clip.audio[:middle]), second)]
        return then(gather(halves), lambda both: done(joined(*both)))

    def _prepare(self, job: Job) -> None:
        if job.spectrum is None:
            job.spectrum = self._network.spectrum(job.clip.audio)


def fitting(duration: float, settings: AsrSettings) -> int:
    """Frames of the window for a clip of `duration` seconds: one of few lengths, so that clips find company."""
    steps = ceil(round((duration + settings.margin_s) / settings.window_step_s, 6))
    window = max(settings.min_window_s, steps * settings.window_step_s)
    return min(FULL, 2 * round(window * FRAMES_PER_S / 2))


def _hear(network: Network, jobs: Sequence[Job]) -> list[Hearing]:
    """One attempt at jobs of one key. Where they turn out to be in several languages, each is encoded again.

    A language that was told is used; what it sounds like is one step of the decoder more, and asked all the same.
    """
    encoded = network.encode([_spectrum(job) for job in jobs], jobs[0].window)
    told = network.detect(encoded) if network.multilingual else [("", 0.0)] * len(jobs)
    if (language := jobs[0].language) is not None:
        heard = _heard(network, jobs, encoded, [(language, job.probability) for job in jobs])
        return [replace(one, detected=detected) for one, detected in zip(heard, told, strict=True)]
    if len({language for language, _ in told}) == 1:
        return _heard(network, jobs, encoded, told)
    found: dict[int, Hearing] = {}
    for wanted in sorted({language for language, _ in told}):
        at = [i for i, (language, _) in enumerate(told) if language == wanted]
        some = [jobs[i] for i in at]
        spectra = network.encode([_spectrum(job) for job in some], jobs[0].window)
        found.update(zip(at, _heard(network, some, spectra, [told[i] for i in at]), strict=True))
    return [found[i] for i in range(len(jobs))]


def _heard(network: Network, jobs: Sequence[Job], encoded: object, told: Sequence[tuple[str, float]]) -> list[Hearing]:
    language, seconds = told[0][0], [job.clip.duration for job in jobs]
    decoded = network.decode(encoded, language, seconds, jobs[0].search)
    aligned = network.align(encoded, language, decoded, seconds)
    return [
        Hearing(one, timed(words, job.clip), language, probability)
        for job, one, words, (_, probability) in zip(jobs, decoded, aligned, told, strict=True)
    ]


def _spectrum(job: Job) -> Audio:
    assert job.spectrum is not None, "the batcher prepares before it hears"
    return job.spectrum


def transcribed(best: Hearing, clip: Clip, settings: AsrSettings) -> Transcript | None:
    """What is believed of the best attempt, and what is dropped; None where the text did not fit into the decoder."""
    language, probability = best.language, best.probability
    sounds_like, likeness = best.detected if not probability else ("", 0.0)
    if reason := objection(best.decoded, best.words, settings):
        dropped = [(best.decoded.text.strip(), reason)]
        return Transcript((), language, probability, tuple(dropped), sounds_like, likeness)
    words, cut = without_loops(best.words, settings.max_repeats)
    if len(best.decoded.tokens) >= MAX_TOKENS and not cut and clip.duration > MIN_S * 4:
        return None
    dropped = [(text, "loop") for text in cut]
    if extra := behind(words, clip.end):
        kept = len(words) - extra if len(words) > 2 * extra else 0  # the beginning of an invention is one too
        dropped.append(("".join(word.text for word in words[kept:]).strip(), "behind the end of the sound"))
        words = words[:kept]
    return Transcript(tuple(words), language, probability, tuple(dropped), sounds_like, likeness)


def joined(one: Transcript, two: Transcript) -> Transcript:
    """Both halves of a clip; the language is that of the half with more words."""
    main = max((one, two), key=lambda half: len(half.words))
    return replace(main, words=one.words + two.words, dropped=one.dropped + two.dropped)


def timed(aligned: Sequence[Timed], clip: Clip) -> list[Word]:
    """Words in video time: inside the clip, ascending, without overlap. Merging punctuation leaves empty words."""
    words: list[Word] = []
    floor = float(clip.start)
    for one in aligned:
        if not one["word"].strip():
            continue
        start = min(max(floor, clip.start + float(one["start"])), clip.end)
        end = min(max(start, clip.start + float(one["end"])), clip.end)
        words.append(Word(start, end, one["word"], float(one["probability"])))
        floor = end
    return words
