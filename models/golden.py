"""Golden answers: what each engine must say right, on the device it was given, before its replica may serve.

A model file can be whole and still answer nothing: the wrong library for the device, a half-converted checkpoint, a
voice without data. So every start asks a question with a known answer. `golden.flac` is 2.6 s of English, spoken by the
Piper voice en_US-joe. Echo engines must only answer something. What a translation model must say is in its manifest,
and its own engine asks, whenever it loads one.

It does not know: voices beyond the first of each speech engine (to load them all would cost 80 MB each), and whether
an online voice is there, since a service must be able to start without a network.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from configs.engines import AsrSettings
from models.errors import ArtifactMissing
from models.segment import RECOGNITION_RATE, SEPARATION_RATE, Clip, Utterance
from models.tts.fallback import FallbackTts, reason

log = logging.getLogger(__name__)

WORDS = {"good", "morning", "welcome", "museum"}
COUNTING = {
    "en": "One, two, three.",
    "es": "Uno, dos, tres.",
    "fr": "Un, deux, trois.",
    "de": "Eins, zwei, drei.",
    "it": "Uno, due, tre.",
    "pt": "Um, dois, três.",
    "ru": "Один, два, три.",
    "hy": "Մեկ, երկու, երեք։",
    "zh": "一，二，三。",
    "ja": "いち、に、さん。",
}
"""What a speech engine is asked to say: the first of these that it has a voice for."""

ENOUGH = 0.5
"""Share of the expected words that must come back: quantised arithmetic differs a little between processors."""

LEFT_OVER_DB = -12.0
"""What may be left of a voice that nothing accompanies: Spleeter leaves less than -30 dB."""


def clip() -> Clip:
    audio, rate = soundfile.read(Path(__file__).with_name("golden.flac"), dtype="float32")
    assert rate == RECOGNITION_RATE
    return Clip(audio, language="en")


def detect(vad: Any) -> None:
    [spans] = vad.detect([clip()])
    check("voice detector", bool(spans), "it hears no speech in a clip of speech")


def recognize(asr: Any, settings: AsrSettings) -> None:
    [transcript] = asr.recognize([clip()])
    said = " ".join(word.text for word in transcript.words)
    right = bool(words(said)) if settings.engine == "echo" else understood(said)
    check("speech recogniser", right, f"of {sorted(WORDS)} it understood {sorted(WORDS & words(said))}")


def understood(text: str) -> bool:
    """Whether this is what the golden clip says, more or less."""
    return len(WORDS & words(text)) >= ENOUGH * len(WORDS)


def separate(separator: Any) -> None:
    """Asks what accompanies a voice that is alone. Raises ArtifactMissing for an engine that leaves the voice there."""
    audio = clip().audio
    samples = round(len(audio) * SEPARATION_RATE / RECOGNITION_RATE)
    voice = (np.fft.irfft(np.fft.rfft(audio), samples) * samples / len(audio)).astype(np.float32)
    [left] = separator.separate([np.stack([voice, voice])])
    over = 10 * np.log10(max(float(np.mean(np.square(left))), 1e-12) / float(np.mean(np.square(voice))))
    check("separation engine", over < LEFT_OVER_DB, f"it leaves {over:.0f} dB of a voice")


def speak(tts: FallbackTts) -> None:
    """Asks every engine itself: behind the fallback, one that cannot speak is missed by nobody.

    An engine that fails is told in the log while another is left. Raises ArtifactMissing when none is.
    """
    faults = {name: fault for name in tts.names if (fault := _fault(tts, name))}
    for name, fault in faults.items():
        log.warning("speech engine %s is of no use until this is put right: %s", name, fault)
    if all(name in faults for name in tts.names):
        raise ArtifactMissing(f"no speech engine can speak: {'; '.join(faults.values())}")


def _fault(tts: FallbackTts, name: str) -> str:
    """What keeps engine `name` from speaking; empty for one that spoke, or that is online."""
    try:
        engine = tts.engine(name)
        if getattr(engine, "online", False):
            return ""
        language = next((language for language in COUNTING if engine.supports(language)), None)
        if language is None:
            return f"{name} has no voice; set one up in {name}_voices or take {name} from the list of engines"
        [speech] = engine.speak([Utterance(COUNTING[language], language)])
    except Exception as error:  # libraries raise types of their own
        log.debug("speech engine %s failed its golden question", name, exc_info=error)
        return reason(name, error)
    audible = speech.duration > 0.3 and float(np.abs(speech.audio).max()) > 0.01
    return "" if audible else f"{name} speaks a silent or empty clip; install its voice again"


def words(text: str) -> set[str]:
    return {word.strip(".,!?¿¡;:").lower() for word in text.split()} - {""}


def check(name: str, right: bool, finding: str) -> None:
    if not right:
        raise ArtifactMissing(f"the {name} failed its golden question ({finding}); install or export its model again")
