"""What the shell offers at Tab: languages, and the names that the database of this machine knows.

A shell asks at every press of the key, and shows nothing that goes wrong. So a database that is not there is not made
for it, and whatever cannot be read is no offer.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from configs.app import Roots
from configs.pipeline import LANGUAGES
from models.errors import DubError
from serve_app.jobs.database import Database
from serve_app.jobs.reader import Reader
from serve_app.jobs.tenants import Tenants

JOBS = 50
"""The latest ones; nobody picks from more."""


def languages(incomplete: str) -> list[str]:
    """Codes, also behind a comma: `es,f` becomes `es,fr`."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + one for one in LANGUAGES if one.startswith(last) and one not in before.split(",")]


def voices(incomplete: str) -> list[str]:
    return [one for one in ("male", "female", "neutral") if one.startswith(incomplete)]


def tenants(incomplete: str) -> list[str]:
    return known(incomplete, lambda database: [one.name for one in Tenants(database).all()])


def keys(incomplete: str) -> list[str]:
    return known(
        incomplete, lambda database: [one.id for one in Tenants(database).keys(None) if one.revoked_at is None]
    )


def jobs(incomplete: str) -> list[str]:
    return known(incomplete, lambda database: [job.id for job in Reader(database, time.time).jobs(limit=JOBS)])


def known(incomplete: str, ask: Callable[[Database], Iterable[str]]) -> list[str]:
    """Those names that begin as it does; none where there is no database, or none that this version can read."""
    try:
        url = Roots.from_environment().database_url.get_secret_value()
        file = make_url(url)
        if file.get_backend_name() == "sqlite" and not Path(file.database or "").is_file():
            return []
        database = Database(url)
        try:
            return [name for name in ask(database) if name.startswith(incomplete)]
        finally:
            database.close()
    except (DubError, SQLAlchemyError):
        return []
