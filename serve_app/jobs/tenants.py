"""Tenants and their keys: who may use the service, with which share of it, and up to which limits.

A key is `dub_<id>_<secret>`. Only its SHA-256 is kept: the secret is 256 random bits, so nobody can try them out, and
the slow hashes that passwords need would cost every call some tenth of a second for nothing. The id finds the row; the
hashes are compared in constant time. A key that is lost cannot be shown again: issue another one.

A tenant without a row weighs 1 and has no limits. So the anonymous one needs none, and gets one when it is to be held
to something.
"""

import hmac
import logging
import math
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from models.errors import InvalidJob, NotAllowed, OutOfSpace
from serve_app.jobs.database import Database
from serve_app.jobs.job import State
from serve_app.jobs.tables import jobs, keys, tenants

logger = logging.getLogger(__name__)

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
LIMITS = ("running", "queued", "stored_bytes", "video_minutes_a_day")
USED_S = 60.0
"""That a key was used is written down no more often than this."""


class UnfitTenant(InvalidJob):
    """A tenant or a key that is not there, is there already, or cannot be as asked."""

    code = "unfit_tenant"


@dataclass(frozen=True, slots=True)
class Tenant:
    """`weight` is its share beside others; limits are None where there are none."""

    name: str
    weight: float = 1.0
    running: int | None = None  # jobs at a time
    queued: int | None = None  # jobs that wait or are paused
    stored_bytes: int | None = None  # uploads and results
    video_minutes_a_day: float | None = None  # let in within the last 24 hours: films, recordings, texts to be spoken
    created_at: float = 0.0  # Unix seconds


@dataclass(frozen=True, slots=True)
class Key:
    """What may be shown of a key. Times in Unix seconds."""

    id: str
    tenant: str
    label: str
    created_at: float
    used_at: float | None
    revoked_at: float | None


class Tenants:
    """Thread-safe; all methods block. Raises UnfitTenant with what to do instead."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def add(self, tenant: Tenant) -> Tenant:
        made = replace(proper(tenant), created_at=self._clock())
        with self._database.write() as connection:
            if find(connection, made.name) is not None:
                raise UnfitTenant("a tenant of this name is there already; change it, or choose another name")
            connection.execute(insert(tenants).values(asdict(made)))
        return made

    def change(self, name: str, **changes: Any) -> Tenant:
        """`changes` are fields of Tenant; a limit of None lifts it."""
        with self._database.write() as connection:
            changed = proper(replace(known(connection, name), **changes))
            connection.execute(update(tenants).where(tenants.c.name == name).values(asdict(changed)))
        return changed

    def all(self) -> list[Tenant]:
        with self._database.read() as connection:
            rows = connection.execute(select(tenants).order_by(tenants.c.name)).mappings()
            return [Tenant(**row) for row in rows]

    def remove(self, name: str) -> None:
        """Takes its keys away as well; its jobs and its usage stay under its name."""
        live = select(func.count()).where(jobs.c.tenant == name, jobs.c.state.in_([s for s in State if s.live]))
        with self._database.write() as connection:
            known(connection, name)
            if connection.execute(live).scalar_one():
                raise UnfitTenant("this tenant has jobs that wait or run; revoke its keys and let them end first")
            connection.execute(delete(keys).where(keys.c.tenant == name))
            connection.execute(delete(tenants).where(tenants.c.name == name))

    # -- keys ------------------------------------------------------------------------------------------------------

    def issue(self, tenant: str, label: str = "") -> str:
        """A new key, shown this once."""
        key_id = secrets.token_hex(6)
        key = f"dub_{key_id}_{secrets.token_urlsafe(32)}"
        row = {"id": key_id, "tenant": tenant, "sha256": digest(key), "label": label[:255], "created_at": self._clock()}
        with self._database.write() as connection:
            known(connection, tenant)
            connection.execute(insert(keys).values(row))
        return key

    def keys(self, tenant: str | None = None) -> list[Key]:
        """Oldest first; of all tenants when none is named."""
        columns = [column for column in keys.c if column.name != "sha256"]
        query = select(*columns).order_by(keys.c.created_at, keys.c.id)
        if tenant is not None:
            query = query.where(keys.c.tenant == tenant)
        with self._database.read() as connection:
            return [Key(**row) for row in connection.execute(query).mappings()]

    def revoke(self, key_id: str) -> None:
        """Once revoked stays revoked; asking twice is no error."""
        with self._database.write() as connection:
            if connection.execute(select(keys.c.id).where(keys.c.id == key_id)).first() is None:
                raise UnfitTenant("there is no key with this id; list the keys to see theirs")
            unused = keys.c.id == key_id, keys.c.revoked_at.is_(None)
            connection.execute(update(keys).where(*unused).values(revoked_at=self._clock()))

    def owner(self, key: str) -> str:
        """The tenant whose key this is. Raises NotAllowed for any other text, and for a key that was revoked."""
        _, _, rest = key.partition("_")
        key_id, now = rest.partition("_")[0], self._clock()
        with self._database.read() as connection:
            row = connection.execute(select(keys).where(keys.c.id == key_id)).mappings().first()
        kept = row["sha256"] if row is not None else ""
        if not hmac.compare_digest(kept, digest(key)) or row is None or row["revoked_at"] is not None:
            raise NotAllowed("this key is not known, or was revoked; ask the operator for another", "unauthenticated")
        if now - (row["used_at"] or 0.0) > USED_S:
            self._note(key_id, now)
        return str(row["tenant"])

    def _note(self, key_id: str, now: float) -> None:
        """Nobody is turned away because that cannot be written: least of all who comes to make room on a full disk."""
        try:
            with self._database.write() as connection:
                connection.execute(update(keys).where(keys.c.id == key_id).values(used_at=now))
        except (OutOfSpace, SQLAlchemyError):
            logger.warning("that a key was used could not be written down", exc_info=True)


def digest(key: str) -> str:
    return sha256(key.encode("utf-8", "replace")).hexdigest()


def find(connection: Connection, name: str) -> Tenant | None:
    row = connection.execute(select(tenants).where(tenants.c.name == name)).mappings().first()
    return None if row is None else Tenant(**row)


def known(connection: Connection, name: str) -> Tenant:
    tenant = find(connection, name)
    if tenant is None:
        raise UnfitTenant("there is no tenant of this name; add it first")
    return tenant


def proper(tenant: Tenant) -> Tenant:
    """The tenant itself if it can be: its name can be that of a folder, its numbers are finite and not negative."""
    if not NAME.fullmatch(tenant.name):
        raise UnfitTenant("name a tenant with up to 63 small letters, digits, dots, dashes and underscores")
    if not (math.isfinite(tenant.weight) and tenant.weight > 0):
        raise UnfitTenant("the weight of a tenant is a number above 0")
    for limit in LIMITS:
        value = getattr(tenant, limit)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UnfitTenant(f"the limit {limit} is a number from 0 on, or none")
    return tenant
