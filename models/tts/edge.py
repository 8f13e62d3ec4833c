"""edge-tts: neural voices of Microsoft Edge's read-aloud service. Needs the network, no key, and gives no promise.

The texts leave the machine: an installation that must not let them lists other engines only. The service drops and
adds voices and answers 403 to a wrong clock; `edge_voices` overrides the table, which holds its names as published.
TLS certificates are verified (the library's own context). One utterance is one connection, at the pace of `pacer`.

The library takes a connection that breaks off for the end of a sentence, so what it counted is looked at: a clip is
whole when the service has said that its turn is over.
"""

import asyncio
import io

import aiohttp
import edge_tts
import soundfile
from edge_tts.exceptions import EdgeTTSException, SkewAdjustmentError

from configs.engines import TtsSettings
from models.errors import StageFailed
from models.segment import Speech, Utterance
from models.tts.pacer import Pacer, TooFar, retry_after
from models.tts.plausible import require_plausible

VOICES = {
    "en": ("en-US-AriaNeural", "en-US-GuyNeural"),
    "hy": ("hy-AM-AnahitNeural", "hy-AM-HaykNeural"),
    "ru": ("ru-RU-SvetlanaNeural", "ru-RU-DmitryNeural"),
    "es": ("es-ES-ElviraNeural", "es-ES-AlvaroNeural"),
    "fr": ("fr-FR-DeniseNeural", "fr-FR-HenriNeural"),
    "de": ("de-DE-KatjaNeural", "de-DE-ConradNeural"),
    "it": ("it-IT-ElsaNeural", "it-IT-DiegoNeural"),
    "pt": ("pt-BR-FranciscaNeural", "pt-BR-AntonioNeural"),
    "zh": ("zh-CN-XiaoxiaoNeural", "zh-CN-YunxiNeural"),
    "ja": ("ja-JP-NanamiNeural", "ja-JP-KeitaNeural"),
}
"""Language → its female and its male voice; neutral takes the first."""


class EdgeTts:
    online = True  # so that nobody asks it for a sample when the service starts

    def __init__(self, settings: TtsSettings) -> None:
        self._overrides = settings.edge_voices
        self._timeout_s = settings.edge_timeout_s
        self._pacer = Pacer(
            per_s=settings.edge_per_s,
            burst=settings.edge_burst,
            at_once=settings.edge_at_once,
            max_delay_s=settings.edge_max_delay_s,
            patience_s=settings.edge_patience_s,
        )

    def supports(self, language: str) -> bool:
        return language in VOICES or any(key.startswith(f"{language}-") for key in self._overrides)

    def speak(self, utterances: list[Utterance]) -> list[Speech]:
        """Mono at 24,000 Hz. Not to be called from a thread that runs an event loop.

        Raises StageFailed: transient when offline, slow, or told to wait a little; final when the voice gave no sound,
        and when the service wants to be left alone for longer than anyone should wait.
        """
        return [self._say(utterance) for utterance in utterances]

    def _say(self, utterance: Utterance) -> Speech:
        voice = self._voice(utterance.language, utterance.gender)
        mp3 = self._paced(utterance, voice)
        try:
            audio, rate = soundfile.read(io.BytesIO(mp3), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise StageFailed("tts", f"edge voice {voice} sent no readable sound") from error
        return require_plausible(Speech(audio.mean(axis=1), int(rate), f"edge:{voice}"), utterance)

    def _voice(self, language: str, gender: str) -> str:
        wanted = "male" if gender == "male" else "female"
        voices = dict(zip(("female", "male"), VOICES.get(language, ()), strict=False))
        for key in (f"{language}-{gender}", f"{language}-{wanted}"):
            if key in self._overrides:
                return self._overrides[key]
        others = [name for key, name in sorted(self._overrides.items()) if key.startswith(f"{language}-")]
        if name := voices.get(wanted) or next(iter(others), None):
            return name
        raise StageFailed("tts", f"edge has no voice for {language}")

    def _paced(self, utterance: Utterance, voice: str) -> bytes:
        try:
            with self._pacer.turn():
                mp3 = asyncio.run(self._fetch(utterance, voice))
        except TooFar as error:
            message = f"the edge service is left alone for another {error.seconds:.0f} s"
            raise StageFailed("tts", message) from error
        self._pacer.went_well()
        return mp3

    async def _fetch(self, utterance: Utterance, voice: str) -> bytes:
        """The MP3 of one utterance, and every way in which the service fails, as one type."""
        pace = f"{round(100 * (utterance.rate - 1)):+d}%"
        try:
            talk = edge_tts.Communicate(utterance.text, voice, rate=pace)
            async with asyncio.timeout(self._timeout_s):
                mp3 = b"".join([part["data"] async for part in talk.stream() if part["type"] == "audio"])
        except aiohttp.ClientResponseError as error:
            self._pacer.pushed_back(retry_after(error.headers))
            message = f"the edge service refused with {error.status}"
            raise StageFailed("tts", message, transient=error.status == 429 or error.status >= 500) from error
        except SkewAdjustmentError as error:  # a 403 without the time by which the library would set its clock
            self._pacer.pushed_back()
            raise StageFailed("tts", "the edge service refused with 403") from error
        except TimeoutError as error:
            self._pacer.pushed_back()
            raise StageFailed("tts", f"the edge service gave no answer in {self._timeout_s:g} s", True) from error
        except (aiohttp.ClientError, OSError) as error:
            self._pacer.pushed_back()
            raise StageFailed("tts", "the edge service cannot be reached", transient=True) from error
        except EdgeTTSException as error:
            raise StageFailed("tts", f"edge voice {voice} sent no sound") from error
        except ValueError as error:  # the library looks at the form of a name before it asks
            raise StageFailed("tts", f"edge cannot use the voice {voice}; correct its name in edge_voices") from error
        if talk.state["chunk_audio_bytes"]:  # it is set back when a turn ends
            self._pacer.pushed_back()
            raise StageFailed("tts", f"edge voice {voice} broke off in the middle", transient=True)
        return mp3
