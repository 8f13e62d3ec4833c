"""Whisper on CTranslate2: a batch of clips goes through the encoder, the decoder and the alignment together.

We drive CTranslate2 with faster-whisper's parts (features, tokenizer, alignment) instead of its two pipelines. The
sequential one takes one clip at a time, so a GPU idles; the batched one carries state from clip to clip, so that what
was heard in one depends on its neighbours. Clips are at most 30 s and cut at silences already, so one pass without
timestamp tokens hears all of a clip, its cost is bounded, and word times come from the cross-attention.

A clip that came out improbable or repetitive is decoded again at the next temperature; what still fails is dropped,
and says why. Loops are cut out, the words around them stay. It costs one more encoder run for every retry and for every
clip whose language is to be detected. Word times are good to about 0.2 s, and they swallow pauses: whoever knows where
speech is should pull them to it. There is no notion of who speaks, and a clip is in one language.
"""

import logging
import os
import zlib
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from configs.engines import AsrSettings
from models.asr.loops import loops, pieces, without_loops
from models.asr.weights import fetch, languages
from models.errors import ArtifactMissing, UnsupportedLanguage
from models.segment import RECOGNITION_RATE, Clip, Transcript, Word

__all__ = ["FasterWhisper", "languages"]

logger = logging.getLogger(__name__)

MAX_S = 30.0
"""The encoder's window; a longer clip is heard in halves."""

MIN_S = 0.05
"""Nothing is said in less; the spectrogram of a few samples is not defined."""

TOKENS_PER_S = 25
"""More than anyone says, also in scripts that cost several tokens a letter; bounds a loop in a short clip."""

MAX_TOKENS = 448 - 8
"""The decoder's window, less its prompt."""

OPENING = "\"'“¿([{-«"
CLOSING = "\"'.。,，!！?？:：”)]}、»։՞"

Timed = dict[str, Any]
"""A word as faster-whisper's alignment gives it: word, start, end (numpy seconds), probability, tokens."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One hypothesis for one clip."""

    tokens: list[int]
    text: str
    log_probability: float  # mean over tokens
    no_speech: float

    @property
    def compression(self) -> float:
        """How many times smaller zlib makes the text: about 1–2 for speech, more for repetition."""
        raw = self.text.encode()
        return len(raw) / len(zlib.compress(raw))


