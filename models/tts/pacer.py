"""The pace at which a service of others is asked, found by asking it.

Two brakes. A token bucket bounds what is asked at all: so many calls a second, a few at once after a silence. A delay
between calls is what the service makes of it: it doubles when a call is refused or not answered, up to a bound, and
shrinks by a fifth with each that is. What a Retry-After says is held to exactly. A call whose turn lies further away
than `patience_s` is given up at once, because whoever waits for a sentence has another engine to ask.

The pace is one process's own: replicas behind one address find out for themselves, and share nothing.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_DELAY_S = 0.25
EASES, GROWS = 0.8, 2.0


class TooFar(Exception):
    """The next turn is `seconds` away, more than anyone here waits."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(slots=True)
class _Bucket:
    """When the next call may be: `full_at` is when the bucket will hold all its tokens again."""

    full_at: float = 0.0
    next_at: float = 0.0
    held_until: float = 0.0
    delay_s: float = 0.0


class Pacer:
    """Thread-safe. `per_s` and `burst` describe the bucket; `at_once` calls are under way at most."""

    def __init__(
        self,
        *,
        per_s: float,
        burst: int,
        at_once: int,
        max_delay_s: float,
        patience_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._per_s, self._burst = per_s, burst
        self._max_delay_s, self._patience_s = max_delay_s, patience_s
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._gate = threading.BoundedSemaphore(at_once)
        self._bucket = _Bucket()

    @property
    def delay_s(self) -> float:
        """What the service has taught: the least time between two calls."""
        with self._lock:
            return self._bucket.delay_s

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for its turn, and holds one of the places. Raises TooFar instead of waiting for long."""
        with self._gate:
            self._sleep(self._reserve())
            yield

    def went_well(self) -> None:
        with self._lock:
            eased = self._bucket.delay_s * EASES
            self._bucket.delay_s = eased if eased > FIRST_DELAY_S / 2 else 0.0

    def pushed_back(self, retry_after_s: float = 0.0) -> None:
        """The service refused, or gave no answer; `retry_after_s` is what it asked for."""
        with self._lock:
            slower = max(FIRST_DELAY_S, GROWS * self._bucket.delay_s)
            self._bucket.delay_s = min(self._max_delay_s, slower)
            self._bucket.held_until = max(self._bucket.held_until, self._clock() + retry_after_s)

    def _reserve(self) -> float:
        """Seconds until the turn that is taken with this call."""
        with self._lock:
            now, bucket = self._clock(), self._bucket
            spent = max(now, bucket.full_at) + 1 / self._per_s
            token_at = spent - self._burst / self._per_s
            jitter = bucket.delay_s * random.uniform(0.0, 0.25)  # noqa: S311
            at = max(now, token_at, bucket.next_at + jitter, bucket.held_until)
            if at - now > self._patience_s:
                raise TooFar(at - now)
            bucket.full_at, bucket.next_at = spent, at + bucket.delay_s
            return at - now


def retry_after(headers: Mapping[str, str] | None) -> float:
    """Seconds that a Retry-After header asks for, in either of its forms; 0 without one, or with one that is none."""
    value = (headers or {}).get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return 0.0
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
