"""Whoever wants to be told how a job has ended: rows of what is to be sent, and of what became of it.

The row of a delivery is written in the transaction that ends the job, so neither is there without the other. A loop in
each Ingress sends what is due (`webhooks`): it claims a row by moving its due time past the end of the try, so that no
two replicas send the same one at the same moment, and a replica that dies in the middle only makes it due again. Who
receives it may therefore get it twice, under the same id; and deliveries may overtake each other. What fails is tried
again with growing pauses, up to a bound.

A receiver that does not answer holds a place for as long as a try may last. So a tenant gets only so many places, and a
place that becomes free goes to whoever holds fewest: slow receivers delay their own tenant, and no other.
"""

import json
import logging
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from configs.app import WebhookSettings
from serve_app.jobs.database import Database
from serve_app.jobs.job import State
from serve_app.jobs.tables import deliveries, jobs

logger = logging.getLogger(__name__)


def announce(connection: Connection, row: Mapping[Any, Any], now: float) -> None:
    """Writes the delivery of a job that has just ended, `row` as it is now; nothing for one without a webhook."""
    url = row["request"].get("webhook", "")
    if not url or row["state"].live:
        return
    name = f"msg_{uuid.uuid4().hex}"
    body = json.dumps(message(name, row, now), ensure_ascii=False)
    values = {"id": name, "job_id": row["id"], "url": url, "body": body, "created_at": now, "due_at": now}
    connection.execute(insert(deliveries).values(values))


def message(name: str, row: Mapping[Any, Any], now: float) -> dict[str, Any]:
    """What is sent. No path of ours: whoever wants the files asks for the job's result."""
    request, state, result = row["request"], row["state"], row["result"]
    return {
        "id": name,
        "event": f"job.{state.value}",
        "job_id": row["id"],
        "status": state.value,
        "target_langs": [request["target_lang"], *request.get("also", ())],
        "error": {"code": row["error_code"], "message": row["error"]} if state is State.FAILED else None,
        "duration_s": result["duration_s"] if state is State.COMPLETED and result else None,
        "created_at": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }


@dataclass(frozen=True, slots=True)
class Delivery:
    id: str
    job_id: str
    tenant: str
    url: str
    body: str
    tries: int  # this one included


class Outbox:
    """The rows of deliveries. All methods block. `clock` gives Unix seconds."""

    def __init__(self, database: Database, settings: WebhookSettings, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock

    def claim(self, under_way: Iterable[str] = ()) -> list[Delivery]:
        """Deliveries to try now; nobody else gets them while a try can last.

        `under_way` are the tenants of those that the caller is trying already, one entry for each.
        """
        now, held = self._clock(), Counter(under_way)
        with self._database.read() as connection:  # mostly nothing is due, and a read holds up nobody
            wanted = self._next(connection.execute(_oldest_of_each(now, self._settings.for_one)).all(), held)
        if not wanted:
            return []
        this = deliveries.c.id.in_([row.id for row in wanted]), deliveries.c.due_at <= now
        with self._database.write() as connection:
            rows = connection.execute(select(deliveries).where(*this).with_for_update(skip_locked=True)).all()
            for row in rows:
                lease = {"tries": row.tries + 1, "due_at": now + 2 * self._settings.timeout_s + 10}
                connection.execute(update(deliveries).where(deliveries.c.id == row.id).values(lease))
        tenants = {row.id: row.tenant for row in wanted}
        return [Delivery(row.id, row.job_id, tenants[row.id], row.url, row.body, row.tries + 1) for row in rows]

    def _next(self, due: Sequence[Row[Any]], held: Counter[str]) -> list[Row[Any]]:
        """Of what is due, what there are places for, those first whose tenants hold fewest."""
        places = [(held[row.tenant] + row.place, row) for row in due]
        fitting = sorted((taken, row.due_at, row) for taken, row in places if taken <= self._settings.for_one)
        return [row for _, _, row in fitting[: max(0, self._settings.at_once - held.total())]]

    def of(self, job_id: str) -> list[dict[str, Any]]:
        """What became of a job's deliveries so far, oldest first; times are Unix seconds."""
        shown = [deliveries.c[name] for name in ("id", "created_at", "tries", "due_at", "delivered_at", "error")]
        query = select(*shown).where(deliveries.c.job_id == job_id).order_by(deliveries.c.created_at)
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def delivered(self, delivery: Delivery) -> None:
        values = {"due_at": None, "delivered_at": self._clock(), "error": ""}
        with self._database.write() as connection:
            connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(values))

    def failed(self, delivery: Delivery, reason: str, final: bool = False) -> None:
        """Due again after a pause that grows with the tries; never again after the last of them."""
        final = final or delivery.tries >= self._settings.tries
        if final:
            logger.warning("a webhook of job %s is given up: %s", delivery.job_id, reason)
        values = {"due_at": None if final else self._clock() + self.pause(delivery.tries), "error": reason}
        this = (deliveries.c.id == delivery.id) & (deliveries.c.tries == delivery.tries)
        with self._database.write() as connection:
            connection.execute(update(deliveries).where(this, deliveries.c.delivered_at.is_(None)).values(values))

    def pause(self, tries: int) -> float:
        """Seconds after so many tries, a quarter more or less, so that a receiver that comes back is not stormed."""
        pause = min(self._settings.max_backoff_s, self._settings.backoff_s * 4.0 ** (tries - 1))
        return pause * random.uniform(0.75, 1.25)  # noqa: S311


def _oldest_of_each(now: float, many: int) -> Select[Any]:
    """The first `many` deliveries that are due of each tenant, with their `place` among these, from 1 on."""
    place = func.row_number().over(partition_by=jobs.c.tenant, order_by=(deliveries.c.due_at, deliveries.c.id))
    due = select(deliveries.c.id, deliveries.c.due_at, jobs.c.tenant, place.label("place"))
    ranked = due.join(jobs, jobs.c.id == deliveries.c.job_id).where(deliveries.c.due_at <= now).subquery()
    return select(ranked).where(ranked.c.place <= many)
