"""Piper: neural voices on the CPU, one .onnx file (with its .onnx.json beside it) per voice.

A voice is loaded when it is first asked for: a service may know twenty and need two, at about 80 MB each. The session
is built here and not by Piper's own `load`, which leaves the number of threads to ONNX Runtime, and that takes every
core for each replica. Voices named like "es_ES-davefx-medium" come from the rhasspy/piper-voices repository of the
model hub, once, into its cache. Many voices are free to use only with attribution: their model cards say so.
"""

import json
import re
import threading
from pathlib import Path

import numpy as np
import onnxruntime
from piper import PiperVoice, SynthesisConfig
from piper.config import PiperConfig

from configs.engines import TtsSettings
from models.errors import ArtifactMissing, StageFailed
from models.segment import Speech, Utterance
from models.tts.plausible import require_plausible

HUB = "rhasspy/piper-voices"
HUB_NAME = re.compile(r"(?P<language>[a-z]{2,3})_(?P<region>[A-Z]{2})-(?P<name>[a-z0-9_]+)-(?P<quality>[a-z_]+)")


class PiperTts:
    def __init__(self, settings: TtsSettings) -> None:
        self._sources = settings.piper_voices
        self._threads = settings.threads
        self._voices: dict[str, PiperVoice] = {}
        self._lock = threading.Lock()

    def supports(self, language: str) -> bool:
        return self._key(language, "neutral") is not None

    def speak(self, utterances: list[Utterance]) -> list[Speech]:
        """Mono at the voice's own rate (16,000 or 22,050 Hz).

        Raises ArtifactMissing for a configured voice that is not there, StageFailed where nothing useful was spoken.
        """
        return [self._say(utterance) for utterance in utterances]

    def _say(self, utterance: Utterance) -> Speech:
        key = self._key(utterance.language, utterance.gender)
        if key is None:
            raise StageFailed("tts", f"piper has no voice for {utterance.language}")
        voice = self._voice(key)
        options = SynthesisConfig(length_scale=voice.config.length_scale / utterance.rate)
        try:
            chunks = [chunk.audio_float_array for chunk in voice.synthesize(utterance.text, options)]
        except Exception as error:  # ONNX Runtime and the phonemizers raise types of their own
            raise StageFailed("tts", "the piper voice failed on a sentence") from error
        audio = np.concatenate([np.zeros(0, np.float32), *chunks]).astype(np.float32)
        name = f"piper:{Path(self._sources[key]).stem}"
        return require_plausible(Speech(audio, voice.config.sample_rate, name), utterance)

    def _key(self, language: str, gender: str) -> str | None:
        """The setting that fits best: language and gender, then the language, then the language's other voice."""
        others = sorted(key for key in self._sources if key.startswith(f"{language}-"))
        return next((key for key in (f"{language}-{gender}", language, *others) if key in self._sources), None)

    def _voice(self, key: str) -> PiperVoice:
        with self._lock:
            if key not in self._voices:
                self._voices[key] = self._open(key, locate(key, self._sources[key]))
            return self._voices[key]

    def _open(self, key: str, model: Path) -> PiperVoice:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        try:
            config = PiperConfig.from_dict(json.loads(Path(f"{model}.json").read_text("utf-8")))
            session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # damaged JSON, a missing field, or ONNX Runtime's own types
            raise ArtifactMissing(
                f"the piper voice of piper_voices.{key} cannot be read; download {model.name} and its .json again"
            ) from error
        return PiperVoice(session=session, config=config)


def locate(key: str, source: str) -> Path:
    """The .onnx file that setting `key` means; a hub name is downloaded unless it is in the cache already."""
    if source.endswith(".onnx"):
        return _file(key, Path(source))
    if not (name := HUB_NAME.fullmatch(source)):
        raise ArtifactMissing(f"piper_voices.{key} must be an .onnx file or a hub name like es_ES-davefx-medium")
    folder = f"{name['language']}/{name['language']}_{name['region']}/{name['name']}/{name['quality']}"
    return _download(key, f"{folder}/{source}.onnx")


def _file(key: str, model: Path) -> Path:
    if model.is_file() and Path(f"{model}.json").is_file():
        return model
    raise ArtifactMissing(
        f"piper_voices.{key} names a voice that is not there; put {model.name} and {model.name}.json into place"
    )


def _download(key: str, path: str) -> Path:
    import huggingface_hub  # late: most installations name files

    try:
        huggingface_hub.hf_hub_download(HUB, f"{path}.json")
        return Path(huggingface_hub.hf_hub_download(HUB, path))
    except Exception as error:  # no network, no such voice, no room: the hub raises a dozen types
        raise ArtifactMissing(
            f"the piper voice of piper_voices.{key} could not be downloaded; run: hf download {HUB} {path} {path}.json"
        ) from error
