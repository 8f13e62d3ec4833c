"""How often one caller may ask for a job. The quotas of a tenant count what waits; this counts how fast it comes.

It is kept in this process and costs no question to the database, so that a flood is refused for nearly nothing; several
Ingress replicas let through as much each. Callers with a key are counted by tenant, and those without by their address:
behind a proxy, or an API in front, that is one address for all.
"""

import time
from collections.abc import Callable

from serve_app.doors.access import Caller
from serve_app.jobs.job import ANONYMOUS
from serve_app.jobs.quotas import exhausted

MINUTE_S = 60.0
KNOWN = 10_000
"""Callers that are remembered at once; beyond that, those who owe nothing are forgotten."""


class Pace:
    """`a_minute` calls of a caller pass at once, and then one as often as that many make a minute; None: all pass."""

    def __init__(self, a_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._step = MINUTE_S / a_minute if a_minute else 0.0
        self._a_minute = a_minute
        self._clock = clock
        self._paid: dict[str, float] = {}
        """Until when each caller's calls would have filled the time, had they come evenly."""

    def check(self, caller: Caller) -> None:
        """Counts a call. Raises NotAllowed (resource_exhausted), with the time until the next one passes."""
        if self._a_minute is None:
            return
        name = f"address {caller.address}" if caller.tenant == ANONYMOUS else f"tenant {caller.tenant}"
        now = self._clock()
        paid = max(self._paid.get(name, 0.0), now) + self._step
        if paid - now > MINUTE_S + self._step / 2:
            message = f"you may send {self._a_minute} jobs a minute; try again a little later"
            raise exhausted(message, max(1.0, paid - now - MINUTE_S))
        if len(self._paid) >= KNOWN:
            self._paid = {one: until for one, until in self._paid.items() if until > now}
        self._paid[name] = paid
