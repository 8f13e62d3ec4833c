"""How close a converted Whisper model is to its checkpoint: the same spectrogram through torch and CTranslate2, greedy.

Tokens are compared one by one, words by their error rate; the checkpoint's own text is the reference, so the figures
say how much the conversion changed, not how well either hears. Both sides get the features of transformers, the same
prompt and no timestamps, and hear the first 30 s of each recording. What the product's engine adds (its own features,
beams, word times) is left to the golden answer, which is the engine's own text of a recording of ours.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.export import RecognitionThresholds
from export.origin import commit, complete, config, whole
from export.parity import Figures, token_agreement
from export.reference import Ids
from models.artifact import Artifact, Verdict
from models.asr.weights import MULTILINGUAL_VOCABULARY
from models.errors import ArtifactMissing
from models.golden import clip
from models.segment import RECOGNITION_RATE

EXAMPLE = "openai/whisper-small"
GOLDEN = "golden.flac"
WINDOW = 448
"""Tokens the decoder can hold; an answer may take half of it, the rest is kept for what was said before."""

Audio = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hearing:
    """Over all recordings: share of tokens that are the same, and errors over words of the checkpoint's text."""

    recordings: int
    token_agreement: float
    word_error_rate: float

    def scores(self) -> dict[str, Figures]:
        figures = {"token_agreement": self.token_agreement, "word_error_rate": self.word_error_rate}
        return {"checkpoint.greedy": {"recordings": float(self.recordings), **figures}}

    def judged(self, thresholds: RecognitionThresholds) -> Verdict:
        missed = []
        if not self.token_agreement >= thresholds.token_agreement:
            missed.append(f"token_agreement {self.token_agreement:g} is below {thresholds.token_agreement:g}")
        if not self.word_error_rate <= thresholds.word_error_rate:
            missed.append(f"word_error_rate {self.word_error_rate:g} is above {thresholds.word_error_rate:g}")
        return Verdict(passed=not missed, missed=tuple(missed), thresholds=thresholds.model_dump())


class Original:
    """A Whisper checkpoint in torch, by hub name or folder; errors as those of `reference.Checkpoint`."""

    def __init__(self, name: str, revision: str | None = None) -> None:
        self.name, self.config = name, config(name, "whisper", EXAMPLE, revision)
        self._files: dict[str, Any] = {"revision": commit(self.config) or revision}
        with complete(name):
            self.processor, self._network = self._load()

    def save_tokenizer(self, folder: Path) -> None:
        """tokenizer.json and preprocessor_config.json, the two files that the engine reads beside the weights."""
        self.processor.tokenizer.save_pretrained(folder)
        self.processor.feature_extractor.save_pretrained(folder)

    def features(self, audio: Audio) -> Audio:
        """(1, mels, 3000) of the first 30 s."""
        found = self.processor.feature_extractor(audio, sampling_rate=RECOGNITION_RATE, return_tensors="np")
        spectrum: Audio = found.input_features.astype(np.float32)
        return spectrum

    def prompt(self) -> list[int]:
        """Start, language and task where the model knows more than one, and no timestamps."""
        tokens = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
        if self.config.vocab_size < MULTILINGUAL_VOCABULARY:
            tokens = [tokens[0], tokens[-1]]
        ids: list[int] = self.processor.tokenizer.convert_tokens_to_ids(tokens)
        return ids

    def hear(self, features: Audio) -> list[int]:
        """Token ids, greedy; with or without the prompt, as versions of transformers differ."""
        import torch

        prompt = torch.tensor([self.prompt()])
        options = {"num_beams": 1, "do_sample": False, "max_new_tokens": WINDOW // 2, "return_timestamps": False}
        with torch.inference_mode():
            ids = self._network.generate(torch.from_numpy(features), decoder_input_ids=prompt, **options)
        found: list[int] = ids[0].tolist()
        return found

    def words(self, ids: list[int]) -> list[str]:
        text: str = self.processor.tokenizer.decode(ids, skip_special_tokens=True)
        return text.split()

    def spoken(self, ids: list[int]) -> list[int]:
        """Without the special tokens, which come after all others."""
        end = self.processor.tokenizer.convert_tokens_to_ids("<|endoftext|>")
        return [token for token in ids if token < end]

    def _load(self) -> tuple[Any, Any]:
        import torch
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        torch.set_num_threads(1)
        processor = WhisperProcessor.from_pretrained(self.name, **self._files)
        network, loading = WhisperForConditionalGeneration.from_pretrained(
            self.name, output_loading_info=True, **self._files
        )
        whole(self.name, loading)
        return processor, network.float().eval()


def listen(
    artifact: Artifact, checkpoint: str, recordings: Sequence[Path] = (), revision: str | None = None
) -> Hearing:
    """Raises ArtifactMissing for a checkpoint or a recording that cannot be read."""
    return compared(artifact.folder, Original(checkpoint, revision), [_audio(path) for path in recordings])


def compared(folder: Path, original: Original, audios: Sequence[Audio] = ()) -> Hearing:
    """The conversion in `folder` beside its checkpoint, on `audios` (16 kHz mono) or on the golden recording."""
    if len(json.loads((folder / "vocabulary.json").read_text("utf-8"))) != original.config.vocab_size:
        raise ArtifactMissing(f"{original.name} has another vocabulary; name the checkpoint that was converted")
    spectra = [original.features(audio) for audio in audios or [clip().audio]]
    theirs = [original.spoken(original.hear(one)) for one in spectra]
    ours = [original.spoken(ids) for ids in _converted(folder, spectra, original.prompt())]
    words = [(original.words(a), original.words(b)) for a, b in zip(ours, theirs, strict=True)]
    errors, total = sum(edits(a, b) for a, b in words), sum(len(b) for _, b in words)
    return Hearing(len(spectra), round(token_agreement(ours, theirs), 4), round(errors / max(total, 1), 4))


def said(folder: Path) -> str:
    """What the product's engine makes of the golden recording with the model in `folder`, whatever that is worth."""
    from models.asr.device import golden_text, opened

    return golden_text(opened(folder, "cpu", "int8", workers=1, threads=2))


def edits(ours: list[str], theirs: list[str]) -> int:
    """Fewest insertions, deletions and substitutions of words that make one of the other."""
    row = list(range(len(theirs) + 1))
    for i, a in enumerate(ours, 1):
        above, row = row, [i]
        for j, b in enumerate(theirs, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
    return row[-1]


def _converted(folder: Path, spectra: Sequence[Audio], prompt: list[int]) -> Ids:
    import ctranslate2

    model = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="default", intra_threads=1)
    heard = []
    for features in spectra:
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(features))
        [result] = model.generate(view, [prompt], beam_size=1, max_length=WINDOW)
        heard.append(list(result.sequences_ids[0]))
    return heard


def _audio(path: Path) -> Audio:
    from av.error import FFmpegError
    from faster_whisper import decode_audio

    try:
        audio: Audio = decode_audio(str(path), sampling_rate=RECOGNITION_RATE)
    except (OSError, FFmpegError, IndexError):
        raise ArtifactMissing(f"{path.name} holds no sound that can be read; give --audio a recording") from None
    return audio
