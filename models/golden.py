"""Golden answers: what each engine must say right, on the device it was given, before its replica may serve.

A model file can be whole and still answer nothing: the wrong library for the device, a half-converted checkpoint, a
voice without data. So every start asks a question with a known answer. `golden.flac` is 2.6 s of English, spoken by the
Piper voice en_US-joe; translations come from the manifest of each artifact. Echo engines must only answer something.
"""

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from configs.engines import AsrSettings, TranslationSettings
from models.artifact import find
from models.errors import ArtifactMissing
from models.segment import RECOGNITION_RATE, Clip, Sentence, Utterance

WORDS = {"good", "morning", "welcome", "museum"}
ENOUGH = 0.5
"""Share of the expected words that must come back: quantised arithmetic differs a little between processors."""


def clip() -> Clip:
    audio, rate = soundfile.read(Path(__file__).with_name("golden.flac"), dtype="float32")
    assert rate == RECOGNITION_RATE
    return Clip(audio, language="en")


def detect(vad: Any) -> None:
    [spans] = vad.detect([clip()])
    check("voice detector", bool(spans), "it hears no speech in a clip of speech")


def recognize(asr: Any, settings: AsrSettings) -> None:
    [transcript] = asr.recognize([clip()])
    said = words(" ".join(word.text for word in transcript.words))
    right = bool(said) if settings.engine == "echo" else len(WORDS & said) >= ENOUGH * len(WORDS)
    check("speech recogniser", right, f"of {sorted(WORDS)} it understood {sorted(WORDS & said)}")


def translate(translator: Any, settings: TranslationSettings) -> None:
    """Asks the first golden sentence of each artifact that has one."""
    if settings.engine == "echo":
        return
    for artifact in find(settings.artifacts):
        manifest = artifact.manifest
        for text, expected in manifest.golden[:1]:
            [answer] = translator.translate([Sentence(text, manifest.source_languages[0], manifest.target_language)])
            found = words(expected) & words(answer.candidates[0])
            check(
                f"model {artifact.folder.name}",
                len(found) >= ENOUGH * len(words(expected)),
                f"it said {answer.candidates[0]!r}",
            )


def speak(tts: Any) -> None:
    [speech] = tts.speak([Utterance("One, two, three.", "en")])
    audible = speech.duration > 0.3 and float(np.abs(speech.audio).max()) > 0.01
    check("speech engine", audible, "it speaks a silent or empty clip")


def words(text: str) -> set[str]:
    return {word.strip(".,!?¿¡;:").lower() for word in text.split()} - {""}


def check(name: str, right: bool, finding: str) -> None:
    if not right:
        raise ArtifactMissing(f"the {name} failed its golden question ({finding}); install or export its model again")
