"""espeak-ng: any language, on any machine, in no time, and it sounds like a machine.

The library comes as a wheel (espeakng-loader) and is called through ctypes: a child process per sentence would cost
more than the speech. It keeps its voice and rate in global state, so there is one of it per process, behind a lock;
it makes an hour of speech in well under a minute, so nobody waits long. Piper carries a copy of its own; each has its
own symbols and data, and they do not meet.

Chinese characters it reads in Chinese and announces in Japanese, so a Japanese text reaches it as `kana` gives it. It
does not know foreign words in a text.
"""

import ctypes
import functools
import re
import threading

import espeakng_loader
import numpy as np

from configs.engines import TtsSettings
from models.errors import ArtifactMissing, StageFailed
from models.segment import Audio, Speech, Utterance
from models.tts.kana import kana
from models.tts.plausible import require_plausible

LANGUAGE_VOICES = {
    "en": "en-us",
    "hy": "hy",
    "ru": "ru",
    "es": "es",
    "fr": "fr",
    "de": "de",
    "it": "it",
    "pt": "pt-br",
    "zh": "cmn",
    "ja": "ja",
}
VARIANTS = {"female": "+f3", "male": "+m3"}
WORDS_PER_MINUTE = 165
"""espeak's measure of pace at rate 1.0; it takes 80 to 450."""

_WORD = re.compile(r"\d{20}(?=\d)|[぀-ヿ]{40}(?=[぀-ヿ])|\w{60}(?=\w)")
"""The most digits, kana or letters of one word that it reads for sure; it drops what comes after 160 bytes of it, or
200 phonemes."""

_SYNCHRONOUS, _DO_NOT_EXIT = 2, 0x8000
_RATE, _UTF8 = 1, 1
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class _Library:
    """The one espeak-ng of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks: list[Audio] = []
        self._callback = _Callback(self._collect)  # ctypes keeps no reference of its own
        try:
            self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
            data = espeakng_loader.get_data_path().encode()
        except (OSError, RuntimeError) as error:
            raise ArtifactMissing("espeak-ng is not installed whole; run: pip install espeakng-loader") from error
        self.sample_rate = int(self._lib.espeak_Initialize(_SYNCHRONOUS, 0, data, _DO_NOT_EXIT))
        if self.sample_rate <= 0:
            raise ArtifactMissing("espeak-ng finds no voice data; run: pip install --force-reinstall espeakng-loader")
        self._lib.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
        if samples and count > 0:
            chunk = np.ctypeslib.as_array(samples, (count,)).astype(np.float32)
            self._chunks.append(chunk / np.float32(32768))
        return 0

    def say(self, text: str, voice: str, words_per_minute: int) -> Audio:
        """The sound of `text`; raises StageFailed when the library refuses the voice or the text."""
        data = _WORD.sub(r"\g<0> ", text.replace("\0", " ")).encode("utf-8", "replace")
        with self._lock:
            self._chunks.clear()
            if self._lib.espeak_SetVoiceByName(voice.encode()):
                raise StageFailed("tts", f"espeak has no voice {voice}; correct its name in espeak_voices")
            self._lib.espeak_SetParameter(_RATE, words_per_minute, 0)
            if self._lib.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, _UTF8, None, None):
                raise StageFailed("tts", f"espeak voice {voice} failed", transient=True)
            return np.concatenate([np.zeros(0, np.float32), *self._chunks])


_library = functools.cache(_Library)


class EspeakTts:
    def __init__(self, settings: TtsSettings) -> None:
        self._overrides = settings.espeak_voices
        self._library = _library()

    def supports(self, language: str) -> bool:
        return language in LANGUAGE_VOICES

    def speak(self, utterances: list[Utterance]) -> list[Speech]:
        """Mono at 22,050 Hz.

        Raises StageFailed for a language without a voice, or a clip too short for its text; for ja what `kana` does.
        """
        return [self._say(utterance) for utterance in utterances]

    def _say(self, utterance: Utterance) -> Speech:
        if utterance.language not in LANGUAGE_VOICES:
            raise StageFailed("tts", f"espeak has no voice for {utterance.language}")
        voice = self._voice(utterance.language, utterance.gender)
        pace = min(450, max(80, round(WORDS_PER_MINUTE * utterance.rate)))
        text = kana(utterance.text) if utterance.language == "ja" else utterance.text
        audio = self._library.say(text, voice, pace)
        return require_plausible(Speech(audio, self._library.sample_rate, f"espeak:{voice}"), utterance)

    def _voice(self, language: str, gender: str) -> str:
        """As configured for both, else that of the language in the variant of the gender."""
        base = self._overrides.get(language, LANGUAGE_VOICES[language])
        return self._overrides.get(f"{language}-{gender}", base + VARIANTS.get(gender, ""))
