"""How close an artifact has to be to the checkpoint it was made from: what `python -m export verify` asks for.

fp32 does the checkpoint's own arithmetic in another order, so every sentence has to come out the same. float16 rounds
the logits to a thousandth, and seldom changes a word. Eight bits move
the logits by a few per cent, and where two words are almost equally good the other one wins: about one sentence in ten
is worded differently, which says little about quality. A damaged or swapped model falls far below any of these.
"""

from pydantic import Field

from configs.base import Settings

EXACT = frozenset({"none", "float32"})
"""Names of quantisations that keep the checkpoint's weights as they are."""


class TranslationThresholds(Settings):
    """For greedy and beam search alike, over all sentences compared; the checkpoint's text is the reference."""

    same: float = Field(0.0, ge=0, le=1, description="least share of sentences that are the same, token by token")
    token_agreement: float = Field(0.75, ge=0, le=1, description="least share of tokens that are the same")
    bleu: float = Field(80.0, ge=0, le=100)
    chrf: float = Field(90.0, ge=0, le=100)
    logit_error: float = Field(0.1, ge=0, description="most, of the first step, over the logits' own spread")


class RecognitionThresholds(Settings):
    token_agreement: float = Field(0.9, ge=0, le=1, description="least share of tokens that are the same, greedy")
    word_error_rate: float = Field(0.1, ge=0, description="most, with the checkpoint's text as the reference")


class ExportSettings(Settings):
    translation: TranslationThresholds = TranslationThresholds()
    exact_translation: TranslationThresholds = TranslationThresholds(
        same=1.0, token_agreement=1.0, bleu=100.0, chrf=100.0, logit_error=1e-3
    )
    half_translation: TranslationThresholds = TranslationThresholds(
        same=0.9, token_agreement=0.95, bleu=97.0, chrf=98.0, logit_error=0.01
    )
    recognition: RecognitionThresholds = RecognitionThresholds()
    exact_recognition: RecognitionThresholds = RecognitionThresholds(token_agreement=1.0, word_error_rate=0.0)

    def for_translation(self, quantisation: str) -> TranslationThresholds:
        if quantisation == "float16":
            return self.half_translation
        return self.exact_translation if quantisation in EXACT else self.translation

    def for_recognition(self, quantisation: str) -> RecognitionThresholds:
        return self.exact_recognition if quantisation in EXACT else self.recognition
