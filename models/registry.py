"""The table of engines. Values are strings, so that an engine's heavy imports happen when it is loaded, not before.

To add an engine: one file on its shelf, one line here. One that lives in a package of its own needs no line: it is
named by where it is, `package.module:Class`.
"""

from importlib import import_module
from typing import Any

from models.errors import ArtifactMissing

ENGINES = {
    "vad": {"silero": "models.vad.silero:SileroVad", "echo": "models.echo:EchoVad"},
    "asr": {"faster-whisper": "models.asr.faster_whisper:FasterWhisper", "echo": "models.echo:EchoRecognizer"},
    "translation": {"marian": "models.translation.marian:Marian", "echo": "models.echo:EchoTranslator"},
    "tts": {
        "fallback": "models.tts.fallback:FallbackTts",
        "edge": "models.tts.edge:EdgeTts",
        "piper": "models.tts.piper:PiperTts",
        "espeak": "models.tts.espeak:EspeakTts",
        "echo": "models.echo:EchoTts",
    },
    "speaker": {"sherpa-onnx": "models.speaker.sherpa:SherpaDiarizer", "echo": "models.echo:EchoDiarizer"},
    "separation": {"sherpa-onnx": "models.separation.sherpa:SherpaSeparator", "echo": "models.echo:EchoSeparator"},
}


def load(shelf: str, engine: str, settings: Any) -> Any:
    """An engine of `shelf`, ready to work: its constructor takes the shelf's settings and loads the weights.

    Raises ArtifactMissing for a name that is not in the table, or when the engine finds no weights.
    """
    module, _, name = ENGINES[shelf].get(engine, engine).partition(":")
    if not name:
        raise ArtifactMissing(f"no {shelf} engine is called {engine!r}; there are: {', '.join(ENGINES[shelf])}")
    return getattr(import_module(module), name)(settings)