class FasterWhisper:
    """Thread-safe. `languages` is {"en"} for an English-only model and None (any) for a multilingual one."""

    def __init__(self, settings: AsrSettings) -> None:
        self._settings = settings
        self._model = _load(settings)
        self.languages: frozenset[str] | None = None if self._model.model.is_multilingual else frozenset({"en"})

    def recognize(self, clips: list[Clip]) -> list[Transcript]:
        """Raises UnsupportedLanguage for a clip whose language the model does not hear."""
        for clip in clips:
            self._require(clip.language)
        told = self._languages(clips)
        transcripts: dict[int, Transcript] = {}
        by_language = sorted(range(len(clips)), key=lambda i: told[i][0])
        for language, indices in groupby(by_language, key=lambda i: told[i][0]):
            group = list(indices)
            for i, transcript in zip(group, self._transcribe([clips[i] for i in group], language), strict=True):
                transcripts[i] = replace(transcript, language_probability=told[i][1])
        return [transcripts[i] for i in range(len(clips))]

    def _require(self, language: str | None) -> None:
        from faster_whisper.tokenizer import _LANGUAGE_CODES

        hears = self.languages or frozenset(_LANGUAGE_CODES)
        if language is not None and language not in hears:
            raise UnsupportedLanguage(
                f"speech in {language!r} cannot be recognised by this model, which hears: {', '.join(sorted(hears))}"
            )

    def _languages(self, clips: list[Clip]) -> list[tuple[str, float]]:
        """(language, probability) of each clip; 0.0 where it was told, or where the model cannot tell."""
        told = [(clip.language or "en", 0.0) for clip in clips]
        open_ones = [i for i, clip in enumerate(clips) if clip.language is None and _audible(clip)]
        if open_ones and self.languages is None:
            ranked = self._model.model.detect_language(self._encode([clips[i] for i in open_ones]))
            for i, ((token, probability), *_) in zip(open_ones, ranked, strict=True):
                told[i] = (token.strip("<|>"), float(probability))
        return told

    def _transcribe(self, clips: list[Clip], language: str) -> list[Transcript]:
        """Transcripts of clips in one language, in order."""
        transcripts = [Transcript((), language)] * len(clips)
        audible = [i for i, clip in enumerate(clips) if _audible(clip) and clip.duration <= MAX_S]
        for i, transcript in zip(audible, self._pass([clips[i] for i in audible], language), strict=True):
            transcripts[i] = transcript or self._halved(clips[i], language)
        for i, clip in enumerate(clips):
            if clip.duration > MAX_S:
                transcripts[i] = self._halved(clip, language)
        return transcripts

    def _halved(self, clip: Clip, language: str) -> Transcript:
        """A clip that is too long, or said more than the decoder can hold: each half on its own."""
        middle = len(clip.audio) // 2
        second = Clip(clip.audio[middle:], clip.start + middle / RECOGNITION_RATE, language)
        one, two = self._transcribe([replace(clip, audio=clip.audio[:middle]), second], language)
        return Transcript(one.words + two.words, language, dropped=one.dropped + two.dropped)

    def _pass(self, clips: list[Clip], language: str) -> list[Transcript | None]:
        """One transcript a clip; None where the text did not fit into the decoder."""
        if not clips:
            return []
        tokenizer = self._tokenizer(language)
        encoded = self._encode(clips)
        best = self._decode(clips, encoded, tokenizer)
        aligned = self._align(clips, encoded, best, tokenizer)
        return [self._transcript(*one, language) for one in zip(clips, best, aligned, strict=True)]

    def _transcript(self, clip: Clip, best: Decoded, aligned: list[Timed], language: str) -> Transcript | None:
        if reason := self._objection(best):
            return Transcript((), language, dropped=((best.text.strip(), reason),))
        words, cut = without_loops(_words(aligned, clip))
        if len(best.tokens) >= MAX_TOKENS and not cut and clip.duration > MIN_S * 4:
            return None
        return Transcript(tuple(words), language, dropped=tuple((text, "loop") for text in cut))

    def _decode(self, clips: list[Clip], encoded: Any, tokenizer: Any) -> list[Decoded]:
        """The best hypothesis of each clip; only clips that failed see the next temperature, and are encoded again."""
        best: dict[int, Decoded] = {}
        pending = list(range(len(clips)))
        for temperature in self._settings.temperatures:
            subset = [clips[i] for i in pending]
            spectra = encoded if len(subset) == len(clips) else self._encode(subset)
            outcomes = self._generate(subset, spectra, tokenizer, temperature)
            for i, outcome in zip(pending, outcomes, strict=True):
                best[i] = max((outcome, best.get(i, outcome)), key=self._merit)
            pending = [i for i, one in zip(pending, outcomes, strict=True) if self._again(one)]
            if not pending:
                break
        return [best[i] for i in range(len(clips))]

    def _merit(self, one: Decoded) -> tuple[bool, float]:
        return one.compression <= self._settings.max_compression_ratio, one.log_probability

    def _again(self, one: Decoded) -> bool:
        silence = self._objection(one) == "no speech"
        return not silence and self._merit(one) < (True, self._settings.min_log_probability)

    def _objection(self, one: Decoded) -> str:
        """Why this text was probably not said; empty when there is nothing to object."""
        improbable = one.log_probability < self._settings.min_log_probability
        if improbable and one.no_speech > self._settings.no_speech_probability:
            return "no speech"
        if one.compression > self._settings.max_compression_ratio and not loops(pieces(one.text)):
            return "repetitive"
        return ""

    def _generate(self, clips: list[Clip], encoded: Any, tokenizer: Any, temperature: float) -> list[Decoded]:
        from faster_whisper.transcribe import get_suppressed_tokens

        prompt = self._model.get_prompt(tokenizer, [], without_timestamps=True)
        longest = max(clip.duration for clip in clips)
        search = {"beam_size": self._settings.beam_size}
        sampling = {"beam_size": 1, "num_hypotheses": 5, "sampling_topk": 0, "sampling_temperature": temperature}
        results = self._model.model.generate(
            encoded,
            [prompt] * len(clips),
            max_length=len(prompt) + min(MAX_TOKENS, 32 + round(TOKENS_PER_S * longest)),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=list(get_suppressed_tokens(tokenizer, [-1])),
            **(sampling if temperature > 0 else search),
        )
        return [_decoded(result, tokenizer) for result in results]

    def _align(self, clips: list[Clip], encoded: Any, best: list[Decoded], tokenizer: Any) -> list[list[Timed]]:
        """Timed words of every clip, in order; times count from the clip's first sample."""
        from faster_whisper.transcribe import merge_punctuations

        tokens = [[token for token in one.tokens if token < tokenizer.eot] for one in best]
        frames = [min(3000, max(2, round(clip.duration * 100))) for clip in clips]
        aligned: list[list[Timed]] = self._model.find_alignment(tokenizer, tokens, encoded, frames)
        for words in aligned:
            merge_punctuations(words, OPENING, CLOSING)
        return aligned

    def _encode(self, clips: list[Clip]) -> Any:
        from faster_whisper.audio import pad_or_trim

        spectra = [self._model.feature_extractor(np.nan_to_num(clip.audio))[..., :-1] for clip in clips]
        return self._model.encode(np.stack([pad_or_trim(one) for one in spectra]))

    def _tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(self._model.hf_tokenizer, self._model.model.is_multilingual, "transcribe", language)


