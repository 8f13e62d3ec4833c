"""A weightless engine for each shelf: deterministic, instant, and honest about hearing nothing.

They ship with the product, because a first run, a demo without models and every fast test need the same thing: the
whole pipeline with sound going in and sound coming out. Whatever is loud counts as speech; what is "heard" is numbered
words spread over the loud parts; a translation is the text with its language in front; a voice is a tone as long as its
text would take to say. So times, lengths and orders are real and testable, and the content is worthless.
"""

from concurrent.futures import Future
from itertools import permutations

import numpy as np

from configs.engines import (
    AsrSettings,
    SeparationSettings,
    SpeakerSettings,
    TranslationSettings,
    TtsSettings,
    VadSettings,
)
from configs.pipeline import LANGUAGES
from models.segment import (
    RECOGNITION_RATE,
    Audio,
    Clip,
    Sentence,
    Span,
    Speech,
    Stereo,
    Transcript,
    Utterance,
    Voice,
    Word,
)

FRAME = 320
"""Samples over which loudness is measured: 20 ms."""

LOUD = 0.01
"""Root mean square of a frame, full scale 1.0, from which it counts as loud: -40 dBFS."""

UNSURE = 0.6
"""How sure `EchoRecognizer` is of English: enough when nothing is known, too little to overrule what was given."""

WORD_S = 0.4
WORDS_PER_SENTENCE = 6
CHARACTER_S = 0.07
VOICE_RATE = 22_050
VOICE_HZ = 220.0


def languages(settings: AsrSettings) -> frozenset[str] | None:  # noqa: ARG001
    """What `EchoRecognizer` hears: None, it believes whatever it is told."""
    return None


def available(settings: TranslationSettings) -> frozenset[tuple[str, str]]:  # noqa: ARG001
    """The pairs of `EchoTranslator`: every ordered pair of the product's languages."""
    return frozenset(permutations(LANGUAGES, 2))


def loud_spans(audio: Audio, min_silence_s: float, min_speech_s: float) -> list[Span]:
    """Where 16 kHz mono sound is loud, in seconds from its first sample, ascending and without overlap."""
    frames = audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME)
    loud = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1)) >= LOUD
    edges = np.flatnonzero(np.diff(np.concatenate(([False], loud, [False])).astype(np.int8)))
    times = (edges * (FRAME / RECOGNITION_RATE)).tolist()
    spans: list[Span] = []
    for start, end in zip(times[::2], times[1::2], strict=True):
        if spans and start - spans[-1].end < min_silence_s:
            spans[-1] = Span(spans[-1].start, end)
        else:
            spans.append(Span(start, end))
    return [span for span in spans if span.duration >= min_speech_s]


class EchoVad:
    """Loud is speech."""

    def __init__(self, settings: VadSettings) -> None:
        self._settings = settings

    def detect(self, clips: list[Clip]) -> list[list[Span]]:
        return [self._detect(clip) for clip in clips]

    def _detect(self, clip: Clip) -> list[Span]:
        spans: list[Span] = []
        for span in loud_spans(clip.audio, self._settings.min_silence_s, self._settings.min_speech_s):
            start = max(clip.start, clip.start + span.start - self._settings.pad_s)
            end = min(clip.end, clip.start + span.end + self._settings.pad_s)
            if spans and start <= spans[-1].end:
                spans[-1] = Span(spans[-1].start, end)
            else:
                spans.append(Span(start, end))
        return spans


class EchoRecognizer:
    """Hears " word1 word2 …" in everything loud, a sentence of at most six words at a time."""

    languages: frozenset[str] | None = None

    def __init__(self, settings: AsrSettings) -> None:
        self._settings = settings

    def recognize(self, clips: list[Clip]) -> list[Transcript]:
        return [self._recognize(clip) for clip in clips]

    def submit(self, clip: Clip, caller: str = "") -> "Future[Transcript]":  # noqa: ARG002
        future: Future[Transcript] = Future()
        future.set_result(self._recognize(clip))
        return future

    def _recognize(self, clip: Clip) -> Transcript:
        words: list[Word] = []
        for span in loud_spans(clip.audio, min_silence_s=0.3, min_speech_s=0.1):
            words += _count(Span(clip.start + span.start, clip.start + span.end), first=len(words) + 1)
        return Transcript(tuple(words), clip.language or "en", language_probability=0.0 if clip.language else UNSURE)


def _count(span: Span, first: int) -> list[Word]:
    """Numbered words that fill `span` evenly; the last one ends a sentence."""
    count = max(1, round(span.duration / WORD_S))
    step = span.duration / count
    words = []
    for index in range(count):
        stop = "." if index == count - 1 or (index + 1) % WORDS_PER_SENTENCE == 0 else ""
        start = span.start + index * step
        words.append(Word(start, span.end if index == count - 1 else start + step, f" word{first + index}{stop}", 1.0))
    return words


class EchoTranslator:
    """ "Hello." becomes "[es] Hello." """

    def __init__(self, settings: TranslationSettings) -> None:
        self.pairs = available(settings)

    def preload(self) -> None:
        """Nothing is to be loaded."""

    def translate(self, sentences: list[Sentence]) -> list[Sentence]:
        return [
            Sentence(one.text, one.source, one.target, candidates=(f"[{one.target}] {one.text}",)) for one in sentences
        ]

    def submit(self, sentence: Sentence, caller: str = "") -> "Future[Sentence]":  # noqa: ARG002
        future: Future[Sentence] = Future()
        future.set_result(self.translate([sentence])[0])
        return future


class EchoDiarizer:
    """Whatever is loud is one and the same voice."""

    def __init__(self, settings: SpeakerSettings) -> None:
        self._settings = settings

    def diarize(self, clips: list[Clip]) -> list[list[Voice]]:
        heard = [(clip, loud_spans(clip.audio, min_silence_s=0.3, min_speech_s=0.1)) for clip in clips]
        return [
            [Voice(tuple(Span(clip.start + s.start, clip.start + s.end) for s in spans), (1.0,))] if spans else []
            for clip, spans in heard
        ]


class EchoSeparator:
    """Voices stand in the middle, as films mix them: the music is what differs between left and right."""

    def __init__(self, settings: SeparationSettings) -> None:
        self._settings = settings

    def separate(self, sounds: list[Stereo]) -> list[Stereo]:
        return [sound - sound.mean(axis=0, dtype=np.float32) for sound in sounds]


class EchoTts:
    """Says everything, in every language, as a tone of 220 Hz that lasts as long as the text would."""

    def __init__(self, settings: TtsSettings) -> None:
        self._settings = settings

    def supports(self, language: str) -> bool:  # noqa: ARG002
        return True

    def speak(self, utterances: list[Utterance]) -> list[Speech]:
        return [Speech(_tone(one), VOICE_RATE, f"echo:{one.gender}") for one in utterances]


def _tone(utterance: Utterance) -> Audio:
    """As long as the text, shorter at a higher rate; faded in and out over 10 ms, so that it never clicks."""
    samples = round(max(1, len(utterance.text)) * CHARACTER_S / utterance.rate * VOICE_RATE)
    time = np.arange(samples, dtype=np.float64) / VOICE_RATE
    fade = np.clip(np.minimum(time, time[::-1]) / 0.01, 0.0, 1.0)
    return (0.2 * fade * np.sin(2 * np.pi * VOICE_HZ * time)).astype(np.float32)
