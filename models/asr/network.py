"""The door to CTranslate2's Whisper: spectra, encoder, search, alignment, each for a batch of one shape.

faster-whisper lends its parts (features, tokenizer, alignment) and none of its pipelines. The encoder was trained on 30
seconds and takes less: its cost grows with the length, so a clip is padded to a `window` that fits it, with zeros of
the normalised spectrum. Where that stops being safe was measured (export/LOG.md): a window much shorter than ten
seconds, or one that ends with the clip, makes the decoder miss the end, and it repeats itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.asr.doubt import Decoded
from models.segment import Audio

FRAMES_PER_S = 100

FULL = 30 * FRAMES_PER_S
"""The encoder's longest window, in frames of the spectrum."""

TOKENS_PER_S = 25
"""More than anyone says, also in scripts that cost several tokens a letter; bounds a loop in a short clip."""

MAX_TOKENS = 448 - 8
"""The decoder's window, less its prompt."""

OPENING = "\"'“¿([{-«"
CLOSING = "\"'.。,，!！?？:：”)]}、»։՞"

Timed = dict[str, Any]
"""A word as faster-whisper's alignment gives it: word, start, end (numpy seconds), probability, tokens."""


@dataclass(frozen=True, slots=True)
class Search:
    """`penalty` makes tokens that were said before less likely; phrases of `unrepeated` tokens are said once."""

    beam: int
    penalty: float = 1.0
    unrepeated: int = 0


class Network:
    """One model on one device. Thread-safe; as many calls compute at once as it was given workers."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.multilingual: bool = model.model.is_multilingual
        self.on_gpu: bool = getattr(model.model, "device", "cpu") == "cuda"

    def spectrum(self, audio: Audio) -> Audio:
        """Log mel spectrum of 16 kHz sound, (mels, frames)."""
        spectrum: Audio = self._model.feature_extractor(np.nan_to_num(audio))[..., :-1]
        return spectrum

    def encode(self, spectra: Sequence[Audio], window: int) -> Any:
        """What the encoder makes of them, each padded or cut to `window` frames."""
        padded = np.zeros((len(spectra), len(spectra[0]), window), np.float32)
        for row, spectrum in zip(padded, spectra, strict=True):
            length = min(window, spectrum.shape[1])
            row[:, :length] = spectrum[:, :length]
        return self._model.encode(padded)

    def detect(self, encoded: Any) -> list[tuple[str, float]]:
        """The likeliest language of each clip with its probability; only of a multilingual model."""
        ranked = self._model.model.detect_language(encoded)
        return [(token.strip("<|>"), float(probability)) for ((token, probability), *_) in ranked]

    def decode(self, encoded: Any, language: str, seconds: Sequence[float], search: Search) -> list[Decoded]:
        """The best hypothesis of each clip; `seconds` are their lengths without padding."""
        from faster_whisper.transcribe import get_suppressed_tokens

        tokenizer = self._tokenizer(language)
        prompt = self._model.get_prompt(tokenizer, [], without_timestamps=True)
        rooms = [min(MAX_TOKENS, 32 + round(TOKENS_PER_S * one)) for one in seconds]
        results = self._model.model.generate(
            encoded,
            [prompt] * len(rooms),
            beam_size=search.beam,
            repetition_penalty=search.penalty,
            no_repeat_ngram_size=search.unrepeated,
            max_length=len(prompt) + max(rooms),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=list(get_suppressed_tokens(tokenizer, [-1])),
        )
        return [_decoded(result, tokenizer, room) for result, room in zip(results, rooms, strict=True)]

    def align(
        self, encoded: Any, language: str, found: Sequence[Decoded], seconds: Sequence[float]
    ) -> list[list[Timed]]:
        """Timed words of every clip, in order; times count from its first sample."""
        from faster_whisper.transcribe import merge_punctuations

        tokenizer = self._tokenizer(language)
        tokens = [[token for token in one.tokens if token < tokenizer.eot] for one in found]
        frames = [min(FULL, max(2, round(one * FRAMES_PER_S))) for one in seconds]
        aligned: list[list[Timed]] = self._model.find_alignment(tokenizer, tokens, encoded, frames)
        for words in aligned:
            merge_punctuations(words, OPENING, CLOSING)
        return aligned

    def _tokenizer(self, language: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(self._model.hf_tokenizer, self.multilingual, "transcribe", language)


def _decoded(result: Any, tokenizer: Any, room: int) -> Decoded:
    tokens = list(result.sequences_ids[0])
    # the score is the mean log probability of the tokens; the end token counts as one more
    mean = result.scores[0] * len(tokens) / (len(tokens) + 1)
    kept = tokens[:room]  # a neighbour with more room does not lend it
    return Decoded(kept, tokenizer.decode(kept), float(mean), float(result.no_speech_prob), room)