def _load(settings: AsrSettings) -> Any:
    """The model on the device asked for; `auto` tries CUDA where a GPU is seen and settles for the CPU.

    Raises ArtifactMissing without weights, or when CUDA is demanded and cannot be used.
    """
    import ctranslate2

    folder = fetch(settings.model)
    seen = settings.device != "cpu" and ctranslate2.get_cuda_device_count() > 0
    if seen:
        try:
            return _tried(_open(folder, "cuda", settings))
        except (RuntimeError, ValueError) as error:
            logger.warning("CUDA cannot be used for recognition (%s)", error)
    if settings.device == "cuda":
        raise ArtifactMissing("CUDA is asked for in engines.asr.device and cannot be used here; say auto or cpu")
    if seen:
        logger.warning("recognition falls back to the CPU")
    return _open(folder, "cpu", settings)


def _open(folder: Path, device: str, settings: AsrSettings) -> Any:
    from faster_whisper import WhisperModel

    compute = {"cpu": "int8", "cuda": "float16"}[device] if settings.compute_type == "auto" else settings.compute_type
    threads = settings.threads or os.cpu_count() or 1
    return WhisperModel(str(folder), device=device, compute_type=compute, cpu_threads=threads)


def _tried(model: Any) -> Any:
    """Missing CUDA libraries are noticed at the first computation, not at loading."""
    model.encode(np.zeros((1, model.feature_extractor.mel_filters.shape[0], 3000), np.float32))
    return model


def _audible(clip: Clip) -> bool:
    return clip.duration >= MIN_S


def _decoded(result: Any, tokenizer: Any) -> Decoded:
    tokens = result.sequences_ids[0]
    # the score is the sum of log probabilities over the tokens; the end token counts as one more
    mean = result.scores[0] * len(tokens) / (len(tokens) + 1)
    return Decoded(list(tokens), tokenizer.decode(tokens), float(mean), float(result.no_speech_prob))


def _words(aligned: list[Timed], clip: Clip) -> list[Word]:
    """Words in video time: inside the clip, ascending, without overlap. Merging punctuation leaves empty words."""
    words: list[Word] = []
    floor = float(clip.start)
    for timed in aligned:
        if not timed["word"].strip():
            continue
        start = min(max(floor, clip.start + float(timed["start"])), clip.end)
        end = min(max(start, clip.start + float(timed["end"])), clip.end)
        words.append(Word(start, end, timed["word"], float(timed["probability"])))
        floor = end
    return words
