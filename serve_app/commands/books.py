"""The service's database, for the commands of its operator: tenants, keys, usage, and jobs without a service.

What they change holds at once for what comes next; a revoked key may work for some seconds more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.app import Roots
from serve_app.commands.terminal import told
from serve_app.jobs.database import Database
from serve_app.jobs.tenants import Tenants
from serve_app.paths import home


@contextmanager
def database() -> Iterator[Database]:
    """That of the service, brought up to date; errors of our tree become a red sentence and an exit code."""
    with told():
        opened = Database(Roots.from_environment().database_url.get_secret_value())
        try:
            opened.create()
            yield opened
        finally:
            opened.close()


def shelf(key: str, roots: Roots) -> Path:
    """Where the videos of a key's owner lie; of nobody in particular without one. Raises NotAllowed for a wrong key."""
    if not key:
        return roots.uploads
    with database() as opened:
        folder = home(Tenants(opened).owner(key), roots)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
