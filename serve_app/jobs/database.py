"""The database under the store: SQLite in a file, or PostgreSQL where there is more than one node.

One way to read, one to write, and one to hold everybody else still; what differs between the two databases is in here
and nowhere else. On SQLite (WAL) a writing transaction begins with the write lock: a deferred one that reads first and
writes later is thrown out by whoever wrote in between. On PostgreSQL transactions see what has been committed (READ
COMMITTED) and lock the rows they change.

The schema is brought up to date when a process starts, by whichever of them gets there first (`create`); the others
wait for it. A SQLite file is copied before. All methods block.
"""

import json
import logging
import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, inspect, make_url, select, text
from sqlalchemy.exc import OperationalError

from models.errors import ArtifactMissing, OutOfSpace
from serve_app.jobs import migrations

logger = logging.getLogger(__name__)

BUSY_S = 30.0
FULL = "the disk that holds the jobs is full; free some space and try again"
MIGRATING = 0x6A6F6273
"""The advisory lock under which a PostgreSQL schema is changed."""
DISK_FULL = "53100"
"""PostgreSQL's code for it."""


class Database:
    """Thread-safe. `url` is SQLAlchemy's; several processes may open the same database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.engine = open_database(url)
        self._writing = self.engine.execution_options(immediate=True)

    @property
    def is_postgresql(self) -> bool:
        return self.engine.dialect.name == "postgresql"

    def create(self) -> None:
        """Makes the tables or brings them up to date; several processes may do so at once. Raises StoreTooNew."""
        if not self.is_postgresql:
            self._switch_to_wal()
        with self.read() as connection:
            current = migrations.is_current(connection)
        if not current:
            with self.migrating() as connection:
                self._keep_copy(connection)
                migrations.upgrade(connection)

    def _keep_copy(self, connection: Connection) -> None:
        """Copies a SQLite file that is about to be changed. A server has backups of its own. Raises OutOfSpace."""
        path = self.engine.url.database
        if self.is_postgresql or not path or not inspect(connection).has_table("jobs"):
            return
        if migrations.is_current(connection):  # somebody else was faster
            return
        copy = Path(f"{path}.before-{migrations.head()}")
        draft = copy.with_name(f"{copy.name}.part")
        draft.unlink(missing_ok=True)  # of a process that was killed over it
        try:
            with closing(sqlite3.connect(path)) as store, closing(sqlite3.connect(draft)) as kept:
                store.backup(kept)
        except sqlite3.OperationalError as error:
            draft.unlink(missing_ok=True)
            if "is full" in str(error):
                raise OutOfSpace(FULL) from error
            raise
        draft.replace(copy)
        logger.warning("the job store is brought up to date; as it was before, it lies in %s", copy)

    def close(self) -> None:
        self.engine.dispose()

    def read(self) -> AbstractContextManager[Connection]:
        return self.engine.connect()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction, committed at the end. Raises OutOfSpace when the database's disk is full."""
        try:
            with self._writing.begin() as connection:
                yield connection
        except OperationalError as error:
            if "is full" in str(error.orig) or getattr(error.orig, "sqlstate", "") == DISK_FULL:
                raise OutOfSpace(FULL) from error
            raise

    @contextmanager
    def still(self) -> Iterator[None]:
        """While this is open nobody submits, claims or changes a job. Keep it to milliseconds: leases run on."""
        with self.write() as connection:
            if self.is_postgresql:
                connection.execute(text("LOCK TABLE jobs IN SHARE MODE"))
            yield

    def one_by_one(self, connection: Connection, name: str) -> None:
        """Until the transaction ends, nobody else gets past here with the same `name`; on SQLite writers take turns."""
        if self.is_postgresql:
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A transaction in which the schema may change, one process at a time.

        On SQLite, changing a table means making it anew, for which foreign keys must sleep; that cannot be asked for
        inside a transaction, so this one has a connection of its own.
        """
        engine = open_database(self._url, foreign_keys=False)
        try:
            with engine.execution_options(immediate=True).begin() as connection:
                if self.is_postgresql:
                    connection.execute(select(func.pg_advisory_xact_lock(MIGRATING)))
                yield connection
        finally:
            engine.dispose()

    def _switch_to_wal(self) -> None:
        """SQLite does not wait for its lock in this one statement, so that processes starting together collide."""
        deadline = time.monotonic() + BUSY_S
        while True:
            connection = self.engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            finally:
                connection.close()


def open_database(url: str, foreign_keys: bool = True) -> Engine:
    """Raises ArtifactMissing when the driver for PostgreSQL is not installed."""
    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        return _postgresql(address)
    patient = {"timeout": BUSY_S, "isolation_level": None}
    engine = create_engine(address, hide_parameters=True, json_serializer=to_json, connect_args=patient)

    @event.listens_for(engine, "connect")
    def enforce_keys(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def _postgresql(address: URL) -> Engine:
    if address.drivername in ("postgres", "postgresql"):  # SQLAlchemy's own choice depends on its version
        address = address.set(drivername="postgresql+psycopg")
    try:
        return create_engine(address, pool_pre_ping=True, hide_parameters=True, json_serializer=to_json)
    except ModuleNotFoundError as error:
        raise ArtifactMissing("the driver for PostgreSQL is missing: pip install 'dubserve[postgres]'") from error


def to_json(data: Any) -> str:
    """What a log line mentions may be of any type, and no job fails for it; JSON has no word for infinity."""
    try:
        return json.dumps(data, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(json.loads(json.dumps(data, default=str))))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
