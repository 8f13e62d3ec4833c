"""Several engines as one: the first that can speak does, and nobody upstream has to know which.

Each engine is loaded when it is first needed. A transient failure is tried again after a pause (doubling, jittered, so
that replicas do not come back together); after `breaker_failures` failed sentences in a row an engine rests for
`breaker_s`. A resting engine is asked last, not never: a bad voice is better than silence. Whatever else an engine
raises counts as its final failure for that sentence, because the next engine may well be able to say it.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from configs.engines import TtsSettings
from models.errors import DubError, StageFailed
from models.registry import load
from models.segment import Speech, Utterance
from models.tts import Tts

log = logging.getLogger(__name__)


@dataclass
class _Breaker:
    failures: int = 0
    rests_until: float = 0.0


class FallbackTts:
    """`names` are its engines in order of preference, as the registry calls them; `engine(name)` gives one of them."""

    def __init__(
        self,
        settings: TtsSettings,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.names = settings.engines
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._engines: dict[str, Tts] = {}
        self._breakers = {name: _Breaker() for name in settings.engines}
        self._lock = threading.Lock()

    def supports(self, language: str) -> bool:
        """Whether any engine that can be loaded has a voice for it."""
        return any(self._supports(name, language) for name in self._settings.engines)

    def speak(self, utterances: list[Utterance]) -> list[Speech]:
        """Each utterance by the first engine that manages it, with the reasons of those that did not and of its tries.

        Raises StageFailed when none did.
        """
        return [self._say(utterance) for utterance in utterances]

    def _say(self, utterance: Utterance) -> Speech:
        reasons: list[str] = []
        for name in self._order(utterance.avoid):
            try:
                engine = self.engine(name)
                if not engine.supports(utterance.language):
                    continue
                speech = self._with_tries(name, engine, utterance)
            except Exception as error:  # libraries raise types of their own
                reasons.append(reason(name, error))
                self._failed(name, error)
            else:
                self._breakers[name] = _Breaker()
                return replace(speech, failed=tuple(reasons)) if reasons else speech
        said = "; ".join(reasons) or f"none has a voice for {utterance.language}"
        raise StageFailed("tts", f"no speech engine could say it: {said}")

    def _order(self, avoid: tuple[str, ...]) -> list[str]:
        now = self._clock()
        names = [name for name in self._settings.engines if name not in avoid]
        return sorted(names, key=lambda name: self._breakers[name].rests_until > now)

    def engine(self, name: str) -> Tts:
        """The engine itself, loaded if it was not. Raises ArtifactMissing, and whatever its library raises."""
        with self._lock:
            if name not in self._engines:
                self._engines[name] = load("tts", name, self._settings)
            return self._engines[name]

    def _supports(self, name: str, language: str) -> bool:
        try:
            return self.engine(name).supports(language)
        except Exception as error:
            self._failed(name, error)
            return False

    def _with_tries(self, name: str, engine: Tts, utterance: Utterance) -> Speech:
        tried: list[str] = []
        for attempt in range(1, self._settings.tries + 1):
            try:
                speech = engine.speak([utterance])[0]
                return replace(speech, tried=tuple(tried)) if tried else speech
            except StageFailed as error:
                if not error.transient or attempt == self._settings.tries:
                    raise
                tried.append(f"{reason(name, error)}, asked again")
                self._sleep(self._settings.backoff_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311
        raise AssertionError("settings allow at least one try")

    def _failed(self, name: str, error: Exception) -> None:
        breaker = self._breakers[name]
        breaker.failures += 1
        if breaker.failures >= self._settings.breaker_failures:
            breaker.rests_until = self._clock() + self._settings.breaker_s
        unforeseen = None if isinstance(error, DubError) else error
        log.warning("speech engine %s failed, falling back: %s", name, error, exc_info=unforeseen)


def reason(name: str, error: Exception) -> str:
    """Why engine `name` failed, in words that a caller may read."""
    return str(error).removeprefix("tts: ") if isinstance(error, DubError) else f"{name} is out of order"
