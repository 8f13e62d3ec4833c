"""sherpa-onnx: pyannote's segmentation and a voice print model, on ONNX Runtime and the CPU, without torch.

The segmentation hears who speaks in windows of ten seconds, also where two speak at once; prints of what it found are
clustered over the clip. The library is an extra (`pip install 'dubserve[speakers]'`) and brings no weights: both models
are files, or are fetched from the hub once. Its licence is Apache 2.0; the models have their own.
"""

from pathlib import Path

import numpy as np

from configs.engines import SpeakerSettings
from models.errors import ArtifactMissing
from models.segment import RECOGNITION_RATE, Audio, Clip, Span, Voice
from models.sherpa import library, located, metadata

SEGMENTATION_KEYS = frozenset(
    {"num_speakers", "powerset_max_classes", "num_classes", "sample_rate", "window_size", "receptive_field_shift"}
)
EMBEDDING_KEYS = frozenset({"framework", "output_dim", "sample_rate"})

PRINT_S = 20.0
"""How much of a voice goes into its print."""

MIN_CLIP_S = 0.5


class SherpaDiarizer:
    def __init__(self, settings: SpeakerSettings) -> None:
        """Raises ArtifactMissing without the library or a model, with what to do about it."""
        sherpa = library("speakers are to be told apart", extra="speakers")
        segmentation = _located("segmentation", settings.segmentation, SEGMENTATION_KEYS)
        embedding = _located("embedding", settings.embedding, EMBEDDING_KEYS)
        threads = max(1, settings.threads)
        prints = sherpa.SpeakerEmbeddingExtractorConfig(model=str(embedding), num_threads=threads)
        config = sherpa.OfflineSpeakerDiarizationConfig(
            segmentation=sherpa.OfflineSpeakerSegmentationModelConfig(
                pyannote=sherpa.OfflineSpeakerSegmentationPyannoteModelConfig(model=str(segmentation)),
                num_threads=threads,
            ),
            embedding=prints,
            clustering=sherpa.FastClusteringConfig(num_clusters=-1, threshold=1 - settings.same_voice),
        )
        self._diarizer = sherpa.OfflineSpeakerDiarization(config)
        self._extractor = sherpa.SpeakerEmbeddingExtractor(prints)

    def diarize(self, clips: list[Clip]) -> list[list[Voice]]:
        return [self._diarize(clip) for clip in clips]

    def _diarize(self, clip: Clip) -> list[Voice]:
        if clip.duration < MIN_CLIP_S:
            return []
        audio = np.nan_to_num(clip.audio)
        spans: dict[int, list[Span]] = {}
        for turn in self._diarizer.process(audio).sort_by_start_time():
            spans.setdefault(turn.speaker, []).append(Span(turn.start, min(turn.end, clip.duration)))
        return [self._voice(audio, said, clip.start) for _, said in sorted(spans.items())]

    def _voice(self, audio: Audio, spans: list[Span], start: float) -> Voice:
        stream = self._extractor.create_stream()
        stream.accept_waveform(RECOGNITION_RATE, _longest(audio, spans))
        stream.input_finished()
        print_ = self._extractor.compute(stream)
        return Voice(tuple(Span(start + s.start, start + s.end) for s in spans), tuple(float(x) for x in print_))


def _longest(audio: Audio, spans: list[Span]) -> Audio:
    """The longest spans of one voice, up to PRINT_S seconds, one behind the other."""
    parts, left = [], PRINT_S
    for span in sorted(spans, key=lambda one: -one.duration):
        end = span.start + min(span.duration, left)
        parts.append(audio[round(span.start * RECOGNITION_RATE) : round(end * RECOGNITION_RATE)])
        left -= end - span.start
        if left <= 0:
            break
    return np.concatenate(parts)


def _located(name: str, source: str, keys: frozenset[str]) -> Path:
    """The file that setting `name` means, after a look at its metadata."""
    if not source:
        raise ArtifactMissing(f"engines.speaker.{name} is empty; telling speakers apart takes both models")
    path = located(f"engines.speaker.{name}", source)
    metadata(f"engines.speaker.{name}", path, name, dict.fromkeys(keys))
    return path
