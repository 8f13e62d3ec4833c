"""Calls that are answered at once, without a job: a row each, for what they cost and for what a tenant may ask.

A call is written down before anything of it is done, so that many at once do not pass together what one of them would
have used up, and its cost when it has ended, however it did; one whose process was killed costs nothing but its place
in the minute. Sound counts on the day's minutes as films do, and so does speech, by its characters. How long a
recording is shows only when it has been decoded: the limit is passed by what is under way at that moment, and so it is
asked without holding up anybody.
"""

import time
from collections.abc import Callable
from dataclasses import asdict

from sqlalchemy import Connection, insert, select, update

from serve_app.jobs.database import Database
from serve_app.jobs.quotas import day, exhausted
from serve_app.jobs.tables import calls
from serve_app.jobs.tenants import Tenant, find
from serve_app.spending import Spending

MINUTE_S = 60.0


class Calls:
    """`a_minute` is how many each tenant may make; None: any number. All methods block."""

    def __init__(self, database: Database, a_minute: int | None, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._a_minute = a_minute
        self._clock = clock

    def begin(self, tenant: str, route: str) -> int:
        """The number of the call. Raises NotAllowed (resource_exhausted) beyond a limit."""
        now = self._clock()
        with self._database.read() as connection:
            day(connection, find(connection, tenant) or Tenant(tenant), now)
        with self._database.write() as connection:
            if self._a_minute is not None:
                self._database.one_by_one(connection, f"calls of {tenant}")
                _pace(connection, tenant, self._a_minute, now)
            made = connection.execute(insert(calls).values(tenant=tenant, route=route, at=now))
            assert made.inserted_primary_key is not None
            return int(made.inserted_primary_key[0])

    def end(self, number: int, spent: Spending) -> None:
        with self._database.write() as connection:
            connection.execute(update(calls).where(calls.c.number == number).values(asdict(spent)))


def _pace(connection: Connection, tenant: str, a_minute: int, now: float) -> None:
    """Raises NotAllowed when so many calls were begun within a minute, until the oldest of them is a minute old."""
    # none of those to come, which are there when the clock was set back
    latest = select(calls.c.at).where(calls.c.tenant == tenant, calls.c.at > now - MINUTE_S, calls.c.at <= now)
    begun = connection.execute(latest.order_by(calls.c.at.desc()).limit(a_minute)).scalars().all()
    if len(begun) >= a_minute:
        wait = max(1.0, begun[-1] + MINUTE_S - now)
        raise exhausted(f"you may make {a_minute} such calls a minute; try again a little later", wait)
