"""How the tables came to be what they are: one file in versions/ a change, applied in order when a process starts.

To change the schema, change tables.py and let Alembic write the step, then read what it wrote:

    alembic revision --autogenerate -m "what it gives"

A step must leave the tables usable by the release before it, since old replicas run on while new ones start: a new
column is nullable or has a server default; what nobody needs any more is dropped a release later. The first step makes
only what is missing, which is how stores from before there were migrations are adopted. There is no way back down: an
older release refuses a newer store, and a backup is the way to return to it.
"""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from models.errors import StoreTooNew

_one_at_a_time = threading.Lock()  # Alembic keeps the migration under way in a global


def head() -> str:
    """The newest step."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def is_current(connection: Connection) -> bool:
    """Whether there is nothing to do. Raises StoreTooNew for a store that a newer release has touched."""
    scripts = ScriptDirectory.from_config(_config())
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
        raise StoreTooNew(
            "the job store belongs to a newer release of this service; install that release, or restore a backup"
        )
    return found == scripts.get_current_head()


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Applies what is missing inside the caller's transaction, all or nothing. Raises StoreTooNew."""
    if not is_current(connection):  # somebody else may have done it while this process waited for the lock
        config = _config()
        config.attributes["connection"] = connection
        with _one_at_a_time:
            command.upgrade(config, revision)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
